//! Every store passes the same suite, and so does the model that the simulators compare them with. The embedded one passes it
//! three times, because what it was told is in one of three places: in memory over its rows, in rows, or on disk for the next
//! process. The log on ScyllaDB passes it on a simulated cluster, for one owner and for one that takes over again and again.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "support/composed_store.rs"]
mod composed_store;
#[path = "store_suite/on_cluster.rs"]
mod on_cluster;
#[path = "support/rng.rs"]
mod rng;
#[path = "simulated_cluster/mod.rs"]
mod simulated_cluster;
mod store_suite;

use godwit::store::{
    embedded::{Embedded, EmbeddedOptions},
    scylla::log::LogLimits,
};
use on_cluster::ClusterHarness;
use std::time::Duration;
use store_suite::{Harness, disk, model_store::ModelStore};
use tempfile::TempDir;

enum Between {
    /// Nothing is written behind, so that reads come from memory.
    Overlay,
    /// Everything is written behind.
    Rows,
    /// The store is closed and opened again.
    Reopen,
}

struct EmbeddedHarness {
    dir: TempDir,
    between: Between,
}

impl EmbeddedHarness {
    fn new(between: Between) -> Self {
        Self { dir: disk::scratch(), between }
    }
}

impl Harness for EmbeddedHarness {
    type Store = Embedded;

    fn open(&self) -> Embedded {
        let mut options = EmbeddedOptions::new(self.dir.path().join("store"));
        options.disk_reserve_bytes = 0;
        options.behind_delay = match self.between {
            Between::Overlay => Duration::from_secs(3600),
            Between::Rows | Between::Reopen => Duration::from_millis(1),
        };
        if matches!(self.between, Between::Overlay) {
            options.behind_rows_max = usize::MAX;
        }
        Embedded::open(options).unwrap()
    }

    fn between(&self, store: Embedded) -> Embedded {
        match self.between {
            Between::Overlay => store,
            Between::Rows => {
                store.settle().unwrap();
                store
            }
            Between::Reopen => {
                store.close();
                self.open()
            }
        }
    }
}

mod from_memory {
    use super::*;
    conformance!(EmbeddedHarness::new(Between::Overlay));
}

mod from_rows {
    use super::*;
    conformance!(EmbeddedHarness::new(Between::Rows));
}

mod after_reopening {
    use super::*;
    conformance!(EmbeddedHarness::new(Between::Reopen));
}

/// The model itself.
#[derive(Default)]
struct ModelHarness(ModelStore);

impl Harness for ModelHarness {
    type Store = ModelStore;

    fn open(&self) -> ModelStore {
        self.0.clone()
    }

    fn between(&self, store: ModelStore) -> ModelStore {
        store
    }
}

mod model {
    use super::*;
    conformance!(ModelHarness::default());
}

mod on_a_cluster {
    use super::*;
    conformance!(ClusterHarness::new(LogLimits::default(), false));
}

mod on_a_cluster_taken_over {
    use super::*;
    conformance!(ClusterHarness::new(LogLimits::default(), true));
}

mod on_a_cluster_within_small_limits {
    use super::*;
    conformance!(ClusterHarness::new(
        LogLimits {
            batch_entries_max: 3,
            batch_bytes_max: 500,
            writes_in_flight_max: 2,
            conversations_max: 1,
            pending_members_max: 1,
            settle_ms: 1,
            ..LogLimits::default()
        },
        true
    ));
}
