//! A server's hold on a keyspace: a session, fences that stay open, and a runtime on which its store works. One for the whole test
//! binary, and one test at a time, which finds the tables empty.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, missing_docs)]

use super::cql::Keyspace;
use futures_util::future::join_all;
use godwit::store::scylla::{
    Cql,
    fence::{Clock, Fence},
    lease::SystemClock,
};
use godwit_proto::VSHARDS;
use scylla::client::session::Session;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};
use tokio::runtime::{Builder, Handle, Runtime};

/// What tests leave behind.
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

static TURN: Mutex<()> = Mutex::new(());

pub struct Owner {
    pub cql: Arc<Cql>,
    session: Session,
    keyspace: Keyspace,
    runtime: Runtime,
}

/// While a test has it, no other one has the keyspace.
pub struct Turn {
    pub owner: Arc<Owner>,
    _turn: MutexGuard<'static, ()>,
}

impl Owner {
    /// Waits until the keyspace is free, and empties it. `None`: the test is left out, because somebody said so.
    pub fn turn() -> Option<Turn> {
        let owner = Self::shared()?;
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        owner.run(join_all(TABLES.map(|table| owner.execute(format!("TRUNCATE {table}")))));
        Some(Turn { owner, _turn: turn })
    }

    pub fn runtime(&self) -> Handle {
        self.runtime.handle().clone()
    }

    /// Waits for something that needs the store's runtime.
    pub fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// A statement that a server would never say.
    pub async fn execute(&self, cql: impl Into<String>) {
        self.session.query_unpaged(cql.into(), ()).await.unwrap();
    }

    pub fn session(&self) -> &Session {
        &self.session
    }

    fn shared() -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<Owner>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(owner) = shared.upgrade() {
            return Some(owner);
        }
        let owner = Arc::new(Self::open()?);
        *shared = Arc::downgrade(&owner);
        Some(owner)
    }

    fn open() -> Option<Self> {
        let keyspace = Keyspace::new()?;
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (cql, session) = runtime.block_on(async {
            let cql = Cql::connect(&keyspace.options()).await.unwrap();
            let session = keyspace.session().await;
            session.use_keyspace(&keyspace.name, false).await.unwrap();
            (Arc::new(cql), session)
        });
        Some(Self { cql, session, keyspace, runtime })
    }
}

/// A fence that stays open, of an owner that came after all before it.
pub fn fence() -> Fence {
    fence_from(SystemClock::start().wall_us())
}

/// One whose first timestamp is this, if the clock is not beyond it.
pub fn fence_from(ts_floor_us: i64) -> Fence {
    let clock = Arc::new(SystemClock::start());
    let begun = clock.elapsed();
    let fence = Fence::new(clock, vec![1; usize::from(VSHARDS)], ts_floor_us);
    fence.renewed(begun, Duration::from_secs(3600), i64::MAX);
    fence
}
