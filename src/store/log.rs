//! The log of every conversation, with its members and their positions.

use super::{StoreError, TimerChange};
pub use crate::chat::ConversationDetails;
use crate::chat::{LogEntry, Member, MemberChange};
use futures_util::future::BoxFuture;
use godwit_proto::{ClientMsgId, ConversationId, Seq, UserId};

/// Conversations, by id.
pub trait LogStore: Send + Sync + 'static {
    /// Makes changes durable, in the order given, one outcome each in the same order. Calls commit in the order in which
    /// they were made. Changes of different conversations stand or fall apart.
    fn commit(&self, commits: Vec<Commit>) -> BoxFuture<'static, Vec<CommitOutcome>>;

    /// What a conversation's owner starts from: details, every member, and the newest `tail` entries in ascending order.
    /// `None`: it has nothing yet.
    fn load(
        &self,
        conversation: ConversationId,
        tail: usize,
    ) -> BoxFuture<'static, Result<Option<LoadedConversation>, StoreError>>;

    /// Entries from `from` on in a direction, ascending in either. With [`Direction::Backward`], `from` beyond the end
    /// means the end. Never empty while the log has an entry there, however small `limit.bytes` is.
    fn read(
        &self,
        conversation: ConversationId,
        from: Seq,
        direction: Direction,
        limit: PageLimit,
    ) -> BoxFuture<'static, Result<Vec<LogEntry>, StoreError>>;

    /// The entry that a sender sent under this id, however long ago.
    fn find_send(
        &self,
        conversation: ConversationId,
        sender: UserId,
        client_msg_id: ClientMsgId,
    ) -> BoxFuture<'static, Result<Option<LogEntry>, StoreError>>;

    /// One line of a conversation list each, in the order asked. `None`: the user is no member.
    fn summaries(
        &self,
        wanted: Vec<(ConversationId, UserId)>,
    ) -> BoxFuture<'static, Result<Vec<Option<StoredSummary>>, StoreError>>;

    /// The conversations that a user is a member of, ascending by id, after `after`, at most `limit`.
    fn conversations_of(
        &self,
        user: UserId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<ConversationId>, StoreError>>;
}

/// One change of one conversation, all of it or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Which conversation.
    pub conversation: ConversationId,
    /// The newest entry that the writer knows, [`Seq::ZERO`] for none. A log that stands elsewhere is a
    /// [`CommitOutcome::Conflict`], so that nothing is built on an entry that failed. `entries` continue from here.
    pub after: Seq,
    /// New entries, dense and ascending from `after`; none when only members change.
    pub entries: Vec<LogEntry>,
    /// Rows of members, applied in order.
    pub members: Vec<MemberChange>,
    /// Set when the details are new or changed.
    pub details: Option<ConversationDetails>,
    /// Entries that take the place of older ones with the same seq, all of which are at most `after`. What was there before
    /// is not read any more, and is gone from the disk when the store has next tidied up there. They keep sender and
    /// `client_msg_id`, so [`LogStore::find_send`] finds them as before.
    pub rewritten: Vec<LogEntry>,
    /// Timers of the conversation. They are durable when the commit is, and may be although the commit is not; whoever
    /// they fire for looks whether what they were made for is there.
    pub timers: Vec<TimerChange>,
}

impl Commit {
    /// A change of nothing yet.
    pub fn after(conversation: ConversationId, after: Seq) -> Self {
        Self {
            conversation,
            after,
            entries: Vec::new(),
            members: Vec::new(),
            details: None,
            rewritten: Vec::new(),
            timers: Vec::new(),
        }
    }
}

/// What became of a [`Commit`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitOutcome {
    /// It is on disk.
    Durable,
    /// Exactly these entries were there before.
    AlreadyDurable,
    /// Nothing was written.
    NotWritten(StoreError),
    /// The log does not end at `after`. Nothing was written; load the conversation again.
    Conflict,
    /// Nobody knows. Load the conversation again before deciding.
    Unknown,
}

/// A conversation as its owner takes it over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedConversation {
    /// The title.
    pub details: ConversationDetails,
    /// Ascending by user id.
    pub members: Vec<Member>,
    /// The newest entries, ascending. Empty only if the log is.
    pub tail: Vec<LogEntry>,
}

/// How many entries a summary looks through for one to show.
pub const SHOWN_LOOK_BACK: usize = 4_096;

/// What a conversation list shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSummary {
    /// The title.
    pub details: ConversationDetails,
    /// The newest entry.
    pub last: Option<LogEntry>,
    /// The newest entry that there is something to show of ([`LogEntry::is_shown`]), if it is among the newest
    /// [`SHOWN_LOOK_BACK`].
    pub shown: Option<LogEntry>,
    /// The user's own row.
    pub member: Member,
    /// Members in all.
    pub member_count: u32,
}

/// Which way a page runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Towards newer entries.
    Forward,
    /// Towards older entries.
    Backward,
}

/// How large a page may be. The first entry is returned even if it alone is larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimit {
    /// Entries.
    pub entries: usize,
    /// Bytes of encoded entries.
    pub bytes: usize,
}
