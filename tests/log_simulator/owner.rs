//! A server process that owns the keyspace, or thinks so.

use crate::{
    rng::Rng,
    settings::{Bug, Settings},
    simulated_cluster::{Cluster, MachineClock, ProcessId, START_US, Tables},
    timers::SimTimers,
};
use futures_util::{FutureExt, future::BoxFuture};
use godwit::store::scylla::{fence::Fence, log::Log};
use godwit_proto::VSHARDS;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

/// The row of the lease, which changes by lightweight transactions only: at once, or not at all.
#[derive(Debug, Default)]
pub struct Lease {
    pub epoch: u64,
    until_us: i64,
    /// When it was last renewed.
    beat_ms: u64,
}

pub struct Owner {
    pub epoch: u64,
    pub process: ProcessId,
    pub fence: Fence,
    pub log: Log<Tables>,
    pub stopped: bool,
    /// Its lease has not been renewed for half its time.
    pub has_lapsed: bool,
    /// It must be believed nothing any more.
    pub is_former: bool,
    /// Its renewals are not answered.
    pub cut_off: bool,
    /// What it knows of each conversation.
    pub known: BTreeMap<usize, Known>,
    clock: Arc<MachineClock>,
    cluster: Cluster,
    renewed_ms: u64,
}

/// What the router keeps of a conversation, for the next commit.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    pub head: u64,
}

impl Lease {
    /// Whether the next one may take over.
    pub fn is_over(&self, now_ms: u64, settings: &Settings) -> bool {
        self.epoch == 0
            || settings.bug == Some(Bug::HastyTakeover)
            || now_ms > self.beat_ms + settings.lease_ms * 8 / 10
    }
}

impl Owner {
    pub fn take_over(
        cluster: &Cluster,
        timers: &SimTimers,
        settings: &Settings,
        rng: &mut Rng,
        lease: &Arc<Mutex<Lease>>,
    ) -> Self {
        let tables = cluster.start();
        let process = tables.process;
        // Clocks are as wrong as one likes.
        let wrong_us = rng.pick(&[0, 1_000, 100_000, 10_000_000]);
        let ahead_us = rng.below(2 * wrong_us + 1) as i64 - wrong_us as i64;
        let clock = Arc::new(MachineClock { cluster: cluster.clone(), ahead_us });
        let mut row = lease.lock().unwrap();
        row.epoch += 1;
        let now_us = START_US + cluster.now_ms() as i64 * 1_000 + ahead_us;
        let floor_us = if settings.bug == Some(Bug::NoFloor) { now_us } else { now_us.max(row.until_us + 1) };
        let fence = Fence::new(clock.clone(), vec![row.epoch; usize::from(VSHARDS)], floor_us);
        (row.until_us, row.beat_ms) = (floor_us + settings.lease_ms as i64 * 1_000, cluster.now_ms());
        fence.renewed(
            Duration::from_millis(cluster.now_ms()),
            Duration::from_millis(settings.lease_ms / 2),
            row.until_us,
        );
        let log = Log::new(tables, Arc::new(timers.of(cluster)), fence.clone(), settings.limits.clone());
        Self {
            epoch: row.epoch,
            process,
            fence,
            log,
            stopped: false,
            has_lapsed: false,
            is_former: false,
            cut_off: false,
            known: BTreeMap::new(),
            clock,
            cluster: cluster.clone(),
            renewed_ms: cluster.now_ms(),
        }
    }

    /// Renews the lease when it is time. The row may be changed although nobody hears of it.
    pub fn renew(&mut self, settings: &Settings, lease: &Arc<Mutex<Lease>>, rng: &mut Rng) {
        use godwit::store::scylla::fence::Clock;
        let now_ms = self.cluster.now_ms();
        if self.stopped || now_ms < self.renewed_ms + settings.lease_ms / 10 {
            return;
        }
        self.renewed_ms = now_ms;
        let until_us = self.clock.wall_us().max(self.fence.newest_us()) + settings.lease_ms as i64 * 1_000;
        let mut row = lease.lock().unwrap();
        if row.epoch != self.epoch || (self.cut_off && rng.chance(500)) {
            return;
        }
        row.until_us = row.until_us.max(until_us);
        row.beat_ms = now_ms;
        let stored_us = row.until_us;
        if self.cut_off {
            return;
        }
        let (fence, held) = (self.fence.clone(), Duration::from_millis(settings.lease_ms / 2));
        let answered = self.cluster.sleep(rng.below(settings.lease_ms / 10));
        let answer: BoxFuture<'static, ()> = async move {
            answered.await;
            fence.renewed(Duration::from_millis(now_ms), held, stored_us);
        }
        .boxed();
        self.cluster.spawn(self.process, answer);
    }
}
