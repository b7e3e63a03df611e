//! Changes of timers on their way: those of one owner one batch after the other, those of different owners side by side.

use super::{TimerLimits, writer::Writer};
use crate::{
    store::{DueTimer, StoreError, TimerChange, TimerOutcome, TimerOwner},
    telemetry::metric,
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{
    runtime::Handle,
    sync::{oneshot, watch},
};

/// Owners whose vshards differ by a multiple of it share a lane.
const LANES: usize = 64;
/// Changes of one batch.
const BATCH_CHANGES_MAX: usize = 512;

pub(super) struct Lanes {
    writer: Writer,
    runtime: Handle,
    limits: TimerLimits,
    lanes: [Mutex<Lane>; LANES],
    queued: watch::Sender<Weight>,
}

#[derive(Default)]
struct Lane {
    waiting: VecDeque<Queued>,
    /// Whether a task works for it.
    is_open: bool,
}

/// What is to be done, with where its outcome goes.
pub(super) struct Queued {
    pub(super) work: Work,
    pub(super) answer: oneshot::Sender<TimerOutcome>,
}

pub(super) enum Work {
    Change(TimerChange),
    /// A row of an index names a timer that is not there, or due at another time. If that is still so, what the timer's row
    /// says is written again, so that nothing that a former owner has on its way can make the index right; and then the index
    /// is put right.
    Settle(DueTimer),
}

#[derive(Clone, Copy, Default)]
struct Weight {
    changes: usize,
    bytes: usize,
}

impl Lanes {
    pub(super) fn new(writer: Writer, runtime: Handle, limits: TimerLimits) -> Self {
        let lanes = std::array::from_fn(|_| Mutex::default());
        Self { writer, runtime, limits, lanes, queued: watch::Sender::default() }
    }

    /// Takes all of these up, or none.
    pub(super) fn push(self: &Arc<Self>, work: Vec<Work>) -> Result<Vec<oneshot::Receiver<TimerOutcome>>, StoreError> {
        let all = Weight { changes: work.len(), bytes: work.iter().map(Work::bytes).sum() };
        let fits = self.queued.send_if_modified(|queued| {
            // One call alone always fits.
            let fits = queued.changes == 0
                || queued.changes + all.changes <= self.limits.queue_changes_max
                    && queued.bytes + all.bytes <= self.limits.queue_bytes_max;
            if fits {
                queued.changes += all.changes;
                queued.bytes += all.bytes;
            }
            fits
        });
        if !fits {
            metrics::counter!(metric::STORE_REFUSED, metric::REASON => "overloaded").increment(1);
            return Err(StoreError::Overloaded);
        }
        self.count();
        Ok(work.into_iter().map(|work| self.push_one(work)).collect())
    }

    /// Waits until nothing is on its way.
    pub(super) async fn settled(&self) {
        let mut queued = self.queued.subscribe();
        // It fails when the sender is gone, which is here.
        queued.wait_for(|queued| queued.changes == 0).await.ok();
    }

    fn push_one(self: &Arc<Self>, work: Work) -> oneshot::Receiver<TimerOutcome> {
        let (answer, answered) = oneshot::channel();
        let index = usize::from(work.owner().vshard().index()) % LANES;
        let mut lane = self.lane(index);
        lane.waiting.push_back(Queued { work, answer });
        if !std::mem::replace(&mut lane.is_open, true) {
            self.runtime.spawn(self.clone().work_off(index));
        }
        answered
    }

    async fn work_off(self: Arc<Self>, index: usize) {
        loop {
            let batch: Vec<_> = {
                let mut lane = self.lane(index);
                let count = lane.waiting.len().min(BATCH_CHANGES_MAX);
                lane.is_open = count > 0;
                lane.waiting.drain(..count).collect()
            };
            if batch.is_empty() {
                return;
            }
            let done = Weight { changes: batch.len(), bytes: batch.iter().map(|queued| queued.work.bytes()).sum() };
            self.writer.write(batch).await;
            self.queued.send_modify(|queued| {
                queued.changes -= done.changes;
                queued.bytes -= done.bytes;
            });
            self.count();
        }
    }

    fn count(&self) {
        metrics::gauge!(metric::STORE_TIMER_QUEUE_DEPTH).set(self.queued.borrow().changes as f64);
    }

    fn lane(&self, index: usize) -> MutexGuard<'_, Lane> {
        self.lanes[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    fn owner(&self) -> TimerOwner {
        match self {
            Self::Change(change) => change.key().owner,
            Self::Settle(timer) => timer.key.owner,
        }
    }

    /// About what it takes in memory.
    fn bytes(&self) -> usize {
        const FIXED: usize = 256;
        match self {
            Self::Change(TimerChange::Put(row)) => FIXED + row.payload.len(),
            Self::Change(TimerChange::Remove(_)) | Self::Settle(_) => FIXED,
        }
    }
}
