//! A hashed, hierarchical timing wheel (G. Varghese, T. Lauck: *Hashed and Hierarchical Timing Wheels*, SOSP 1987). Pure: no
//! clock, no runtime, the standard library alone.

mod chain;
mod levels;
mod slab;
mod sweep;
#[cfg(test)]
mod tests;

pub use slab::TimerHandle;

use super::Tick;
use chain::{Chain, Entry, Spares};
use levels::{Levels, Occupied, epoch};
use slab::Slab;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};
use sweep::Sweep;

/// What waits for its time, on one core.
///
/// An entry fires in the first [`advance`](Self::advance) to its deadline or later, to the millisecond however far ahead it
/// was inserted, and never before. Entries fire in the order of their deadlines, and in that of their insertion where those are
/// equal. Where many wait an entry costs 17 bytes beside its payload, 8 of them in a slot; a slot with a few takes 256. Each
/// moves at most three times on its way from a slot of hours to one of a millisecond, and once more if it came from beyond 49
/// days.
///
/// Cancelling leaves the entry in its slot, without its payload. From 1,024 on, such remains never outnumber what waits by
/// much: cancelling sweeps them up then, a slot at a time. After a burst memory is given back little by little as time passes,
/// down to what the last ten seconds needed. Nothing is allocated as long as memory that was used before is enough.
pub struct Wheel<T> {
    /// The latest time that it was told.
    now: Tick,
    /// How far entries have fired: all before this have, and none after. Behind `now` only where a limit stopped it.
    present: u64,
    slab: Slab<T>,
    levels: Levels,
    /// What is beyond the present epoch, by epoch.
    far: BTreeMap<u32, Chain>,
    /// What was inserted when its deadline lay before the present: deadline, number, index.
    late: BinaryHeap<Reverse<(u64, u64, u32)>>,
    /// Of the next late entry.
    late_number: u64,
    /// What is left of a slot of the present, in order; of the first block `due_fired` entries have fired.
    due: Chain,
    due_fired: usize,
    spares: Spares,
    len: usize,
    /// Entries in slots that were cancelled.
    cancelled: usize,
    sweep: Sweep,
    /// When memory is looked at next.
    give_back_at: Tick,
}

/// How often memory is looked at that nobody needs.
const GIVE_BACK_EVERY_MS: u64 = 10_000;

/// Late entries that there is room for, however few there were.
const LATE_KEPT: usize = 64;

impl<T> Wheel<T> {
    /// Without entries. Takes 8 KB, and 16 KB with the first entry.
    pub fn new(now: Tick) -> Self {
        Self {
            now,
            present: now.0,
            slab: Slab::new(),
            levels: Levels::new(),
            far: BTreeMap::new(),
            late: BinaryHeap::new(),
            late_number: 0,
            due: Chain::default(),
            due_fired: 0,
            spares: Spares::default(),
            len: 0,
            cancelled: 0,
            sweep: Sweep::default(),
            give_back_at: Tick(now.0.saturating_add(GIVE_BACK_EVERY_MS)),
        }
    }

    /// Adds an entry that fires when its deadline has come: with the next [`advance`](Self::advance) if that is past.
    pub fn insert(&mut self, deadline: Tick, payload: T) -> TimerHandle {
        let handle = self.slab.insert(payload);
        self.len += 1;
        let entry = Entry { deadline_low: deadline.0 as u32, index: handle.index };
        if deadline.0 < self.present {
            self.late.push(Reverse((deadline.0, self.late_number, handle.index)));
            self.late_number += 1;
        } else if epoch(deadline.0) == epoch(self.present) {
            self.levels.insert(self.present, entry, &mut self.spares);
        } else {
            self.far.entry(epoch(deadline.0)).or_default().push(entry, &mut self.spares);
        }
        handle
    }

    /// Takes an entry out that has not fired. `None` if it has, or if it was cancelled before.
    pub fn cancel(&mut self, handle: TimerHandle) -> Option<T> {
        let payload = self.slab.cancel(handle)?;
        self.len -= 1;
        self.cancelled += 1;
        self.sweep_after_cancel();
        Some(payload)
    }

