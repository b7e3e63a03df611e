//! The durable timers of one core: those that are due soon lie in its wheel, all others cost disk only.

use super::{Tick, Wheel};
use crate::store::{DueTimer, StoreError, TimerKey};
use std::ops::Range;

/// How far ahead timers are read into the wheel.
pub const HORIZON_MS: u64 = 60_000;
/// Timers that are read at a time.
pub const PAGE_TIMERS: usize = 4_096;
/// Timers in memory from which on no more are read, until some have fired. It takes more than a thousand a second to get there, or a
/// long time without a server.
pub const ARMED_MAX: usize = 65_536;
/// How long a store that did not answer is left alone.
const RETRY_MS: u64 = 500;
/// A wall clock that was set back by no more than this is waited for.
const STEP_BACK_MS_MAX: u64 = 1_000;

/// What is due soon among the durable timers of a core.
///
/// Time is the wall clock's, for that is what people schedule by: nothing fires before its time by that clock, and what a clock
/// that was set forward has passed over fires at once. A clock that was set back by much empties the wheel, which is then read
/// anew.
///
/// A timer may fire twice, or although it was removed or put off: only its row in the store says what is true, and whoever
/// handles a timer reads that first. It never fires early, and one that is in the store is not passed over.
pub struct DurableTimers {
    wheel: Wheel<TimerKey>,
    /// The latest time that it was told.
    now_ms: u64,
    /// All that is due before this is in the wheel, or will be once the stretch is read.
    covered_until_ms: u64,
    /// What is being read, or is to be read again.
    stretch: Option<Stretch>,
    /// Counts the wheels, so that a late answer for an earlier one is told.
    generation: u64,
}

struct Stretch {
    load: Load,
    state: StretchState,
}

enum StretchState {
    Wanted,
    Asked,
    RetryAt(u64),
}

/// What is to be asked of the store: timers of the core's vshards, [`PAGE_TIMERS`] at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    generation: u64,
    /// When they are due.
    pub due_ms: Range<u64>,
    /// The last one of the page before.
    pub after: Option<DueTimer>,
}

impl Default for DurableTimers {
    /// Without timers; everything is to be read.
    fn default() -> Self {
        Self { wheel: Wheel::new(Tick(0)), now_ms: 0, covered_until_ms: 0, stretch: None, generation: 0 }
    }
}

impl DurableTimers {
    /// Tells the time. What comes back is to be asked of the store, and answered with [`on_loaded`](Self::on_loaded).
    pub fn on_time(&mut self, now_ms: u64) -> Option<Load> {
        if now_ms.saturating_add(STEP_BACK_MS_MAX) < self.now_ms {
            *self = Self { now_ms, generation: self.generation + 1, ..Self::default() };
        }
        self.now_ms = self.now_ms.max(now_ms);
        if self.stretch.is_none() && self.covered_until_ms < self.now_ms + HORIZON_MS / 2 {
            let due_ms = self.covered_until_ms..self.now_ms + HORIZON_MS;
            // From now on, so that what is put while the store reads is not missed by both.
            self.covered_until_ms = due_ms.end;
            let load = Load { generation: self.generation, due_ms, after: None };
            self.stretch = Some(Stretch { load, state: StretchState::Wanted });
        }
        if self.load_at_ms().is_none_or(|at_ms| at_ms > self.now_ms) {
            return None;
        }
        let stretch = self.stretch.as_mut()?;
        stretch.state = StretchState::Asked;
        Some(stretch.load.clone())
    }

    /// The store's answer.
    pub fn on_loaded(&mut self, load: &Load, timers: Result<Vec<DueTimer>, StoreError>) {
        let Some(stretch) = self.stretch.as_mut().filter(|_| load.generation == self.generation) else { return };
        match timers {
            Err(_) => stretch.state = StretchState::RetryAt(self.now_ms + RETRY_MS),
            Ok(timers) => {
                match timers.last() {
                    Some(last) if timers.len() >= PAGE_TIMERS => {
                        stretch.load.after = Some(*last);
                        stretch.state = StretchState::Wanted;
                    }
                    _ => self.stretch = None,
                }
                for timer in timers {
                    self.wheel.insert(Tick(timer.due_ms), timer.key);
                }
            }
        }
    }

