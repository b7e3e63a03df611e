//! Writing one partition until it is known how that ended.

use super::Log;
use crate::{
    store::{
        StoreError,
        scylla::tables::{LogTables, Mutation, Rows, Written},
    },
    telemetry::metric::{STATEMENT, STORE_RETRIES},
};
use std::sync::atomic::{AtomicBool, Ordering};

/// How a write ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// It is at a quorum, and was while nobody else could own the conversation.
    Done,
    /// It is nowhere.
    NotWritten(StoreError),
    /// The lease is lost, or it has lapsed and nobody may wait: whatever the outcome was, nobody may go by it.
    Lapsed,
}

/// Pauses between two attempts: from the first, doubled each time, to the second.
const PAUSE_MS: (u64, u64) = (10, 1_000);

/// How long to wait for the lease to be renewed, or to have room for another timestamp, before another look.
const LEASE_PAUSE_MS: u64 = 5;

/// Pauses that grow.
pub(super) struct Pause(u64);

impl Pause {
    pub(super) fn new() -> Self {
        Self(PAUSE_MS.0)
    }

    pub(super) async fn wait<T: LogTables>(&mut self, tables: &T) {
        let ms = self.0;
        self.0 = (ms * 2).min(PAUSE_MS.1);
        tables.sleep(ms).await;
    }
}

impl<T: LogTables> Log<T> {
    /// Whether the lease is held. One that has lapsed may still be renewed, and that is waited for; `false`: it is lost, or the
    /// store is about to close.
    pub(super) async fn is_held(&self) -> bool {
        while !self.0.fence.holds() {
            if self.0.fence.has_ended() || self.0.working.is_closing() {
                return false;
            }
            self.0.tables.sleep(LEASE_PAUSE_MS).await;
        }
        true
    }

    /// A timestamp above all before. When the lease has no room for one now, that is waited for.
    pub(super) async fn timestamp(&self) -> Result<i64, StoreError> {
        loop {
            match self.0.fence.timestamp() {
                Ok(timestamp_us) => return Ok(timestamp_us),
                Err(_) if self.0.fence.holds() => self.0.tables.sleep(LEASE_PAUSE_MS).await,
                Err(error) => return Err(StoreError::Unavailable(error.to_string())),
            }
        }
    }

    /// Writes once.
    pub(super) async fn attempt(&self, mutation: Mutation) -> Written {
        // It is never closed; without a permit the write would only be one more.
        let permit = self.0.permits.acquire().await;
        self.attempt_now(mutation, permit.ok()).await
    }

    async fn attempt_now(&self, mutation: Mutation, permit: Option<tokio::sync::SemaphorePermit<'_>>) -> Written {
        let in_flight = &self.0.meters.writes_in_flight;
        in_flight.increment(1);
        let written = self.0.tables.write(mutation).await;
        in_flight.decrement(1);
        drop(permit);
        written
    }

    /// Writes, and as long as the outcome is unknown, the same again. `sent` is set before the first attempt is made, and
    /// `doubt` called when one was unknown.
    pub(super) async fn write_as(
        &self,
        mutation: Mutation,
        sent: &AtomicBool,
        doubt: impl Fn() + Send + Sync,
    ) -> Ended {
        let mut pause = Pause::new();
        let mut was_unknown = false;
        loop {
            let permit = self.0.permits.acquire().await;
            if !self.is_held().await {
                return Ended::Lapsed;
            }
            sent.store(true, Ordering::Relaxed);
            let written = self.attempt_now(mutation.clone(), permit.ok()).await;
            if !self.is_held().await {
                return Ended::Lapsed;
            }
            match written {
                Written::Done => return Ended::Done,
                // It may still be that the attempt before it was applied.
                Written::NotWritten(error) if !was_unknown => return Ended::NotWritten(error),
                Written::NotWritten(_) => {}
                Written::Unknown => {
                    was_unknown = true;
                    doubt();
                }
            }
            pause.wait(&*self.0.tables).await;
            metrics::counter!(STORE_RETRIES, STATEMENT => name_of(&mutation.rows)).increment(1);
        }
    }

    /// Writes what may be given up before it is known, for nobody goes by it until it is done.
    pub(super) async fn write(&self, rows: Rows) -> Result<(), StoreError> {
        let mutation = Mutation { timestamp_us: self.timestamp().await?, rows };
        match self.write_as(mutation, &AtomicBool::new(false), || ()).await {
            Ended::Done => Ok(()),
            Ended::NotWritten(error) => Err(error),
            Ended::Lapsed => Err(lapsed()),
        }
    }

    /// Writes once, whatever becomes of it.
    pub(super) async fn write_once(&self, rows: Rows) -> Result<Written, StoreError> {
        let timestamp_us = self.timestamp().await?;
        Ok(self.attempt(Mutation { timestamp_us, rows }).await)
    }

    /// Writes until it is done. An error: the lease is lost.
    pub(super) async fn write_surely(&self, rows: Rows) -> Result<(), StoreError> {
        let mut pause = Pause::new();
        while let Err(error) = self.write(rows.clone()).await {
            if !self.is_held().await {
                return Err(error);
            }
            pause.wait(&*self.0.tables).await;
        }
        Ok(())
    }

    /// What was found out, if the lease still holds: else somebody else may know better.
    pub(super) fn believed<V>(&self, found: Result<V, StoreError>) -> Result<V, StoreError> {
        if self.0.fence.holds() { found } else { Err(lapsed()) }
    }
}

fn name_of(rows: &Rows) -> &'static str {
    match rows {
        Rows::Log { .. } => "log_write",
        Rows::Conversation { .. } => "conversation_write",
        Rows::Membership { .. } => "membership_write",
        Rows::Sends { .. } => "sends_write",
    }
}

/// What is said while the lease is not held.
pub(super) fn lapsed() -> StoreError {
    StoreError::Unavailable(crate::store::scylla::fence::Lapsed.to_string())
}
