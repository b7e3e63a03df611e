//! How many tasks work on conversations.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tokio::sync::Notify;

/// Counts them.
#[derive(Default)]
pub(super) struct Working(Arc<Count>);

#[derive(Default)]
struct Count {
    tasks: AtomicUsize,
    ended: Notify,
}

/// One of them, until it is dropped.
pub(super) struct Task(Arc<Count>);

impl Working {
    pub(super) fn start(&self) -> Task {
        self.0.tasks.fetch_add(1, Ordering::AcqRel);
        Task(self.0.clone())
    }

    /// Comes back when there is none.
    pub(super) async fn ended(&self) {
        loop {
            let ended = self.0.ended.notified();
            if self.0.tasks.load(Ordering::Acquire) == 0 {
                return;
            }
            ended.await;
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if self.0.tasks.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.ended.notify_waiters();
        }
    }
}
