//! Closing buckets that are over, so that nobody reads what has ended.

use super::{
    Inner,
    lanes::Work,
    places::{self, Index, Place, SLICES},
    rows::PAGE_ROWS,
};
use crate::{
    store::{
        DueTimer, StoreError, TimerOutcome,
        scylla::owned::{at_once, unavailable},
    },
    telemetry::metric,
};
use std::{
    collections::BTreeSet,
    ops::AddAssign,
    sync::Weak,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// How long after its end a bucket is left alone: until then timers are still put into it and fire.
const OVER_AFTER_MS: u64 = places::BUCKET_MS;
/// Slices that are swept at once.
const SLICES_AT_ONCE: usize = 4;
/// Buckets of owners that are closed at once, by each.
const CLOSED_AT_ONCE: usize = 8;

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Buckets that are not read any more.
    pub closed: u64,
    /// Rows of indexes that named timers that are not there, or are due at another time.
    pub repaired: u64,
}

impl AddAssign for Swept {
    fn add_assign(&mut self, other: Self) {
        self.closed += other.closed;
        self.repaired += other.repaired;
    }
}

enum Close {
    Done,
    /// Somebody puts timers into it, or it was closed before.
    NotNow,
    /// The index names these.
    Names(Vec<DueTimer>),
}

/// For as long as somebody holds the store.
pub(super) async fn sweep_now_and_then(inner: Weak<Inner>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let Some(inner) = inner.upgrade() else { return };
        if let Err(error) = inner.sweep().await {
            tracing::warn!(%error, "timers that are over cannot be tidied away; it is tried again");
        }
    }
}

impl Inner {
    pub(super) async fn sweep(&self) -> Result<Swept, StoreError> {
        let _one = self.sweeping.lock().await;
        let begun = Instant::now();
        let last = last_over();
        let mut swept = Swept::default();
        for of_slice in at_once(SLICES_AT_ONCE, (0..SLICES).map(|slice| self.sweep_slice(slice, last)).collect()).await
        {
            swept += of_slice?;
        }
        metrics::histogram!(metric::STORE_TIMER_SWEEP_SECONDS).record(begun.elapsed());
        Ok(swept)
    }

    async fn sweep_slice(&self, slice: i16, last: i64) -> Result<Swept, StoreError> {
        let index = Index::Due(slice);
        let mut swept = Swept::default();
        for bucket in self.rows.buckets(index, 0, last).await? {
            swept += self.sweep_bucket(Place { index, bucket }).await?;
        }
        Ok(swept)
    }

    /// First the owners' buckets: once this one is closed, nobody knows them any more.
    async fn sweep_bucket(&self, place: Place) -> Result<Swept, StoreError> {
        let mut swept = Swept::default();
        let mut is_over = true;
        let (mut from, before) = (Vec::new(), places::end());
        loop {
            let page = self.rows.scan(place, &from, &before, PAGE_ROWS).await?;
            let named: Vec<_> = page.iter().filter(|row| row.live).map(|row| row.timer).collect();
            let (there, repaired) = self.repair(&named).await?;
            swept.repaired += repaired;
            is_over &= there == 0;
            let owners: BTreeSet<_> = page.iter().map(|row| Place::among_owners(row.timer)).collect();
            let owners = owners.iter().filter(|owner| owner.is_listed());
            for closed in at_once(CLOSED_AT_ONCE, owners.map(|owner| self.sweep_owner(*owner)).collect()).await {
                swept += closed?;
            }
            match page.last() {
                Some(last) if page.len() == PAGE_ROWS => from = place.sort_key(last.timer),
                _ => break,
            }
        }
        if is_over && matches!(self.close(place).await?, Close::Done) {
            swept.closed += 1;
        }
        Ok(swept)
    }

    /// An owner's bucket without a row: what was in it ended so long ago that no sweep knows of it any more.
    pub(super) async fn sweep_empty(&self, place: Place) -> Result<(), StoreError> {
        if place.is_listed() && place.bucket <= last_over() {
            self.sweep_owner(place).await?;
        }
        Ok(())
    }

    /// An owner's bucket that is over.
    async fn sweep_owner(&self, place: Place) -> Result<Swept, StoreError> {
        let mut swept = Swept::default();
        let mut close = self.close(place).await?;
        if let Close::Names(named) = &close {
            let (there, repaired) = self.repair(named).await?;
            swept.repaired += repaired;
            if there == 0 {
                close = self.close(place).await?;
            }
        }
        swept.closed += u64::from(matches!(close, Close::Done));
        Ok(swept)
    }

    /// Puts the indexes right about what they name. Says how many of these are there, and how many are not.
    async fn repair(&self, named: &[DueTimer]) -> Result<(usize, u64), StoreError> {
        let (there, stale) = self.told_apart(named).await?;
        if stale.is_empty() {
            return Ok((there.len(), 0));
        }
        let mut repaired = 0;
        for settled in self.lanes.push(stale.into_iter().map(Work::Settle).collect())? {
            match settled.await {
                Ok(TimerOutcome::Durable) => repaired += 1,
                Ok(TimerOutcome::NotWritten(error)) => return Err(error),
                // It is looked at again next time.
                Ok(TimerOutcome::Unknown) | Err(_) => {}
            }
        }
        metrics::counter!(metric::STORE_TIMERS_REPAIRED).increment(repaired);
        Ok((there.len(), repaired))
    }

    /// Takes a bucket out of its directory if it names no timer.
    async fn close(&self, place: Place) -> Result<Close, StoreError> {
        if !self.directory.begin_to_close(place) {
            return Ok(Close::NotNow);
        }
        let closed = self.close_undisturbed(place).await;
        let listed = matches!(closed, Ok(Close::Done)).then_some(false);
        self.directory.closed(place, listed);
        closed
    }

    async fn close_undisturbed(&self, place: Place) -> Result<Close, StoreError> {
        let (mut from, before) = (Vec::new(), places::end());
        loop {
            let page = self.rows.scan(place, &from, &before, PAGE_ROWS).await?;
            let named: Vec<_> = page.iter().filter(|row| row.live).map(|row| row.timer).collect();
            if !named.is_empty() {
                return Ok(Close::Names(named));
            }
            match page.last() {
                Some(last) if page.len() == PAGE_ROWS => from = place.sort_key(last.timer),
                _ => break,
            }
        }
        self.rows.write_bucket(place, false).await.map_err(unavailable)?;
        metrics::counter!(metric::STORE_TIMER_BUCKETS_CLOSED).increment(1);
        Ok(Close::Done)
    }
}

/// The newest bucket that is over.
fn last_over() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    places::bucket(now_ms.saturating_sub(OVER_AFTER_MS)) - 1
}
