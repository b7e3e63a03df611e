//! Compares a sample of what was read from Redis with the store.
//!
//! A difference counts only if no commit was under way from before Redis was read until after the store was: then both spoke
//! of the same moment, and one of them is wrong. The store is right, and what Redis has is forgotten.

use super::{
    Shared,
    cells::{CellId, Cells},
    changes::Change,
    keys::Subject,
    meters::Kind,
    reads::{Found, Line},
    writer::{Announced, Job},
};
use crate::store::StoredSummary;
use godwit_proto::UserId;
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time;

/// How many samples are remembered. The newest take the place of the oldest.
const SAMPLES_MAX: usize = 256;
const PAUSE: Duration = Duration::from_secs(1);

/// Something that was read from Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sample {
    Line(Line),
    List(UserId),
}

/// What was read from Redis lately.
#[derive(Default)]
pub(super) struct Samples {
    offered: AtomicUsize,
    ring: Mutex<Vec<Sample>>,
}

impl Samples {
    pub(super) fn offer(&self, sample: Sample) {
        let at = self.offered.fetch_add(1, Relaxed) % SAMPLES_MAX;
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        match ring.get_mut(at) {
            Some(held) => *held = sample,
            None => ring.push(sample),
        }
    }

    /// One of the lines that Redis had, another one each time.
    pub(super) fn offer_line(&self, wanted: &[Line], answers: &[Option<StoredSummary>]) {
        let had = |at: &usize| answers[*at].is_some();
        let from = self.offered.load(Relaxed).checked_rem(wanted.len()).unwrap_or(0);
        if let Some(at) = (from..wanted.len()).chain(0..from).find(had) {
            self.offer(Sample::Line(wanted[at]));
        }
    }

    pub(super) fn take(&self, limit: usize) -> Vec<Sample> {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let from = ring.len().saturating_sub(limit);
        ring.split_off(from)
    }
}

/// Runs until the store is dropped.
pub(super) async fn run(shared: Arc<Shared>, per_second: u32) {
    loop {
        time::sleep(PAUSE).await;
        shared.audit(shared.audits.take(per_second as usize)).await;
    }
}

impl Shared {
    /// Compares these with the store, and forgets what is wrong.
    pub(super) async fn audit(self: &Arc<Self>, samples: Vec<Sample>) {
        let mut lines = Vec::new();
        for sample in samples {
            match sample {
                Sample::Line(line) => lines.push(line),
                Sample::List(user) => self.audit_list(user).await,
            }
        }
        if !lines.is_empty() {
            self.audit_lines(lines).await;
        }
    }

    async fn audit_lines(self: &Arc<Self>, mut lines: Vec<Line>) {
        lines.retain(|line| !self.cells.is_committing(cell(line)));
        let versions: Vec<u64> = lines.iter().map(|line| self.cells.version(cell(line))).collect();
        let found = self.lines(Kind::Audit, &lines).await;
        let Ok(read) = self.store.summaries(lines.clone()).await else { return };
        for (((line, version), found), read) in lines.iter().zip(versions).zip(found).zip(read) {
            if let Found::Here(held) = found {
                let is_right = read.as_ref() == Some(&held);
                self.judge(Subject::Conversation(line.0), version, is_right);
            }
        }
    }

    async fn audit_list(self: &Arc<Self>, user: UserId) {
        let subject = Subject::List(user);
        let cell = Cells::of(subject);
        if self.cells.is_committing(cell) {
            return;
        }
        let version = self.cells.version(cell);
        let Found::Here(held) = self.list(Kind::Audit, user).await else { return };
        if let Ok(read) = self.store.conversations_of(user, None, held.len() + 1).await {
            self.judge(subject, version, read == held);
        }
    }

    fn judge(self: &Arc<Self>, subject: Subject, version: u64, is_right: bool) {
        let cell = Cells::of(subject);
        if self.cells.is_committing(cell) || self.cells.version(cell) != version {
            return;
        }
        self.meters.audited(1, usize::from(!is_right));
        if !is_right {
            tracing::error!(?subject, "a summary in Redis was wrong, and is made again; please report it");
            self.forget(subject);
        }
    }

    /// Has it made again from the store.
    fn forget(self: &Arc<Self>, subject: Subject) {
        let cell = Cells::of(subject);
        self.cells.commit_begins(cell);
        self.cells.changed(cell, 0);
        let announced = Announced { shared: self.clone(), cells: vec![cell] };
        self.write(Job::Changed(vec![Change::Forget(subject)], announced));
    }
}

fn cell(line: &Line) -> CellId {
    Cells::of(Subject::Conversation(line.0))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_samples_take_the_place_of_the_oldest() {
        let samples = Samples::default();
        let user = |n: usize| UserId::new(n as u64 + 1).unwrap();
        (0..SAMPLES_MAX + 2).for_each(|n| samples.offer(Sample::List(user(n))));
        let taken = samples.take(usize::MAX);
        assert_eq!(taken.len(), SAMPLES_MAX);
        assert!(taken.contains(&Sample::List(user(SAMPLES_MAX + 1))) && !taken.contains(&Sample::List(user(1))));
        assert!(samples.take(1).is_empty());
    }
}
