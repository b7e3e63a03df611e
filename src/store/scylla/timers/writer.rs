//! Writing a batch of changes: indexes, then the timers' rows, then what the indexes said before.
//!
//! Whatever becomes of it, and whatever a former owner still has on its way: if a timer's row may say that it is due then, the
//! indexes name it there. The other way round they may be wrong, so whoever reads an index asks the timer's row.

use super::{
    directory::Directory,
    lanes::{Queued, Work},
    places::Place,
    rows::{AT_ONCE, IndexWrite, Indexed, Rows},
};
use crate::{
    store::{
        DueTimer, StoreError, TimerChange, TimerKey, TimerOutcome, TimerRow,
        scylla::{
            outcome::Failed,
            owned::{at_once, unavailable},
        },
    },
    telemetry::metric,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};
use tokio::sync::oneshot;

pub(super) struct Writer {
    rows: Arc<Rows>,
    directory: Arc<Directory>,
}

/// What becomes of one timer.
struct Job {
    key: TimerKey,
    /// The last of its changes. `None`: there is only something to settle.
    change: Option<TimerChange>,
    /// When it was due, or some row of an index says so.
    was_due_ms: BTreeSet<u64>,
    answers: Vec<oneshot::Sender<TimerOutcome>>,
    timestamp_us: i64,
    outcome: Option<TimerOutcome>,
}

impl Writer {
    pub(super) fn new(rows: Arc<Rows>, directory: Arc<Directory>) -> Self {
        Self { rows, directory }
    }

    /// Does all of it and says what became of each.
    pub(super) async fn write(&self, batch: Vec<Queued>) {
        let mut jobs = jobs(batch);
        self.look_up(&mut jobs).await;
        let listed = self.enter(&mut jobs).await;
        self.write_indexes(&mut jobs).await;
        self.write_timers(&mut jobs).await;
        listed.into_iter().for_each(|place| self.directory.leave(place));
        self.end_indexes(&jobs).await;
        let written = jobs.iter().filter(|job| job.change.is_some() && job.outcome.is_none()).count();
        metrics::counter!(metric::STORE_TIMERS_WRITTEN).increment(written as u64);
        jobs.into_iter().for_each(Job::answer);
    }

    /// Finds out what is there.
    async fn look_up(&self, jobs: &mut [Job]) {
        let found = at_once(AT_ONCE, jobs.iter().map(|job| self.find(job)).collect()).await;
        for (job, found) in jobs.iter_mut().zip(found) {
            match found {
                Ok(found) => job.found(found),
                Err(error) => job.fail(error),
            }
            if job.goes_on() {
                match self.rows.owned.timestamp().await {
                    Ok(timestamp_us) => job.timestamp_us = timestamp_us,
                    Err(error) => job.fail(error),
                }
            }
        }
    }

    async fn find(&self, job: &Job) -> Result<Found, StoreError> {
        if job.change.is_some() {
            self.rows.due_ms(job.key).await.map(Found::DueMs)
        } else {
            self.rows.timer(job.key).await.map(Found::Row)
        }
    }

    /// Has all buckets that timers are put into in their directories.
    async fn enter(&self, jobs: &mut [Job]) -> Vec<Place> {
        let places: BTreeSet<_> = jobs.iter().flat_map(Job::places).filter(Place::is_listed).collect();
        let entered = at_once(AT_ONCE, places.iter().map(|place| self.directory.enter(*place)).collect()).await;
        let mut listed = Vec::new();
        for (place, entered) in places.into_iter().zip(entered) {
            match entered {
                Ok(()) => listed.push(place),
                Err(error) => {
                    let there = jobs.iter_mut().filter(|job| job.places().contains(&place));
                    there.for_each(|job| job.fail(error.clone()));
                }
            }
        }
        listed
    }

    async fn write_indexes(&self, jobs: &mut [Job]) {
        let mut rows: BTreeMap<Place, Vec<(usize, IndexWrite)>> = BTreeMap::new();
        for (number, job) in jobs.iter().enumerate() {
            for (place, timer) in job.places().into_iter().zip(job.due().into_iter().cycle()) {
                let row = Indexed { timer, live: true };
                rows.entry(place).or_default().push((number, IndexWrite { row, timestamp_us: job.timestamp_us }));
            }
        }
        let written = rows.into_iter().map(|(place, rows)| async move {
            let (numbers, rows): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
            (numbers, self.rows.write_index(place, &rows).await)
        });
        for (numbers, written) in at_once(AT_ONCE, written.collect()).await {
            if let Err(failed) = written {
                // Whatever the indexes say now, no timer's row says the same.
                let error = unavailable(failed);
                numbers.into_iter().for_each(|number| jobs[number].fail(error.clone()));
            }
        }
    }

