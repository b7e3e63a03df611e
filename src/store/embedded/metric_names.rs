//! The metrics of the embedded store, under the names of the metric table.

pub(super) use crate::telemetry::metric::{
    STORE_BEHIND_BYTES as BEHIND_BYTES, STORE_COMMIT_BATCH_BYTES as COMMIT_BATCH_BYTES,
    STORE_COMMIT_BATCH_ENTRIES as COMMIT_BATCH_ENTRIES, STORE_COMMIT_QUEUE_DEPTH as COMMIT_QUEUE_DEPTH,
    STORE_COMMIT_SYNC_SECONDS as COMMIT_SYNC_SECONDS,
};

use crate::telemetry::metric::{REASON, STORE_REFUSED};

/// Counts a refusal.
pub(super) fn refused(reason: &'static str) {
    metrics::counter!(STORE_REFUSED, REASON => reason).increment(1);
}
