//! Users who are not there: when an entry fans out to a user without a session, a hook is told, so that somebody outside, a
//! push service for phones perhaps, can tell the user.
//!
//! Everything here is in memory. What is lost with the process, or dropped because a bound is reached, is a notice; the
//! entries are in the log.

mod calls;
mod dead_letters;
mod of_core;
mod queue;

pub use calls::Offline;
pub use dead_letters::{DeadLetter, DeadLetters, OfflineHandle};
pub use queue::Letter;

use futures_util::future::BoxFuture;
use godwit_proto::{ConversationId, Seq, UserId};
use thiserror::Error;

/// Told about users who have no session.
pub trait OfflineHook: Send + Sync + 'static {
    /// Hands over a batch: at most one notice for each user and conversation, all of users without a session.
    ///
    /// The future is polled by a core, so it must not block; it is dropped when it takes longer than
    /// [`call_timeout_ms`](super::OfflineLimits::call_timeout_ms). A batch that failed is handed over again, perhaps in other
    /// company and perhaps after it was taken after all, so a notice may come twice.
    fn notify(&self, notices: Vec<OfflineNotice>) -> BoxFuture<'static, Result<(), HookError>>;
}

/// Something happened in a conversation while a member was not there. Of what was said it tells nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfflineNotice {
    /// Who was not there.
    pub user: UserId,
    /// Where it happened.
    pub conversation: ConversationId,
    /// The newest entry.
    pub newest: Seq,
    /// Messages of others since the last notice to this user about this conversation. 0: members changed, or the like.
    pub unread: u64,
}

/// A hook did not take a batch. What is said is for the operator.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct HookError(pub String);
