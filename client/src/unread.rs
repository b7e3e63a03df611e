//! Unread messages of one conversation, derived from positions and never counted.

use godwit_proto::{
    Seq, UserId,
    v1::{ConversationSummary, Entry, entry::Content},
};

/// How far one user has read one conversation, and how much there is.
///
/// The position is the furthest of: read on any device, own last message, joined. Everything unread-worthy after it is
/// unread. Feed it a [`ConversationSummary`], every entry, and every read position; the order and repetitions do not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unread {
    me: UserId,
    last_seq: Seq,
    last_ordinal: u64,
    read_seq: Seq,
    read_ordinal: u64,
}

impl Unread {
    /// Nothing known yet.
    pub fn new(me: UserId) -> Self {
        Self { me, last_seq: Seq::ZERO, last_ordinal: 0, read_seq: Seq::ZERO, read_ordinal: 0 }
    }

    /// The server's view of the conversation.
    pub fn on_summary(&mut self, summary: &ConversationSummary) {
        self.on_last(Seq(summary.last_seq), summary.last_ordinal);
        self.on_read(Seq(summary.read_seq), summary.read_ordinal);
    }

    /// An entry of the conversation. Writing a message says that its author read what is before it; changing the
    /// members of a group does not.
    pub fn on_entry(&mut self, entry: &Entry) {
        self.on_last(Seq(entry.seq), entry.ordinal);
        let me = self.me.as_u64();
        let moves = match &entry.content {
            Some(Content::Message(_)) => entry.sender_id == me,
            Some(Content::GroupCreated(created)) => entry.sender_id == me || created.member_ids.contains(&me),
            Some(Content::MembersAdded(added)) => added.member_ids.contains(&me),
            Some(Content::MemberRemoved(_)) | None => false,
        };
        if moves {
            self.on_read(Seq(entry.seq), entry.ordinal);
        }
    }

    /// The user read up to `seq`, here or on another device. Returns whether that moved the position.
    pub fn on_read(&mut self, seq: Seq, ordinal: u64) -> bool {
        let moved = seq > self.read_seq;
        if moved {
            (self.read_seq, self.read_ordinal) = (seq, ordinal);
        }
        moved
    }

    /// How many messages are unread.
    pub fn count(&self) -> u64 {
        self.last_ordinal.saturating_sub(self.read_ordinal)
    }

    /// The position that unread counts from.
    pub fn read_seq(&self) -> Seq {
        self.read_seq
    }

    /// The newest seq heard of.
    pub fn last_seq(&self) -> Seq {
        self.last_seq
    }

    fn on_last(&mut self, seq: Seq, ordinal: u64) {
        if seq > self.last_seq {
            (self.last_seq, self.last_ordinal) = (seq, ordinal);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;
    use godwit_proto::v1::{MembersAdded, Message};

    const ME: u64 = 7;

    fn unread() -> Unread {
        Unread::new(UserId::new(ME).unwrap())
    }

    fn message(seq: u64, ordinal: u64, sender_id: u64) -> Entry {
        Entry { seq, ordinal, sender_id, content: Some(Content::Message(Message::default())), ..Entry::default() }
    }

    #[test]
    fn messages_of_others_are_unread_until_the_position_passes_them() {
        let mut unread = unread();
        (1..=3).for_each(|seq| unread.on_entry(&message(seq, seq, 9)));
        assert_eq!(unread.count(), 3);
        assert!(unread.on_read(Seq(2), 2));
        assert_eq!(unread.count(), 1);
        assert!(!unread.on_read(Seq(1), 1), "a position never moves back");
        assert_eq!(unread.count(), 1);
    }

    #[test]
    fn an_own_message_reads_what_is_before_it() {
        let mut unread = unread();
        unread.on_entry(&message(1, 1, 9));
        unread.on_entry(&message(2, 2, ME));
        assert_eq!(unread.count(), 0);
        unread.on_entry(&message(1, 1, 9));
        assert_eq!(unread.count(), 0, "an entry that comes again changes nothing");
    }

    #[test]
    fn what_was_said_before_joining_is_not_unread() {
        let mut unread = unread();
        let added = Content::MembersAdded(MembersAdded { member_ids: vec![ME] });
        unread.on_entry(&Entry { seq: 5, ordinal: 4, sender_id: 9, content: Some(added), ..Entry::default() });
        unread.on_entry(&message(6, 5, 9));
        assert_eq!(unread.count(), 1);
    }

    #[test]
    fn adding_a_member_reads_nothing() {
        let mut unread = unread();
        unread.on_entry(&message(1, 1, 9));
        let added = Content::MembersAdded(MembersAdded { member_ids: vec![11] });
        unread.on_entry(&Entry { seq: 2, ordinal: 1, sender_id: ME, content: Some(added), ..Entry::default() });
        assert_eq!(unread.count(), 1);
    }
}
