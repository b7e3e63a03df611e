//! What stands in `pending` and in `meta`, as protobuf messages: fields can be added later, numbers are never reused.

use crate::{
    chat::LogEntry,
    store::{
        ConversationDetails, StoreError,
        rows::{DamagedRow, DetailsRow},
    },
};
use bytes::Bytes;
use godwit_proto::{Seq, UserId};
use prost::Message;

/// What is committed with a mutation of the log, and may not yet be in other partitions.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Pending {
    /// Of the mutation's rows in this bucket; one beyond the head if it had none. With a head of 0: 0 if nothing was ever committed.
    #[prost(uint64, tag = "1")]
    pub(super) first_seq: u64,
    /// Members in all. Never anywhere else.
    #[prost(uint32, tag = "2")]
    pub(super) member_count: u32,
    /// Absent: `meta` has them.
    #[prost(message, optional, tag = "3")]
    details: Option<DetailsCell>,
    /// Ascending by user, each once.
    #[prost(message, repeated, tag = "4")]
    members: Vec<PendingMember>,
    /// Entries that take the place of older ones, encoded. Ascending by seq.
    #[prost(bytes = "bytes", repeated, tag = "5")]
    rewritten: Vec<Bytes>,
    /// Ascending by user, each once.
    #[prost(message, repeated, tag = "6")]
    memberships: Vec<PendingMembership>,
}

/// The static column of a conversation.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Meta {
    #[prost(message, optional, tag = "1")]
    details: Option<DetailsCell>,
    /// No bucket above it has ever been written to. It is raised before the first write into a bucket, which may then fail.
    #[prost(uint64, tag = "2")]
    pub(super) newest_bucket: u64,
}

#[derive(Clone, PartialEq, Message)]
struct DetailsCell {
    #[prost(string, tag = "1")]
    title: String,
    #[prost(message, optional, tag = "2")]
    row: Option<DetailsRow>,
}

#[derive(Clone, PartialEq, Message)]
struct PendingMember {
    #[prost(fixed64, tag = "1")]
    user: u64,
    /// As in the member's row: empty for somebody who has left.
    #[prost(bytes = "bytes", tag = "2")]
    cell: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct PendingMembership {
    #[prost(fixed64, tag = "1")]
    user: u64,
    #[prost(bool, tag = "2")]
    is_member: bool,
}

impl Pending {
    pub(super) fn new<'a>(
        first: Seq,
        member_count: u32,
        details: Option<&ConversationDetails>,
        members: impl Iterator<Item = (UserId, &'a Bytes)>,
        rewritten: impl Iterator<Item = &'a LogEntry>,
        memberships: impl Iterator<Item = (UserId, bool)>,
    ) -> Self {
        Self {
            first_seq: first.0,
            member_count,
            details: details.map(DetailsCell::from),
            members: members.map(|(user, cell)| PendingMember { user: user.as_u64(), cell: cell.clone() }).collect(),
            rewritten: rewritten.map(|entry| entry.encoded.clone()).collect(),
            memberships: memberships
                .map(|(user, is_member)| PendingMembership { user: user.as_u64(), is_member })
                .collect(),
        }
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, StoreError> {
        Self::decode(bytes).map_err(|error| damaged(&error))
    }

    pub(super) fn details(&self) -> Result<Option<ConversationDetails>, StoreError> {
        self.details.clone().map(DetailsCell::details).transpose()
    }

    pub(super) fn members(&self) -> Result<Vec<(UserId, Bytes)>, StoreError> {
        self.members.iter().map(|member| Ok((user_id(member.user)?, member.cell.clone()))).collect()
    }

    pub(super) fn rewritten(&self) -> Result<Vec<LogEntry>, StoreError> {
        self.rewritten.iter().map(|encoded| entry(encoded.clone())).collect()
    }

    pub(super) fn memberships(&self) -> Result<Vec<(UserId, bool)>, StoreError> {
        self.memberships.iter().map(|row| Ok((user_id(row.user)?, row.is_member))).collect()
    }
}

impl Meta {
    pub(super) fn new(details: &ConversationDetails, newest_bucket: u64) -> Self {
        Self { details: Some(details.into()), newest_bucket }
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, StoreError> {
        Self::decode(bytes).map_err(|error| damaged(&error))
    }

    pub(super) fn details(&self) -> Result<ConversationDetails, StoreError> {
        self.details.clone().map_or_else(|| Ok(ConversationDetails::default()), DetailsCell::details)
    }
}

impl From<&ConversationDetails> for DetailsCell {
    fn from(details: &ConversationDetails) -> Self {
        Self { title: details.title.clone(), row: DetailsRow::of(details) }
    }
}

impl DetailsCell {
    fn details(self) -> Result<ConversationDetails, StoreError> {
        DetailsRow::details(self.row, self.title).map_err(|error| damaged(&error))
    }
}

/// An entry as its row has it.
pub(super) fn entry(encoded: Bytes) -> Result<LogEntry, StoreError> {
    LogEntry::decode(encoded).map_err(|error| damaged(&error))
}

/// A row is not what was written. Nothing that builds on it is done.
pub(super) fn damaged(error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Unavailable(format!("damaged row: {error}"))
}

impl From<DamagedRow> for StoreError {
    fn from(error: DamagedRow) -> Self {
        Self::Unavailable(error.to_string())
    }
}

fn user_id(raw: u64) -> Result<UserId, StoreError> {
    UserId::new(raw).map_err(|error| damaged(&error))
}
