//! Who is typing where: in memory only, told by datagrams that may be lost, and over by itself.

use super::{
    Core, CoreId, Effects, Mail, Push, SessionId, SessionRef, deadlines::Deadline, frames, owner::Owner, session::Stage,
};
use crate::timer::Tick;
use bytes::Bytes;
use foldhash::HashMap;
use godwit_proto::{
    ConversationId, ConversationKind, UserId,
    v1::{self, client_frame::Body as Request},
};
use prost::Message;
use std::sync::Arc;

/// Typing ends when nothing is heard of it for so long.
pub const TYPING_MS: u32 = 6_000;
/// What a session says sooner than this after it last said so is dropped.
pub const TYPING_INTERVAL_MS: u64 = 3_000;
/// Typists of one conversation who are told of at once. Nobody reads more names.
pub const TYPISTS_PER_CONVERSATION_MAX: usize = 8;

/// What one session said of its user's typing. It types in one conversation at a time.
#[derive(Debug)]
pub struct Typed {
    /// `None`: it has ended.
    conversation: Option<ConversationId>,
    at: Tick,
}

/// The typists of the conversations that a core owns.
///
/// A session adds one at most, and of one conversation there are [`TYPISTS_PER_CONVERSATION_MAX`].
#[derive(Default)]
pub struct Typing {
    conversations: HashMap<ConversationId, Vec<Typist>>,
    /// Where each is, by number.
    places: HashMap<u64, ConversationId>,
    begun: u64,
}

struct Typist {
    number: u64,
    user: UserId,
    /// The session that said so last.
    at: SessionRef,
    until: Tick,
    /// Who was told.
    told: Arc<[UserId]>,
}

/// What became of a typist whose deadline has come.
enum Due {
    Later(Tick),
    Over(ConversationId, Typist),
    Gone,
}

impl Core {
    /// A connection sent a datagram. Nothing answers it, whatever is wrong with it.
    pub fn on_datagram(&mut self, now_ms: u64, id: SessionId, frame: Bytes, effects: &mut Effects) {
        let sent_before = effects.mail.len();
        if let Some((conversation, user, is_typing)) = self.typed(now_ms, id, frame, effects) {
            self.tell_owner(conversation, user, id, is_typing, effects);
        }
        self.deliver_local(now_ms, sent_before, effects);
    }

    /// To the owner of the conversation.
    pub(super) fn tell_owner(
        &self,
        conversation: ConversationId,
        user: UserId,
        id: SessionId,
        is_typing: bool,
        effects: &mut Effects,
    ) {
        let mail = Mail::Typing { conversation, user, at: self.at(id), is_typing };
        effects.mail.push((self.placement.of_conversation(conversation), mail));
    }

    /// A session of this user says that they are typing, or not any more.
    pub(super) fn on_typing(
        &mut self,
        now_ms: u64,
        conversation: ConversationId,
        (user, at): (UserId, SessionRef),
        is_typing: bool,
        effects: &mut Effects,
    ) {
        if !is_typing {
            return self.owner.on_typing_ended(conversation, user, Some(at), effects);
        }
        let now = self.patience.now;
        if let Some((deadline, number)) = self.owner.on_typing(now_ms, now, conversation, (user, at), effects) {
            self.deadlines.arm(deadline, Deadline::Typing(number));
        }
    }

    /// What a datagram says: where, who, and whether they are typing.
    fn typed(
        &mut self,
        now_ms: u64,
        id: SessionId,
        frame: Bytes,
        effects: &mut Effects,
    ) -> Option<(ConversationId, UserId, bool)> {
        let now = self.patience.now;
        let session = self.sessions.get_mut(&id)?;
        let Stage::Online(online) = session.stage else { return None };
        if self.congested || now_ms >= online.token_expires_ms {
            return None;
        }
        let Ok(v1::ClientFrame { body: Some(Request::Typing(request)), .. }) = v1::ClientFrame::decode(frame) else {
            return None;
        };
        let conversation = ConversationId::from_slice(&request.conversation_id).ok()?;
        if let ConversationKind::Direct(low, high) = conversation.kind()
            && ![low, high].contains(&online.user)
        {
            return None;
        }
        let typed = session.typed.as_deref_mut();
        if request.ended {
            let typed = typed.filter(|typed| typed.conversation == Some(conversation))?;
            typed.conversation = None;
            return Some((conversation, online.user, false));
        }
        if typed.is_some_and(|typed| now.0 < typed.at.0.saturating_add(TYPING_INTERVAL_MS)) {
            return None;
        }
        let before = session.typed.replace(Box::new(Typed { conversation: Some(conversation), at: now }));
        let elsewhere = before.and_then(|typed| typed.conversation).filter(|before| *before != conversation);
        if let Some(elsewhere) = elsewhere {
            self.tell_owner(elsewhere, online.user, id, false, effects);
        }
        Some((conversation, online.user, true))
    }
}

