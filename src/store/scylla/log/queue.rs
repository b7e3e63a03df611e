//! How much waits, over all conversations.

use super::limits::LogLimits;
use crate::telemetry::metric::STORE_COMMIT_QUEUE_DEPTH;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Counts the commits that wait or are on their way.
pub(super) struct Queue {
    commits: AtomicUsize,
    bytes: AtomicUsize,
    commits_max: usize,
    bytes_max: usize,
    depth: metrics::Gauge,
}

/// One of them, until it is dropped.
pub(super) struct Held {
    queue: Arc<Queue>,
    bytes: usize,
}

impl Queue {
    pub(super) fn new(limits: &LogLimits) -> Self {
        Self {
            commits: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            commits_max: limits.queue_commits_max,
            bytes_max: limits.queue_bytes_max,
            depth: metrics::gauge!(STORE_COMMIT_QUEUE_DEPTH),
        }
    }

    /// Room for a commit; `None` if there is none. One that is larger than all room is taken when nothing else is there, for it
    /// could never be taken otherwise.
    pub(super) fn hold(self: &Arc<Self>, bytes: usize) -> Option<Held> {
        let commits = self.commits.fetch_add(1, Ordering::Relaxed);
        let sum = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let held = Held { queue: self.clone(), bytes };
        self.depth.increment(1);
        (commits == 0 || (commits < self.commits_max && sum <= self.bytes_max)).then_some(held)
    }
}

impl Held {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.queue.commits.fetch_sub(1, Ordering::Relaxed);
        self.queue.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.queue.depth.decrement(1);
    }
}
