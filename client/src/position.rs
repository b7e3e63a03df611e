//! How far one user has read one conversation.

use godwit_proto::{
    Seq, UserId,
    v1::{Entry, entry::Content},
};

/// The furthest of: read on any device, own last message sent by hand, joined. The order in which it hears of them does not
/// matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReadPosition {
    me: UserId,
    seq: Seq,
    ordinal: u64,
}

impl ReadPosition {
    /// Nothing was read yet.
    pub(crate) fn new(me: UserId) -> Self {
        Self { me, seq: Seq::ZERO, ordinal: 0 }
    }

    /// Whose it is.
    pub(crate) fn me(&self) -> u64 {
        self.me.as_u64()
    }

    /// The last entry that was read.
    pub(crate) fn seq(&self) -> Seq {
        self.seq
    }

    /// The unread-worthy entries up to and including it.
    pub(crate) fn ordinal(&self) -> u64 {
        self.ordinal
    }

    /// An entry of the conversation. Writing a message says that its author read what is before it, and goes on saying so
    /// after the message was withdrawn; scheduling one or changing the members of a group does not. Returns whether that
    /// moved the position.
    pub(crate) fn on_entry(&mut self, entry: &Entry) -> bool {
        let me = self.me();
        let moves = match &entry.content {
            Some(Content::Message(message)) => entry.sender_id == me && !message.scheduled,
            Some(Content::Withdrawn(withdrawn)) => entry.sender_id == me && !withdrawn.scheduled,
            Some(Content::GroupCreated(created)) => entry.sender_id == me || created.member_ids.contains(&me),
            Some(Content::MembersAdded(added)) => added.member_ids.contains(&me),
            Some(_) | None => false,
        };
        moves && self.on_read(Seq(entry.seq), entry.ordinal)
    }

    /// The user read up to `seq`, here or on another device. Returns whether that moved the position.
    pub(crate) fn on_read(&mut self, seq: Seq, ordinal: u64) -> bool {
        let moved = seq > self.seq;
        if moved {
            (self.seq, self.ordinal) = (seq, ordinal);
        }
        moved
    }
}
