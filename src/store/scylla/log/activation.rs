//! The first look at a conversation: where it ends, and that nothing of a former owner can change that any more.

use super::{
    Log,
    limits::MUTATION_ENTRIES_MAX,
    pending::{Meta, Pending, damaged, entry},
    slot::Slot,
    state::{Shown, State, Unsettled},
    writes::{Ended, lapsed},
};
use crate::{
    chat::LogEntry,
    store::{
        StoreError,
        scylla::tables::{BUCKET_ENTRIES, LogHead, LogRow, LogState, LogTables, Mutation, Rows, bucket_of},
    },
    telemetry::metric::{STORE_ACTIVATIONS, STORE_SEALS},
};
use godwit_proto::{ConversationId, Seq, Vshard};
use std::{collections::BTreeMap, sync::atomic::AtomicBool};

/// Rows read with the static columns: those of the last mutation, and as many that may be beyond the head.
const HEAD_ROWS: usize = 2 * MUTATION_ENTRIES_MAX;

/// The newest bucket as it is found.
struct Newest {
    bucket: u64,
    state: LogState,
    pending: Pending,
    /// Of the last mutation at least, and the newest entry; ascending, none beyond the head.
    rows: Vec<LogRow>,
}

impl<T: LogTables> Log<T> {
    /// Finds out where a conversation stands, and makes that unchangeable by former owners.
    ///
    /// An error means that nothing was written; else this goes on until it is known.
    pub(super) async fn activate(&self, slot: &Slot) -> Result<State, StoreError> {
        metrics::counter!(STORE_ACTIVATIONS).increment(1);
        let conversation = slot.conversation;
        let tables = &self.0.tables;
        let (meta, first) =
            futures_util::future::join(tables.meta(conversation), tables.log_head(conversation, 0, HEAD_ROWS)).await;
        let meta = meta?.map(|meta| Meta::read(&meta)).transpose()?.unwrap_or_default();
        let epoch = self.0.fence.epoch(Vshard::of_conversation(conversation));
        let Some((bucket, head)) = self.newest_bucket(conversation, meta.newest_bucket, first?, epoch).await? else {
            return self.believed(Ok(State::default()));
        };
        let newest = self.newest(conversation, bucket, head).await?;
        let is_taken_over = newest.state.epoch < epoch;
        let mut state = newest.to_state(&meta)?;
        if is_taken_over {
            self.seal(slot, bucket, epoch, &newest, &state).await?;
            state.is_begun = true;
        } else {
            // Whoever let go of it in this epoch had these written.
            state.rewritten.clear();
            state.memberships.clear();
        }
        self.believed(Ok(state))
    }

    /// The newest bucket that is part of the log. One above it may have been begun by a former owner, too late: then its epoch is
    /// older than that of the bucket below it, which the next owner has taken over. Both are read with all rows, for a read of a
    /// head without them would repair the head alone.
    async fn newest_bucket(
        &self,
        conversation: ConversationId,
        newest_bucket: u64,
        first: Option<LogHead>,
        epoch: u64,
    ) -> Result<Option<(u64, LogHead)>, StoreError> {
        let mut found: Option<(u64, LogHead)> = None;
        let mut first = Some(first);
        for bucket in (0..=newest_bucket).rev() {
            let head = match first.take_if(|_| bucket == 0) {
                Some(first) => first,
                None => self.0.tables.log_head(conversation, bucket, HEAD_ROWS).await?,
            };
            let Some(head) = head else { continue };
            if head.state.epoch > epoch {
                self.0.fence.end();
                return Err(lapsed());
            }
            let is_own = head.state.epoch == epoch;
            match &found {
                Some((_, above)) if head.state.epoch <= above.state.epoch => break,
                _ => found = Some((bucket, head)),
            }
            if is_own {
                break;
            }
        }
        Ok(found)
    }

