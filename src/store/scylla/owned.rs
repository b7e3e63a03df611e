//! The keyspace while this server owns it: every write carries a timestamp that the lease covers, an unknown one is written again
//! until it is known, and no answer is passed on that came after the fence.

use super::{
    connection::{Conditional, Cql},
    fence::{Fence, Lapsed},
    outcome::Failed,
    statement::{Statement, WriteBatch},
    tables::Written,
};
use crate::{store::StoreError, telemetry::metric};
use futures_util::{StreamExt as _, future::BoxFuture, stream};
use scylla::{deserialize::row::DeserializeRow, serialize::row::SerializeRow};
use std::{
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::runtime::Handle;

/// What accounts and timers are read and written through. Clones share it.
#[derive(Clone)]
pub(super) struct Owned {
    cql: Arc<Cql>,
    fence: Fence,
    runtime: Handle,
}

/// For how long a write whose outcome is unknown is written again. Whoever waits for it is told then.
const UNKNOWN_MAX: Duration = Duration::from_secs(5);
/// Between two attempts at the same write: at first, and at most.
const AGAIN_AFTER: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));
/// How often it is tried again to get a timestamp while the lease holds and has no room: its next renewal makes some.
const ROOM_AFTER: Duration = Duration::from_millis(2);

impl Owned {
    pub(super) fn new(cql: Arc<Cql>, fence: Fence, runtime: Handle) -> Self {
        Self { cql, fence, runtime }
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Does work on the store's own runtime, from now on, whoever waits for it and wherever: a future of the driver needs the
    /// runtime around it, and what was begun must not end with whoever asked for it.
    pub(super) fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let task = self.runtime.spawn(work);
        Box::pin(async move {
            task.await.unwrap_or_else(|error| Err(StoreError::Unavailable(format!("the store has stopped: {error}"))))
        })
    }

    /// Whether an answer that has just come may be passed on.
    pub(super) fn believe(&self) -> Result<(), StoreError> {
        if self.fence.holds() { Ok(()) } else { Err(lapsed()) }
    }

    /// The timestamp of the next write.
    pub(super) async fn timestamp(&self) -> Result<i64, StoreError> {
        loop {
            match self.fence.timestamp() {
                Ok(timestamp_us) => return Ok(timestamp_us),
                Err(Lapsed) => self.believe()?,
            }
            tokio::time::sleep(ROOM_AFTER).await;
        }
    }

    pub(super) async fn rows<R>(&self, statement: &Statement, values: impl SerializeRow) -> Result<Vec<R>, StoreError>
    where
        R: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata>,
    {
        let rows = self.cql.rows(statement, values).await?;
        self.believe().map(|()| rows)
    }

    pub(super) async fn row<R>(&self, statement: &Statement, values: impl SerializeRow) -> Result<Option<R>, StoreError>
    where
        R: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata>,
    {
        let row = self.cql.row(statement, values).await?;
        self.believe().map(|()| row)
    }

    /// A lightweight transaction; `None` when nobody knows what became of it. Read then what is there.
    pub(super) async fn conditional(
        &self,
        statement: &Statement,
        values: impl SerializeRow,
    ) -> Result<Option<Conditional>, StoreError> {
        // It carries no timestamp that would make it lose, so it is not even sent past the fence.
        self.believe()?;
        let outcome = self.cql.conditional(statement, values).await;
        self.believe()?;
        match outcome {
            Ok(conditional) => Ok(Some(conditional)),
            Err(Failed::Unknown) => Ok(None),
            Err(Failed::NotWritten(error)) => Err(error),
        }
    }

    /// Writes one row, until it is known to be written or not.
    pub(super) async fn write(&self, statement: &Statement, values: &impl SerializeRow) -> Result<(), Failed> {
        let mut attempts = Attempts::new(statement.name());
        loop {
            let written = self.cql.write(statement, values).await;
            if let ControlFlow::Break(outcome) = attempts.after(written, &self.fence).await {
                return outcome;
            }
        }
    }