impl Owner {
    /// Somebody types. Returns a deadline to be set, and its number.
    pub fn on_typing(
        &mut self,
        now_ms: u64,
        now: Tick,
        conversation: ConversationId,
        (user, at): (UserId, SessionRef),
        effects: &mut Effects,
    ) -> Option<(Tick, u64)> {
        let told = self.typing_audience(now_ms, conversation, user, effects)?;
        let deadline = self.typing.on_typing(now, conversation, user, at, &told)?;
        self.tell_typing(conversation, user, &told, TYPING_MS, effects);
        deadline
    }

    /// Somebody types no more: they said so in this session, or wrote what they typed.
    pub fn on_typing_ended(
        &mut self,
        conversation: ConversationId,
        user: UserId,
        at: Option<SessionRef>,
        effects: &mut Effects,
    ) {
        if let Some(typist) = self.typing.end(conversation, user, at) {
            self.tell_typing(conversation, user, &typist.told, 0, effects);
        }
    }

    /// The deadline with this number has come. Returns when it is to come again.
    pub fn on_typing_deadline(&mut self, now: Tick, number: u64, effects: &mut Effects) -> Option<Tick> {
        match self.typing.on_deadline(now, number) {
            Due::Later(until) => return Some(until),
            Due::Over(conversation, typist) => {
                self.tell_typing(conversation, typist.user, &typist.told, 0, effects);
            }
            Due::Gone => {}
        }
        None
    }

    /// Who is to be told that somebody is typing. Nobody, while the conversation is loaded for it: it will be said again.
    fn typing_audience(
        &mut self,
        now_ms: u64,
        id: ConversationId,
        user: UserId,
        effects: &mut Effects,
    ) -> Option<Arc<[UserId]>> {
        if !self.has_slot(id, effects) {
            return None;
        }
        let slot = self.slots.get_mut(&id)?;
        slot.touched = true;
        slot.conversation.as_ref()?.typing_audience(now_ms, user)
    }

    fn tell_typing(
        &self,
        conversation: ConversationId,
        user: UserId,
        to: &Arc<[UserId]>,
        lasts_ms: u32,
        effects: &mut Effects,
    ) {
        let push = Push::datagram(conversation, frames::typing(conversation, user, lasts_ms));
        for core in (0..self.placement.cores()).map(CoreId) {
            let users: Arc<[UserId]> =
                to.iter().copied().filter(|other| self.placement.of_user(*other) == core).collect();
            if !users.is_empty() {
                effects.mail.push((core, Mail::FanOut(push.clone(), users, None)));
            }
        }
    }
}

impl Typed {
    /// Where the user was typing when the session ended.
    pub fn conversation(&self) -> Option<ConversationId> {
        self.conversation
    }
}

impl Typing {
    /// Nobody types.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Outer `None`: too many type there. Inner: the deadline of a new one.
    #[expect(clippy::option_option, reason = "whether to tell, and then whether to set a deadline")]
    fn on_typing(
        &mut self,
        now: Tick,
        conversation: ConversationId,
        user: UserId,
        at: SessionRef,
        told: &Arc<[UserId]>,
    ) -> Option<Option<(Tick, u64)>> {
        let until = Tick(now.0.saturating_add(TYPING_MS.into()));
        let typists = self.conversations.entry(conversation).or_default();
        if let Some(typist) = typists.iter_mut().find(|typist| typist.user == user) {
            // The deadline that is set looks again when it comes.
            (typist.at, typist.until, typist.told) = (at, until, told.clone());
            return Some(None);
        }
        if typists.len() >= TYPISTS_PER_CONVERSATION_MAX {
            return None;
        }
        self.begun += 1;
        typists.push(Typist { number: self.begun, user, at, until, told: told.clone() });
        self.places.insert(self.begun, conversation);
        Some(Some((until, self.begun)))
    }

    fn end(&mut self, conversation: ConversationId, user: UserId, at: Option<SessionRef>) -> Option<Typist> {
        let is_it = |typist: &Typist| typist.user == user && at.is_none_or(|at| at == typist.at);
        let number = self.conversations.get(&conversation)?.iter().find(|typist| is_it(typist))?.number;
        self.take(number).map(|(_, typist)| typist)
    }

    fn on_deadline(&mut self, now: Tick, number: u64) -> Due {
        let Some(conversation) = self.places.get(&number) else { return Due::Gone };
        let typists = self.conversations.get(conversation);
        match typists.and_then(|typists| typists.iter().find(|typist| typist.number == number)) {
            Some(typist) if now < typist.until => Due::Later(typist.until),
            _ => self.take(number).map_or(Due::Gone, |(conversation, typist)| Due::Over(conversation, typist)),
        }
    }

    fn take(&mut self, number: u64) -> Option<(ConversationId, Typist)> {
        let conversation = self.places.remove(&number)?;
        let typists = self.conversations.get_mut(&conversation)?;
        let index = typists.iter().position(|typist| typist.number == number)?;
        let typist = typists.swap_remove(index);
        if typists.is_empty() {
            self.conversations.remove(&conversation);
        }
        Some((conversation, typist))
    }
}
