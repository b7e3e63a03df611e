//! The log of conversations on partitioned rows: docs/STORAGE.md, "A conversation", says how, and why nothing is torn, lost or
//! doubled.
//!
//! No driver, no clock and no runtime: what it asks of them is [`LogTables`], the [`Fence`] and a [`TimerStore`].

mod activation;
mod batch;
mod call;
mod commit;
mod limits;
mod memberships;
mod meters;
mod pending;
mod queue;
mod reads;
mod sends;
mod settle;
mod slot;
mod slots;
mod state;
mod summaries;
mod timer_order;
mod worker;
mod working;
mod writes;

pub use limits::LogLimits;

use self::{
    batch::commit_bytes,
    call::Answer,
    meters::Meters,
    queue::Queue,
    slot::{Queued, Slot, stuck},
    slots::Slots,
    timer_order::TimerOrder,
    working::Working,
};
use super::{fence::Fence, tables::LogTables};
use crate::{
    chat::LogEntry,
    store::{
        Commit, CommitOutcome, Direction, LoadedConversation, LogStore, PageLimit, StoreError, StoredSummary,
        TimerStore,
    },
    telemetry::metric::{REASON, STORE_REFUSED},
};
use futures_util::future::BoxFuture;
use godwit_proto::{ClientMsgId, ConversationId, Seq, UserId};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The log of conversations. Clones are the same one.
pub struct Log<T>(Arc<Inner<T>>);

struct Inner<T> {
    tables: Arc<T>,
    timers: Arc<dyn TimerStore>,
    timer_order: Arc<TimerOrder>,
    fence: Fence,
    limits: LogLimits,
    slots: Slots,
    queue: Arc<Queue>,
    permits: Semaphore,
    working: Working,
    meters: Meters,
}

impl<T> Clone for Log<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: LogTables> Log<T> {
    /// A log on these tables, whose conversations this server owns as long as the fence holds. The timers of commits go to
    /// `timers`; whoever changes timers otherwise does it by [`put_timers`](Self::put_timers), so that all keep their order.
    pub fn new(tables: Arc<T>, timers: Arc<dyn TimerStore>, fence: Fence, limits: LogLimits) -> Self {
        Self(Arc::new(Inner {
            slots: Slots::new(limits.conversations_max),
            queue: Arc::new(Queue::new(&limits)),
            permits: Semaphore::new(limits.writes_in_flight_max),
            working: Working::default(),
            meters: Meters::new(),
            timer_order: Arc::default(),
            tables,
            timers,
            fence,
            limits,
        }))
    }

    /// Comes back when no commit waits and nothing is on its way any more; what was to be written later is written at once. For
    /// whoever is about to give the lease back: nothing may be asked of the log afterwards.
    pub async fn quiet(&self) {
        self.0.working.close();
        self.0.working.ended().await;
    }

    /// Puts a commit into the queue of its conversation, which is added to `slots` if it is not the last there.
    fn push(&self, commit: Commit, answer: Answer, slots: &mut Vec<Arc<Slot>>) {
        let Some(held) = self.0.queue.hold(commit_bytes(&commit)) else {
            metrics::counter!(STORE_REFUSED, REASON => "overloaded").increment(1);
            return answer.send(CommitOutcome::NotWritten(StoreError::Overloaded));
        };
        if slots.last().is_none_or(|slot| slot.conversation != commit.conversation) {
            slots.push(self.0.slots.slot(commit.conversation));
        }
        let Some(slot) = slots.last() else { return };
        let timers = (!commit.timers.is_empty()).then(|| self.0.timer_order.take(&commit.timers));
        let pushed = slot.lock().push_commit(Box::new(Queued { commit, timers, answer, held }));
        if let Err(queued) = pushed {
            queued.answer.send(CommitOutcome::NotWritten(stuck()));
        }
    }
}

impl<T: LogTables> LogStore for Log<T> {
    /// # Panics
    ///
    /// When entries are not dense and ascending from `after`, or rewritten ones are not older: the caller's numbering is
    /// broken.
    fn commit(&self, commits: Vec<Commit>) -> BoxFuture<'static, Vec<CommitOutcome>> {
        commits.iter().for_each(batch::check);
        let count = commits.len();
        let (answers, outcomes) = call::answers(count);
        let mut slots = Vec::new();
        for (commit, answer) in commits.into_iter().zip(answers) {
            self.push(commit, answer, &mut slots);
        }
        // Not before: what was handed over together goes into one mutation.
        slots.iter().for_each(|slot| self.start_worker(slot));
        // Every answer is given, or dropped.
        Box::pin(async move { outcomes.await.unwrap_or_else(|_| vec![CommitOutcome::Unknown; count]) })
    }

    fn load(
        &self,
        conversation: ConversationId,
        tail: usize,
    ) -> BoxFuture<'static, Result<Option<LoadedConversation>, StoreError>> {
        let log = self.clone();
        Box::pin(async move { log.believed(log.load_shared(conversation, tail).await) })
    }

    fn read(
        &self,
        conversation: ConversationId,
        from: Seq,
        direction: Direction,
        limit: PageLimit,
    ) -> BoxFuture<'static, Result<Vec<LogEntry>, StoreError>> {
        let log = self.clone();
        Box::pin(async move { log.believed(log.page(conversation, from, direction, limit).await) })
    }

    fn find_send(
        &self,
        conversation: ConversationId,
        sender: UserId,
        client_msg_id: ClientMsgId,
    ) -> BoxFuture<'static, Result<Option<LogEntry>, StoreError>> {
        let log = self.clone();
        Box::pin(async move { log.believed(log.find_sent(conversation, sender, client_msg_id).await) })
    }

    fn summaries(
        &self,
        wanted: Vec<(ConversationId, UserId)>,
    ) -> BoxFuture<'static, Result<Vec<Option<StoredSummary>>, StoreError>> {
        let log = self.clone();
        Box::pin(async move { log.believed(log.summarise(wanted).await) })
    }

    fn conversations_of(
        &self,
        user: UserId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<ConversationId>, StoreError>> {
        let log = self.clone();
        Box::pin(async move { log.believed(log.list_conversations(user, after, limit).await) })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
mod tests;
