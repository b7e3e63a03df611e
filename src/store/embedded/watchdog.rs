//! Ends a process whose store is stuck.
//!
//! The engine makes a write wait while it has too much to flush, and in rare cases nothing flushes any more until the
//! store is opened again (fjall issue 257). A write that takes this long is taken for that.

use super::sync::{Fatal, lock, wait_for};
use std::{
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

/// Watches over the threads that write.
pub(super) struct Watchdog {
    state: Mutex<State>,
    closed: Condvar,
    stall_max: Duration,
}

#[derive(Default)]
struct State {
    /// When each thread's current write began.
    writing: [Option<Instant>; 2],
    closing: bool,
}

/// Who writes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Writer {
    Commit,
    Behind,
}

impl Watchdog {
    pub(super) fn new(stall_max: Duration) -> Self {
        Self { state: Mutex::default(), closed: Condvar::new(), stall_max }
    }

    /// Watches a write until it ends.
    pub(super) fn watch<T>(&self, writer: Writer, write: impl FnOnce() -> T) -> T {
        lock(&self.state).writing[writer as usize] = Some(Instant::now());
        let written = write();
        lock(&self.state).writing[writer as usize] = None;
        written
    }

    /// Runs until the store closes.
    pub(super) fn run(&self, fatal: &Arc<Fatal>) {
        let mut state = lock(&self.state);
        while !state.closing {
            let stalled = |began: &Option<Instant>| began.is_some_and(|began| began.elapsed() >= self.stall_max);
            if state.writing.iter().any(stalled) {
                fatal.fail(&format!("a write has taken more than {:?}", self.stall_max));
                return;
            }
            state = wait_for(&self.closed, state, self.stall_max / 8);
        }
    }

    pub(super) fn close(&self) {
        lock(&self.state).closing = true;
        self.closed.notify_all();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_write_that_does_not_end_is_fatal_and_one_that_ends_is_not() {
        let (told, reasons) = mpsc::channel();
        let told = Mutex::new(told);
        let fatal = Arc::new(Fatal::new(Arc::new(move |reason: &str| lock(&told).send(reason.to_owned()).unwrap())));
        let watchdog = Watchdog::new(Duration::from_millis(20));
        std::thread::scope(|scope| {
            scope.spawn(|| watchdog.run(&fatal));
            for writer in [Writer::Commit, Writer::Behind] {
                watchdog.watch(writer, || {});
            }
            assert!(reasons.recv_timeout(Duration::from_millis(100)).is_err());
            watchdog.watch(Writer::Behind, || assert!(reasons.recv().unwrap().contains("20ms")));
            assert!(fatal.has_failed());
        });
    }
}
