//! Timers of commits: a store of its own, which may fail by itself.

use crate::{rng::Rng, simulated_cluster::Cluster};
use futures_util::{FutureExt, future::BoxFuture};
use godwit::store::{
    DueTimer, StoreError, TimerChange, TimerId, TimerKey, TimerKind, TimerOutcome, TimerOwner, TimerRow, TimerStore,
};
use godwit_proto::VshardSet;
use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex},
};

/// Clones share one store.
#[derive(Clone)]
pub struct SimTimers(Arc<Mutex<Inner>>);

struct Inner {
    rows: BTreeMap<TimerKey, TimerRow>,
    rng: Rng,
    /// In a thousand.
    failures: u64,
}

/// The store on the time of a cluster.
pub struct TimersOf {
    timers: SimTimers,
    cluster: Cluster,
}

impl SimTimers {
    pub fn new(rng: Rng) -> Self {
        Self(Arc::new(Mutex::new(Inner { rows: BTreeMap::new(), rng, failures: 0 })))
    }

    pub fn of(&self, cluster: &Cluster) -> TimersOf {
        TimersOf { timers: self.clone(), cluster: cluster.clone() }
    }

    pub fn set_failures(&self, per_mille: u64) {
        self.0.lock().unwrap().failures = per_mille;
    }

    pub fn holds(&self, changes: &[TimerChange]) -> bool {
        let inner = self.0.lock().unwrap();
        changes.iter().all(|change| match change {
            TimerChange::Put(row) => inner.rows.get(&row.key) == Some(row),
            TimerChange::Remove(key) => !inner.rows.contains_key(key),
        })
    }

    fn change(&self, change: &TimerChange) -> TimerOutcome {
        let mut inner = self.0.lock().unwrap();
        let failures = inner.failures;
        let fails = inner.rng.chance(failures);
        if fails && inner.rng.chance(500) {
            return TimerOutcome::NotWritten(StoreError::Overloaded);
        }
        if !fails || inner.rng.chance(500) {
            match change {
                TimerChange::Put(row) => drop(inner.rows.insert(row.key, row.clone())),
                TimerChange::Remove(key) => drop(inner.rows.remove(key)),
            }
        }
        if fails { TimerOutcome::Unknown } else { TimerOutcome::Durable }
    }
}

impl TimerStore for TimersOf {
    fn put_timers(&self, changes: Vec<TimerChange>) -> BoxFuture<'static, Vec<TimerOutcome>> {
        let (timers, waited) = (self.timers.clone(), self.cluster.sleep(1));
        async move {
            waited.await;
            changes.iter().map(|change| timers.change(change)).collect()
        }
        .boxed()
    }

    fn due_timers(
        &self,
        _: VshardSet,
        _: Range<u64>,
        _: Option<DueTimer>,
        _: usize,
    ) -> BoxFuture<'static, Result<Vec<DueTimer>, StoreError>> {
        unreachable!("the log only changes timers")
    }

    fn timers(&self, _: Vec<TimerKey>) -> BoxFuture<'static, Result<Vec<Option<TimerRow>>, StoreError>> {
        unreachable!("the log only changes timers")
    }

    fn timers_of(
        &self,
        _: TimerKind,
        _: TimerOwner,
        _: Option<(u64, TimerId)>,
        _: usize,
    ) -> BoxFuture<'static, Result<Vec<TimerRow>, StoreError>> {
        unreachable!("the log only changes timers")
    }

    fn count_timers(&self, _: TimerKind, _: TimerOwner) -> BoxFuture<'static, Result<u64, StoreError>> {
        unreachable!("the log only changes timers")
    }
}
