//! How a batch of commits becomes durable: what must be there before, the commit point, and what must be there before the answer.

use super::{
    Log,
    batch::{Change, joining_or_leaving, timers},
    pending::{Meta, Pending},
    slot::Slot,
    timer_order::Place,
    writes::{Ended, Pause, lapsed},
};
use crate::{
    chat::LogEntry,
    store::{
        Commit, CommitOutcome, Direction, PageLimit, StoreError, TimerChange, TimerOutcome,
        scylla::tables::{LogRow, LogState, LogTables, Mutation, Rows, bucket_of},
    },
};
use futures_util::future::{try_join, try_join_all};
use godwit_proto::{Seq, Vshard};
use prost::Message;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

impl<T: LogTables> Log<T> {
    /// Commits what continues the head. `sent` is set when the commit point may have been reached. The answer is about all of
    /// it; [`CommitOutcome::Unknown`] only if the lease is lost.
    pub(super) async fn commit_batch(
        &self,
        slot: &Arc<Slot>,
        commits: &[Commit],
        places: &[Place],
        sent: &AtomicBool,
    ) -> CommitOutcome {
        // Only the first can have to wait, for others are only gathered when they need not.
        for place in places {
            place.turn().await;
        }
        let (change, mutation) = match self.prepare(slot, commits).await {
            Ok(prepared) => prepared,
            Err(error) => return CommitOutcome::NotWritten(error),
        };
        self.0.meters.batch(&mutation);
        match self.write_as(mutation, sent, || slot.lock().in_doubt = true).await {
            Ended::Done => {}
            Ended::NotWritten(error) => return CommitOutcome::NotWritten(error),
            Ended::Lapsed if sent.load(Ordering::Relaxed) => return CommitOutcome::Unknown,
            Ended::Lapsed => return CommitOutcome::NotWritten(lapsed()),
        }
        let is_rewritten = !change.rewritten.is_empty();
        let segments = {
            let mut inner = slot.lock();
            inner.in_doubt = false;
            // Pages of an older version are of no more use.
            inner.pages.clear();
            inner.state.as_mut().map(|state| state.apply(change)).unwrap_or_default()
        };
        segments.into_iter().for_each(|segment| self.write_segment(slot.conversation, segment));
        if is_rewritten && self.write_rewritten(slot).await.is_err() {
            return CommitOutcome::Unknown;
        }
        CommitOutcome::Durable
    }

    /// Writes all that must be there before, and makes the mutation that is the commit point.
    async fn prepare(&self, slot: &Arc<Slot>, commits: &[Commit]) -> Result<(Change, Mutation), StoreError> {
        let conversation = slot.conversation;
        let users = joining_or_leaving(commits);
        let members = if users.is_empty() { BTreeMap::new() } else { self.are_members(slot, users).await? };
        let (change, mut parts, meta, unsure) = {
            let mut inner = slot.lock();
            let state = inner.state.as_mut().ok_or_else(lapsed)?;
            let change = Change::of(commits, state.head, state.member_count, &members);
            let parts = change.parts(self.0.limits.batch_entries_max, self.0.limits.batch_bytes_max);
            state.marked = change.memberships.keys().copied().collect();
            let unsure: Vec<_> = state.marked.difference(&state.unsure).copied().collect();
            let bucket = bucket_of(change.head);
            state.meta_raised = state.meta_raised.max(bucket);
            let meta = (state.meta_bucket < bucket).then(|| Meta::new(&state.details, state.meta_raised));
            (change, parts, meta, unsure)
        };
        self.put_timers_first(timers(commits)).await?;
        let unsure = unsure.into_iter().map(|user| self.mark_unsure(slot, user));
        try_join(self.begin(slot), try_join_all(unsure)).await?;
        let last = parts.pop().unwrap_or_default();
        let newest_bucket = async {
            if let Some(meta) = meta {
                let newest_bucket = meta.newest_bucket;
                let meta = Some(meta.encode_to_vec().into());
                self.write(Rows::Conversation { conversation, meta, members: Vec::new() }).await?;
                if let Some(state) = &mut slot.lock().state {
                    state.meta_bucket = state.meta_bucket.max(newest_bucket);
                }
            }
            Ok::<_, StoreError>(())
        };
        let beyond_head = async {
            for entries in parts {
                let bucket = entries.first().map_or(0, |row| bucket_of(row.seq));
                self.write(Rows::Log { conversation, bucket, state: None, entries }).await?;
            }
            Ok::<_, StoreError>(())
        };
        try_join(newest_bucket, beyond_head).await?;
        let timestamp_us = self.timestamp().await?;
        let first = last.first().map_or(change.head.next(), |row| row.seq);
        let pending = match &slot.lock().state {
            Some(state) => state.pending(&change, first).encode_to_vec().into(),
            None => return Err(lapsed()),
        };
        let epoch = self.0.fence.epoch(Vshard::of_conversation(conversation));
        let rows = Rows::Log {
            conversation,
            bucket: bucket_of(change.head),
            state: Some(LogState { head: change.head, epoch, pending }),
            entries: last,
        };
        Ok((change, Mutation { timestamp_us, rows }))
    }

