//! One server as the cluster sees it: it waits for the lease, owns the keyspace, and loses it.

use super::{Shared, store::ClusterStore, tables::SimTables};
use crate::{
    composed_store::Composed,
    settings::Bug,
    simulated_cluster::{Cluster, MachineClock, ProcessId},
};
use futures_util::FutureExt;
use godwit::store::{
    Store,
    scylla::{
        fence::{Clock, Fence},
        lease::{LeaseSettings, acquire},
        log::Log,
    },
};
use godwit_proto::Vshard;
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::oneshot;

pub struct Node {
    pub process: ProcessId,
    cluster: Cluster,
    state: Arc<Mutex<State>>,
    log: Option<Log<SimTables>>,
    /// From the cluster.
    cut: Arc<AtomicBool>,
}

#[derive(Default)]
struct State {
    owning: Owning,
    fence: Option<Fence>,
    /// Has the lease given back.
    stop: Option<oneshot::Sender<()>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Owning {
    #[default]
    Waiting,
    Owner,
    /// The lease is lost, or given back, or could not be asked for: the process is to end.
    Over,
}

impl Node {
    pub fn start(shared: &mut Shared) -> Self {
        let rng = &mut shared.rng;
        let wrong_us = shared.settings.clock_wrong_us;
        let ahead_us = rng.below(2 * wrong_us + 1) as i64 - wrong_us as i64;
        let clock: Arc<dyn Clock> = Arc::new(MachineClock { cluster: shared.cluster.clone(), ahead_us });
        let settings = LeaseSettings {
            lease: Duration::from_millis(shared.settings.lease_ms),
            incarnation: rng.next() as i64,
            address: "a server".into(),
        };
        let process = shared.cluster.start().process;
        let cut = Arc::default();
        let (state, lease, bug) = (Arc::new(Mutex::new(State::default())), shared.lease.by(&cut), shared.bug);
        let (mine, owner, disk) = (state.clone(), shared.owner.clone(), shared.disk.clone());
        let task = async move {
            if let Ok(lease) = acquire(Arc::new(lease), clock.clone(), settings, |_| ()).await {
                let fence = match bug {
                    Some(Bug::NoFence) => endless(clock, &lease.fence(), lease.ts_floor_us()),
                    _ => lease.fence(),
                };
                *owner.lock().unwrap_or_else(PoisonError::into_inner) = Some(fence.clone());
                // Of what the former owner has on its way to the disk, only a part gets there.
                disk.crash();
                let (stop, stopped) = oneshot::channel();
                *mine.lock().unwrap() = State { owning: Owning::Owner, fence: Some(fence), stop: Some(stop) };
                let _ = lease.keep(async { drop(stopped.await) }).await;
            }
            mine.lock().unwrap().owning = Owning::Over;
        };
        shared.cluster.spawn(process, task.boxed());
        Self { process, cluster: shared.cluster.clone(), state, log: None, cut }
    }

    pub fn owning(&self) -> Owning {
        self.state.lock().unwrap().owning
    }

    /// The store, once this is the owner.
    pub fn store(&mut self, shared: &Shared) -> Arc<dyn Store> {
        let fence = self.state.lock().unwrap().fence.clone().expect("only an owner is asked");
        let tables = Arc::new(SimTables::new(self.cluster.clone(), self.process, shared.bug, self.cut.clone()));
        let store = ClusterStore::new(tables, fence, &shared.disk, shared.settings.log_limits());
        self.log = Some(store.log.clone());
        Arc::new(Composed(store))
    }

    /// Waits for what is on its way and gives the lease back.
    pub fn close(&self) {
        let (log, state) = (self.log.clone(), self.state.clone());
        let task = async move {
            if let Some(log) = log {
                log.quiet().await;
            }
            // It has ended by itself if the lease is lost.
            drop(state.lock().unwrap().stop.take());
        };
        self.cluster.spawn(self.process, task.boxed());
    }

    /// Whether what it says to the cluster goes nowhere, and it hears nothing from there.
    pub fn set_cut_off(&self, cut: bool) {
        self.cut.store(cut, Ordering::Relaxed);
    }

    /// As by SIGSTOP, and back.
    pub fn set_stopped(&self, stopped: bool) {
        match stopped {
            true => self.cluster.stop(self.process),
            false => self.cluster.resume(self.process),
        }
    }
}

impl Drop for Node {
    /// As by SIGKILL: what it has sent is on its way.
    fn drop(&mut self) {
        self.cluster.kill(self.process);
    }
}

/// A fence that believes everything for ever.
fn endless(clock: Arc<dyn Clock>, fence: &Fence, ts_floor_us: i64) -> Fence {
    let endless = Fence::new(clock, Vshard::all().map(|vshard| fence.epoch(vshard)).collect(), ts_floor_us);
    endless.renewed(Duration::ZERO, Duration::from_secs(1_000_000), i64::MAX);
    endless
}
