//! The one thread that makes things durable: it takes everything that waits, writes it with one sync, and answers all.
//!
//! Nothing waits for company: what arrives during a sync forms the next turn.

use super::{
    error::RowError,
    heads::Heads,
    keys,
    metric_names::{self, COMMIT_BATCH_BYTES, COMMIT_BATCH_ENTRIES, COMMIT_QUEUE_DEPTH, COMMIT_SYNC_SECONDS},
    queue::{Queue, Weight},
    record::Record,
    shared::Shared,
    timers::{TimerEdit, TimerTurn},
    turn::Turn,
    users::{Answered, UserTurn, UserWrite},
    watchdog::Writer,
};
use crate::store::{Commit, CommitOutcome, StoreError, TimerChange, TimerOutcome};
use fjall::PersistMode;
use std::{sync::Arc, time::Instant};
use tokio::sync::oneshot;

/// What callers hand to the commit thread.
pub(super) enum Write {
    Commits(Vec<Commit>, oneshot::Sender<Vec<CommitOutcome>>),
    Timers(Vec<TimerChange>, oneshot::Sender<Vec<TimerOutcome>>),
    User(UserWrite),
}

pub(super) struct CommitThread {
    shared: Arc<Shared>,
    queue: Arc<Queue<Write>>,
    turn_max: Weight,
    heads: Heads,
    /// The newest durable record.
    number: u64,
}

/// An answer that waits for the sync.
enum Waiting {
    Commits(Vec<CommitOutcome>, oneshot::Sender<Vec<CommitOutcome>>),
    Timers(Vec<TimerOutcome>, oneshot::Sender<Vec<TimerOutcome>>),
    User(Answered),
}

impl CommitThread {
    /// Continues after the newest durable record.
    pub(super) fn new(
        shared: Arc<Shared>,
        queue: Arc<Queue<Write>>,
        turn_max: Weight,
        heads_max: usize,
        number: u64,
    ) -> Self {
        Self { shared, queue, turn_max, heads: Heads::new(heads_max), number }
    }

    /// Runs until the queue is closed and empty.
    pub(super) fn run(mut self) {
        let mut writes = Vec::new();
        while let Some(depth) = self.queue.pop_many(self.turn_max, &mut writes) {
            metrics::gauge!(COMMIT_QUEUE_DEPTH).set(depth as f64);
            self.turn(std::mem::take(&mut writes));
        }
    }

    fn turn(&mut self, writes: Vec<Write>) {
        if self.shared.fatal.has_failed() {
            return refuse_all(writes, &StoreError::Unavailable("the store has failed".to_owned()));
        }
        if self.shared.disk.is_full() {
            return refuse_all(writes, &StoreError::Full);
        }
        if let Err(error) = self.shared.wait_for_room() {
            return refuse_all(writes, &error);
        }
        let shared = self.shared.clone();
        let mut turn = Turn::new(&shared, &mut self.heads);
        let mut timers = TimerTurn::new(&shared);
        let mut users = UserTurn::new(&shared.keyspaces);
        let mut waiting = Vec::with_capacity(writes.len());
        for write in writes {
            match write {
                Write::Commits(commits, answer) => {
                    let outcomes = commits.into_iter().map(|commit| turn.admit(commit, &mut timers)).collect();
                    waiting.push(Waiting::Commits(outcomes, answer));
                }
                Write::Timers(changes, answer) => {
                    let outcomes = changes.into_iter().map(|change| timers.admit(change)).collect();
                    waiting.push(Waiting::Timers(outcomes, answer));
                }
                Write::User(write) => waiting.push(Waiting::User(write.apply(&mut users))),
            }
        }
        let (commits, heads) = turn.finish();
        let timers = timers.finish();
        let nothing = commits.is_empty() && timers.is_empty() && users.is_empty();
        let synced = if nothing { Ok(()) } else { self.write(commits, timers, users) };
        if let Err(error) = synced {
            // What the engine did is unknown, and it refuses everything from now on.
            answer(waiting, Some(&StoreError::Unavailable(error.to_string())));
            self.shared.fatal.fail(&format!("a commit failed: {error}"));
            return;
        }
        for (conversation, head) in heads {
            self.heads.put(conversation, head);
        }
        answer(waiting, None);
    }

