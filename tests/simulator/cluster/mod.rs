//! The store on a simulated cluster: the server's own log and lease, on replicas that are told late, twice, in another order or
//! not at all, and one server after the other that owns it. Accounts and timers stay on the simulated disk, as far as the lease
//! of whoever asks holds.

mod lease;
mod node;
mod rows;
mod settings;
mod store;
mod tables;
mod truth;

pub use node::{Node, Owning};
pub use settings::ClusterSettings;
pub use truth::Asked;

use crate::{
    rng::Rng,
    settings::Bug,
    simulated_cluster::{Cluster, Happened},
    store::SimStore,
};
use godwit::store::scylla::fence::Fence;
use godwit_proto::Vshard;
use lease::SimLease;
use std::sync::{Arc, Mutex, PoisonError};

/// The cluster of a run, and who owns it.
pub struct Shared {
    cluster: Cluster,
    lease: SimLease,
    disk: SimStore,
    /// Of the newest owner.
    owner: Arc<Mutex<Option<Fence>>>,
    settings: ClusterSettings,
    bug: Option<Bug>,
    rng: Rng,
}

impl Shared {
    pub fn new(settings: ClusterSettings, bug: Option<Bug>, disk: &SimStore, mut rng: Rng) -> Self {
        let cluster = Cluster::new(settings.faults, rng.fork());
        let lease = SimLease::new(cluster.clone(), settings.lease_failures, bug, rng.fork());
        let shared = Self { cluster, lease, disk: disk.clone(), owner: Arc::default(), settings, bug, rng };
        let (disk, owner) = (shared.disk.clone(), shared.owner.clone());
        shared.cluster.watch(move |point| {
            // What a former owner has on its way counts when the present one has found it and written it again.
            let owner = owner.lock().unwrap_or_else(PoisonError::into_inner);
            let epoch = |fence: &Fence| fence.epoch(Vshard::of_conversation(point.conversation));
            if owner.as_ref().map(epoch) == Some(point.epoch) {
                disk.lock().disk.take_commit_point(point);
            }
        });
        shared.disk.lock().disk.leaves_timers = true;
        shared.set_faulty(true);
        shared
    }

    pub fn advance(&self, now_ms: u64) {
        self.cluster.advance(now_ms);
    }

    pub fn set_faulty(&self, faulty: bool) {
        self.cluster.set_faulty(faulty);
        self.lease.set_faulty(faulty);
    }

    pub fn set_down(&self, replica: Option<usize>) {
        self.cluster.set_down(replica);
    }

    pub fn happened(&self) -> Happened {
        self.cluster.happened()
    }

    /// A server that wants the cluster.
    pub fn start(&mut self) -> Node {
        Node::start(self)
    }
}

impl Drop for Shared {
    /// Lets go of what holds the cluster and is held by it.
    fn drop(&mut self) {
        self.cluster.watch(|_| ());
        *self.owner.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
