//! The store on a real ScyllaDB or Cassandra passes the suite that every store passes: as it is, and when it is closed and
//! opened again between writing and reading, so that nothing is answered from memory.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod store_suite;
#[path = "support/cql.rs"]
mod support;

use godwit::store::scylla::{OnLease, Scylla};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store_suite::Harness;
use support::{Keyspace, run};

/// Whatever a test leaves behind. The tables of ownership stay: an owner has successors only.
const TABLES: [&str; 15] = [
    "log",
    "conversations",
    "memberships",
    "sends",
    "user_names",
    "users",
    "invitations",
    "devices",
    "tokens",
    "acked",
    "timers",
    "timers_due",
    "due_buckets",
    "timers_of",
    "buckets_of",
];

/// A keyspace has one owner, and the suite wants it empty.
static TURN: Mutex<()> = Mutex::new(());

struct ScyllaHarness {
    keyspace: Arc<Keyspace>,
    reopens: bool,
    _turn: MutexGuard<'static, ()>,
}

impl ScyllaHarness {
    fn new(reopens: bool) -> Option<Self> {
        let keyspace = Keyspace::shared()?;
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let harness = Self { keyspace, reopens, _turn: turn };
        // It makes the tables if they are not there.
        harness.open().close();
        run(async {
            let session = harness.keyspace.session().await;
            for table in TABLES {
                let name = format!("{}.{table}", harness.keyspace.name);
                let left = session.query_unpaged(format!("SELECT * FROM {name} LIMIT 1"), ()).await.unwrap();
                // Most of them are empty, and to empty a table takes long.
                if left.into_rows_result().unwrap().rows_num() > 0 {
                    session.query_unpaged(format!("TRUNCATE {name}"), ()).await.unwrap();
                }
            }
        });
        Some(harness)
    }
}

impl Harness for ScyllaHarness {
    type Store = Scylla;

    fn open(&self) -> Scylla {
        let lost = |lost: &_| eprintln!("the lease is lost: {lost}");
        let on_lease = OnLease { waiting: Box::new(|_| ()), lost: Box::new(lost) };
        Scylla::open(self.keyspace.options(), on_lease).unwrap()
    }

    fn between(&self, store: Scylla) -> Scylla {
        if self.reopens {
            store.close();
            self.open()
        } else {
            store
        }
    }
}

mod as_it_is {
    use super::*;
    conformance!(match ScyllaHarness::new(false) {
        Some(harness) => harness,
        None => return,
    });
}

mod after_reopening {
    use super::*;
    conformance!(match ScyllaHarness::new(true) {
        Some(harness) => harness,
        None => return,
    });
}
