//! A simulated cluster of replicas behind [`LogTables`], as docs/STORAGE.md takes one to be: a mutation is whole on each replica,
//! of two writes of a cell the later one counts, and a quorum sees what a quorum has taken. Everything else may go wrong: what is
//! written arrives late, twice, in another order, on some replicas or on none, and its outcome may stay unknown.
//!
//! Single-threaded, on its own clock and one seed. Several processes may use one cluster, each of which can be stopped, continued
//! and killed.
#![allow(dead_code, unused_imports, clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod commit_point;
mod coordinator;
mod driven;
mod faults;
mod replica;
mod tables;
mod tasks;

pub use commit_point::CommitPoint;
pub use driven::driven;
pub use faults::{Faults, Happened};
pub use tables::Tables;
pub use tasks::ProcessId;

use crate::rng::Rng;
use coordinator::Coordinator;
use futures_util::{FutureExt, future::BoxFuture};
use godwit::store::scylla::{fence::Clock, tables::Mutation};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tasks::Tasks;

/// What the wall clock says when a cluster begins, in microseconds since the epoch.
pub const START_US: i64 = 1_700_000_000_000_000;

/// Clones share one cluster.
#[derive(Clone)]
pub struct Cluster(Arc<Shared>);

struct Shared {
    coordinator: Mutex<Coordinator>,
    tasks: Tasks,
}

impl Cluster {
    pub fn new(faults: Faults, mut rng: Rng) -> Self {
        let tasks = Tasks::new(rng.fork());
        Self(Arc::new(Shared { coordinator: Mutex::new(Coordinator::new(faults, rng)), tasks }))
    }

    /// A process that starts now, and the tables as it sees them.
    pub fn start(&self) -> Arc<Tables> {
        Arc::new(Tables { cluster: self.clone(), process: self.0.tasks.start() })
    }

    /// A process does nothing until it is continued; what it has sent is on its way.
    pub fn stop(&self, process: ProcessId) {
        self.0.tasks.stop(process);
    }

    pub fn resume(&self, process: ProcessId) {
        self.0.tasks.resume(process);
    }

    /// A process is gone; what it has sent is on its way.
    pub fn kill(&self, process: ProcessId) {
        self.0.tasks.kill(process);
    }

    /// Runs something as part of a process.
    pub fn spawn(&self, process: ProcessId, task: BoxFuture<'static, ()>) {
        self.0.tasks.spawn(process, task);
    }

    /// Comes back after so many milliseconds.
    pub fn sleep(&self, ms: u64) -> BoxFuture<'static, ()> {
        let slept = self.lock().sleep(ms);
        async move { drop(slept.await) }.boxed()
    }

    pub fn now_ms(&self) -> u64 {
        self.lock().now_ms
    }

    /// Lets time pass. Whatever happens in between happens in order, and everybody who waited for it goes on at once.
    pub fn advance(&self, to_ms: u64) {
        self.0.tasks.run();
        while self.lock().step(to_ms) {
            self.0.tasks.run();
        }
        self.lock().now_ms = to_ms;
    }

    /// Lets the next thing happen, whenever that is. Whether there was one.
    pub fn step(&self) -> bool {
        self.0.tasks.run();
        let stepped = self.lock().step(u64::MAX);
        self.0.tasks.run();
        stepped
    }

    /// Whether what goes wrong goes wrong from now on. What is on its way stays so.
    pub fn set_faulty(&self, faulty: bool) {
        self.lock().set_faulty(faulty);
    }

    /// One replica is away, or none.
    pub fn set_down(&self, replica: Option<usize>) {
        self.lock().down = replica;
    }

    /// Every replica has taken this, as if it had always been there.
    pub fn preload(&self, mutation: &Mutation) {
        self.lock().preload(mutation);
    }

    /// Calls this whenever a quorum has a new commit point, at that moment.
    pub fn watch(&self, watch: impl FnMut(&CommitPoint<'_>) + Send + 'static) {
        self.lock().set_watch(Box::new(watch));
    }

    pub fn happened(&self) -> Happened {
        self.lock().happened
    }

    fn lock(&self) -> MutexGuard<'_, Coordinator> {
        self.0.coordinator.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A process's clock. Machines agree on how long a second is, and on nothing else.
pub struct MachineClock {
    pub cluster: Cluster,
    pub ahead_us: i64,
}

impl Clock for MachineClock {
    fn wall_us(&self) -> i64 {
        START_US + self.cluster.now_ms() as i64 * 1_000 + self.ahead_us
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.cluster.now_ms())
    }
}
