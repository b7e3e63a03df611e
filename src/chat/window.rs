//! The newest entries of a conversation, by the id that their senders gave them.

use super::{Accepted, LogEntry, Position};
use foldhash::{HashMap, HashMapExt};
use godwit_proto::{ClientMsgId, Seq, UserId};
use std::collections::VecDeque;

/// Remembers the newest entries, so that a repeated send is recognised without asking the store: a fixed number of them,
/// and beyond that those that are not durable, which the store could not find yet.
///
/// The entries are dense: the n-th of the queue has the n-th seq.
#[derive(Debug)]
pub(super) struct DedupeWindow {
    entries: VecDeque<Seen>,
    by_id: HashMap<(UserId, ClientMsgId), Seq>,
    first: Seq,
    entries_max: usize,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    sender: UserId,
    client_msg_id: ClientMsgId,
    ordinal: u64,
    sent_ms: u64,
}

impl DedupeWindow {
    /// A window over the end of a log, given that end in ascending order; `last` is the seq of the newest entry.
    pub fn new(tail: &[LogEntry], last: Seq, entries_max: usize) -> Self {
        assert!(entries_max > 0, "a window of nothing recognises nothing");
        let first = tail.first().map_or(last.next(), |entry| entry.seq);
        let mut window = Self { entries: VecDeque::new(), by_id: HashMap::new(), first, entries_max };
        for entry in tail {
            window.push(entry);
        }
        window.forget(last);
        window
    }

    /// Adds the next entry.
    pub fn push(&mut self, entry: &LogEntry) {
        assert_eq!(entry.seq, self.next(), "entries are dense");
        let key = (entry.sender, entry.client_msg_id);
        self.by_id.insert(key, entry.seq);
        self.entries.push_back(Seen {
            sender: entry.sender,
            client_msg_id: entry.client_msg_id,
            ordinal: entry.ordinal,
            sent_ms: entry.sent_ms,
        });
    }

    /// Forgets the oldest entries when there are too many, as far as they are durable.
    pub fn forget(&mut self, durable: Seq) {
        while self.entries.len() > self.entries_max
            && self.first <= durable
            && let Some(oldest) = self.entries.pop_front()
        {
            self.by_id.remove(&(oldest.sender, oldest.client_msg_id));
            self.first = self.first.next();
        }
    }

    /// What was accepted under this id, if it is among the newest.
    pub fn find(&self, sender: UserId, client_msg_id: ClientMsgId) -> Option<Accepted> {
        let seq = *self.by_id.get(&(sender, client_msg_id))?;
        let seen = self.seen(seq)?;
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
