//! Timers on ScyllaDB or Cassandra; docs/STORAGE.md, "Timers", says what counts when.

mod directory;
mod lanes;
mod places;
mod reads;
mod rows;
mod statements;
mod sweep;
mod writer;

use super::{connection::Cql, error::OpenError, fence::Fence, owned::Owned};
use crate::store::{
    DueTimer, StoreError, TIMER_PAYLOAD_BYTES_MAX, TimerChange, TimerId, TimerKey, TimerKind, TimerOutcome, TimerOwner,
    TimerRow, TimerStore,
};
use directory::Directory;
use futures_util::future::BoxFuture;
use godwit_proto::VshardSet;
use lanes::{Lanes, Work};
use rows::Rows;
use statements::Statements;
use std::{future::ready, ops::Range, sync::Arc, time::Duration};
pub use sweep::Swept;
use tokio::runtime::Handle;
use writer::Writer;

/// What timers are limited by.
#[derive(Debug, Clone)]
pub struct TimerLimits {
    /// Changes that wait to be written. More are refused.
    pub queue_changes_max: usize,
    /// Their bytes, about.
    pub queue_bytes_max: usize,
    /// How often what is over is looked for.
    pub sweep_every: Duration,
}

impl Default for TimerLimits {
    fn default() -> Self {
        Self {
            queue_changes_max: 32 * 1024,
            queue_bytes_max: 64 * 1024 * 1024,
            sweep_every: Duration::from_millis(places::BUCKET_MS),
        }
    }
}

/// The timers of a keyspace that this server owns. Clones share them.
#[derive(Clone)]
pub struct Timers(Arc<Inner>);

struct Inner {
    rows: Arc<Rows>,
    directory: Arc<Directory>,
    lanes: Arc<Lanes>,
    sweeping: tokio::sync::Mutex<()>,
}

impl Timers {
    /// Prepares what timers say to the cluster. Work is done on `runtime`, whoever asks for it and wherever.
    pub async fn open(cql: Arc<Cql>, fence: Fence, runtime: Handle, limits: TimerLimits) -> Result<Self, OpenError> {
        let statements = Statements::prepare(&cql).await?;
        let rows = Arc::new(Rows { owned: Owned::new(cql, fence, runtime.clone()), statements });
        let directory = Arc::new(Directory::new(rows.clone()));
        let writer = Writer::new(rows.clone(), directory.clone());
        let sweep_every = limits.sweep_every;
        let lanes = Arc::new(Lanes::new(writer, runtime.clone(), limits));
        let inner = Arc::new(Inner { rows, directory, lanes, sweeping: tokio::sync::Mutex::default() });
        runtime.spawn(sweep::sweep_now_and_then(Arc::downgrade(&inner), sweep_every));
        Ok(Self(inner))
    }

    /// Waits until nothing is on its way. Nothing may be asked of the store afterwards.
    pub async fn close(&self) {
        self.0.lanes.settled().await;
    }

    /// Looks for stretches of time that are over and closes them, so that nobody reads what has ended; and puts right what a crash
    /// has left in them. Happens by itself every now and then.
    pub fn sweep(&self) -> BoxFuture<'static, Result<Swept, StoreError>> {
        self.run(|inner| async move { inner.sweep().await })
    }

    /// Begins to do something at once.
    fn run<T: Send + 'static, F>(&self, work: impl FnOnce(Arc<Inner>) -> F) -> BoxFuture<'static, Result<T, StoreError>>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        self.0.rows.owned.run(work(self.0.clone()))
    }
}

impl TimerStore for Timers {
    fn put_timers(&self, changes: Vec<TimerChange>) -> BoxFuture<'static, Vec<TimerOutcome>> {
        for change in &changes {
            if let TimerChange::Put(row) = change {
                assert!(row.payload.len() <= TIMER_PAYLOAD_BYTES_MAX, "{:?} is too large", row.key);
            }
        }
        let count = changes.len();
        match self.0.lanes.push(changes.into_iter().map(Work::Change).collect()) {
            Ok(answers) => Box::pin(async move {
                let mut outcomes = Vec::with_capacity(count);
                for answer in answers {
                    // A lane always answers, unless the runtime ends.
                    outcomes.push(answer.await.unwrap_or(TimerOutcome::Unknown));
                }
                outcomes
            }),
            Err(error) => Box::pin(ready(vec![TimerOutcome::NotWritten(error); count])),
        }
    }

    fn due_timers(
        &self,
        vshards: VshardSet,
        due_ms: Range<u64>,
        after: Option<DueTimer>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<DueTimer>, StoreError>> {
        self.run(move |inner| async move { inner.due_timers(&vshards, due_ms, after, limit).await })
    }

    fn timers(&self, keys: Vec<TimerKey>) -> BoxFuture<'static, Result<Vec<Option<TimerRow>>, StoreError>> {
        self.run(|inner| async move { inner.rows.timers(keys).await })
    }

    fn timers_of(
        &self,
        kind: TimerKind,
        owner: TimerOwner,
        after: Option<(u64, TimerId)>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<TimerRow>, StoreError>> {
        self.run(move |inner| async move { inner.timers_of(kind, owner, after, limit).await })
    }

    fn count_timers(&self, kind: TimerKind, owner: TimerOwner) -> BoxFuture<'static, Result<u64, StoreError>> {
        self.run(move |inner| async move { inner.count(kind, owner).await })
    }
}
