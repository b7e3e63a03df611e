//! The newest entries of a conversation, by the id that their senders gave them.

use super::{Accepted, LogEntry, Position};
use godwit_proto::{ClientMsgId, Seq, UserId};
use std::collections::VecDeque;

/// Remembers the newest entries, so that a repeated send is recognised without asking the store: a fixed number of them,
/// and beyond that those that are not durable, which the store could not find yet.
///
/// The entries are dense: the n-th of each queue has the n-th seq. There is no index: looking through the ids, which lie side
/// by side, costs less than keeping one, which every message would change twice at places that no cache has.
#[derive(Debug)]
pub(super) struct DedupeWindow {
    ids: VecDeque<ClientMsgId>,
    entries: VecDeque<Seen>,
    first: Seq,
    entries_max: usize,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    sender: UserId,
    ordinal: u64,
    sent_ms: u64,
}

impl DedupeWindow {
    /// A window over the end of a log, given that end in ascending order; `last` is the seq of the newest entry.
    pub fn new(tail: &[LogEntry], last: Seq, entries_max: usize) -> Self {
        assert!(entries_max > 0, "a window of nothing recognises nothing");
        let first = tail.first().map_or(last.next(), |entry| entry.seq);
        let mut window = Self { ids: VecDeque::new(), entries: VecDeque::new(), first, entries_max };
        for entry in tail {
            window.push(entry);
        }
        window.forget(last);
        window
    }

    /// Adds the next entry.
    pub fn push(&mut self, entry: &LogEntry) {
        assert_eq!(entry.seq, self.next(), "entries are dense");
        self.ids.push_back(entry.client_msg_id);
        self.entries.push_back(Seen { sender: entry.sender, ordinal: entry.ordinal, sent_ms: entry.sent_ms });
    }

    /// Forgets the oldest entries when there are too many, as far as they are durable.
    pub fn forget(&mut self, durable: Seq) {
        while self.entries.len() > self.entries_max && self.first <= durable {
            self.ids.pop_front();
            self.entries.pop_front();
            self.first = self.first.next();
        }
    }

    /// What was accepted under this id, if it is among the newest.
    pub fn find(&self, sender: UserId, client_msg_id: ClientMsgId) -> Option<Accepted> {
        // Newest first: a client most often asks about what it sent last.
        let same = |(index, id): &(usize, &ClientMsgId)| **id == client_msg_id && self.entries[*index].sender == sender;
        let (index, _) = self.ids.iter().enumerate().rev().find(same)?;
        let (seq, seen) = (Seq(self.first.as_u64() + index as u64), self.entries[index]);
        Some(Accepted { position: Position { seq, ordinal: seen.ordinal }, sent_ms: seen.sent_ms })
    }

    /// The ordinal of an entry, if it is among the newest.
    pub fn ordinal(&self, seq: Seq) -> Option<u64> {
        self.seen(seq).map(|seen| seen.ordinal)
    }

    /// Whether the whole log is in the window, so that what is not found was never sent.
    pub fn is_complete(&self) -> bool {
        self.first <= Seq::FIRST
    }

    fn next(&self) -> Seq {
        Seq(self.first.as_u64() + self.entries.len() as u64)
    }

    fn seen(&self, seq: Seq) -> Option<&Seen> {
        let index = seq.as_u64().checked_sub(self.first.as_u64())?;
        self.entries.get(usize::try_from(index).ok()?)
    }
}
