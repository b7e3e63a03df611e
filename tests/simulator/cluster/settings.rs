//! What kind of cluster a seed has.

use crate::{rng::Rng, settings::Bug, simulated_cluster::Faults};
use godwit::store::scylla::log::LogLimits;

/// A cluster, and the servers that own it one after the other.
#[derive(Debug, Clone, Copy)]
pub struct ClusterSettings {
    pub faults: Faults,
    pub lease_ms: u64,
    /// In a thousand, for each transaction: it is lost, or its answer is.
    pub lease_failures: u64,
    /// By how much a machine's clock may be wrong.
    pub clock_wrong_us: u64,
    /// One replica is away for a while.
    pub outages: bool,
    /// A server is stopped while another one waits for its end, and continued.
    pub stops: bool,
    /// A server is cut off from the cluster, and not from its clients.
    pub cuts: bool,
    batch_entries_max: usize,
    batch_bytes_max: usize,
    writes_in_flight_max: usize,
    conversations_max: usize,
    patience_ms: u64,
    pending_members_max: usize,
    settle_ms: u64,
}

const CLOCK_WRONG_US: [u64; 4] = [0, 1_000, 100_000, 10_000_000];

impl ClusterSettings {
    pub fn draw(rng: &mut Rng, bug: Option<Bug>) -> Self {
        let mut faults = Faults::draw(rng);
        match bug {
            Some(Bug::ReadOne) => faults.read_from = 1,
            Some(Bug::WriteOne) => faults.written_to = 1,
            // What has come to one replica and no other is what must be written again.
            Some(Bug::NoSeal) => faults.lost = 400,
            Some(Bug::GivenUpWrite) => faults.unanswered = 150,
            Some(Bug::NoFloor) => faults.held = 400,
            _ => {}
        }
        Self {
            faults,
            lease_ms: rng.pick(&[60, 100, 250]),
            lease_failures: rng.pick(&[0, 0, 50]),
            clock_wrong_us: rng.pick(if bug == Some(Bug::NoFloor) { &[10_000_000] } else { &CLOCK_WRONG_US }),
            outages: rng.chance(400),
            stops: rng.chance(600) || bug.is_some(),
            cuts: rng.chance(300),
            batch_entries_max: rng.pick(&[1, 2, 8, 64]),
            batch_bytes_max: rng.pick(&[200, 2_000, 32 * 1024]),
            writes_in_flight_max: rng.pick(&[1, 2, 256]),
            conversations_max: rng.pick(&[1, 2, 1_000]),
            // Enough for a commit of many steps when nothing is wrong, or it would never be made.
            patience_ms: 100 + 20 * faults.delay_ms_max + rng.pick(&[0, 50, 500]),
            pending_members_max: rng.pick(&[1, 3, 32]),
            settle_ms: rng.pick(&[5, 50, 500]),
        }
    }

    pub fn log_limits(&self) -> LogLimits {
        LogLimits {
            batch_entries_max: self.batch_entries_max,
            batch_bytes_max: self.batch_bytes_max,
            writes_in_flight_max: self.writes_in_flight_max,
            conversations_max: self.conversations_max,
            patience_ms: self.patience_ms,
            pending_members_max: self.pending_members_max,
            settle_ms: self.settle_ms,
            ..LogLimits::default()
        }
    }
}
