//! Changes of timers take effect in the order in which they were asked for, whether they come with a commit or by themselves.
//! Those of a commit are only made when it is its turn, so what is asked for later has to wait for that.

use super::Log;
use crate::store::{TimerChange, TimerKey, TimerOutcome, scylla::tables::LogTables};
use futures_util::future::BoxFuture;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{Notify, oneshot};

/// Who waits to change which timers.
#[derive(Default)]
pub(super) struct TimerOrder {
    lines: Mutex<Lines>,
    moved: Notify,
}

#[derive(Default)]
struct Lines {
    places: u64,
    /// By timer, in order. None is empty.
    waiting: BTreeMap<TimerKey, VecDeque<u64>>,
}

/// A place in the lines of some timers, until it is dropped.
pub(super) struct Place {
    order: Arc<TimerOrder>,
    number: u64,
    keys: Vec<TimerKey>,
}

impl TimerOrder {
    /// The last place in the lines of these timers.
    pub(super) fn take(self: &Arc<Self>, changes: &[TimerChange]) -> Place {
        let mut keys: Vec<_> = changes.iter().map(TimerChange::key).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut lines = self.lock();
        lines.places += 1;
        let number = lines.places;
        for key in &keys {
            lines.waiting.entry(*key).or_default().push_back(number);
        }
        Place { order: self.clone(), number, keys }
    }

    fn is_waited_for(&self, changes: &[TimerChange]) -> bool {
        let lines = self.lock();
        !lines.waiting.is_empty() && changes.iter().any(|change| lines.waiting.contains_key(&change.key()))
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Whether all before it are done.
    pub(super) fn is_first(&self) -> bool {
        let lines = self.order.lock();
        self.keys.iter().all(|key| lines.waiting.get(key).and_then(VecDeque::front) == Some(&self.number))
    }

    pub(super) async fn turn(&self) {
        loop {
            let moved = self.order.moved.notified();
            if self.is_first() {
                return;
            }
            moved.await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lines = self.order.lock();
        for key in &self.keys {
            if let Some(line) = lines.waiting.get_mut(key) {
                line.retain(|number| *number != self.number);
                if line.is_empty() {
                    lines.waiting.remove(key);
                }
            }
        }
        drop(lines);
        self.order.moved.notify_waiters();
    }
}

impl<T: LogTables> Log<T> {
    /// Changes timers by themselves, after what commits that were asked for before change of the same timers.
    pub fn put_timers(&self, changes: Vec<TimerChange>) -> BoxFuture<'static, Vec<TimerOutcome>> {
        let order = &self.0.timer_order;
        if !order.is_waited_for(&changes) {
            return self.0.timers.put_timers(changes);
        }
        let count = changes.len();
        let place = order.take(&changes);
        let timers = self.0.timers.clone();
        let (answer, answered) = oneshot::channel();
        self.0.tables.spawn(Box::pin(async move {
            place.turn().await;
            let outcomes = timers.put_timers(changes).await;
            drop(place);
            // Who has gone does not want to know.
            let _ = answer.send(outcomes);
        }));
        Box::pin(async move { answered.await.unwrap_or_else(|_| vec![TimerOutcome::Unknown; count]) })
    }
}