    /// Hands over what is due at `now`, with the deadline of each, in order, but no more than `limit`: how many it were. If
    /// those were not all, [`next_at`](Self::next_at) is not after `now`, and the next call goes on.
    ///
    /// A time before one that it was told earlier counts as that one. However far time jumps, only slots with entries are
    /// looked at. A call also moves what comes nearer, up to 20 ns an entry, which the limit does not count.
    pub fn advance(&mut self, now: Tick, limit: usize, fire: &mut impl FnMut(Tick, T)) -> usize {
        self.now = self.now.max(now);
        let mut left = limit;
        self.fire_late(&mut left, fire);
        loop {
            self.fire_present(&mut left, fire);
            if left == 0 || !self.go_on() {
                break;
            }
        }
        self.give_back();
        limit - left
    }

    /// When to call [`advance`](Self::advance) next: not after any deadline, and before the earliest where only the slot is
    /// known that it is in. Each call at that time comes nearer to it, a few times at most. `None` if nothing waits.
    pub fn next_at(&self) -> Option<Tick> {
        if self.len == 0 {
            return None;
        }
        if let Some(Reverse((deadline, ..))) = self.late.peek() {
            return Some(Tick(*deadline));
        }
        if !self.due.is_empty() || self.levels.has_present(self.present) {
            return Some(Tick(self.present));
        }
        self.next_start().map(Tick)
    }

    /// How many entries wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn fire_late(&mut self, left: &mut usize, fire: &mut impl FnMut(Tick, T)) {
        while *left > 0
            && let Some(Reverse((deadline, _, index))) = self.late.pop()
        {
            if let Some(payload) = self.slab.release(index) {
                *left -= 1;
                self.len -= 1;
                fire(Tick(deadline), payload);
            } else {
                self.cancelled -= 1;
            }
        }
    }

    /// All that is due at the present to the millisecond.
    fn fire_present(&mut self, left: &mut usize, fire: &mut impl FnMut(Tick, T)) {
        let present = Tick(self.present);
        while *left > 0 {
            let Some(block) = self.due.pop() else {
                if !self.levels.has_present(self.present) {
                    return;
                }
                self.due = self.levels.take_present(self.present).in_order();
                continue;
            };
            let rest = &block.entries()[self.due_fired..];
            let batch = &rest[..rest.len().min(*left)];
            let waiting = self.slab.waiting(batch).count_ones() as usize;
            *left -= waiting;
            self.len -= waiting;
            self.cancelled -= batch.len() - waiting;
            for entry in batch {
                if let Some(payload) = self.slab.release(entry.index) {
                    fire(present, payload);
                }
            }
            if batch.len() == rest.len() {
                self.due_fired = 0;
                self.spares.put(block);
            } else {
                self.due_fired += batch.len();
                self.due.put(block);
            }
        }
    }

    /// From a present at which nothing is left to the next slot that has entries, as far as there is one by now. Entries of a
    /// slot of more than a millisecond move to those that tell them apart.
    fn go_on(&mut self) -> bool {
        if let Some(Occupied { slot, start }) = self.levels.after(self.present) {
            if start <= self.now.0 {
                let chain = self.levels.take(slot);
                self.move_to(start, chain);
                return true;
            }
        } else if let Some(far) = self.far.first_entry()
            && epoch_start(*far.key()) <= self.now.0
        {
            let start = epoch_start(*far.key());
            let chain = far.remove();
            self.move_to(start, chain);
            return true;
        }
        self.present = self.now.0;
        false
    }

    fn move_to(&mut self, start: u64, chain: Chain) {
        self.present = start;
        let mut chain = chain.in_order();
        while let Some(block) = chain.pop() {
            for entry in block.entries() {
                self.levels.insert(start, *entry, &mut self.spares);
            }
            self.spares.put(block);
        }
    }

    /// Of the first slot or epoch after the present that has entries.
    fn next_start(&self) -> Option<u64> {
        let near = self.levels.after(self.present).map(|next| next.start);
        near.or_else(|| self.far.keys().next().map(|epoch| epoch_start(*epoch)))
    }

    fn give_back(&mut self) {
        // Not `&&`, which would have the second wait for the first.
        if self.now >= self.give_back_at && self.slab.give_back() & self.spares.give_back() {
            self.slab.forget_peak();
            self.spares.forget_peak();
            if self.late.is_empty() {
                self.late.shrink_to(LATE_KEPT);
            }
            self.give_back_at = Tick(self.now.0.saturating_add(GIVE_BACK_EVERY_MS));
        }
    }
}

fn epoch_start(epoch: u32) -> u64 {
    u64::from(epoch) << u32::BITS
}
