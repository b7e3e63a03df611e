//! The log of the store on ScyllaDB as a store, on a simulated cluster in which nothing goes wrong. Accounts and timers are the
//! model's.

use crate::{
    composed_store::{Answer, Composed, Parts},
    rng::Rng,
    simulated_cluster::{Cluster, Faults, MachineClock, ProcessId, Tables, driven},
    store_suite::{Harness, model_store::ModelStore},
};
use futures_util::future::BoxFuture;
use godwit::store::{
    Commit, CommitOutcome, LogStore, TimerChange, TimerOutcome, TimerStore, UserStore,
    scylla::{
        fence::Fence,
        log::{Log, LogLimits},
    },
};
use godwit_proto::VSHARDS;
use std::{cell::Cell, sync::Arc, time::Duration};

/// Longer than any test.
const LEASE: Duration = Duration::from_secs(1_000_000);

pub struct ClusterHarness {
    cluster: Cluster,
    rest: ModelStore,
    limits: LogLimits,
    taken_over: bool,
    owners: Cell<u64>,
}

impl ClusterHarness {
    /// What was written is read by the same owner, or by the next one.
    pub fn new(limits: LogLimits, taken_over: bool) -> Self {
        let cluster = Cluster::new(Faults::NONE, Rng::new(1));
        Self { cluster, rest: ModelStore::default(), limits, taken_over, owners: Cell::new(0) }
    }
}

impl Harness for ClusterHarness {
    type Store = Composed<OnCluster>;

    fn open(&self) -> Composed<OnCluster> {
        self.owners.set(self.owners.get() + 1);
        let (tables, epoch) = (self.cluster.start(), self.owners.get());
        let clock = Arc::new(MachineClock { cluster: self.cluster.clone(), ahead_us: 0 });
        // The first timestamp of each is above the last of the one before.
        let floor_us = i64::MAX / 2 + epoch as i64 * 1_000_000_000;
        let fence = Fence::new(clock, vec![epoch; usize::from(VSHARDS)], floor_us);
        fence.renewed(Duration::ZERO, LEASE, floor_us + 999_999_999);
        Composed(OnCluster {
            cluster: self.cluster.clone(),
            process: tables.process,
            log: Log::new(tables, Arc::new(self.rest.clone()), fence, self.limits.clone()),
            rest: self.rest.clone(),
        })
    }

    fn between(&self, store: Composed<OnCluster>) -> Composed<OnCluster> {
        if !self.taken_over {
            return store;
        }
        self.cluster.kill(store.0.process);
        drop(store);
        self.open()
    }
}

pub struct OnCluster {
    cluster: Cluster,
    process: ProcessId,
    log: Log<Tables>,
    rest: ModelStore,
}

impl Parts for OnCluster {
    fn log(&self) -> &dyn LogStore {
        &self.log
    }

    fn accounts(&self) -> &dyn UserStore {
        &self.rest
    }

    fn timers(&self) -> &dyn TimerStore {
        &self.rest
    }

    fn commit(&self, commits: Vec<Commit>) -> BoxFuture<'static, Vec<CommitOutcome>> {
        driven(&self.cluster, self.log.commit(commits))
    }

    fn put_timers(&self, changes: Vec<TimerChange>) -> BoxFuture<'static, Vec<TimerOutcome>> {
        driven(&self.cluster, self.log.put_timers(changes))
    }

    fn through<T: Send + 'static>(&self, answer: Answer<T>) -> Answer<T> {
        driven(&self.cluster, answer)
    }
}
