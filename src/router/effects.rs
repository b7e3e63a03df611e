//! What a core wants done after it handled an input.

use super::{
    Channel, CoreId, HookError, Mail, ReplyTo, SessionId, TimersCompletion, expiry::ExpiryCompletion,
    reminder::ReminderCompletion, schedule::ScheduleCompletion,
};
use crate::{
    chat::{Action, LogEntry, Position, Refusal},
    store::{CommitOutcome, LoadedConversation, StoreError, TokenHash},
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use godwit_proto::{
    ClientMsgId, ConversationId, DeviceId, Seq, UserId,
    v1::{self, ErrorCode, server_frame::Body},
};

/// Collected over a turn, carried out at its end.
#[derive(Default)]
pub struct Effects {
    /// To other cores, in order.
    pub mail: Vec<(CoreId, Mail)>,
    /// To be run; what they come to goes back in as an input.
    pub tasks: Vec<Task>,
    /// To this core's connections, in order.
    pub output: Vec<(SessionId, Output)>,
}

/// Something that waits for the store or for a password hash, and for nothing else.
pub type Task = BoxFuture<'static, Completion>;

/// What happens to a session.
#[derive(Debug)]
pub enum Output {
    /// A frame on the stream of its request.
    Reply(Channel, Bytes),
    /// A frame on a lane. If the session has no room for it, tell the core with
    /// [`Core::on_push_refused`](super::Core::on_push_refused).
    Push(u32, Bytes),
    /// A frame without a length prefix that may be lost: in a datagram, if the client takes them and there is room.
    Datagram(Bytes),
    /// The client proved who it is.
    Authenticated,
    /// Write what is queued, then close.
    Close(ErrorCode, &'static str),
}

/// What a [`Task`] came to.
#[derive(Debug)]
pub enum Completion {
    /// A query has its answer.
    Answer {
        /// Where it goes.
        to: ReplyAddress,
        /// What it is.
        body: Result<Body, Refusal>,
        /// The newest entry in it.
        known: Option<(ConversationId, Seq)>,
    },
    /// A session showed who it is, or did not.
    Authenticated(SessionId, u64, Result<Identity, Refusal>),
    /// The token of a session that is registered now: does it still stand?
    Confirmed(SessionId, Result<bool, Refusal>),
    /// Everybody whom a membership change names exists, or not.
    Checked(ConversationId, ReplyTo, UserId, Result<Action, Refusal>),
    /// A page of the log was read, to be pushed to a session once more.
    Reread {
        /// Which session.
        session: SessionId,
        /// Of which conversation.
        conversation: ConversationId,
        /// Where the page begins.
        from: Seq,
        /// As it would answer the client's own request.
        page: Result<Body, Refusal>,
    },
    /// The offline hook took a batch, or did not. The number is that of the call.
    Notified(u64, Result<(), HookError>),
    /// Tokens were revoked.
    LoggedOut(ReplyAddress, Result<Vec<DeviceId>, Refusal>),
    /// The store has, or does not have, this conversation.
    Loaded(ConversationId, Result<Option<LoadedConversation>, Refusal>),
    /// The store looked for a send. The number is that of the question.
    Found(ConversationId, u64, (UserId, ClientMsgId), Result<Option<LogEntry>, StoreError>),
    /// The store looked for an ordinal. The number is that of the question.
    Ordinal(ConversationId, u64, Result<Position, StoreError>),
    /// The changes of a batch are durable, or not, in the order in which they were made. Batches count from 0.
    Committed(u64, Vec<(ConversationId, CommitOutcome)>),
    /// The store said something about durable timers.
    Timers(TimersCompletion),
    /// The store did something about messages that expire.
    Expiry(Box<ExpiryCompletion>),
    /// The store did something about scheduled messages.
    Schedule(Box<ScheduleCompletion>),
    /// The store did something about reminders.
    Reminder(Box<ReminderCompletion>),
    /// Something was noted that costs no more than being done again. Losing acknowledged positions them costs a second delivery, no more.
    Noted,
}

/// A request that is answered on this core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyAddress {
    /// Whose.
    pub session: SessionId,
    /// The stream it came on.
    pub channel: Channel,
    /// Its id.
    pub request_id: u64,
}

/// Who a session turned out to be.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Whose session it is.
    pub user: UserId,
    /// Whether its token stands is asked again once the session is registered: it may be revoked in between.
    pub token_hash: TokenHash,
    /// When it ends, in milliseconds since the epoch.
    pub token_expires_ms: u64,
    /// What the client is told.
    pub response: v1::AuthenticateResponse,
}