    /// Writes rows of one partition, until they are known to be written or not.
    pub(super) async fn batch(&self, batch: WriteBatch) -> Result<(), Failed> {
        let mut attempts = Attempts::new(batch.name());
        loop {
            let written = self.cql.batch(&batch).await;
            if let ControlFlow::Break(outcome) = attempts.after(written, &self.fence).await {
                return outcome;
            }
        }
    }
}

/// Does several things, a bounded number at the same time; the results come in the order given.
pub(super) async fn at_once<F: Future>(most: usize, work: Vec<F>) -> Vec<F::Output> {
    stream::iter(work).buffered(most).collect().await
}

/// What the owner of a keyspace hears that is its owner no more.
pub(super) fn lapsed() -> StoreError {
    StoreError::Unavailable(Lapsed.to_string())
}

/// For whoever can only be told that it did not work.
pub(super) fn unavailable(failed: Failed) -> StoreError {
    match failed {
        Failed::NotWritten(error) => error,
        Failed::Unknown => StoreError::Unavailable("the cluster does not say whether it has written".to_owned()),
    }
}

/// Attempts at one write, all with the same content and timestamp.
struct Attempts {
    name: &'static str,
    begun: Instant,
    unknown: bool,
    pause: Duration,
}

impl Attempts {
    fn new(name: &'static str) -> Self {
        Self { name, begun: Instant::now(), unknown: false, pause: AGAIN_AFTER.0 }
    }

    /// What is known after one more, or comes back when it is time for the next.
    async fn after(&mut self, written: Written, fence: &Fence) -> ControlFlow<Result<(), Failed>> {
        let decided = self.decide(written, fence.holds());
        if decided.is_continue() {
            metrics::counter!(metric::STORE_RETRIES, metric::STATEMENT => self.name).increment(1);
            tokio::time::sleep(self.pause).await;
            self.pause = (self.pause * 2).min(AGAIN_AFTER.1);
        }
        decided
    }

    fn decide(&mut self, written: Written, fence_holds: bool) -> ControlFlow<Result<(), Failed>> {
        match written {
            Written::Done if fence_holds => return ControlFlow::Break(Ok(())),
            // Another owner may have taken over before it was written, and then it does not count.
            Written::Done => return ControlFlow::Break(Err(Failed::Unknown)),
            // What an earlier attempt did is still not known.
            Written::NotWritten(error) if !self.unknown => return ControlFlow::Break(Err(Failed::NotWritten(error))),
            Written::NotWritten(_) | Written::Unknown => self.unknown = true,
        }
        if fence_holds && self.begun.elapsed() < UNKNOWN_MAX {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(Err(Failed::Unknown))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ControlFlow::{Break, Continue};

    fn refused() -> StoreError {
        StoreError::Unavailable("no node".to_owned())
    }

    #[test]
    fn a_write_is_tried_again_until_it_is_known() {
        let mut attempts = Attempts::new("put");
        assert_eq!(attempts.decide(Written::Unknown, true), Continue(()));
        let now_refused = attempts.decide(Written::NotWritten(refused()), true);
        assert_eq!(now_refused, Continue(()), "the first attempt may have written it all the same");
        assert_eq!(attempts.decide(Written::Done, true), Break(Ok(())));
    }

    #[test]
    fn what_is_known_not_to_be_written_is_said_at_once() {
        let not_written = Attempts::new("put").decide(Written::NotWritten(refused()), true);
        assert_eq!(not_written, Break(Err(Failed::NotWritten(refused()))));
    }

    #[test]
    fn past_the_fence_nothing_is_known_and_nothing_tried_again() {
        for written in [Written::Done, Written::Unknown] {
            assert_eq!(Attempts::new("put").decide(written, false), Break(Err(Failed::Unknown)));
        }
    }

    #[test]
    fn somebody_waits_for_an_unknown_write_no_longer_than_that() {
        let begun = Instant::now().checked_sub(UNKNOWN_MAX);
        let mut attempts = Attempts { begun: begun.unwrap_or_else(Instant::now), ..Attempts::new("put") };
        assert_eq!(attempts.decide(Written::Unknown, true), Break(Err(Failed::Unknown)));
    }
}
