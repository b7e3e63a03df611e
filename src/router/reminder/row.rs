//! A reminder as the router and the store have it.

use crate::store::{TimerId, TimerKey, TimerKind, TimerOwner, TimerRow};
use aws_lc_rs::digest;
use godwit_proto::{ConversationId, InvalidConversationId, Seq, UserId, v1};
use prost::Message;
use thiserror::Error;

/// How long one that was due is kept for its user to dismiss.
const KEPT_MS: u64 = 90 * 24 * 3_600_000;

/// A user wants to be reminded of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reminder {
    pub user: UserId,
    pub place: ReminderPlace,
    /// Milliseconds since the epoch.
    pub due_ms: u64,
    pub note: String,
    pub created_ms: u64,
    /// It was due, and the user has not dismissed it.
    pub is_due: bool,
}

/// The entry that it is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReminderPlace {
    pub conversation: ConversationId,
    pub seq: Seq,
}

/// A row that this version cannot read.
#[derive(Debug, Error)]
pub enum UnreadableRow {
    #[error("it is no protobuf: {0}")]
    Encoding(#[from] prost::DecodeError),
    #[error("its conversation_id: {0}")]
    Conversation(#[from] InvalidConversationId),
    #[error("it belongs to no user")]
    Owner,
}

impl Reminder {
    /// Its timer.
    pub fn key(&self) -> TimerKey {
        self.place.key(self.user)
    }

    /// What the store keeps of it. One that was due is due once more, to be dropped.
    pub fn row(&self) -> TimerRow {
        let due_ms = self.due_ms.saturating_add(if self.is_due { KEPT_MS } else { 0 });
        TimerRow { key: self.key(), due_ms, payload: self.to_proto().encode_to_vec().into() }
    }

    /// From what the store kept.
    pub fn from_row(row: &TimerRow) -> Result<Self, UnreadableRow> {
        let TimerOwner::User(user) = row.key.owner else { return Err(UnreadableRow::Owner) };
        let stored = v1::Reminder::decode(row.payload.clone())?;
        let conversation = ConversationId::from_slice(&stored.conversation_id)?;
        Ok(Self {
            user,
            place: ReminderPlace { conversation, seq: Seq(stored.seq) },
            due_ms: stored.due_ms,
            note: stored.note,
            created_ms: stored.created_ms,
            is_due: stored.is_due,
        })
    }

    /// What clients are told.
    pub fn to_proto(&self) -> v1::Reminder {
        v1::Reminder {
            conversation_id: self.place.conversation.to_bytes(),
            seq: self.place.seq.as_u64(),
            due_ms: self.due_ms,
            note: self.note.clone(),
            created_ms: self.created_ms,
            is_due: self.is_due,
        }
    }
}

impl ReminderPlace {
    /// The timer of a user's reminder of this entry: always the same, so there is one at most.
    pub fn key(&self, user: UserId) -> TimerKey {
        let mut hashed = digest::Context::new(&digest::SHA256);
        hashed.update(b"godwit/1 reminder");
        hashed.update(self.conversation.as_bytes());
        hashed.update(&self.seq.as_u64().to_be_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&hashed.finish().as_ref()[..16]);
        TimerKey { kind: TimerKind::REMINDER, owner: TimerOwner::User(user), id: TimerId(id) }
    }

    /// What clients are told.
    pub fn to_proto(self) -> v1::ReminderPlace {
        v1::ReminderPlace { conversation_id: self.conversation.to_bytes(), seq: self.seq.as_u64() }
    }
}
