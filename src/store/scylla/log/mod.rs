//! The log of conversations on partitioned rows: docs/STORAGE.md, "A conversation", says how, and why nothing is torn, lost or
//! doubled.
//!
//! No driver, no clock and no runtime: what it asks of them is [`LogTables`], the [`Fence`] and a [`TimerStore`].

mod limits;

pub use limits::LogLimits;

use super::{fence::Fence, tables::LogTables};
use crate::{
    chat::LogEntry,
    store::{
        Commit, CommitOutcome, Direction, LoadedConversation, LogStore, PageLimit, StoreError, StoredSummary,
        TimerStore,
    },
};
use futures_util::future::BoxFuture;
use godwit_proto::{ClientMsgId, ConversationId, Seq, UserId};
use std::{future::ready, sync::Arc};

/// The log of conversations. Clones are the same one.
pub struct Log<T>(Arc<Inner<T>>);

#[allow(dead_code)]
struct Inner<T> {
    tables: Arc<T>,
    timers: Arc<dyn TimerStore>,
    fence: Fence,
    limits: LogLimits,
}

impl<T> Clone for Log<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: LogTables> Log<T> {
    /// A log on these tables, whose conversations this server owns as long as the fence holds. The timers of commits go to
    /// `timers`.
    pub fn new(tables: Arc<T>, timers: Arc<dyn TimerStore>, fence: Fence, limits: LogLimits) -> Self {
        Self(Arc::new(Inner { tables, timers, fence, limits }))
    }
}

fn not_yet() -> StoreError {
    StoreError::Unavailable("the log is not written yet".to_owned())
}

impl<T: LogTables> LogStore for Log<T> {
    fn commit(&self, commits: Vec<Commit>) -> BoxFuture<'static, Vec<CommitOutcome>> {
        Box::pin(ready(vec![CommitOutcome::NotWritten(not_yet()); commits.len()]))
    }

    fn load(
        &self,
        _conversation: ConversationId,
        _tail: usize,
    ) -> BoxFuture<'static, Result<Option<LoadedConversation>, StoreError>> {
        Box::pin(ready(Err(not_yet())))
    }

    fn read(
        &self,
        _conversation: ConversationId,
        _from: Seq,
        _direction: Direction,
        _limit: PageLimit,
    ) -> BoxFuture<'static, Result<Vec<LogEntry>, StoreError>> {
        Box::pin(ready(Err(not_yet())))
    }

    fn find_send(
        &self,
        _conversation: ConversationId,
        _sender: UserId,
        _client_msg_id: ClientMsgId,
    ) -> BoxFuture<'static, Result<Option<LogEntry>, StoreError>> {
        Box::pin(ready(Err(not_yet())))
    }

    fn summaries(
        &self,
        _wanted: Vec<(ConversationId, UserId)>,
    ) -> BoxFuture<'static, Result<Vec<Option<StoredSummary>>, StoreError>> {
        Box::pin(ready(Err(not_yet())))
    }

    fn conversations_of(
        &self,
        _user: UserId,
        _after: Option<ConversationId>,
        _limit: usize,
    ) -> BoxFuture<'static, Result<Vec<ConversationId>, StoreError>> {
        Box::pin(ready(Err(not_yet())))
    }
}
