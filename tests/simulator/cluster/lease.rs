//! The tables of ownership: transactions that are done at once or not at all, whatever whoever asked for them hears.

use crate::{rng::Rng, settings::Bug, simulated_cluster::Cluster};
use futures_util::{FutureExt, future::BoxFuture};
use godwit::store::{
    StoreError,
    scylla::lease::{Beat, LeaseRow, LeaseTables, OwnerRow, Swapped},
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Between a process and the tables, at most.
const DELAY_MS_MAX: u64 = 3;

/// Clones share the tables.
#[derive(Clone)]
pub struct SimLease {
    cluster: Cluster,
    failures: u64,
    bug: Option<Bug>,
    rows: Arc<Mutex<Rows>>,
    /// Whoever asks is cut off from the tables.
    cut: Arc<AtomicBool>,
}

struct Rows {
    lease: Option<LeaseRow>,
    owners: BTreeMap<u16, Vec<OwnerRow>>,
    rng: Rng,
    faulty: bool,
}

impl SimLease {
    pub fn new(cluster: Cluster, failures: u64, bug: Option<Bug>, rng: Rng) -> Self {
        let rows = Rows { lease: None, owners: BTreeMap::new(), rng, faulty: false };
        Self { cluster, failures, bug, rows: Arc::new(Mutex::new(rows)), cut: Arc::default() }
    }

    /// The same tables, as somebody sees them who may be cut off.
    pub fn by(&self, cut: &Arc<AtomicBool>) -> Self {
        Self { cut: cut.clone(), ..self.clone() }
    }

    pub fn set_faulty(&self, faulty: bool) {
        self.rows.lock().unwrap().faulty = faulty;
    }

    /// Does something after a while, and answers after another; `None`: nobody knows whether it was done.
    fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Rows) -> T + Send + 'static,
    ) -> BoxFuture<'static, Option<T>> {
        let lease = self.clone();
        async move {
            let (there_ms, back_ms, lost, unanswered) = lease.fate();
            lease.cluster.sleep(there_ms).await;
            let answer = (!lost && !lease.cut.load(Ordering::Relaxed)).then(|| work(&mut lease.rows.lock().unwrap()));
            lease.cluster.sleep(back_ms).await;
            answer.filter(|_| !unanswered && !lease.cut.load(Ordering::Relaxed))
        }
        .boxed()
    }

    fn fate(&self) -> (u64, u64, bool, bool) {
        let mut rows = self.rows.lock().unwrap();
        let failures = if rows.faulty { self.failures } else { 0 };
        let rng = &mut rows.rng;
        (rng.below(DELAY_MS_MAX), 1 + rng.below(DELAY_MS_MAX), rng.chance(failures), rng.chance(failures))
    }
}

impl LeaseTables for SimLease {
    fn lease(&self) -> BoxFuture<'static, Result<Option<LeaseRow>, StoreError>> {
        let (found, bug) = (self.ask(|rows| rows.lease.clone()), self.bug);
        async move {
            let mut row = found.await.ok_or_else(away)?;
            match (bug, &mut row) {
                (Some(Bug::HastyTakeover), Some(row)) => row.lease = Duration::ZERO,
                (Some(Bug::NoFloor), Some(row)) => row.until_us = 0,
                _ => {}
            }
            Ok(row)
        }
        .boxed()
    }

    fn swap_lease(&self, before: Option<Beat>, row: LeaseRow) -> BoxFuture<'static, Swapped> {
        let swapped = self.ask(move |rows| {
            let holds = rows.lease.as_ref().map(|row| row.beat) == before;
            if holds {
                rows.lease = Some(row);
            }
            holds
        });
        swapped.map(answer).boxed()
    }

    fn owners(&self, part: u16) -> BoxFuture<'static, Result<Vec<OwnerRow>, StoreError>> {
        let found = self.ask(move |rows| rows.owners.get(&part).cloned().unwrap_or_default());
        found.map(|found| found.ok_or_else(away)).boxed()
    }

    fn swap_owners(&self, part: u16, rows: Vec<(Option<i64>, OwnerRow)>) -> BoxFuture<'static, Swapped> {
        let swapped = self.ask(move |held| {
            let there = held.owners.entry(part).or_default();
            let epoch = |vshard: u16| there.iter().find(|row| row.vshard == vshard).map(|row| row.epoch);
            // All of a part are written together, so the first tells of the others.
            let holds = rows.first().is_none_or(|(before, row)| epoch(row.vshard) == *before);
            if holds {
                *there = rows.into_iter().map(|(_, row)| row).collect();
            }
            holds
        });
        swapped.map(answer).boxed()
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        self.cluster.sleep((time.as_micros() as u64).div_ceil(1_000).max(1))
    }
}

fn answer(swapped: Option<bool>) -> Swapped {
    match swapped {
        Some(true) => Swapped::Done,
        Some(false) => Swapped::Refused,
        None => Swapped::Unknown("a simulated fault".into()),
    }
}

fn away() -> StoreError {
    StoreError::Unavailable("a simulated fault".into())
}
