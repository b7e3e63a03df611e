//! Rows of timers, as they are read and written.

use super::{
    places::{self, Index, Place},
    statements::Statements,
};
use crate::store::{
    DueTimer, StoreError, TimerChange, TimerKey, TimerRow,
    scylla::{
        outcome::Failed,
        owned::{Owned, at_once},
        statement::WriteBatch,
    },
};
use bytes::Bytes;
use std::time::Duration;

/// Reads and writes of different partitions that one piece of work has on their way at once.
pub(super) const AT_ONCE: usize = 32;
/// Rows of an index that are read or written at once.
pub(super) const PAGE_ROWS: usize = 512;
/// Rows of an index in one batch.
const BATCH_ROWS_MAX: usize = 128;

/// How long a row says that what it stands for has ended. Longer than anything that a former owner wrote can be on its way.
const ENDED_FOR: Duration = Duration::from_secs(24 * 3600);
/// `USING TTL 0`
const FOR_EVER: i32 = 0;

pub(super) struct Rows {
    pub(super) owned: Owned,
    pub(super) statements: Statements,
}

/// A row of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Indexed {
    pub(super) timer: DueTimer,
    /// Whether it names a timer; else one was there.
    pub(super) live: bool,
}

/// A row of an index to be written.
pub(super) struct IndexWrite {
    pub(super) row: Indexed,
    pub(super) timestamp_us: i64,
}

impl Rows {
    /// When a timer is due, if it is there.
    pub(super) async fn due_ms(&self, key: TimerKey) -> Result<Option<u64>, StoreError> {
        let row: Option<(i64, bool)> = self.owned.row(&self.statements.timer_due, (places::timer(key),)).await?;
        Ok(row.filter(|(_, live)| *live).map(|(due_ms, _)| due_ms.cast_unsigned()))
    }

    pub(super) async fn timer(&self, key: TimerKey) -> Result<Option<TimerRow>, StoreError> {
        let row: Option<(i64, Bytes, bool)> = self.owned.row(&self.statements.timer, (places::timer(key),)).await?;
        let row = row.filter(|(.., live)| *live);
        Ok(row.map(|(due_ms, payload, _)| TimerRow { key, due_ms: due_ms.cast_unsigned(), payload }))
    }

    pub(super) async fn timers(&self, keys: Vec<TimerKey>) -> Result<Vec<Option<TimerRow>>, StoreError> {
        at_once(AT_ONCE, keys.into_iter().map(|key| self.timer(key)).collect()).await.into_iter().collect()
    }

    /// Changes a timer: what its row says counts.
    pub(super) async fn write_timer(&self, change: &TimerChange, timestamp_us: i64) -> Result<(), Failed> {
        let (due_ms, payload, live) = match change {
            TimerChange::Put(row) => (row.due_ms.cast_signed(), row.payload.clone(), true),
            TimerChange::Remove(_) => (0, Bytes::new(), false),
        };
        let values = (places::timer(change.key()), due_ms, payload, live, timestamp_us, ttl_s(live));
        self.owned.write(&self.statements.put_timer, &values).await
    }

    /// Rows of one partition between two keys, neither included, ascending.
    pub(super) async fn scan(
        &self,
        place: Place,
        after: &[u8],
        before: &[u8],
        limit: usize,
    ) -> Result<Vec<Indexed>, StoreError> {
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        let rows: Vec<(Vec<u8>, bool)> = match place.index {
            Index::Due(slice) => {
                self.owned.rows(&self.statements.due, (slice, place.bucket, after, before, limit)).await?
            }
            Index::Of(owner) => {
                self.owned.rows(&self.statements.of, (owner, place.bucket, after, before, limit)).await?
            }
        };
        rows.into_iter().map(|(key, live)| Ok(Indexed { timer: place.timer(&key)?, live })).collect()
    }

    /// Writes rows of one partition, [`PAGE_ROWS`] at most.
    pub(super) async fn write_index(&self, place: Place, rows: &[IndexWrite]) -> Result<(), Failed> {
        for rows in rows.chunks(BATCH_ROWS_MAX) {
            let mut batch = match place.index {
                Index::Due(_) => WriteBatch::new("put_timers_due"),
                Index::Of(_) => WriteBatch::new("put_timers_of"),
            };
            for IndexWrite { row, timestamp_us } in rows {
                let key = place.sort_key(row.timer);
                let (live, ttl_s) = (row.live, ttl_s(row.live));
                match place.index {
                    Index::Due(slice) => {
                        batch.push(&self.statements.put_due, (slice, place.bucket, key, live, *timestamp_us, ttl_s));
                    }
                    Index::Of(owner) => {
                        batch.push(&self.statements.put_of, (owner, place.bucket, key, live, *timestamp_us, ttl_s));
                    }
                }
            }
            self.owned.batch(batch).await?;
        }
        Ok(())
    }

    /// The buckets that a directory has between two, both included, ascending.
    pub(super) async fn buckets(&self, index: Index, from: i64, to: i64) -> Result<Vec<i64>, StoreError> {
        let (mut buckets, mut from) = (Vec::new(), from);
        while from <= to {
            let limit = PAGE_ROWS as i32;
            let page: Vec<(i64, bool)> = match index {
                Index::Due(slice) => self.owned.rows(&self.statements.due_buckets, (slice, from, to, limit)).await?,
                Index::Of(owner) => self.owned.rows(&self.statements.buckets_of, (owner, from, to, limit)).await?,
            };
            let last = page.last().map(|(bucket, _)| *bucket);
            let is_full = page.len() >= PAGE_ROWS;
            buckets.extend(page.into_iter().filter(|(_, live)| *live).map(|(bucket, _)| bucket));
            match last {
                Some(last) if is_full => from = last + 1,
                _ => break,
            }
        }
        Ok(buckets)
    }

    /// Enters a bucket into its directory, or takes it out.
    pub(super) async fn write_bucket(&self, place: Place, live: bool) -> Result<(), Failed> {
        let timestamp_us = self.owned.timestamp().await.map_err(Failed::NotWritten)?;
        let ttl_s = ttl_s(live);
        match place.index {
            Index::Due(slice) => {
                let values = (slice, place.bucket, live, timestamp_us, ttl_s);
                self.owned.write(&self.statements.put_due_bucket, &values).await
            }
            Index::Of(owner) => {
                let values = (owner, place.bucket, live, timestamp_us, ttl_s);
                self.owned.write(&self.statements.put_bucket_of, &values).await
            }
        }
    }
}

fn ttl_s(live: bool) -> i32 {
    if live { FOR_EVER } else { ENDED_FOR.as_secs() as i32 }
}
