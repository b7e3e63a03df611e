//! Waiting for the lease, and holding it.

use super::{
    LeaseRow, LeaseState, LeaseTables, Lost,
    term::{Term, micros},
    vshards,
    watch::{Verdict, Watch},
};
use crate::{
    store::{
        StoreError,
        scylla::fence::{Clock, Fence},
    },
    telemetry::metric,
};
use metrics::counter;
use std::{sync::Arc, time::Duration};

/// Who wants a lease, and how.
#[derive(Debug, Clone)]
pub struct LeaseSettings {
    /// How long it holds after a renewal.
    pub lease: Duration,
    /// Random at every start.
    pub incarnation: i64,
    /// What people call this server; others say it when they wait for it.
    pub address: String,
}

/// The keyspace is this server's, as long as [`Lease::keep`] runs.
pub struct Lease {
    term: Term,
    fence: Fence,
    ts_floor_us: i64,
}

/// Waits until the lease may be taken, and takes it and all vshards. `waiting` is told of every holder that is waited for.
///
/// An error is one of the first look at the tables; later ones are in the log, and what failed is tried again. It can be dropped
/// at any time: a lease that was taken by then ends by itself.
pub async fn acquire(
    tables: Arc<dyn LeaseTables>,
    clock: Arc<dyn Clock>,
    settings: LeaseSettings,
    mut waiting: impl FnMut(&LeaseRow) + Send,
) -> Result<Lease, StoreError> {
    let mut watch = Watch::default();
    let mut waited_for = None;
    let mut row = tables.lease().await?;
    loop {
        let verdict = watch.observe(row.as_ref(), clock.elapsed());
        let pause = match verdict {
            Verdict::Wait(left) => left.min(settings.lease / LOOKS_IN_LEASE),
            Verdict::Free | Verdict::TakeOver => match take(&tables, &clock, &settings, row.as_ref()).await {
                Ok(Some(lease)) => return Ok(lease),
                Ok(None) => Duration::ZERO,
                Err(error) => {
                    tracing::warn!(%error, "the lease on the keyspace could not be taken; trying again");
                    settings.lease / LOOKS_IN_LEASE
                }
            },
        };
        if let (Verdict::Wait(_), Some(holder)) = (verdict, &row)
            && waited_for.replace(holder.beat.incarnation) != Some(holder.beat.incarnation)
        {
            waiting(holder);
        }
        tables.sleep(pause).await;
        row = match tables.lease().await {
            Ok(row) => row,
            Err(error) => {
                tracing::warn!(%error, "the lease on the keyspace cannot be read; looking again");
                row
            }
        };
    }
}

/// `None`: somebody else was faster, or this server was too slow.
async fn take(
    tables: &Arc<dyn LeaseTables>,
    clock: &Arc<dyn Clock>,
    settings: &LeaseSettings,
    before: Option<&LeaseRow>,
) -> Result<Option<Lease>, StoreError> {
    let now_us = clock.wall_us();
    let ts_floor_us = before.map_or(now_us, |row| now_us.max(row.until_us.saturating_add(1)));
    if ts_floor_us > TIMESTAMP_US_MAX {
        return Err(StoreError::Unavailable(format!(
            "the lease has been stored with an impossible time, {ts_floor_us} µs"
        )));
    }
    let Some(mut term) = Term::begin(tables.clone(), clock.clone(), settings, before, ts_floor_us).await? else {
        return Ok(None);
    };
    say_what_was_found(before, now_us);
    // Renewed while the vshards are taken, which may take longer than the lease. Nobody else sees this fence.
    let fence = Fence::new(clock.clone(), Vec::new(), ts_floor_us);
    term.tell(&fence);
    let taken = tokio::select! {
        biased;
        lost = term.renew_until_lost(&fence) => Err(lost),
        epochs = vshards::take_all(&**tables, &fence, settings.incarnation, ts_floor_us) => Ok(epochs),
    };
    match taken {
        Ok(epochs) => {
            let fence = Fence::new(clock.clone(), epochs, ts_floor_us);
            term.tell(&fence);
            Ok(Some(Lease { term, fence, ts_floor_us }))
        }
        Err(lost) => {
            tracing::warn!(%lost, "the lease was lost before the keyspace was taken; looking again");
            Ok(None)
        }
    }
}

fn say_what_was_found(before: Option<&LeaseRow>, now_us: i64) {
    let Some(before) = before else { return };
    if before.state == LeaseState::Held {
        counter!(metric::LEASE_TAKEOVERS).increment(1);
        tracing::warn!(from = before.address, "took the keyspace over from a server that had not renewed its lease");
    }
    let ahead_us = before.until_us.saturating_sub(now_us).saturating_sub(micros(before.lease));
    if ahead_us > CLOCK_AHEAD_US {
        tracing::warn!(
            ahead_s = ahead_us / 1_000_000,
            from = before.address,
            "the timestamps of the former owner are far ahead of this machine's clock: one of the two clocks is or was wrong, and \
             should be looked at. Nothing is lost by it: timestamps go on from there"
        );
    }
}

impl Lease {
    /// What writes are stamped by and answers are believed by.
    pub fn fence(&self) -> Fence {
        self.fence.clone()
    }

    /// The lowest timestamp that this owner uses, and above any of an owner before.
    pub fn ts_floor_us(&self) -> i64 {
        self.ts_floor_us
    }

    /// Renews until the lease is lost, or until `stop` comes back: then gives it back. When this returns, the fence has ended.
    ///
    /// Before `stop`, whatever was written must be known to be done or not.
    pub async fn keep(mut self, stop: impl Future<Output = ()> + Send) -> Result<(), Lost> {
        let lost = tokio::select! {
            biased;
            lost = self.term.renew_until_lost(&self.fence) => lost,
            () = stop => {
                self.term.release(&self.fence).await;
                return Ok(());
            }
        };
        tracing::error!(%lost, "this server does not own the keyspace any more and acknowledges nothing");
        Err(lost)
    }
}

/// How often somebody who waits looks.
const LOOKS_IN_LEASE: u32 = 10;

/// By how much timestamps may be ahead of the clock before somebody should hear of it.
const CLOCK_AHEAD_US: i64 = 3_600_000_000;

/// The year 9999: beyond it a row is damaged, not somebody's clock wrong.
const TIMESTAMP_US_MAX: i64 = 253_402_300_800_000_000;
