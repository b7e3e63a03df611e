//! A keyspace of its own on the real ScyllaDB or Cassandra that `GODWIT_TEST_CQL` names.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod services;

use godwit::store::scylla::ScyllaOptions;
use scylla::client::{session::Session, session_builder::SessionBuilder};
use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

/// Dropped with everything in it when the value is.
pub struct Keyspace {
    pub name: String,
    nodes: Vec<String>,
}

impl Keyspace {
    /// A name that no keyspace has yet. `None`: the test is left out, because somebody said so.
    pub fn new() -> Option<Self> {
        let nodes = nodes()?;
        let name = format!("godwit_test_{:016x}", rand::random::<u64>());
        Some(Self { name, nodes })
    }

    /// The one of this test binary: its tables are made once. Tests share it and keep their ids apart.
    pub fn shared() -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<Keyspace>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(keyspace) = shared.upgrade() {
            return Some(keyspace);
        }
        let keyspace = Arc::new(Self::new()?);
        *shared = Arc::downgrade(&keyspace);
        Some(keyspace)
    }

    /// What a store is opened with. Opening creates the tables.
    pub fn options(&self) -> ScyllaOptions {
        ScyllaOptions {
            replication_factor: Some(NonZeroUsize::MIN),
            // Some ten other tests may be creating their tables.
            request_timeout: Duration::from_secs(10),
            ..ScyllaOptions::new(self.nodes.clone(), &self.name)
        }
    }

    /// As the configuration names it.
    pub fn url(&self) -> String {
        format!("scylla://{}/{}", self.nodes.join(","), self.name)
    }

    /// A session of the driver, for what a server would never do.
    pub async fn session(&self) -> Session {
        SessionBuilder::new().known_nodes(&self.nodes).build().await.unwrap()
    }

    /// The same by hand, where tables are named with their keyspace.
    pub async fn execute(&self, cql: &str) {
        self.session().await.query_unpaged(cql, ()).await.unwrap();
    }
}

impl Drop for Keyspace {
    fn drop(&mut self) {
        let drop = format!("DROP KEYSPACE IF EXISTS {}", self.name);
        // A thread of its own: the value may go while a runtime runs.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                run(async {
                    let session = SessionBuilder::new().known_nodes(&self.nodes).build().await;
                    let Ok(session) = session else { return };
                    session.query_unpaged(drop, ()).await.ok();
                });
            });
        });
    }
}

/// Runs something on a runtime of its own, as the store does.
pub fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(work)
}

/// Where CQL is spoken.
pub fn nodes() -> Option<Vec<String>> {
    Some(services::named_by("GODWIT_TEST_CQL")?.split(',').map(str::to_owned).collect())
}
