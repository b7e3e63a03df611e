//! The transport's metrics, looked up once per core.

use crate::telemetry::metric::{
    BYTES_RECEIVED, CONNECTIONS, FRAMES_RECEIVED, HANDSHAKES, OUTCOME, WRITE_FRAMES, WRITES,
};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

/// Handles of one core.
pub(super) struct Metrics {
    pub(super) handshakes: Handshakes,
    pub(super) frames_received: Counter,
    pub(super) bytes_received: Counter,
    pub(super) writes: Counter,
    pub(super) write_frames: Histogram,
    connections: Gauge,
}

/// Connection attempts by outcome.
pub(super) struct Handshakes {
    pub(super) accepted: Counter,
    pub(super) retried: Counter,
    pub(super) refused: Counter,
    pub(super) failed: Counter,
    pub(super) timed_out: Counter,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let outcome = |outcome: &'static str| counter!(HANDSHAKES, OUTCOME => outcome);
        Self {
            handshakes: Handshakes {
                accepted: outcome("accepted"),
                retried: outcome("retried"),
                refused: outcome("refused"),
                failed: outcome("failed"),
                timed_out: outcome("timed_out"),
            },
            frames_received: counter!(FRAMES_RECEIVED),
            bytes_received: counter!(BYTES_RECEIVED),
            writes: counter!(WRITES),
            write_frames: histogram!(WRITE_FRAMES),
            connections: gauge!(CONNECTIONS),
        }
    }

    /// Counts a connection until the guard is dropped.
    pub(super) fn connection(&self) -> ConnectionGuard<'_> {
        self.connections.increment(1.0);
        ConnectionGuard { connections: &self.connections }
    }
}

/// See [`Metrics::connection`].
pub(super) struct ConnectionGuard<'a> {
    connections: &'a Gauge,
}

impl Drop for ConnectionGuard<'_> {
    fn drop(&mut self) {
        self.connections.decrement(1.0);
    }
}
