//! Locks of the store. A thread that panics takes the process with it ([`Fatal`]), so a poisoned lock is never read as sound.

use super::options::OnFatal;
use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{Builder, JoinHandle},
    time::Duration,
};

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condvar.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn wait_for<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>, most: Duration) -> MutexGuard<'a, T> {
    condvar.wait_timeout(guard, most).unwrap_or_else(PoisonError::into_inner).0
}

/// The end of the store: nobody knows what is on disk.
pub(super) struct Fatal {
    failed: AtomicBool,
    hook: OnFatal,
}

impl Fatal {
    pub(super) fn new(hook: OnFatal) -> Self {
        Self { failed: AtomicBool::new(false), hook }
    }

    /// Marks the store as failed, and calls the hook, which normally does not return.
    pub(super) fn fail(&self, reason: &str) {
        if !self.failed.swap(true, Ordering::AcqRel) {
            (self.hook)(reason);
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }
}

/// Starts a thread of the store, whose panic is fatal.
pub(super) fn spawn(name: &str, fatal: Arc<Fatal>, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    let owned_name = name.to_owned();
    Builder::new().name(name.to_owned()).spawn(move || {
        if catch_unwind(AssertUnwindSafe(body)).is_err() {
            fatal.fail(&format!("the thread {owned_name} panicked"));
        }
    })
}
