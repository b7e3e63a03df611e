//! A scheduled message as the router and the store have it.

use crate::{
    chat::{MessageBody, Refusal},
    store::{TimerId, TimerKey, TimerKind, TimerOwner, TimerRow},
};
use godwit_proto::{ClientMsgId, ConversationId, UserId, v1};
use prost::Message;
use thiserror::Error;

/// How long a report is kept after the message was due.
pub const REPORT_KEPT_MS: u64 = 90 * 24 * 3_600_000;

/// A message that is sent later.
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduledMessage {
    /// The schedule's, and one day the entry's if it is sent once.
    pub id: ClientMsgId,
    pub author: UserId,
    pub conversation: ConversationId,
    pub content: MessageBody,
    /// Milliseconds since the epoch.
    pub due_ms: u64,
    pub created_ms: u64,
    pub revision: u32,
    /// Why it was not sent.
    pub failure: Option<v1::Error>,
    /// When it is sent again, and how often it was due; as it was told its author.
    pub recurrence: Option<v1::Recurrence>,
}

/// A row that this version cannot read.
#[derive(Debug, Error)]
pub enum UnreadableRow {
    #[error("it is no protobuf: {0}")]
    Encoding(#[from] prost::DecodeError),
    #[error("its schedule_id: {0}")]
    Id(#[from] godwit_proto::InvalidId),
    #[error("its conversation_id: {0}")]
    Conversation(#[from] godwit_proto::InvalidConversationId),
    #[error("it belongs to no user")]
    Owner,
}

impl ScheduledMessage {
    /// Its timer, while it will be sent.
    pub fn key(&self) -> TimerKey {
        key(TimerKind::SCHEDULED_SEND, self.author, self.id)
    }

    /// What the store keeps of it.
    pub fn row(&self, kind: TimerKind, timer_due_ms: u64) -> TimerRow {
        let key = key(kind, self.author, self.id);
        TimerRow { key, due_ms: timer_due_ms, payload: self.to_proto().encode_to_vec().into() }
    }

    /// From what the store kept.
    pub fn from_row(row: &TimerRow) -> Result<Self, UnreadableRow> {
        let TimerOwner::User(author) = row.key.owner else { return Err(UnreadableRow::Owner) };
        let stored = v1::ScheduledMessage::decode(row.payload.clone())?;
        Ok(Self {
            id: ClientMsgId::from_slice(&stored.schedule_id)?,
            author,
            conversation: ConversationId::from_slice(&stored.conversation_id)?,
            content: MessageBody { body: stored.body, content_type: stored.content_type },
            due_ms: stored.due_ms,
            created_ms: stored.created_ms,
            revision: stored.revision,
            failure: stored.failure,
            recurrence: stored.recurrence,
        })
    }

    /// What clients are told.
    pub fn to_proto(&self) -> v1::ScheduledMessage {
        v1::ScheduledMessage {
            schedule_id: self.id.to_bytes(),
            conversation_id: self.conversation.to_bytes(),
            body: self.content.body.clone(),
            content_type: self.content.content_type.clone(),
            due_ms: self.due_ms,
            created_ms: self.created_ms,
            revision: self.revision,
            failure: self.failure.clone(),
            recurrence: self.recurrence.clone(),
        }
    }

    /// The same, not sent for this reason.
    pub fn failed(self, why: &Refusal) -> Self {
        let failure = v1::Error { code: why.code.into(), message: why.message.clone(), retry_after_ms: 0 };
        Self { failure: Some(failure), ..self }
    }
}

/// The timer of a user's scheduled message.
pub fn key(kind: TimerKind, author: UserId, id: ClientMsgId) -> TimerKey {
    TimerKey { kind, owner: TimerOwner::User(author), id: TimerId(id.0) }
}
