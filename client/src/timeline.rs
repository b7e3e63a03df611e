//! Puts the entries of one conversation in order, however they arrive.

use godwit_proto::{Seq, v1::Entry};
use std::collections::BTreeMap;

/// What of one conversation was handed over, and what arrived too early to be.
///
/// Entries come from pushes, from the acknowledgements of own messages and from pages of the log, in any order and more
/// than once. Each leaves exactly once, in order of seq. Nothing that was heard of is forgotten: what was dropped for lack
/// of room shows in [`missing`](Self::missing) until it arrives again.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    /// The seq to hand over next; `None` until it is known where the conversation begins for this user.
    next: Option<u64>,
    /// The newest seq that is known to exist.
    exists: u64,
    /// The smallest seq that was offered before the beginning was known.
    first_heard: Option<u64>,
    early: BTreeMap<u64, Early>,
}

#[derive(Debug)]
struct Early {
    entry: Entry,
    live: bool,
}

/// What became of an entry that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offered {
    /// It is the next one, and was handed over with those that had waited for it.
    InOrder,
    /// It waits for an earlier one.
    Early,
    /// It came too early and there was no room; the log has it.
    Dropped,
    /// It is here already.
    Repeated,
}

impl Timeline {
    /// A timeline whose next entry is `next`; `None` when that is to be found out.
    pub(crate) fn new(next: Option<Seq>) -> Self {
        Self { next: next.map(Seq::as_u64), ..Self::default() }
    }

    /// Takes an entry. `ready` is called for every entry whose turn has come, with whether it is live.
    pub(crate) fn offer(
        &mut self,
        entry: Entry,
        live: bool,
        room_for_early: bool,
        mut ready: impl FnMut(Entry, bool),
    ) -> Offered {
        let seq = entry.seq;
        self.exists = self.exists.max(seq);
        let Some(next) = self.next else {
            self.first_heard = Some(self.first_heard.map_or(seq, |first| first.min(seq)));
            return self.keep(entry, live, room_for_early);
        };
        if seq < next {
            return Offered::Repeated;
        }
        if seq > next {
            return self.keep(entry, live, room_for_early);
        }
        // A copy that waited is the same entry.
        self.early.remove(&seq);
        ready(entry, live);
        self.next = Some(next.saturating_add(1));
        self.release(ready);
        Offered::InOrder
    }

    /// The beginning, or a later one: what is before `seq` is not for this user. Never moves backwards.
    pub(crate) fn start_at(&mut self, seq: Seq, ready: impl FnMut(Entry, bool)) {
        let next = self.next.unwrap_or(0).max(seq.as_u64()).max(1);
        self.next = Some(next);
        self.early = self.early.split_off(&next);
        self.release(ready);
    }

    /// The log reaches at least up to `seq`.
    pub(crate) fn exists_up_to(&mut self, seq: Seq) {
        self.exists = self.exists.max(seq.as_u64());
    }

    /// The first stretch that exists and is not here, both ends included. `None` too while the beginning is unknown.
    pub(crate) fn missing(&self) -> Option<(Seq, Seq)> {
        let next = self.next.filter(|&next| next <= self.exists)?;
        let end = self.early.first_key_value().map_or(self.exists, |(&first, _)| first - 1);
        Some((Seq(next), Seq(end)))
    }

    /// Everything up to here was handed over; `None` while the beginning is unknown.
    pub(crate) fn position(&self) -> Option<Seq> {
        self.next.map(|next| Seq(next - 1))
    }

    /// The smallest seq that was offered before the beginning was known.
    pub(crate) fn first_heard(&self) -> Option<Seq> {
        self.first_heard.map(Seq)
    }

    /// The newest seq that is known to exist.
    pub(crate) fn newest(&self) -> Seq {
        Seq(self.exists)
    }

    /// Entries that wait for earlier ones.
    pub(crate) fn early_entries(&self) -> usize {
        self.early.len()
    }

    fn keep(&mut self, entry: Entry, live: bool, room: bool) -> Offered {
        if self.early.contains_key(&entry.seq) {
            return Offered::Repeated;
        }
        if !room {
            return Offered::Dropped;
        }
        self.early.insert(entry.seq, Early { entry, live });
        Offered::Early
    }

