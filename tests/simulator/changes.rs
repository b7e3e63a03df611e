//! What the simulated store makes durable: changes of conversations and of timers, on one queue.

use crate::disk::Disk;
use godwit::store::{Commit, CommitOutcome, StoreError, TimerChange, TimerOutcome};
use std::sync::{Arc, Mutex};

/// The outcomes of a batch, and when they are told.
pub type Answer<O> = Arc<Mutex<Option<(u64, Vec<O>)>>>;

/// Changes of one call.
pub struct Batch {
    pub at_ms: u64,
    pub changes: Changes,
}

pub enum Changes {
    Commits(Vec<Commit>, Answer<CommitOutcome>),
    Timers(Vec<TimerChange>, Answer<TimerOutcome>),
}

/// Writes one change to the disk, at a time.
pub type Write = Box<dyn FnOnce(&mut Disk, u64) + Send>;

/// What can be made durable, or fail.
pub trait Change: Clone + Send + 'static {
    type Outcome: Clone + Send + 'static;
    const DURABLE: Self::Outcome;
    const UNKNOWN: Self::Outcome;
    fn not_written(error: StoreError) -> Self::Outcome;
    fn write(&self, disk: &mut Disk, now_ms: u64) -> Self::Outcome;
    /// Whether there is a part of it that may become durable without the rest.
    fn has_part(&self) -> bool {
        false
    }
    /// Writes that part alone.
    fn write_part(&self, _: &mut Disk, _now_ms: u64) {}
    fn in_batch(changes: Vec<Self>, answer: Answer<Self::Outcome>) -> Changes;
}

impl Change for Commit {
    type Outcome = CommitOutcome;
    const DURABLE: CommitOutcome = CommitOutcome::Durable;
    const UNKNOWN: CommitOutcome = CommitOutcome::Unknown;

    fn not_written(error: StoreError) -> CommitOutcome {
        CommitOutcome::NotWritten(error)
    }

    fn write(&self, disk: &mut Disk, now_ms: u64) -> CommitOutcome {
        disk.commit(now_ms, self)
    }

    fn has_part(&self) -> bool {
        !self.timers.is_empty()
    }

    fn write_part(&self, disk: &mut Disk, now_ms: u64) {
        disk.change_timers(now_ms, self);
    }

    fn in_batch(changes: Vec<Self>, answer: Answer<CommitOutcome>) -> Changes {
        Changes::Commits(changes, answer)
    }
}

impl Change for TimerChange {
    type Outcome = TimerOutcome;
    const DURABLE: TimerOutcome = TimerOutcome::Durable;
    const UNKNOWN: TimerOutcome = TimerOutcome::Unknown;

    fn not_written(error: StoreError) -> TimerOutcome {
        TimerOutcome::NotWritten(error)
    }

    fn write(&self, disk: &mut Disk, now_ms: u64) -> TimerOutcome {
        disk.change_timer(now_ms, self);
        TimerOutcome::Durable
    }

    fn in_batch(changes: Vec<Self>, answer: Answer<TimerOutcome>) -> Changes {
        Changes::Timers(changes, answer)
    }
}

impl Changes {
    pub fn writes(self) -> Vec<Write> {
        match self {
            Self::Commits(commits, _) => commits.into_iter().flat_map(parts).collect(),
            Self::Timers(changes, _) => changes.into_iter().map(into_write).collect(),
        }
    }
}

/// The part that may be there without the rest, if there is one, and then all of it.
fn parts<C: Change>(change: C) -> Vec<Write> {
    let part = change.has_part().then(|| change.clone());
    let part = part.map(|change| -> Write { Box::new(move |disk, now_ms| change.write_part(disk, now_ms)) });
    part.into_iter().chain([into_write(change)]).collect()
}

pub fn into_write<C: Change>(change: C) -> Write {
    Box::new(move |disk, now_ms| drop(change.write(disk, now_ms)))
}
