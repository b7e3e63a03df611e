//! What kind of run a seed is.

use crate::{rng::Rng, simulated_cluster::Faults};
use godwit::store::scylla::log::LogLimits;

#[derive(Debug, Clone)]
pub struct Settings {
    pub faults: Faults,
    pub limits: LogLimits,
    pub conversations: usize,
    /// How long trouble lasts, in simulated milliseconds.
    pub trouble_ms: u64,
    /// Between two doings, at most.
    pub step_ms_max: u64,
    pub lease_ms: u64,
    /// In a thousand, for each doing: a stroke of fate.
    pub chaos: u64,
    pub crashes: bool,
    pub stops: bool,
    /// Renewals stay unanswered for a while.
    pub lapses: bool,
    /// One replica is away for a while.
    pub outages: bool,
    /// Commits of one conversation that nobody has heard of yet.
    pub open_max: usize,
    pub entries_max: u64,
    pub body_bytes_max: usize,
    /// One conversation stands just before a new bucket.
    pub long: bool,
    pub bug: Option<Bug>,
}

/// A breach of what the log relies on, which must show: a checker that finds nothing proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Reads ask one replica.
    ReadOne,
    /// A write that one replica has counts as done.
    WriteOne,
    /// The next owner's timestamps may be below the former's.
    NoFloor,
    /// The next owner does not wait until the former has stopped believing what it hears.
    HastyTakeover,
}

impl Settings {
    pub fn draw(rng: &mut Rng, bug: Option<Bug>) -> Self {
        let mut faults = Faults::draw(rng);
        match bug {
            Some(Bug::ReadOne) => faults.read_from = 1,
            Some(Bug::WriteOne) => faults.written_to = 1,
            _ => {}
        }
        let limits = LogLimits {
            batch_entries_max: rng.pick(&[1, 2, 8, 64]),
            batch_bytes_max: rng.pick(&[200, 2_000, 32 * 1024]),
            writes_in_flight_max: rng.pick(&[1, 2, 256]),
            conversations_max: rng.pick(&[1, 2, 1_000]),
            patience_ms: rng.pick(&[10, 50, 500]),
            pending_members_max: rng.pick(&[1, 3, 32]),
            settle_ms: rng.pick(&[5, 50, 500]),
            ..LogLimits::default()
        };
        Self {
            faults,
            limits,
            conversations: rng.pick(&[1, 2, 3]),
            trouble_ms: 200 + rng.below(800),
            step_ms_max: rng.pick(&[1, 5, 20]),
            lease_ms: rng.pick(&[50, 150, 400]),
            chaos: rng.pick(&[20, 50]),
            crashes: rng.chance(600),
            stops: rng.chance(600),
            lapses: rng.chance(400),
            outages: rng.chance(400),
            open_max: rng.pick(&[1, 2, 4]),
            entries_max: rng.pick(&[2, 5, 100]),
            body_bytes_max: rng.pick(&[10, 10, 1_000]),
            long: rng.chance(250),
            bug,
        }
    }
}