    async fn write_timers(&self, jobs: &mut [Job]) {
        let written = jobs.iter().map(|job| async move {
            match &job.change {
                Some(change) if job.goes_on() => self.rows.write_timer(change, job.timestamp_us).await,
                _ => Ok(()),
            }
        });
        let written = at_once(AT_ONCE, written.collect()).await;
        for (job, written) in jobs.iter_mut().zip(written) {
            match written {
                Ok(()) => {}
                Err(Failed::NotWritten(error)) => job.fail(error),
                Err(Failed::Unknown) => job.outcome = Some(TimerOutcome::Unknown),
            }
        }
    }

    /// Has the indexes say that nothing is due any more when it was due before.
    async fn end_indexes(&self, jobs: &[Job]) {
        let mut rows: BTreeMap<Place, Vec<IndexWrite>> = BTreeMap::new();
        for job in jobs.iter().filter(|job| job.goes_on()) {
            for due_ms in &job.was_due_ms {
                let timer = DueTimer { due_ms: *due_ms, key: job.key };
                for place in [Place::among_due(timer), Place::among_owners(timer)] {
                    let row = Indexed { timer, live: false };
                    rows.entry(place).or_default().push(IndexWrite { row, timestamp_us: job.timestamp_us });
                }
            }
        }
        let written = rows.iter().map(|(place, rows)| self.rows.write_index(*place, rows));
        let written = at_once(AT_ONCE, written.collect()).await;
        if written.iter().any(Result::is_err) {
            // Nobody is misled: the timers' rows say what counts, and the next sweep finds these.
            tracing::debug!("some rows of indexes still name timers that are not there");
        }
    }
}

enum Found {
    DueMs(Option<u64>),
    Row(Option<TimerRow>),
}

/// One job a timer, in the order in which they were first to be changed.
fn jobs(batch: Vec<Queued>) -> Vec<Job> {
    let mut jobs: Vec<Job> = Vec::new();
    let mut numbers = HashMap::new();
    for Queued { work, answer } in batch {
        let key = match &work {
            Work::Change(change) => change.key(),
            Work::Settle(timer) => timer.key,
        };
        let number = *numbers.entry(key).or_insert_with(|| {
            jobs.push(Job::new(key));
            jobs.len() - 1
        });
        let job = &mut jobs[number];
        job.answers.push(answer);
        match work {
            Work::Change(change) => job.change = Some(change),
            Work::Settle(timer) => drop(job.was_due_ms.insert(timer.due_ms)),
        }
    }
    jobs
}

impl Job {
    fn new(key: TimerKey) -> Self {
        let (was_due_ms, answers) = (BTreeSet::new(), Vec::new());
        Self { key, change: None, was_due_ms, answers, timestamp_us: 0, outcome: None }
    }

    fn found(&mut self, found: Found) {
        match found {
            Found::DueMs(due_ms) => self.was_due_ms.extend(due_ms),
            Found::Row(Some(row)) => {
                // It may have been written, or changed back, since somebody saw that it is not as the index says.
                self.was_due_ms.remove(&row.due_ms);
                self.change = (!self.was_due_ms.is_empty()).then_some(TimerChange::Put(row));
            }
            Found::Row(None) => self.change = Some(TimerChange::Remove(self.key)),
        }
        if let Some(TimerChange::Put(row)) = &self.change {
            self.was_due_ms.remove(&row.due_ms);
        }
    }

    fn goes_on(&self) -> bool {
        self.outcome.is_none()
    }

    fn fail(&mut self, error: StoreError) {
        self.outcome = Some(TimerOutcome::NotWritten(error));
    }

    /// What the indexes are to name.
    fn due(&self) -> Option<DueTimer> {
        match &self.change {
            Some(TimerChange::Put(row)) if self.goes_on() => Some(row.due()),
            _ => None,
        }
    }

    /// Where they are to name it.
    fn places(&self) -> Vec<Place> {
        self.due().map(|timer| vec![Place::among_due(timer), Place::among_owners(timer)]).unwrap_or_default()
    }

    fn answer(self) {
        let outcome = self.outcome.unwrap_or(TimerOutcome::Durable);
        for answer in self.answers {
            // Whoever asked may be gone; what is written stays.
            answer.send(outcome.clone()).ok();
        }
    }
}