    fn release(&mut self, mut ready: impl FnMut(Entry, bool)) {
        while let Some(next) = self.next
            && let Some(Early { entry, live }) = self.early.remove(&next)
        {
            ready(entry, live);
            self.next = Some(next.saturating_add(1));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;
    use proptest::prelude::*;

    fn entry(seq: u64) -> Entry {
        Entry { seq, ..Entry::default() }
    }

    fn offer(timeline: &mut Timeline, seq: u64, room: bool) -> (Offered, Vec<u64>) {
        let mut out = Vec::new();
        let offered = timeline.offer(entry(seq), true, room, |entry, _| out.push(entry.seq));
        (offered, out)
    }

    #[test]
    fn an_early_entry_waits_for_the_one_before_it() {
        let mut timeline = Timeline::new(Some(Seq(1)));
        assert_eq!(offer(&mut timeline, 2, true), (Offered::Early, vec![]));
        assert_eq!(timeline.missing(), Some((Seq(1), Seq(1))));
        assert_eq!(offer(&mut timeline, 1, true), (Offered::InOrder, vec![1, 2]));
        assert_eq!((timeline.missing(), timeline.position()), (None, Some(Seq(2))));
    }

    #[test]
    fn an_entry_without_room_stays_missing_until_it_comes_again() {
        let mut timeline = Timeline::new(Some(Seq(1)));
        assert_eq!(offer(&mut timeline, 3, false), (Offered::Dropped, vec![]));
        assert_eq!(offer(&mut timeline, 1, false), (Offered::InOrder, vec![1]));
        assert_eq!(timeline.missing(), Some((Seq(2), Seq(3))));
    }

    #[test]
    fn nothing_leaves_before_the_beginning_is_known() {
        let mut timeline = Timeline::new(None);
        offer(&mut timeline, 6, true);
        offer(&mut timeline, 5, true);
        assert_eq!((timeline.position(), timeline.missing()), (None, None));
        assert_eq!(timeline.first_heard(), Some(Seq(5)));
        let mut out = Vec::new();
        timeline.start_at(Seq(5), |entry, _| out.push(entry.seq));
        assert_eq!(out, [5, 6]);
    }

    #[test]
    fn a_later_beginning_skips_what_is_before_it() {
        let mut timeline = Timeline::new(Some(Seq(3)));
        offer(&mut timeline, 5, true);
        offer(&mut timeline, 8, true);
        let mut out = Vec::new();
        timeline.start_at(Seq(8), |entry, _| out.push(entry.seq));
        assert_eq!((out, timeline.missing(), timeline.early_entries()), (vec![8], None, 0));
        timeline.start_at(Seq(2), |_, _| panic!("went back"));
        assert_eq!(timeline.position(), Some(Seq(8)));
    }

    proptest! {
        /// Pushes and acknowledgements in any order, doubled or lost, with any amount of room, and pages of the log for
        /// whatever is missing: every entry leaves once and in order.
        #[test]
        fn every_entry_leaves_once_and_in_order(
            count in 1u64..60,
            arrivals in prop::collection::vec((1u64..60, any::<bool>()), 0..200),
            room in 0usize..8,
            page in 1u64..10,
        ) {
            let mut timeline = Timeline::new(Some(Seq(1)));
            let mut out = Vec::new();
            for (seq, fetches) in arrivals {
                if seq <= count {
                    let has_room = timeline.early_entries() < room;
                    timeline.offer(entry(seq), true, has_room, |entry, _| out.push(entry.seq));
                }
                prop_assert!(timeline.early_entries() <= room);
                if fetches && let Some((from, to)) = timeline.missing() {
                    for seq in from.0..=to.0.min(from.0 + page - 1) {
                        timeline.offer(entry(seq), false, false, |entry, _| out.push(entry.seq));
                    }
                }
            }
            timeline.exists_up_to(Seq(count));
            while let Some((from, to)) = timeline.missing() {
                for seq in from.0..=to.0.min(from.0 + page - 1) {
                    timeline.offer(entry(seq), false, false, |entry, _| out.push(entry.seq));
                }
            }
            prop_assert_eq!(out, (1..=count).collect::<Vec<_>>());
            prop_assert_eq!(timeline.early_entries(), 0);
        }
    }
}