    async fn newest(&self, conversation: ConversationId, bucket: u64, head: LogHead) -> Result<Newest, StoreError> {
        let mut head = head;
        loop {
            let LogHead { state, rows } = &head;
            let pending = Pending::read(&state.pending)?;
            if bucket_of(state.head) != bucket {
                return Err(damaged(&format!("{conversation:?} ends at {:?} in bucket {bucket}", state.head)));
            }
            let lowest = Seq(pending.first_seq.min(state.head.0).max(bucket * BUCKET_ENTRIES).max(1));
            let count = (state.head.0 + 1).saturating_sub(lowest.0);
            let there = rows.iter().filter(|row| (lowest..=state.head).contains(&row.seq)).count() as u64;
            if there == count {
                let rows = rows.iter().rev().filter(|row| (lowest..=state.head).contains(&row.seq)).cloned().collect();
                return Ok(Newest { bucket, state: state.clone(), pending, rows });
            }
            // Many rows beyond the head are in the way: a large commit was given up. All is read again in one query, because only
            // what one mutation wrote is certain to be seen whole.
            let top = rows.first().map_or(state.head, |row| row.seq);
            let limit = (top.0 + 1).saturating_sub(lowest.0) as usize;
            if limit <= rows.len() {
                return Err(damaged(&format!("{conversation:?} has no rows from {lowest:?} to {:?}", state.head)));
            }
            let again = self.0.tables.log_head(conversation, bucket, limit).await?;
            head = again.ok_or_else(|| damaged(&format!("{conversation:?} has lost its bucket {bucket}")))?;
        }
    }

    /// Writes what was found again, under this owner's epoch and timestamp: then it is at a quorum, and what a former owner has
    /// in flight loses.
    async fn seal(
        &self,
        slot: &Slot,
        bucket: u64,
        epoch: u64,
        newest: &Newest,
        state: &State,
    ) -> Result<(), StoreError> {
        metrics::counter!(STORE_SEALS).increment(1);
        let first = Seq(newest.pending.first_seq);
        let as_now = |row: &LogRow| {
            state
                .rewritten
                .get(&row.seq)
                .map_or_else(|| row.clone(), |entry| LogRow { seq: row.seq, entry: entry.encoded.clone() })
        };
        let rows = Rows::Log {
            conversation: slot.conversation,
            bucket,
            state: Some(LogState { epoch, ..newest.state.clone() }),
            entries: newest.rows.iter().filter(|row| row.seq >= first).map(as_now).collect(),
        };
        let mutation = Mutation { timestamp_us: self.timestamp().await?, rows };
        match self.write_as(mutation, &AtomicBool::new(false), || ()).await {
            Ended::Done => Ok(()),
            Ended::NotWritten(error) => Err(error),
            // It may have been written, and another look would take it for known.
            Ended::Lapsed => {
                self.0.fence.end();
                Err(lapsed())
            }
        }
    }
}

impl Newest {
    fn to_state(&self, meta: &Meta) -> Result<State, StoreError> {
        let pending = &self.pending;
        let details = pending.details()?;
        let unsettled = |(user, value)| (user, Unsettled { value, since: 0 });
        let rewritten: BTreeMap<Seq, LogEntry> =
            pending.rewritten()?.into_iter().map(|entry| (entry.seq, entry)).collect();
        let as_now =
            |row: &LogRow| rewritten.get(&row.seq).map_or_else(|| entry(row.entry.clone()), |entry| Ok(entry.clone()));
        let rows = self.rows.iter().map(as_now).collect::<Result<Vec<_>, _>>()?;
        let shown = rows.iter().rev().find(|entry| entry.is_shown).cloned();
        Ok(State {
            exists: self.state.head > Seq::ZERO || pending.first_seq > 0,
            head: self.state.head,
            meta_bucket: self.bucket,
            meta_raised: self.bucket,
            details_since: details.is_some().then_some(0),
            details: details.map_or_else(|| meta.details(), Ok)?,
            member_count: pending.member_count,
            members: pending.members()?.into_iter().map(unsettled).collect(),
            memberships: pending
                .memberships()?
                .into_iter()
                .map(|(user, value)| (user, Unsettled { value, since: 0 }))
                .collect(),
            newest: rows.last().cloned(),
            shown: shown.map_or(Shown::Unknown, Shown::Entry),
            rewritten,
            ..State::default()
        })
    }
}
