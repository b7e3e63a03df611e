//! Summaries in Redis: [`Summarised`] wraps any store, answers lists from Redis, and passes everything else on.
//!
//! Redis holds nothing that cannot be made again. A line or a list that is missing there is read from the store and written
//! (`reads`); what commits change is written behind them, in the order in which it was answered (`commits`, `writer`), and until
//! it is there whoever asks is sent to the store. Nothing is believed that may have missed a change: `slices` says how that is
//! known, whatever becomes of Redis. So a Redis that is flushed, restored from an old backup, slow or away costs reads of the
//! store, and never makes a list wrong; `audit` compares a sample with the store all the time.

mod audit;
mod cells;
mod changes;
mod commits;
mod encode;
mod error;
mod keys;
mod link;
mod meters;
mod online;
mod options;
mod reads;
mod sessions;
mod slices;
mod store_impl;
mod unsure;
mod writer;

pub use error::OpenError;
pub use meters::Counts;
pub use online::OnlineSession;
pub use options::{RedisOptions, UrlError};
pub use slices::Epoch;

use super::{Store, StoreError};
use futures_util::future::BoxFuture;
use std::{
    sync::{Arc, Mutex, atomic::AtomicU64},
    time::Duration,
};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

/// A store whose lists are in Redis.
pub struct Summarised {
    shared: Arc<Shared>,
    runtime: Handle,
    epoch: Epoch,
    /// End with this.
    tasks: Vec<JoinHandle<()>>,
    /// Who is online is written, too.
    writing: Mutex<Option<sessions::Writing>>,
}

/// What the tasks and the callers have in common.
struct Shared {
    store: Arc<dyn Store>,
    link: link::Link,
    keys: keys::Keys,
    slices: slices::Slices,
    cells: cells::Cells,
    unsure: unsure::Unsure,
    audits: audit::Samples,
    meters: Arc<meters::Meters>,
    queue: mpsc::Sender<writer::Job>,
    /// Numbers the calls of `commit`.
    calls: AtomicU64,
    /// Held while the changes of one call are announced and queued.
    announcing: Mutex<()>,
    keep: Duration,
    beat: Duration,
}

impl Summarised {
    /// Begins with nothing that it believes; what is asked for is there from then on. Works on `runtime`, which must have
    /// timers and I/O. A Redis that is away is waited for, one that refuses us is an error.
    pub async fn open(
        store: Arc<dyn Store>,
        options: RedisOptions,
        epoch: Epoch,
        runtime: Handle,
    ) -> Result<Self, OpenError> {
        let meters = Arc::new(meters::Meters::default());
        let (queue, jobs) = mpsc::channel(writer::QUEUE_MAX);
        let (keep, beat, audits) = (options.keep, options.beat, options.audits_per_second);
        let shared = Arc::new(Shared {
            store,
            keys: keys::Keys::new(&options.prefix),
            link: link::Link::new(options, meters.clone()),
            slices: slices::Slices::new(epoch, rand::random()),
            cells: cells::Cells::new(),
            unsure: unsure::Unsure::new(),
            audits: audit::Samples::default(),
            meters,
            queue,
            calls: AtomicU64::new(0),
            announcing: Mutex::new(()),
            keep,
            beat,
        });
        let opening = shared.clone();
        runtime.spawn(async move { opening.link.open().await }).await.map_err(|_| OpenError::Closed)??;
        let keeping = shared.clone();
        let mut tasks = vec![
            runtime.spawn(async move { keeping.link.keep().await }),
            runtime.spawn(writer::run(shared.clone(), jobs)),
        ];
        if audits > 0 {
            tasks.push(runtime.spawn(audit::run(shared.clone(), audits)));
        }
        Ok(Self { shared, runtime, epoch, tasks, writing: Mutex::default() })
    }

    /// Waits until everything that was answered or read so far is in Redis, or known not to be.
    pub async fn settle(&self) {
        let (settled, done) = oneshot::channel();
        if self.shared.queue.send(writer::Job::Settle(settled)).await.is_ok() {
            // The writer answers unless its runtime has ended.
            let _ = done.await;
        }
    }

    /// Compares with the store what was read from Redis lately, now rather than bit by bit.
    pub async fn audit(&self) {
        let shared = self.shared.clone();
        let audit = self.runtime.spawn(async move { shared.audit(shared.audits.take(usize::MAX)).await });
        // It ends early only if the runtime does.
        let _ = audit.await;
    }

    /// What was answered from where since the start.
    pub fn counts(&self) -> Counts {
        self.shared.meters.counts()
    }

    /// Whether Redis answers.
    pub fn is_up(&self) -> bool {
        self.shared.link.is_up()
    }

    /// Who asks may be on any runtime, or none; the connection is on ours.
    fn on_runtime<T: Send + 'static>(
        &self,
        answer: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let answer = self.runtime.spawn(answer);
        Box::pin(async move {
            answer
                .await
                .unwrap_or_else(|_| Err(StoreError::Unavailable("the runtime of the store has ended".to_owned())))
        })
    }
}

impl Drop for Summarised {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.lock_writing().take().into_iter().for_each(sessions::Writing::abort);
    }
}

impl Shared {
    /// Passes on an answer of the store while Redis is away.
    fn read_without<T>(
        &self,
        count: usize,
        answer: BoxFuture<'static, Result<T, StoreError>>,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        self.meters.answered(meters::Source::Away, count);
        answer
    }
}
