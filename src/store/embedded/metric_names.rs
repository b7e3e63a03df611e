//! The metrics of the embedded store.

/// Histogram: entries that shared one sync.
pub const COMMIT_BATCH_ENTRIES: &str = "godwit_store_commit_batch_entries";
/// Histogram: seconds from handing a turn to the engine until it was synced.
pub const COMMIT_SYNC_SECONDS: &str = "godwit_store_commit_sync_seconds";
/// Gauge: commits that wait for the commit thread.
pub const COMMIT_QUEUE_DEPTH: &str = "godwit_store_commit_queue_depth";
/// Gauge: bytes of durable records that are not rows yet.
pub const BEHIND_BYTES: &str = "godwit_store_behind_bytes";
/// Counter, by `reason` (`full`, `overloaded`, `closed`): calls that were refused.
pub const REFUSED_TOTAL: &str = "godwit_store_refused_total";

/// Counts a refusal.
pub(super) fn refused(reason: &'static str) {
    metrics::counter!(REFUSED_TOTAL, "reason" => reason).increment(1);
}
