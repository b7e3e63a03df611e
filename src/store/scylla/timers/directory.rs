//! Which buckets are known to be in their directories, who is just putting timers into them, and which one is being closed.

use super::{places::Place, rows::Rows};
use crate::store::{StoreError, scylla::owned::unavailable};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// Buckets that are remembered. One that is forgotten is entered again.
const BUCKETS_KNOWN_MAX: usize = 64 * 1024;

pub(super) struct Directory {
    rows: Arc<Rows>,
    buckets: Mutex<HashMap<Place, Bucket>>,
    closed: Notify,
}

#[derive(Default)]
struct Bucket {
    /// How many are putting timers into it. It is not closed meanwhile.
    used: usize,
    /// Whoever wants to put a timer into it waits.
    closing: bool,
    /// What its directory says; `None`: nobody remembers.
    listed: Option<bool>,
}

impl Directory {
    pub(super) fn new(rows: Arc<Rows>) -> Self {
        Self { rows, buckets: Mutex::default(), closed: Notify::new() }
    }

    /// Has a bucket in its directory, from now until [`leave`](Self::leave) at least.
    pub(super) async fn enter(&self, place: Place) -> Result<(), StoreError> {
        loop {
            // Made before it is looked, so that an end in between is noticed.
            let closed = self.closed.notified();
            if let Some(is_listed) = self.try_enter(place) {
                if is_listed {
                    return Ok(());
                }
                break;
            }
            closed.await;
        }
        let entered = self.rows.write_bucket(place, true).await;
        match entered {
            Ok(()) => {
                self.lock().entry(place).or_default().listed = Some(true);
                Ok(())
            }
            Err(failed) => {
                self.leave(place);
                Err(unavailable(failed))
            }
        }
    }

    pub(super) fn leave(&self, place: Place) {
        if let Some(bucket) = self.lock().get_mut(&place) {
            bucket.used = bucket.used.saturating_sub(1);
        }
    }

    /// Whether a bucket may be closed now. If so, nobody puts anything into it until [`closed`](Self::closed).
    pub(super) fn begin_to_close(&self, place: Place) -> bool {
        let mut buckets = self.room();
        let bucket = buckets.entry(place).or_default();
        let free = bucket.used == 0 && !bucket.closing && bucket.listed != Some(false);
        if free {
            *bucket = Bucket { used: 0, closing: true, listed: None };
        }
        free
    }

    /// `listed`: what its directory says now, if that is known.
    pub(super) fn closed(&self, place: Place, listed: Option<bool>) {
        self.lock().insert(place, Bucket { used: 0, closing: false, listed });
        self.closed.notify_waiters();
    }

    /// Whether it is known to be listed; `None`: it is being closed.
    fn try_enter(&self, place: Place) -> Option<bool> {
        let mut buckets = self.room();
        let bucket = buckets.entry(place).or_default();
        if bucket.closing {
            return None;
        }
        bucket.used += 1;
        Some(bucket.listed == Some(true))
    }

    fn room(&self) -> MutexGuard<'_, HashMap<Place, Bucket>> {
        let mut buckets = self.lock();
        if buckets.len() >= BUCKETS_KNOWN_MAX {
            buckets.retain(|_, bucket| bucket.used > 0 || bucket.closing);
        }
        buckets
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Place, Bucket>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
