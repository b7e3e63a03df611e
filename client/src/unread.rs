//! Unread messages of one conversation, derived from positions and never counted.

use godwit_proto::{
    Seq, UserId,
    v1::{ConversationSummary, Entry, entry::Content},
};
use std::collections::BTreeSet;

/// How far one user has read one conversation, and how much there is.
///
/// The position is the furthest of: read on any device, own last message sent by hand, joined. Everything unread-worthy
/// after it is unread, except what a schedule sent for the user: that is neither unread for its author nor a sign that they
/// read what is before it. Feed it a [`ConversationSummary`], every entry, and every read position; the order and
/// repetitions do not matter.
///
/// One case needs entries from before the summary: the user read on another device, but only a part of what the summary
/// counted. Until they are fed, own scheduled messages in the other part count as unread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    me: UserId,
    last_seq: Seq,
    last_ordinal: u64,
    read_seq: Seq,
    read_ordinal: u64,
    /// Own scheduled messages after the position, of those entries that were fed. The server lets there be 256 at most.
    scheduled: BTreeSet<Seq>,
    told: Told,
}

/// What a summary said about own scheduled messages. The furthest one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Told {
    /// They are after this one,
    read_seq: Seq,
    /// and not after this one.
    last_seq: Seq,
    count: u64,
}

impl Unread {
    /// Nothing known yet.
    pub fn new(me: UserId) -> Self {
        Self {
            me,
            last_seq: Seq::ZERO,
            last_ordinal: 0,
            read_seq: Seq::ZERO,
            read_ordinal: 0,
            scheduled: BTreeSet::new(),
            told: Told { read_seq: Seq::ZERO, last_seq: Seq::ZERO, count: 0 },
        }
    }

    /// The server's view of the conversation.
    pub fn on_summary(&mut self, summary: &ConversationSummary) {
        let (read_seq, last_seq) = (Seq(summary.read_seq), Seq(summary.last_seq));
        let count = summary.last_ordinal.saturating_sub(summary.read_ordinal).saturating_sub(summary.unread);
        self.on_last(last_seq, summary.last_ordinal);
        self.on_read(read_seq, summary.read_ordinal);
        self.told = self.told.max(Told { read_seq, last_seq, count });
    }

    /// An entry of the conversation. Writing a message says that its author read what is before it; scheduling one or
    /// changing the members of a group does not.
    pub fn on_entry(&mut self, entry: &Entry) {
        self.on_last(Seq(entry.seq), entry.ordinal);
        let me = self.me.as_u64();
        let moves = match &entry.content {
            Some(Content::Message(message)) if message.scheduled => {
                if entry.sender_id == me && Seq(entry.seq) > self.read_seq {
                    self.scheduled.insert(Seq(entry.seq));
                }
                false
            }
            Some(Content::Message(_)) => entry.sender_id == me,
            Some(Content::GroupCreated(created)) => entry.sender_id == me || created.member_ids.contains(&me),
            Some(Content::MembersAdded(added)) => added.member_ids.contains(&me),
            Some(_) | None => false,
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
            self.scheduled.retain(|&own| own > seq);
        }
        moved
    }

    /// How many messages are unread.
    pub fn count(&self) -> u64 {
        let fed = self.scheduled.len() as u64;
        let after_position = self.last_ordinal.saturating_sub(self.read_ordinal);
        after_position.saturating_sub(fed).saturating_sub(self.scheduled_unfed())
    }

    /// The position that unread counts from.
    pub fn read_seq(&self) -> Seq {
        self.read_seq
    }

    /// The newest seq heard of.
    pub fn last_seq(&self) -> Seq {
        self.last_seq
    }

    /// Own scheduled messages after the position that only a summary told of.
    fn scheduled_unfed(&self) -> u64 {
        if self.told.read_seq != self.read_seq {
            return 0;
        }
        let fed = self.scheduled.range(..=self.told.last_seq).count() as u64;
        self.told.count.saturating_sub(fed)
    }

    fn on_last(&mut self, seq: Seq, ordinal: u64) {
        if seq > self.last_seq {
            (self.last_seq, self.last_ordinal) = (seq, ordinal);
        }
    }
}

#[cfg(test)]
#[path = "unread_tests.rs"]
mod tests;
