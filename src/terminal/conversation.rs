//! One conversation, as the screen knows it.

use super::{
    expiry::Gone,
    input_line::InputLine,
    people::People,
    timeline::{Item, ItemContent, Timeline},
    wording,
};
use godwit_client::{
    ClientMsgId, ConversationId, ConversationKind, Expiry, Unread, UserId,
    v1::{ConversationSummary, Direction, Entry, HistoryResponse, entry::Content},
};
use std::collections::VecDeque;

/// The most messages of one conversation that failed and are still shown.
pub const FAILED_MAX: usize = 20;

/// The most characters of the newest message that are kept for the list.
const SNIPPET_CHARS_MAX: usize = 120;

/// One row of the list, and what is shown when it is selected.
#[derive(Debug)]
pub struct Conversation {
    /// Which.
    pub id: ConversationId,
    me: UserId,
    /// The title of a group, once it is known.
    pub title: Option<String>,
    /// How much is unread.
    pub unread: Unread,
    /// Positions and title are known. Not so for a conversation that an entry made known which is not its first.
    pub is_described: bool,
    /// When something happened last: Unix time in milliseconds.
    pub active_ms: u64,
    /// What happened last.
    pub snippet: Option<Snippet>,
    /// How messages disappear that say nothing else, once it is described.
    pub expiry: Expiry,
    /// The entries in memory.
    pub timeline: Timeline,
    /// Own messages that are not in the log yet, in order.
    pub outgoing: VecDeque<Outgoing>,
    /// The last line on the screen.
    pub anchor: Anchor,
    /// Entries of others after this seq were new when the conversation was opened.
    pub new_after: Option<u64>,
    /// What was typed before another conversation was selected.
    pub draft: InputLine,
}

/// The newest entry, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snippet {
    /// Its place.
    pub seq: u64,
    /// Who wrote it.
    pub sender_id: u64,
    /// One line.
    pub text: String,
    /// When it disappears, by the server's clock; 0: not at a known time.
    pub expires_ms: u64,
}

/// An own message on its way into the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Its id.
    pub client_msg_id: ClientMsgId,
    /// Safe to show.
    pub text: String,
    /// When it was typed: Unix time in milliseconds.
    pub typed_ms: u64,
    /// How far it is.
    pub state: OutgoingState,
}

/// How far an own message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutgoingState {
    /// Not durable yet.
    Pending,
    /// Durable; its entry has not arrived yet.
    Sent,
    /// Refused for good, and why.
    Failed(String),
}

/// Which line is the last on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// The newest; new ones push it up.
    End,
    /// A line of this entry: that many lines of the same entry are below the screen's edge. Counted from the entry's end,
    /// because what is fetched later can add lines at its beginning.
    At {
        /// The entry's seq.
        seq: u64,
        /// Lines below.
        below: usize,
    },
}

impl Conversation {
    /// Nothing known but the id.
    pub fn new(id: ConversationId, me: UserId) -> Self {
        Self {
            id,
            me,
            title: None,
            unread: Unread::new(me),
            is_described: false,
            active_ms: 0,
            snippet: None,
            expiry: Expiry::Never,
            timeline: Timeline::new(),
            outgoing: VecDeque::new(),
            anchor: Anchor::End,
            new_after: None,
            draft: InputLine::default(),
        }
    }

    /// What it is called: the peer's name, or the group's title after a `#`. Usernames hold no `#`.
    pub fn name(&self, me: UserId, people: &People) -> String {
        match (self.id.peer_of(me), &self.title) {
            (Some(peer), _) => people.full_name(peer.as_u64()),
            (None, Some(title)) => format!("#{title}"),
            (None, None) => "#…".to_owned(),
        }
    }

    /// A group, as opposed to a direct conversation.
    pub fn is_group(&self) -> bool {
        self.id.kind() == ConversationKind::Group
    }

    /// How many messages are unread; `None` while that is not known.
    pub fn unread_count(&self) -> Option<u64> {
        self.is_described.then(|| self.unread.count())
    }

    /// The server's view.
    pub fn on_summary(&mut self, summary: &ConversationSummary) {
        self.is_described = true;
        self.unread.on_summary(summary);
        self.expiry = summary.expiry.unwrap_or_default().into();
        self.timeline.on_bounds(summary.first_seq, summary.last_seq);
        if self.is_group() {
            self.title = Some(super::sanitize::line(&summary.title));
        }
        // What was newer may be gone.
        let is_news = |last: &&Entry| last.sent_ms >= self.active_ms || self.snippet.is_none();
        if let Some(last) = summary.last_entry.as_ref().filter(is_news) {
            self.notice(&Item::new(last));
        }
    }

    /// The next entry. Returns whether the newest message is gone, and nothing is known that could stand for it in the list.
    pub fn on_entry(&mut self, entry: &Entry) -> bool {
        self.unread.on_entry(entry);
        if entry.seq == 1 {
            self.is_described = true;
        }
        if let Some(Content::GroupCreated(created)) = &entry.content {
            self.title = Some(super::sanitize::line(&created.title));
        }
        let item = Item::new(entry);
        self.outgoing.retain(|own| Some(own.client_msg_id) != item.client_msg_id);
        self.notice(&item);
        if let ItemContent::ExpiryChanged(expiry) = item.content {
            self.expiry = expiry;
        }
        let had_snippet = self.snippet.is_some();
        self.withdraw_named(&item.content);
        self.timeline.on_entry(item);
        had_snippet && self.snippet.is_none()
    }