    fn write(&mut self, commits: Vec<Commit>, timers: Vec<TimerEdit>, users: UserTurn<'_>) -> Result<(), RowError> {
        let number = self.number + 1;
        let (record, value) = Record::encode(number, commits, timers);
        let mut batch = self.shared.keyspaces.db.batch().durability(Some(PersistMode::SyncData));
        batch.insert(&self.shared.keyspaces.records, keys::record(number), value);
        users.write(&mut batch);
        let rows = self.shared.rows_before_sync();
        let started = Instant::now();
        self.shared.watchdog.watch(Writer::Commit, || batch.commit())?;
        metrics::histogram!(COMMIT_SYNC_SECONDS).record(started.elapsed());
        metrics::histogram!(COMMIT_BATCH_ENTRIES).record(record.entries() as f64);
        metrics::histogram!(COMMIT_BATCH_BYTES).record(record.bytes as f64);
        self.number = number;
        self.shared.synced(rows);
        if let Err(error) = self.shared.guard.write(number) {
            // The commit is durable all the same; a guard that is behind only hides damage.
            tracing::error!(%error, "cannot note the newest commit beside the journal");
        }
        self.shared.publish(Arc::new(record));
        Ok(())
    }
}

fn refuse_all(writes: Vec<Write>, error: &StoreError) {
    let reason = match error {
        StoreError::Full => "full",
        StoreError::Overloaded => "overloaded",
        StoreError::Unavailable(_) => "failed",
    };
    for write in writes {
        metric_names::refused(reason);
        match write {
            Write::Commits(commits, answer) => {
                // Whoever asked may be gone.
                drop(answer.send(vec![CommitOutcome::NotWritten(error.clone()); commits.len()]));
            }
            Write::Timers(changes, answer) => {
                drop(answer.send(vec![TimerOutcome::NotWritten(error.clone()); changes.len()]));
            }
            Write::User(write) => write.refuse(error.clone()),
        }
    }
}

fn answer(waiting: Vec<Waiting>, failed: Option<&StoreError>) {
    for waiting in waiting {
        match waiting {
            Waiting::Commits(mut outcomes, answer) => {
                if failed.is_some() {
                    // What was already durable may be so only through this very turn.
                    for outcome in &mut outcomes {
                        if matches!(outcome, CommitOutcome::Durable | CommitOutcome::AlreadyDurable) {
                            *outcome = CommitOutcome::Unknown;
                        }
                    }
                }
                drop(answer.send(outcomes));
            }
            Waiting::Timers(mut outcomes, answer) => {
                if failed.is_some() {
                    for outcome in outcomes.iter_mut().filter(|outcome| **outcome == TimerOutcome::Durable) {
                        *outcome = TimerOutcome::Unknown;
                    }
                }
                drop(answer.send(outcomes));
            }
            Waiting::User(answered) => answered(failed.cloned().map_or(Ok(()), Err)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_a_failed_sync_should_have_made_durable_is_unknown() {
        let full = StoreError::Full;
        let (of_commits, mut commits) = oneshot::channel();
        let (of_timers, mut timers) = oneshot::channel();
        let waiting = vec![
            Waiting::Commits(vec![CommitOutcome::Durable, CommitOutcome::Conflict], of_commits),
            Waiting::Timers(vec![TimerOutcome::Durable, TimerOutcome::NotWritten(full.clone())], of_timers),
        ];
        answer(waiting, Some(&StoreError::Unavailable("the sync failed".to_owned())));
        assert_eq!(commits.try_recv().unwrap(), [CommitOutcome::Unknown, CommitOutcome::Conflict]);
        assert_eq!(timers.try_recv().unwrap(), [TimerOutcome::Unknown, TimerOutcome::NotWritten(full)]);
    }
}
