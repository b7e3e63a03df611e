//! Names of the metrics that the transport records.

/// Gauge: connections whose handshake is done.
pub const CONNECTIONS: &str = "godwit_connections";

/// Counter, by [`OUTCOME`]: connection attempts.
pub const HANDSHAKES: &str = "godwit_handshakes_total";

/// What became of an attempt: `accepted`, `retried`, `refused`, `failed` or `timed_out`. An attempt that is told to
/// retry comes back and is counted again.
pub const OUTCOME: &str = "outcome";

/// Counter: whole frames handed to a core.
pub const FRAMES_RECEIVED: &str = "godwit_frames_received_total";

/// Counter: stream bytes read.
pub const BYTES_RECEIVED: &str = "godwit_bytes_received_total";

/// Counter: turns in which a connection was written to.
pub const WRITES: &str = "godwit_writes_total";

/// Histogram: frames that one such turn wrote. Above 1 means that frames share packets.
pub const WRITE_FRAMES: &str = "godwit_write_frames";
