//! The task that works on a conversation: one thing after the other, in the order in which it was asked for.

use super::{
    Log,
    slot::{BatchMax, Queued, Slot, Work},
    writes::lapsed,
};
use crate::store::{CommitOutcome, StoreError, scylla::tables::LogTables};
use futures_util::future::{Either, select};
use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

impl<T: LogTables> Log<T> {
    /// Starts a task that works on the queue of a slot if there is none.
    pub(super) fn start_worker(&self, slot: &Arc<Slot>) {
        if slot.lock().needs_worker() {
            let (log, slot) = (self.clone(), slot.clone());
            let working = self.0.working.start();
            self.0.tables.spawn(Box::pin(async move {
                log.work(&slot).await;
                drop(slot);
                drop(working);
            }));
        }
    }

    async fn work(&self, slot: &Arc<Slot>) {
        if let Err(error) = self.be_active(slot).await {
            return slot.lock().stop(&error);
        }
        while let Some(work) = self.next(slot) {
            let done = match work {
                Work::Turn(answers) => {
                    answers.into_iter().for_each(|answer| drop(answer.send(Ok(()))));
                    Ok(())
                }
                Work::Load(tail, answers) => {
                    let loaded = self.believed(self.load_now(slot, tail).await);
                    answers.into_iter().for_each(|answer| drop(answer.send(loaded.clone())));
                    Ok(())
                }
                Work::Elsewhere(queued) => {
                    let outcome = self.compare(slot, &queued.commit).await;
                    self.answer(*queued, &outcome);
                    Ok(())
                }
                Work::Batch(batch) => self.batch(slot, batch).await,
            };
            if let Err(error) = done {
                return slot.lock().stop(&error);
            }
        }
    }

    fn next(&self, slot: &Slot) -> Option<Work> {
        let mut inner = slot.lock();
        let head = inner.state.as_ref().map(|state| state.head).unwrap_or_default();
        let max = BatchMax { entries: self.0.limits.batch_entries_max, bytes: self.0.limits.batch_bytes_max };
        inner.next(head, max)
    }

    /// Sees to it that there is a state.
    async fn be_active(&self, slot: &Arc<Slot>) -> Result<(), StoreError> {
        if slot.lock().state.is_some() {
            return Ok(());
        }
        let state = self.patiently(slot, Box::pin(self.activate(slot))).await?;
        let (is_rewritten, is_indexed) = (state.rewritten.is_empty(), state.memberships.is_empty());
        slot.lock().state = Some(state);
        if !is_indexed {
            self.start_indexing(slot);
        }
        if !is_rewritten {
            self.patiently(slot, Box::pin(self.write_rewritten(slot))).await?;
        }
        Ok(())
    }

    /// Goes on until it is done. When that takes long, nobody is let in meanwhile.
    async fn patiently<V>(
        &self,
        slot: &Slot,
        work: impl Future<Output = Result<V, StoreError>> + Unpin,
    ) -> Result<V, StoreError> {
        match select(work, self.0.tables.sleep(self.0.limits.patience_ms)).await {
            Either::Left((done, _)) => done,
            Either::Right(((), work)) => {
                slot.lock().give_up();
                let done = work.await;
                slot.lock().go_on();
                done
            }
        }
    }

    /// Commits a batch. An error: nobody can go on with this conversation.
    async fn batch(&self, slot: &Arc<Slot>, batch: Vec<Queued>) -> Result<(), StoreError> {
        let mut places = Vec::new();
        let (mut commits, mut waiting) = (Vec::new(), Vec::new());
        for Queued { commit, timers, answer, held } in batch {
            commits.push(commit);
            places.extend(timers);
            waiting.push((answer, held));
        }
        let sent = AtomicBool::new(false);
        let mut waiting = Some(waiting);
        let mut tell = |outcome: &CommitOutcome| {
            for (answer, held) in waiting.take().into_iter().flatten() {
                drop(held);
                answer.send(self.told(outcome));
            }
        };
        let outcome = {
            let work = pin!(self.commit_batch(slot, &commits, &places, &sent));
            match select(work, self.0.tables.sleep(self.0.limits.patience_ms)).await {
                Either::Left((outcome, _)) => outcome,
                // What was written until now is no part of the log, and may be left as it is.
                Either::Right(_) if !sent.load(Ordering::Relaxed) => CommitOutcome::NotWritten(
                    StoreError::Unavailable("the database did not answer in time; nothing was written".to_owned()),
                ),
                Either::Right(((), work)) => {
                    slot.lock().give_up();
                    tell(&CommitOutcome::Unknown);
                    work.await
                }
            }
        };
        {
            let mut inner = slot.lock();
            inner.go_on();
            if let Some(state) = &mut inner.state {
                state.marked.clear();
            }
        }
        drop(places);
        tell(&outcome);
        if outcome == CommitOutcome::Unknown {
            // Only a lost lease leaves it so, or one that has lapsed when the store closes.
            self.0.fence.end();
            slot.lock().state = None;
            return Err(lapsed());
        }
        self.start_indexing(slot);
        self.start_settling(slot);
        Ok(())
    }

    fn answer(&self, queued: Queued, outcome: &CommitOutcome) {
        let Queued { answer, held, timers, .. } = queued;
        drop((held, timers));
        answer.send(self.told(outcome));
    }

    /// What may be said of an outcome: without a lease, others may have written since.
    fn told(&self, outcome: &CommitOutcome) -> CommitOutcome {
        match outcome {
            CommitOutcome::NotWritten(_) => outcome.clone(),
            _ if self.0.fence.holds() => outcome.clone(),
            // It was not even sent.
            CommitOutcome::Conflict => CommitOutcome::NotWritten(lapsed()),
            _ => CommitOutcome::Unknown,
        }
    }
}
