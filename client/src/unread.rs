//! Unread messages of one conversation, derived from positions and never counted.

use crate::position::ReadPosition;
use godwit_proto::{
    Seq, UserId,
    v1::{ConversationSummary, Entry, entry::Content},
};
use std::collections::BTreeMap;

/// How far one user has read one conversation, and how much there is.
///
/// The position is the furthest of: read on any device, own last message sent by hand, joined. Everything unread-worthy
/// after it is unread, except what a schedule sent for the user, what has disappeared, and what was not delivered to the
/// user in time. Feed it a [`ConversationSummary`], every entry, and every read position; the order and repetitions do not
/// matter.
///
/// Two cases need entries from before the summary. The user read on another device, but only a part of what the summary
/// counted: until they are fed, the exceptions in the other part count as unread. And a message disappears that the summary
/// excepted for another reason: until its own entry is fed, it is excepted twice. The first case arises too where thousands
/// of messages disappeared unread, which are then kept as a summary would tell of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    position: ReadPosition,
    last_seq: Seq,
    last_ordinal: u64,
    /// The exceptions after the position, of which an entry told, by message.
    excepted: BTreeMap<Seq, Excepted>,
    /// With so many of them, those that have disappeared become told ones.
    fold_at: usize,
    told: Told,
}

/// Why a message is not unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Excepted {
    /// The first entry that is known to say so; [`Seq::ZERO`] while only the marker in its place is known, which does not say
    /// since when it stands there.
    since: Seq,
    /// An entry said that it has disappeared: the last that is heard of it.
    is_over: bool,
}

/// Exceptions that are kept one by one, as long as nothing else can become of them.
const EXCEPTED_MAX: usize = 4096;

/// What a summary said about exceptions, or would have said. The furthest one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Told {
    /// They are after this one,
    read_seq: Seq,
    /// and no entry after this one says so.
    last_seq: Seq,
    count: u64,
}

impl Unread {
    /// Nothing known yet.
    pub fn new(me: UserId) -> Self {
        Self {
            position: ReadPosition::new(me),
            last_seq: Seq::ZERO,
            last_ordinal: 0,
            excepted: BTreeMap::new(),
            fold_at: EXCEPTED_MAX,
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
        let seq = Seq(entry.seq);
        self.on_last(seq, entry.ordinal);
        if self.position.on_entry(entry) {
            self.forget_read();
        }
        let (me, is_own) = (self.position.me(), entry.sender_id == self.position.me());
        match &entry.content {
            Some(Content::Message(message)) if message.scheduled && is_own => self.except(seq, seq, false),
            Some(Content::Withdrawn(withdrawn)) if withdrawn.scheduled && is_own => self.except(seq, seq, false),
            Some(Content::Withdrawn(_)) => self.except(seq, Seq::ZERO, false),
            Some(Content::Expired(expired)) => expired.seqs.iter().for_each(|&gone| self.except(Seq(gone), seq, true)),
            Some(Content::Undelivered(missed)) if missed.member_ids.contains(&me) => {
                self.except(Seq(missed.seq), seq, false);
            }
            Some(_) | None => {}
        }
        if self.excepted.len() >= self.fold_at {
            self.fold();
        }
    }

    /// The user read up to `seq`, here or on another device. Returns whether that moved the position.
    pub fn on_read(&mut self, seq: Seq, ordinal: u64) -> bool {
        let moved = self.position.on_read(seq, ordinal);
        if moved {
            self.forget_read();
        }
        moved
    }

    /// How many messages are unread.
    pub fn count(&self) -> u64 {
        let fed = self.excepted.len() as u64;
        let after_position = self.last_ordinal.saturating_sub(self.position.ordinal());
        after_position.saturating_sub(fed).saturating_sub(self.excepted_unfed())
    }

    /// The position that unread counts from.
    pub fn read_seq(&self) -> Seq {
        self.position.seq()
    }

    /// The newest seq heard of.
    pub fn last_seq(&self) -> Seq {
        self.last_seq
    }

    /// Exceptions after the position that only a summary told of.
    fn excepted_unfed(&self) -> u64 {
        if self.told.read_seq != self.position.seq() || self.told.count == 0 {
            return 0;
        }
        let upto = self.told.last_seq;
        let fed = self.excepted.range(..=upto).filter(|(_, one)| one.since <= upto).count() as u64;
        self.told.count.saturating_sub(fed)
    }

    /// A message is not unread, as the entry `since` says.
    fn except(&mut self, seq: Seq, since: Seq, is_over: bool) {
        if seq <= self.position.seq() {
            return;
        }
        let known = self.excepted.entry(seq).or_insert(Excepted { since, is_over });
        known.is_over |= is_over;
        known.since = match (known.since, since) {
            (Seq::ZERO, since) => since,
            (known, Seq::ZERO) => known,
            (known, since) => known.min(since),
        };
    }

    /// Keeps of those that are over only how many there are, as a summary of this moment would tell it: a peer must not fill
    /// the memory of somebody who does not read.
    fn fold(&mut self) {
        let count = self.excepted.len() as u64 + self.excepted_unfed();
        let told = Told { read_seq: self.position.seq(), last_seq: self.last_seq, count };
        self.told = self.told.max(told);
        self.excepted.retain(|_, one| !one.is_over);
        // Those that stay are few, or were looked up one by one; they are not to be gone through every time.
        self.fold_at = self.excepted.len() + EXCEPTED_MAX;
    }

    fn forget_read(&mut self) {
        let next = Seq(self.position.seq().as_u64().saturating_add(1));
        self.excepted = self.excepted.split_off(&next);
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