    /// A timer is in the store, due then. Call it after the store has answered.
    ///
    /// What is due later than was read is read later, so this is not for one that is to be looked at at another time than its row
    /// says: nobody would read that.
    pub fn arm(&mut self, timer: DueTimer) {
        if timer.due_ms < self.covered_until_ms {
            self.wheel.insert(Tick(timer.due_ms), timer.key);
        }
    }

    /// Looks at a timer again after a while, whenever it is due.
    pub fn arm_again(&mut self, key: TimerKey, after_ms: u64) {
        self.wheel.insert(Tick(self.now_ms + after_ms), key);
    }

    /// Takes out what is due by now, in order, but no more than `limit`.
    pub fn take_due(&mut self, now_ms: u64, limit: usize, due: &mut Vec<TimerKey>) {
        // The clock was set back by little: what is due is due by a time that has not come again yet.
        if now_ms >= self.now_ms {
            self.wheel.advance(Tick(now_ms), limit, &mut |_, key| due.push(key));
        }
    }

    /// When there will be something to do, at the latest. Not before the latest time that it was told.
    pub fn next_at_ms(&self) -> Option<u64> {
        let wheel = self.wheel.next_at().map(|tick| tick.0);
        wheel.into_iter().chain(self.load_at_ms()).min().map(|at_ms| at_ms.max(self.now_ms))
    }

    /// When the store is to be asked next.
    fn load_at_ms(&self) -> Option<u64> {
        let stretch = self.stretch.as_ref().filter(|_| self.wheel.len() < ARMED_MAX)?;
        match stretch.state {
            StretchState::Wanted => Some(self.now_ms),
            StretchState::Asked => None,
            StretchState::RetryAt(at_ms) => Some(at_ms),
        }
    }

    /// Timers in memory.
    pub fn len(&self) -> usize {
        self.wheel.len()
    }