    /// Sees to it that the next owner finds something, and makes it its own, if the first commit is on its way then.
    async fn begin(&self, slot: &Slot) -> Result<(), StoreError> {
        let conversation = slot.conversation;
        if slot.lock().state.as_ref().is_some_and(|state| state.exists || state.is_begun) {
            return Ok(());
        }
        let epoch = self.0.fence.epoch(Vshard::of_conversation(conversation));
        let pending = Pending::default().encode_to_vec().into();
        let state = Some(LogState { head: Seq::ZERO, epoch, pending });
        self.write(Rows::Log { conversation, bucket: 0, state, entries: Vec::new() }).await?;
        if let Some(state) = &mut slot.lock().state {
            state.is_begun = true;
        }
        Ok(())
    }

    /// Makes timers durable. An error: some may not be, but nobody was told that they are.
    async fn put_timers_first(&self, changes: Vec<TimerChange>) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut pause = Pause::new();
        loop {
            let outcomes = self.0.timers.put_timers(changes.clone()).await;
            let refused = outcomes.iter().find_map(|outcome| match outcome {
                TimerOutcome::NotWritten(error) => Some(error.clone()),
                _ => None,
            });
            if let Some(error) = refused {
                return Err(error);
            }
            if !outcomes.contains(&TimerOutcome::Unknown) {
                return Ok(());
            }
            if !self.0.fence.holds() {
                return Err(lapsed());
            }
            pause.wait(&*self.0.tables).await;
        }
    }

    /// Overwrites the rows of entries that others take the place of, which is committed. An error: the lease is lost.
    pub(super) async fn write_rewritten(&self, slot: &Slot) -> Result<(), StoreError> {
        let rewritten: Vec<LogEntry> = {
            let mut inner = slot.lock();
            inner.rewrites += 1;
            match &inner.state {
                Some(state) => state.rewritten.values().cloned().collect(),
                None => return Err(lapsed()),
            }
        };
        let mut rows = rewritten.into_iter().map(|entry| LogRow { seq: entry.seq, entry: entry.encoded }).peekable();
        while let Some(row) = rows.next() {
            let bucket = bucket_of(row.seq);
            let mut bytes = row.entry.len();
            let mut entries = vec![row];
            while let Some(row) = rows.next_if(|row| {
                bytes += row.entry.len();
                bucket_of(row.seq) == bucket
                    && entries.len() < self.0.limits.batch_entries_max
                    && bytes <= self.0.limits.batch_bytes_max
            }) {
                entries.push(row);
            }
            self.write_surely(Rows::Log { conversation: slot.conversation, bucket, state: None, entries }).await?;
        }
        if let Some(state) = &mut slot.lock().state {
            state.rewritten.clear();
        }
        Ok(())
    }

    /// What became of a commit that does not continue the head: exactly its entries may be there already.
    pub(super) async fn compare(&self, slot: &Slot, commit: &Commit) -> CommitOutcome {
        let head = slot.lock().state.as_ref().map(|state| state.head).unwrap_or_default();
        let (Some(first), Some(last)) = (commit.entries.first(), commit.entries.last()) else {
            return CommitOutcome::Conflict;
        };
        if last.seq > head {
            return CommitOutcome::Conflict;
        }
        let mut from: Seq = first.seq;
        while from <= last.seq {
            let rest = &commit.entries[(from.0 - first.seq.0) as usize..];
            let limit = PageLimit { entries: rest.len(), bytes: self.0.limits.batch_bytes_max };
            match self.rows(slot.conversation, head, &BTreeMap::new(), from, Direction::Forward, limit).await {
                Err(error) => return CommitOutcome::NotWritten(error),
                Ok(there) if there.iter().zip(rest).all(|(there, entry)| there.encoded == entry.encoded) => {
                    from = Seq(from.0 + there.len() as u64);
                }
                Ok(_) => return CommitOutcome::Conflict,
            }
        }
        CommitOutcome::AlreadyDurable
    }
}
