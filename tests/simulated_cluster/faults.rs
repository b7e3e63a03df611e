//! What goes wrong in a cluster, how often, and how often it did.

use crate::rng::Rng;

/// Drawn from the seed. Chances are in a thousand.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    /// Between two machines, at most.
    pub delay_ms_max: u64,
    /// A mutation is much later than that on one replica.
    pub late: u64,
    /// How late.
    pub late_ms_max: u64,
    /// A mutation never comes to one replica.
    pub lost: u64,
    /// A mutation comes to one replica again, at any time.
    pub doubled: u64,
    /// A mutation goes nowhere, and the writer hears so.
    pub not_written: u64,
    /// The answer to a write is lost, whatever became of it.
    pub unanswered: u64,
    /// A write takes a moment until it leaves its process, which may be stopped meanwhile.
    pub held: u64,
    /// A read fails.
    pub read_failures: u64,
    /// After so long nobody waits for an answer.
    pub timeout_ms: u64,
    /// What a read has found is written to the replicas that it asked, if they lack it: the cells that were read, and no others.
    pub read_repair: bool,
    /// A row that says that somebody has left is gone after so long.
    pub left_ms: Option<u64>,
    /// Replicas that a read asks. Less than two is a bug.
    pub read_from: usize,
    /// Replicas that must have taken a write before it counts as done. Less than two is a bug.
    pub written_to: usize,
}

impl Faults {
    /// A cluster in which nothing goes wrong.
    pub const NONE: Self = Self {
        delay_ms_max: 1,
        late: 0,
        late_ms_max: 0,
        lost: 0,
        doubled: 0,
        not_written: 0,
        unanswered: 0,
        held: 0,
        read_failures: 0,
        timeout_ms: 1_000,
        read_repair: false,
        left_ms: None,
        read_from: 2,
        written_to: 2,
    };

    /// Most runs leave some kinds of trouble out, so that what is rare beside the others is common in some.
    pub fn draw(rng: &mut Rng) -> Self {
        let delay_ms_max = rng.pick(&[1, 3, 10]);
        Self {
            delay_ms_max,
            late: rng.pick(&[0, 20, 150]),
            late_ms_max: rng.pick(&[50, 500, 3_000]),
            lost: rng.pick(&[0, 20, 150, 400]),
            doubled: rng.pick(&[0, 100, 400]),
            not_written: rng.pick(&[0, 20, 150]),
            unanswered: rng.pick(&[0, 20, 150]),
            read_failures: rng.pick(&[0, 20, 150]),
            timeout_ms: 4 * delay_ms_max + rng.pick(&[1, 20]),
            read_repair: rng.chance(500),
            left_ms: rng.pick(&[None, None, Some(100), Some(1_000)]),
            held: rng.pick(&[0, 100, 400]),
            ..Self::NONE
        }
    }

    /// The same without what goes wrong.
    pub fn calm(self) -> Self {
        Self { late: 0, lost: 0, doubled: 0, not_written: 0, unanswered: 0, held: 0, read_failures: 0, ..self }
    }
}

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Happened {
    pub writes: u64,
    pub reads: u64,
    pub unknown: u64,
    pub not_written: u64,
    /// Mutations whose outcome was unknown and that a replica took afterwards.
    pub late: u64,
    pub doubled: u64,
    pub repaired: u64,
}
