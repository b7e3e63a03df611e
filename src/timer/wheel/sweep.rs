//! Sweeping up what was cancelled, so that it takes no more memory than what waits.

use super::{Wheel, chain::Chain};
use std::cmp::Reverse;

/// How far it has come, and how much of it is paid for.
#[derive(Default)]
pub struct Sweep {
    at: Place,
    /// Entries that may be looked at; below 0, that were looked at on credit.
    paid: i64,
}

/// Where it goes on.
enum Place {
    /// At this slot of the levels, and after the last one at the first epoch beyond them.
    Slot(usize),
    Epoch(u32),
    Late,
}

impl Default for Place {
    fn default() -> Self {
        Self::Slot(0)
    }
}

/// Cancelled entries that are left alone: fewer than a few a slot are not worth a round.
const CANCELLED_MIN: usize = 1_024;

/// Entries that a cancel pays for while too many are cancelled. Where more than half of those looked at go, two would do; with
/// more a round is over before many others are cancelled.
const PAID_EACH: i64 = 8;

impl<T> Wheel<T> {
    /// Sweeps one slot at most, and none before enough was cancelled to make up for the last.
    pub(super) fn sweep_after_cancel(&mut self) {
        if self.cancelled <= self.len + CANCELLED_MIN {
            return;
        }
        // Nothing is saved up: where nothing was found, a later cancel looks again.
        self.sweep.paid = (self.sweep.paid + PAID_EACH).min(PAID_EACH);
        if self.sweep.paid > 0 {
            self.sweep.paid -= self.sweep_next() as i64;
        }
    }

    /// How many entries it looked at.
    fn sweep_next(&mut self) -> usize {
        match self.sweep.at {
            Place::Slot(from) => {
                let Some(slot) = self.levels.occupied_from(from) else {
                    self.sweep.at = Place::Epoch(0);
                    return 0;
                };
                self.sweep.at = Place::Slot(slot + 1);
                let chain = self.levels.take(slot);
                let (waiting, looked) = self.without_cancelled(chain);
                self.levels.put(slot, waiting);
                looked
            }
            Place::Epoch(from) => {
                let Some((&epoch, chain)) = self.far.range_mut(from..).next() else {
                    self.sweep.at = Place::Late;
                    return 0;
                };
                self.sweep.at = epoch.checked_add(1).map_or(Place::Late, Place::Epoch);
                let chain = std::mem::take(chain);
                let (waiting, looked) = self.without_cancelled(chain);
                if waiting.is_empty() {
                    self.far.remove(&epoch);
                } else {
                    self.far.insert(epoch, waiting);
                }
                looked
            }
            Place::Late => {
                self.sweep.at = Place::Slot(0);
                let (slab, looked) = (&mut self.slab, self.late.len());
                self.late.retain(|Reverse((.., index))| slab.is_waiting(*index) || slab.release(*index).is_some());
                self.cancelled -= looked - self.late.len();
                looked
            }
        }
    }

    /// What waits of a chain, in the same order, and how many entries there were.
    fn without_cancelled(&mut self, chain: Chain) -> (Chain, usize) {
        let (mut chain, mut waiting, mut looked) = (chain.in_order(), Chain::default(), 0);
        while let Some(block) = chain.pop() {
            looked += block.entries().len();
            let bits = self.slab.waiting(block.entries());
            for (at, entry) in block.entries().iter().enumerate() {
                if bits & 1 << at != 0 {
                    waiting.push(*entry, &mut self.spares);
                } else {
                    self.slab.release(entry.index);
                    self.cancelled -= 1;
                }
            }
            self.spares.put(block);
        }
        (waiting, looked)
    }
}
