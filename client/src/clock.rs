//! What time it is for the server.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

/// The server's clock, as the newest reading of it says. Clones show the same time.
///
/// It is late by what the reading took on its way, and never early unless the server's clock was put back. It stands still
/// where the process does, in a machine that sleeps, until the next reading.
#[derive(Debug, Clone)]
pub(crate) struct ServerClock {
    started: Instant,
    /// The server's time then, in milliseconds since 1970-01-01 UTC; 0 before the first reading.
    started_ms: Arc<AtomicU64>,
}

impl ServerClock {
    /// Shows nothing yet.
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), started_ms: Arc::default() }
    }

    /// The server says what time it is: milliseconds since 1970-01-01 UTC.
    pub(crate) fn on_reading(&self, server_time_ms: u64) {
        self.started_ms.store(server_time_ms.saturating_sub(self.elapsed_ms()), Ordering::Relaxed);
    }

    /// Milliseconds since 1970-01-01 UTC; `None` before the first reading.
    pub(crate) fn now_ms(&self) -> Option<u64> {
        match self.started_ms.load(Ordering::Relaxed) {
            0 => None,
            started_ms => Some(started_ms + self.elapsed_ms()),
        }
    }

    fn elapsed_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    #[test]
    fn the_clock_goes_on_from_its_newest_reading() {
        let clock = ServerClock::new();
        assert_eq!(clock.now_ms(), None);
        clock.on_reading(1_795_269_600_000);
        let shown = clock.now_ms().unwrap();
        assert!((1_795_269_600_000..1_795_269_660_000).contains(&shown), "{shown}");
        clock.on_reading(1_795_269_500_000);
        assert!(clock.now_ms().unwrap() < 1_795_269_600_000);
    }
}
