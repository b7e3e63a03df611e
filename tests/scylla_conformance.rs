//! The store on a real ScyllaDB or Cassandra passes the suite that every store passes: as it is, when it is closed and
//! opened again between writing and reading, so that nothing is answered from memory, and so with lists in Redis, as a server has it.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
#![allow(clippy::duplicate_mod, reason = "both supports find their server by the same module")]

mod redis_suite;
mod store_suite;
#[path = "support/cql.rs"]
mod support;

use godwit::store::{
    redis::Summarised,
    scylla::{OnLease, Scylla},
};
use redis_suite::{Space, settle};
use std::{
    cell::RefCell,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
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

/// A keyspace has one owner, and the suite wants it empty. Holds the one whose tables are there.
static TURN: Mutex<String> = Mutex::new(String::new());

struct ScyllaHarness {
    keyspace: Arc<Keyspace>,
    reopens: bool,
    _turn: MutexGuard<'static, String>,
}

impl ScyllaHarness {
    fn new(reopens: bool) -> Option<Self> {
        let keyspace = Keyspace::shared()?;
        let mut turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        if *turn != keyspace.name {
            open(&keyspace).close();
            turn.clone_from(&keyspace.name);
        }
        let harness = Self { keyspace, reopens, _turn: turn };
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

/// Makes the tables if they are not there.
fn open(keyspace: &Keyspace) -> Scylla {
    let lost = |lost: &_| eprintln!("the lease is lost: {lost}");
    let on_lease = OnLease { waiting: Box::new(|_| ()), lost: Box::new(lost) };
    Scylla::open(keyspace.options(), on_lease).unwrap()
}

impl Harness for ScyllaHarness {
    type Store = Scylla;

    fn open(&self) -> Scylla {
        open(&self.keyspace)
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

/// Lists in Redis, whose owner changes with that of the keyspace.
struct SummarisedHarness {
    under: ScyllaHarness,
    space: Space,
    owner: RefCell<Option<Scylla>>,
}

impl SummarisedHarness {
    fn new() -> Option<Self> {
        let space = Space::new()?;
        Some(Self { under: ScyllaHarness::new(false)?, space, owner: RefCell::default() })
    }

    /// The owner, whose lists were dropped before.
    fn close(&self) {
        self.owner.take().into_iter().for_each(|owner| owner.close());
    }
}

impl Harness for SummarisedHarness {
    type Store = Summarised;

    fn open(&self) -> Summarised {
        self.close();
        let owner = self.under.open();
        let lists = redis_suite::open(Arc::new(owner.clone()), self.space.options(), owner.term());
        assert!(lists.is_up());
        self.owner.replace(Some(owner));
        lists
    }

    fn between(&self, store: Summarised) -> Summarised {
        settle(&store);
        drop(store);
        self.open()
    }
}

impl Drop for SummarisedHarness {
    fn drop(&mut self) {
        // Here, and not where the last task of the lists happens to end.
        self.close();
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

mod with_lists_in_redis {
    use super::*;
    conformance!(match SummarisedHarness::new() {
        Some(harness) => harness,
        None => return,
    });
}
