//! The migrations, in order. One that has been released never changes: what comes next is a file of its own.

use super::{file, file::Step};
use crate::store::scylla::cluster::Backend;

/// A step may be done twice, by a server that goes on where another one died, so it says `IF NOT EXISTS`.
const FILES: [&str; 1] = [include_str!("0001.cql")];

/// The table that says how far a keyspace is.
const VERSION_FILE: &str = include_str!("0000.cql");

/// The newest schema that this version of godwit knows, and the only one that it works with.
pub const KNOWN: i32 = FILES.len() as i32;

/// The step that comes before all migrations.
pub(super) fn version_table() -> Vec<Step> {
    file::steps(VERSION_FILE)
}

/// The steps that lead to a version from the one before it; none: nobody knows it.
pub(super) fn steps_to(version: i32, backend: Backend) -> Vec<Step> {
    let text = usize::try_from(version - 1).ok().and_then(|index| FILES.get(index)).copied().unwrap_or_default();
    file::steps(&text.replace("$COMPACTION", compaction(backend)))
}

/// Rows are overwritten late, and read by partition: few files a partition is what counts. Cassandra's unified compaction with
/// L10 is its leveled one, cut into shards; ScyllaDB has the original.
fn compaction(backend: Backend) -> &'static str {
    match backend {
        Backend::Scylla => "compaction = {'class': 'LeveledCompactionStrategy'}",
        Backend::Cassandra => "compaction = {'class': 'UnifiedCompactionStrategy', 'scaling_parameters': 'L10'}",
    }
}
