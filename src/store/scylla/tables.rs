//! What the log of conversations asks of a database of partitioned rows: the seam below which a driver talks to a cluster, or a
//! simulator loses, delays and doubles what it is told. docs/STORAGE.md has the tables.

use crate::store::{Direction, StoreError};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use godwit_proto::{ConversationId, Seq, UserId};

/// Entries of one bucket: a partition of the log.
pub const BUCKET_ENTRIES: u64 = 1 << BUCKET_BITS;
const BUCKET_BITS: u32 = 12;

/// Which bucket of its conversation's log an entry is in.
pub fn bucket_of(seq: Seq) -> u64 {
    seq.0 >> BUCKET_BITS
}

/// The tables of conversations. Reads and writes are at a quorum.
pub trait LogTables: Send + Sync + 'static {
    /// Writes one partition, whole or not at all. Two writes of one cell: the one with the higher timestamp counts, in whatever
    /// order they arrive.
    fn write(&self, mutation: Mutation) -> BoxFuture<'static, Written>;

    /// The static columns of a bucket and its newest rows, at most `limit`, descending by seq, in one query. `None`: there are no
    /// static columns.
    fn log_head(
        &self,
        conversation: ConversationId,
        bucket: u64,
        limit: usize,
    ) -> BoxFuture<'static, Result<Option<LogHead>, StoreError>>;

    /// Rows of one bucket between two seqs, both included; at most `limit`, from the low end upwards or the high end downwards,
    /// ascending in either case.
    fn log_rows(
        &self,
        conversation: ConversationId,
        bucket: u64,
        seqs: (Seq, Seq),
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<LogRow>, StoreError>>;

    /// The static column of a conversation; `None` if there is none.
    fn meta(&self, conversation: ConversationId) -> BoxFuture<'static, Result<Option<Bytes>, StoreError>>;

    /// All rows of members, ascending by user, those included that have left.
    fn members(&self, conversation: ConversationId) -> BoxFuture<'static, Result<Vec<MemberCell>, StoreError>>;

    /// One member's row.
    fn member(
        &self,
        conversation: ConversationId,
        user: UserId,
    ) -> BoxFuture<'static, Result<Option<MemberCell>, StoreError>>;

    /// The conversations of a user after one, ascending, at most `limit` rows, in whatever state they are.
    fn memberships(
        &self,
        user: UserId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<(ConversationId, MembershipState)>, StoreError>>;

    /// The segments of hashes of sends that a bucket has, ascending.
    fn sends(
        &self,
        conversation: ConversationId,
        bucket: u64,
    ) -> BoxFuture<'static, Result<Vec<(u8, Bytes)>, StoreError>>;

    /// Runs work in the background.
    fn spawn(&self, task: BoxFuture<'static, ()>);

    /// Comes back after so many milliseconds.
    fn sleep(&self, ms: u64) -> BoxFuture<'static, ()>;
}

/// A write of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mutation {
    /// Of every cell in it: microseconds since the epoch, from the fence.
    pub timestamp_us: i64,
    /// What is written.
    pub rows: Rows,
}

/// The rows of a mutation. No row is written in part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rows {
    /// Of a bucket of the log; the static columns stay as they are without `state`.
    Log {
        /// Whose log.
        conversation: ConversationId,
        /// Which part of it.
        bucket: u64,
        /// The static columns.
        state: Option<LogState>,
        /// All of this bucket.
        entries: Vec<LogRow>,
    },
    /// Of a conversation's members; the static column stays as it is without `meta`.
    Conversation {
        /// Which one.
        conversation: ConversationId,
        /// The static column.
        meta: Option<Bytes>,
        /// In no order, each user once.
        members: Vec<MemberCell>,
    },
    /// Of a user's conversations.
    Membership {
        /// Whose.
        user: UserId,
        /// Which one.
        conversation: ConversationId,
        /// What it says. A row that says [`MembershipState::Left`] is gone after a while.
        state: MembershipState,
    },
    /// Of the hashes of sends.
    Sends {
        /// Whose log.
        conversation: ConversationId,
        /// Which part of it.
        bucket: u64,
        /// Which part of that.
        segment: u8,
        /// 8 bytes an entry.
        hashes: Bytes,
    },
}

/// The static columns of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogState {
    /// The newest entry that is there.
    pub head: Seq,
    /// The epoch of the owner that wrote this.
    pub epoch: u64,
    /// What may not yet be in other partitions.
    pub pending: Bytes,
}

/// One row of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRow {
    /// Its place.
    pub seq: Seq,
    /// `godwit.v1.Entry`.
    pub entry: Bytes,
}

/// What [`LogTables::log_head`] finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogHead {
    /// The static columns.
    pub state: LogState,
    /// Descending by seq; those beyond the head included.
    pub rows: Vec<LogRow>,
}

/// A member's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberCell {
    /// Whose.
    pub user: UserId,
    /// Empty: the user has left; such a row is gone after a while.
    pub member: Bytes,
}

/// What a row of a user's conversations says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MembershipState {
    /// The user is a member.
    Member,
    /// Ask the conversation.
    Unsure,
    /// The user is no member any more.
    Left,
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// It is at a quorum.
    Done,
    /// It is nowhere.
    NotWritten(StoreError),
    /// Nobody knows. The same mutation may be written again.
    Unknown,
}
