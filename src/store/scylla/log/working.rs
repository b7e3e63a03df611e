//! How many tasks work on conversations.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};
use tokio::sync::Notify;

/// Counts them.
#[derive(Default)]
pub(super) struct Working(Arc<Count>);

#[derive(Default)]
struct Count {
    tasks: AtomicUsize,
    ended: Notify,
    is_closing: AtomicBool,
    closing: Notify,
}

/// One of them, until it is dropped.
pub(super) struct Task(Arc<Count>);

impl Working {
    pub(super) fn start(&self) -> Task {
        self.0.tasks.fetch_add(1, Ordering::AcqRel);
        Task(self.0.clone())
    }

    /// From now on nobody waits for more to do, or tries again what can be left.
    pub(super) fn close(&self) {
        self.0.is_closing.store(true, Ordering::Release);
        self.0.closing.notify_waiters();
    }

    pub(super) fn is_closing(&self) -> bool {
        self.0.is_closing.load(Ordering::Acquire)
    }

    /// Comes back when it is closing.
    pub(super) async fn closing(&self) {
        loop {
            let closing = self.0.closing.notified();
            if self.is_closing() {
                return;
            }
            closing.await;
        }
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
