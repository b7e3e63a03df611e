//! Who is typing: told to the server and heard from it in datagrams, which may be lost. Nothing of it is ever tried again.

use crate::{Client, Event, command::LinkState, driver::Driver};
use godwit_proto::{
    ConversationId, UserId,
    v1::{ClientFrame, Entry, ServerFrame, TypingPush, TypingRequest, client_frame, entry::Content, server_frame},
};
use prost::Message;
use std::{
    collections::BTreeMap,
    sync::PoisonError,
    time::{Duration, Instant},
};

/// How often it is said at most. A little more than the server asks for, so that a datagram that was quicker than the one before
/// is not dropped.
const SAY_EVERY: Duration = Duration::from_millis(3_200);

/// What is heard lasts this much longer than the server says: the end of it is on its way then.
const SLACK: Duration = Duration::from_secs(1);

/// The longest that is believed.
const LASTS_MAX: Duration = Duration::from_secs(60);

/// Typists who are known at once, in all conversations.
const TYPISTS_MAX: usize = 256;

impl Client {
    /// Tells the others in a conversation that the user is typing there. Call it with every key: it is said every few seconds
    /// at most, at once or not at all, and only while there is a connection. It ends by itself some seconds after the
    /// last call, and with a message of the user's there.
    pub fn typing(&self, conversation: ConversationId) {
        let now = Instant::now();
        let mut said = self.shared.typing.lock().unwrap_or_else(PoisonError::into_inner);
        let is_soon = said.is_some_and(|said| now.saturating_duration_since(said.at) < SAY_EVERY);
        if !is_soon && self.say(conversation, false) {
            *said = Some(Said { conversation: Some(conversation), at: now });
        }
    }

    /// Tells the others that the user is not typing there any more: what was typed is deleted. Not needed after a message.
    pub fn stopped_typing(&self, conversation: ConversationId) {
        let mut said = self.shared.typing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(said) = said.as_mut().filter(|said| said.conversation == Some(conversation)) {
            said.conversation = None;
            self.say(conversation, true);
        }
    }

    /// False: there is no connection, or one that takes no datagrams.
    fn say(&self, conversation: ConversationId, ended: bool) -> bool {
        let LinkState::Up(link) = &*self.shared.link.borrow() else { return false };
        let request = TypingRequest { conversation_id: conversation.to_bytes(), ended };
        let frame = ClientFrame { request_id: 0, body: Some(client_frame::Body::Typing(request)) };
        link.connection.send_datagram(frame.encode_to_vec().into()).is_ok()
    }
}

/// What was said last of the user's own typing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Said {
    /// `None`: that it has ended.
    conversation: Option<ConversationId>,
    at: Instant,
}

/// Who is typing, as far as it was heard, until when.
#[derive(Debug, Default)]
pub(crate) struct Typists(BTreeMap<(ConversationId, UserId), Instant>);

impl Typists {
    /// When somebody's typing ends if nothing more is heard of it.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.0.values().min().copied()
    }

    /// Returns what changes for the application.
    fn on_push(&mut self, id: ConversationId, user: UserId, lasts: Duration, now: Instant) -> Option<Event> {
        if lasts.is_zero() {
            return self.end(id, user);
        }
        let is_known = self.0.contains_key(&(id, user));
        if !is_known && self.0.len() >= TYPISTS_MAX {
            return None;
        }
        self.0.insert((id, user), now + lasts.min(LASTS_MAX) + SLACK);
        (!is_known).then_some(Event::Typing { conversation: id, user, is_typing: true })
    }

    fn end(&mut self, id: ConversationId, user: UserId) -> Option<Event> {
        let was_typing = self.0.remove(&(id, user)).is_some();
        was_typing.then_some(Event::Typing { conversation: id, user, is_typing: false })
    }

    /// The ends of those who were to be heard of by now; of all, without a time.
    fn end_overdue(&mut self, now: Option<Instant>) -> Vec<Event> {
        let over: Vec<_> =
            self.0.iter().filter(|(_, until)| now.is_none_or(|now| **until <= now)).map(|(who, _)| *who).collect();
        over.into_iter().filter_map(|(id, user)| self.end(id, user)).collect()
    }
}

/// The server sent a datagram. What is none that this client knows comes from a newer server.
pub(crate) fn on_datagram(bytes: &[u8], driver: &mut Driver, now: Instant) {
    let Ok(ServerFrame { body: Some(server_frame::Body::Typing(push)), .. }) = ServerFrame::decode(bytes) else {
        return;
    };
    let TypingPush { conversation_id, user_id, lasts_ms } = push;
    if let (Ok(id), Ok(user)) = (ConversationId::from_slice(&conversation_id), UserId::new(user_id)) {
        let event = driver.typists.on_push(id, user, Duration::from_millis(lasts_ms.into()), now);
        event.into_iter().for_each(|event| driver.conversations.backlog.push(event));
    }
}

/// Whoever wrote these is done with typing them, even if that is not heard.
pub(crate) fn on_entries(id: ConversationId, entries: &[Entry], driver: &mut Driver) {
    for entry in entries {
        if let (Some(Content::Message(message)), Ok(user)) = (&entry.content, UserId::new(entry.sender_id))
            && !message.scheduled
        {
            driver.typists.end(id, user).into_iter().for_each(|event| driver.conversations.backlog.push(event));
        }
    }
}

/// Ends what was to be heard of by now; all of it, without a time: the connection is gone.
pub(crate) fn end_overdue(driver: &mut Driver, now: Option<Instant>) {
    let ended = driver.typists.end_overdue(now);
    ended.into_iter().for_each(|event| driver.conversations.backlog.push(event));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LASTS: Duration = Duration::from_secs(6);

    fn told(is_typing: bool) -> Event {
        let (conversation, user) = (ConversationId::group([1; 16]), UserId::new(2).unwrap());
        Event::Typing { conversation, user, is_typing }
    }

    #[test]
    fn it_is_told_once_however_often_it_is_heard_and_ends_by_itself() {
        let (id, user, now) = (ConversationId::group([1; 16]), UserId::new(2).unwrap(), Instant::now());
        let mut typists = Typists::default();
        assert_eq!(typists.on_push(id, user, LASTS, now), Some(told(true)));
        let later = now + Duration::from_secs(3);
        assert_eq!(typists.on_push(id, user, LASTS, later), None);
        assert_eq!(typists.due(), Some(later + LASTS + SLACK));
        assert_eq!(typists.end_overdue(Some(now + LASTS + SLACK)), []);
        assert_eq!(typists.end_overdue(Some(later + LASTS + SLACK)), [told(false)]);
        assert_eq!((typists.due(), typists.on_push(id, user, Duration::ZERO, later)), (None, None));
    }

    #[test]
    fn an_end_that_is_heard_ends_it_and_so_does_the_loss_of_the_connection() {
        let (id, user, now) = (ConversationId::group([1; 16]), UserId::new(2).unwrap(), Instant::now());
        let mut typists = Typists::default();
        typists.on_push(id, user, LASTS, now);
        assert_eq!(typists.on_push(id, user, Duration::ZERO, now), Some(told(false)));
        typists.on_push(id, user, LASTS, now);
        assert_eq!(typists.end_overdue(None), [told(false)]);
    }
}