    /// Whether none is in memory.
    pub fn is_empty(&self) -> bool {
        self.wheel.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::store::{TimerId, TimerKind, TimerOwner};
    use godwit_proto::UserId;

    const NOON_MS: u64 = 1_700_000_000_000;

    fn key(id: u8) -> TimerKey {
        let owner = TimerOwner::User(UserId::new(7).unwrap());
        TimerKey { kind: TimerKind::SCHEDULED_SEND, owner, id: TimerId([id; 16]) }
    }

    fn due_at(due_ms: u64, id: u8) -> DueTimer {
        DueTimer { due_ms, key: key(id) }
    }

    /// Timers whose store had `stored` when it was read first.
    fn loaded(stored: Vec<DueTimer>) -> DurableTimers {
        let mut timers = DurableTimers::default();
        let load = timers.on_time(NOON_MS).unwrap();
        assert_eq!((load.due_ms.clone(), load.after), (0..NOON_MS + HORIZON_MS, None));
        timers.on_loaded(&load, Ok(stored));
        timers
    }

    fn taken(timers: &mut DurableTimers, now_ms: u64) -> Vec<TimerKey> {
        let mut due = Vec::new();
        timers.take_due(now_ms, usize::MAX, &mut due);
        due
    }

    #[test]
    fn what_is_due_fires_in_order_and_not_before() {
        let mut timers = loaded(vec![due_at(NOON_MS + 20, 2), due_at(NOON_MS + 10, 1), due_at(NOON_MS - 5_000, 0)]);
        assert_eq!(taken(&mut timers, NOON_MS), [key(0)]);
        assert_eq!(timers.next_at_ms(), Some(NOON_MS + 10));
        assert_eq!(taken(&mut timers, NOON_MS + 9), []);
        assert_eq!(taken(&mut timers, NOON_MS + 30), [key(1), key(2)]);
    }

    #[test]
    fn a_stretch_is_read_page_by_page_and_the_next_one_in_time() {
        let mut timers = DurableTimers::default();
        let load = timers.on_time(NOON_MS).unwrap();
        assert_eq!(timers.on_time(NOON_MS), None, "it was asked");
        let page: Vec<DueTimer> = (0..PAGE_TIMERS as u64).map(|index| due_at(NOON_MS + index, 1)).collect();
        let last = page.last().copied();
        timers.on_loaded(&load, Ok(page));
        let load = timers.on_time(NOON_MS).unwrap();
        assert_eq!(load.after, last);
        timers.on_loaded(&load, Ok(Vec::new()));
        assert_eq!((timers.on_time(NOON_MS + HORIZON_MS / 2), timers.len()), (None, PAGE_TIMERS));
        let later_ms = NOON_MS + HORIZON_MS / 2 + 1;
        assert_eq!(timers.on_time(later_ms).unwrap().due_ms, NOON_MS + HORIZON_MS..later_ms + HORIZON_MS);
    }

    #[test]
    fn no_more_is_read_than_fits_until_some_have_fired() {
        let mut timers = DurableTimers::default();
        let mut read = 0;
        while let Some(load) = timers.on_time(NOON_MS) {
            timers.on_loaded(&load, Ok((0..PAGE_TIMERS as u64).map(|index| due_at(NOON_MS + index, 1)).collect()));
            read += PAGE_TIMERS;
        }
        assert_eq!((read, timers.len()), (ARMED_MAX, ARMED_MAX));
        assert_eq!(timers.next_at_ms(), Some(NOON_MS), "the first one, which is due");
        timers.take_due(NOON_MS, 1, &mut Vec::new());
        assert!(timers.on_time(NOON_MS).is_some());
    }

    #[test]
    fn what_is_put_while_the_store_reads_is_in_the_wheel() {
        let mut timers = DurableTimers::default();
        let load = timers.on_time(NOON_MS).unwrap();
        timers.arm(due_at(NOON_MS + 1, 1));
        timers.arm(due_at(NOON_MS + HORIZON_MS, 2));
        timers.on_loaded(&load, Ok(Vec::new()));
        assert_eq!(timers.len(), 1, "what lies beyond is read later");
        assert_eq!(taken(&mut timers, NOON_MS + 1), [key(1)]);
    }

    #[test]
    fn a_store_that_fails_is_asked_again_for_the_same() {
        let mut timers = DurableTimers::default();
        let load = timers.on_time(NOON_MS).unwrap();
        timers.on_loaded(&load, Err(StoreError::Overloaded));
        assert_eq!(timers.on_time(NOON_MS + RETRY_MS - 1), None);
        assert_eq!(timers.next_at_ms(), Some(NOON_MS + RETRY_MS));
        assert_eq!(timers.on_time(NOON_MS + RETRY_MS), Some(load));
    }

    #[test]
    fn a_clock_that_was_set_back_fires_nothing_early() {
        let mut timers = loaded(vec![due_at(NOON_MS + 10, 1), due_at(NOON_MS + 500, 2)]);
        assert_eq!(taken(&mut timers, NOON_MS + 10), [key(1)]);
        // By little: it waits.
        timers.on_time(NOON_MS + 600);
        assert_eq!(taken(&mut timers, NOON_MS + 600), [key(2)]);
        timers.on_time(NOON_MS + 400);
        timers.arm(due_at(NOON_MS + 450, 3));
        assert_eq!(taken(&mut timers, NOON_MS + 440), [], "the wheel has been there, the clock has not");
        assert_eq!(timers.next_at_ms(), Some(NOON_MS + 600), "nothing is to be done before");
        assert_eq!(taken(&mut timers, NOON_MS + 600), [key(3)]);
        // By much: everything is read again.
        let load = timers.on_time(NOON_MS - 3_600_000).unwrap();
        assert_eq!(load.due_ms, 0..NOON_MS - 3_600_000 + HORIZON_MS);
        timers.arm(due_at(NOON_MS - 3_599_999, 4));
        assert_eq!(taken(&mut timers, NOON_MS - 3_600_000), []);
        assert_eq!(taken(&mut timers, NOON_MS - 3_599_999), [key(4)]);
    }

    #[test]
    fn the_answer_for_a_wheel_that_was_given_up_is_ignored() {
        let mut timers = DurableTimers::default();
        let old = timers.on_time(NOON_MS).unwrap();
        let new = timers.on_time(NOON_MS - 3_600_000).unwrap();
        timers.on_loaded(&old, Ok(vec![due_at(NOON_MS - 3_600_000, 1)]));
        assert!(timers.is_empty());
        timers.on_loaded(&new, Ok(vec![due_at(NOON_MS - 3_600_000, 1)]));
        assert_eq!(timers.len(), 1);
    }
}
