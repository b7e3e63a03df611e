//! What Redis is good for, and what it costs.

use crate::telemetry::metric::{
    KIND, REASON, REDIS_ERRORS, REDIS_ROUND_TRIP_SECONDS, REDIS_UP, SOURCE, SUMMARIES, SUMMARY_AUDITS,
    SUMMARY_GENERATIONS, SUMMARY_MISMATCH, SUMMARY_QUEUE_DEPTH, SUMMARY_REBUILDS,
};
use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// What a question is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Read,
    Write,
    Audit,
    Sessions,
}

/// Where an answer came from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    Redis,
    /// Redis does not have it.
    Missing,
    /// A change is on its way to Redis, or nobody knows whether there is one.
    Behind,
    /// Redis is away, or has not been asked anything in that slice yet.
    Away,
}

/// Why what was there is not believed any more.
#[derive(Debug, Clone, Copy)]
pub(super) enum Doubt {
    /// A write was not answered.
    Unanswered,
    /// Redis does not have what it was given.
    Lost,
    /// Changes came faster than they could be written.
    Overflow,
    /// A newer owner has it.
    Newer,
}

/// Counts since the start. The same figures are metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Lines and lists that were answered from Redis.
    pub from_redis: u64,
    /// Those that were read from the store.
    pub from_store: u64,
    /// What was written to Redis because it was not there.
    pub rebuilds: u64,
    /// Slices of which nothing was believed any more, counted each time.
    pub generations: u64,
    /// Lines and lists that were compared with the store.
    pub audits: u64,
    /// Those that were wrong.
    pub mismatches: u64,
    /// Pipelines that were sent.
    pub round_trips: u64,
}

#[derive(Default)]
pub(super) struct Meters {
    from_redis: AtomicU64,
    from_store: AtomicU64,
    rebuilds: AtomicU64,
    generations: AtomicU64,
    audits: AtomicU64,
    mismatches: AtomicU64,
    round_trips: AtomicU64,
}

impl Meters {
    pub(super) fn counts(&self) -> Counts {
        Counts {
            from_redis: self.from_redis.load(Relaxed),
            from_store: self.from_store.load(Relaxed),
            rebuilds: self.rebuilds.load(Relaxed),
            generations: self.generations.load(Relaxed),
            audits: self.audits.load(Relaxed),
            mismatches: self.mismatches.load(Relaxed),
            round_trips: self.round_trips.load(Relaxed),
        }
    }

    pub(super) fn answered(&self, source: Source, count: usize) {
        if count == 0 {
            return;
        }
        let (counter, name) = match source {
            Source::Redis => (&self.from_redis, "redis"),
            Source::Missing => (&self.from_store, "missing"),
            Source::Behind => (&self.from_store, "behind"),
            Source::Away => (&self.from_store, "away"),
        };
        counter.fetch_add(count as u64, Relaxed);
        metrics::counter!(SUMMARIES, SOURCE => name).increment(count as u64);
    }

    pub(super) fn rebuilt(&self, count: usize) {
        self.rebuilds.fetch_add(count as u64, Relaxed);
        metrics::counter!(SUMMARY_REBUILDS).increment(count as u64);
    }

    pub(super) fn doubted(&self, doubt: Doubt) {
        self.generations.fetch_add(1, Relaxed);
        let reason = match doubt {
            Doubt::Unanswered => "unanswered",
            Doubt::Lost => "lost",
            Doubt::Overflow => "overflow",
            Doubt::Newer => "newer",
        };
        metrics::counter!(SUMMARY_GENERATIONS, REASON => reason).increment(1);
    }

    pub(super) fn audited(&self, count: usize, mismatches: usize) {
        self.audits.fetch_add(count as u64, Relaxed);
        self.mismatches.fetch_add(mismatches as u64, Relaxed);
        metrics::counter!(SUMMARY_AUDITS).increment(count as u64);
        metrics::counter!(SUMMARY_MISMATCH).increment(mismatches as u64);
    }

    pub(super) fn round_trip(&self, kind: Kind, took: Duration) {
        self.round_trips.fetch_add(1, Relaxed);
        metrics::histogram!(REDIS_ROUND_TRIP_SECONDS, KIND => kind.name()).record(took.as_secs_f64());
    }

    pub(super) fn failed(&self, kind: Kind) {
        metrics::counter!(REDIS_ERRORS, KIND => kind.name()).increment(1);
    }

    pub(super) fn up(&self, is_up: bool) {
        metrics::gauge!(REDIS_UP).set(f64::from(u8::from(is_up)));
    }

    pub(super) fn queue_depth(&self, depth: usize) {
        metrics::gauge!(SUMMARY_QUEUE_DEPTH).set(depth as f64);
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Audit => "audit",
            Self::Sessions => "sessions",
        }
    }
}
