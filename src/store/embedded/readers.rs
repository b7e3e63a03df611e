//! A small, bounded pool of threads that read, so that a core's thread never waits for the disk.

use super::{
    error::RowError,
    metric_names,
    queue::{PushError, Queue, Weight},
    shared::Shared,
    sync::{Fatal, spawn},
};
use crate::store::StoreError;
use futures_util::future::BoxFuture;
use std::{io, sync::Arc, thread::JoinHandle};
use tokio::sync::oneshot;

/// The callers' end of the pool.
#[derive(Clone)]
pub(super) struct Readers {
    queue: Arc<Queue<Job>>,
}

type Job = Box<dyn FnOnce(&Shared) + Send>;

impl Readers {
    /// Starts the threads. `waiting_max` reads may wait for them.
    pub(super) fn start(
        threads: usize,
        waiting_max: usize,
        shared: &Arc<Shared>,
        fatal: &Arc<Fatal>,
    ) -> io::Result<(Self, Vec<JoinHandle<()>>)> {
        let queue = Arc::new(Queue::<Job>::new(Weight { items: waiting_max, bytes: usize::MAX }));
        let start = |n| {
            let (queue, shared) = (queue.clone(), shared.clone());
            spawn(&format!("store-read-{n}"), fatal.clone(), move || {
                while let Some(job) = queue.pop() {
                    job(&shared);
                }
            })
        };
        let threads = (0..threads.max(1)).map(start).collect::<io::Result<_>>()?;
        Ok((Self { queue }, threads))
    }

    /// Reads on one of the threads. A read whose future was dropped is not done.
    pub(super) fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Shared) -> Result<T, RowError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |shared| {
            if !answer.is_closed() {
                // The future may be dropped while this reads.
                drop(answer.send(read(shared).map_err(StoreError::from)));
            }
        });
        match self.queue.push(job, Weight { items: 1, bytes: 0 }) {
            Ok(_) => Box::pin(async { answered.await.unwrap_or_else(|_| Err(closed())) }),
            Err(error) => {
                let error = refusal(error);
                Box::pin(std::future::ready(Err(error)))
            }
        }
    }

    pub(super) fn close(&self) {
        self.queue.close();
    }
}

/// Counts and names a refused push.
pub(super) fn refusal(error: PushError) -> StoreError {
    match error {
        PushError::Full => {
            metric_names::refused("overloaded");
            StoreError::Overloaded
        }
        PushError::Closed => {
            metric_names::refused("closed");
            closed()
        }
    }
}

pub(super) fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".to_owned())
}
