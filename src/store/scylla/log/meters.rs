//! What is counted for every mutation, with handles that are looked up once.

use crate::{
    store::scylla::tables::{Mutation, Rows},
    telemetry::metric::{STORE_COMMIT_BATCH_BYTES, STORE_COMMIT_BATCH_ENTRIES, STORE_WRITES_IN_FLIGHT},
};
use metrics::{Gauge, Histogram};

pub(super) struct Meters {
    pub(super) writes_in_flight: Gauge,
    batch_entries: Histogram,
    batch_bytes: Histogram,
}

impl Meters {
    pub(super) fn new() -> Self {
        Self {
            writes_in_flight: metrics::gauge!(STORE_WRITES_IN_FLIGHT),
            batch_entries: metrics::histogram!(STORE_COMMIT_BATCH_ENTRIES),
            batch_bytes: metrics::histogram!(STORE_COMMIT_BATCH_BYTES),
        }
    }

    /// A commit point is about to be written.
    pub(super) fn batch(&self, mutation: &Mutation) {
        let Rows::Log { state, entries, .. } = &mutation.rows else { return };
        let pending = state.as_ref().map_or(0, |state| state.pending.len());
        let bytes = pending + entries.iter().map(|row| row.entry.len()).sum::<usize>();
        self.batch_entries.record(entries.len() as f64);
        self.batch_bytes.record(bytes as f64);
    }
}