    /// A page that was asked for. It may be older than what entries have told since.
    pub fn on_page(&mut self, direction: Direction, page: &HistoryResponse) {
        page.entries.iter().for_each(|entry| self.unread.on_entry(entry));
        self.timeline.on_page(direction, page);
        let is_note = |item: &&Item| matches!(item.content, ItemContent::Expired(_) | ItemContent::Undelivered { .. });
        let notes: Vec<ItemContent> = self.timeline.items().filter(is_note).map(|item| item.content.clone()).collect();
        notes.iter().for_each(|note| self.withdraw_named(note));
    }

    /// Whether there is a line on the screen for an entry.
    pub fn shows(&self, item: &Item) -> bool {
        match item.content {
            ItemContent::Expired(_) => false,
            ItemContent::Undelivered { .. } => item.sender_id == self.me.as_u64(),
            _ => true,
        }
    }

    /// What became of an own message.
    pub fn on_sent(&mut self, id: ClientMsgId, state: OutgoingState) {
        if let Some(own) = self.outgoing.iter_mut().find(|own| own.client_msg_id == id) {
            own.state = state;
        }
        let failed = |own: &Outgoing| matches!(own.state, OutgoingState::Failed(_));
        while self.outgoing.iter().filter(|own| failed(own)).count() > FAILED_MAX {
            if let Some(oldest) = self.outgoing.iter().position(failed) {
                self.outgoing.remove(oldest);
            }
        }
    }

    /// Own messages that are not durable yet.
    pub fn pending(&self) -> usize {
        self.outgoing.iter().filter(|own| own.state == OutgoingState::Pending).count()
    }

    /// Drops the messages that an entry says are gone.
    fn withdraw_named(&mut self, note: &ItemContent) {
        let (seqs, gone) = match note {
            ItemContent::Expired(seqs) => (seqs.as_slice(), Gone::Expired),
            ItemContent::Undelivered { seq, members } if members.contains(&self.me.as_u64()) => {
                (std::slice::from_ref(seq), Gone::Missed)
            }
            _ => return,
        };
        seqs.iter().for_each(|&seq| self.timeline.withdraw(seq, gone));
        if self.snippet.as_ref().is_some_and(|snippet| seqs.contains(&snippet.seq)) {
            self.snippet = self.timeline.items().rev().find_map(snippet_of);
        }
    }

    fn notice(&mut self, item: &Item) {
        // Nothing happened that there is something to show of.
        if matches!(item.content, ItemContent::Gone(_) | ItemContent::Expired(_) | ItemContent::Undelivered { .. }) {
            return;
        }
        self.active_ms = self.active_ms.max(item.sent_ms);
        if let Some(snippet) = snippet_of(item) {
            self.snippet = Some(snippet);
        }
    }
}

/// An entry in short, if there is something to show of it.
fn snippet_of(item: &Item) -> Option<Snippet> {
    let text = match &item.content {
        ItemContent::Text(text) => text.chars().take(SNIPPET_CHARS_MAX).collect::<String>().replace('\n', " "),
        ItemContent::Unknown | ItemContent::Gone(_) | ItemContent::Expired(_) | ItemContent::Undelivered { .. } => {
            return None;
        }
        change => wording::change_in_short(change, item.sender_id).to_owned(),
    };
    Some(Snippet { seq: item.seq, sender_id: item.sender_id, text, expires_ms: item.expires_ms })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;
    use godwit_client::v1::{GroupCreated, Message};

    fn conversation() -> Conversation {
        Conversation::new(ConversationId::group([0; 16]), UserId::new(1).unwrap())
    }

    fn own(number: u8) -> Outgoing {
        let state = OutgoingState::Pending;
        Outgoing { client_msg_id: ClientMsgId([number; 16]), text: "x".into(), typed_ms: 0, state }
    }

    #[test]
    fn an_own_message_is_shown_as_pending_until_its_entry_arrives() {
        let mut conversation = conversation();
        conversation.outgoing.push_back(own(7));
        conversation.on_sent(ClientMsgId([7; 16]), OutgoingState::Sent);
        assert_eq!((conversation.outgoing.len(), conversation.pending()), (1, 0));
        conversation.on_entry(&Entry { seq: 1, client_msg_id: vec![7; 16].into(), ..Entry::default() });
        assert!(conversation.outgoing.is_empty());
    }

    #[test]
    fn failed_messages_do_not_pile_up() {
        let mut conversation = conversation();
        (0..=FAILED_MAX as u8).for_each(|number| conversation.outgoing.push_back(own(number)));
        for number in 0..=FAILED_MAX as u8 {
            conversation.on_sent(ClientMsgId([number; 16]), OutgoingState::Failed("no".into()));
        }
        assert_eq!(conversation.outgoing.len(), FAILED_MAX);
        assert_eq!(conversation.outgoing[0].client_msg_id, ClientMsgId([1; 16]));
    }

    #[test]
    fn a_new_group_knows_its_title_from_its_first_entry() {
        let mut conversation = conversation();
        let content = Some(Content::GroupCreated(GroupCreated { title: "a\u{1b}b".into(), member_ids: vec![1] }));
        conversation.on_entry(&Entry { seq: 1, sender_id: 2, content, ..Entry::default() });
        assert_eq!(conversation.name(UserId::new(1).unwrap(), &People::default()), "#a␛b");
        assert_eq!(conversation.unread_count(), Some(0));
    }

    #[test]
    fn unread_is_not_guessed_before_the_position_is_known() {
        let mut conversation = conversation();
        let content = Some(Content::Message(Message::default()));
        conversation.on_entry(&Entry { seq: 500, ordinal: 500, sender_id: 2, content, ..Entry::default() });
        assert_eq!(conversation.unread_count(), None);
        let summary = ConversationSummary {
            last_seq: 500,
            last_ordinal: 500,
            read_seq: 498,
            read_ordinal: 498,
            unread: 2,
            ..Default::default()
        };
        conversation.on_summary(&summary);
        assert_eq!(conversation.unread_count(), Some(2));
    }
}
