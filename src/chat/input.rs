//! What goes into a conversation and what comes out of it.

use super::{ConversationDetails, Expiry, LogEntry, MemberChange, MessageBody, Position, Sanction, Wait};
use godwit_proto::{ClientMsgId, Seq, UserId, v1::ErrorCode};
use std::sync::Arc;

/// Something a user asks of a conversation. `R` says where the answer goes; the rules only carry it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input<R> {
    /// Where the answer goes.
    pub reply_to: R,
    /// Who asks. Authenticated.
    pub user: UserId,
    /// What is asked.
    pub action: Action,
}

/// What a user may ask of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Append a message.
    Send(NewMessage),
    /// Begin a group with the asking user as its owner. All of `members` exist.
    CreateGroup {
        /// Makes a repetition harmless.
        client_msg_id: ClientMsgId,
        /// What it is called.
        title: String,
        /// The other members.
        members: Vec<UserId>,
    },
    /// Take users in. All of them exist.
    AddMembers {
        /// Makes a repetition harmless.
        client_msg_id: ClientMsgId,
        /// Who.
        members: Vec<UserId>,
    },
    /// Take a user out; oneself to leave.
    RemoveMember {
        /// Makes a repetition harmless.
        client_msg_id: ClientMsgId,
        /// Who.
        member: UserId,
    },
    /// Mute or ban a user, or say anew for how long. Who is banned exists.
    Sanction {
        /// Makes a repetition harmless.
        client_msg_id: ClientMsgId,
        /// Which.
        sanction: Sanction,
        /// Whom.
        user: UserId,
        /// When it ends, in milliseconds since the epoch; [`NEVER_MS`](super::NEVER_MS): not by itself; 0: now.
        until_ms: u64,
    },
    /// Everything up to here is read.
    MarkRead(Seq),
    /// From now on, messages that say nothing else expire like this.
    SetExpiry {
        /// Makes a repetition harmless.
        client_msg_id: ClientMsgId,
        /// How.
        expiry: Expiry,
    },
    /// These messages, as the store has them, disappear. The server asks this itself, as all that follows; the user is the
    /// sender of the first of them.
    Expire(Vec<LogEntry>),
    /// Messages that expire from being read were read.
    StartExpiry {
        /// As the store has them.
        entries: Vec<LogEntry>,
        /// When they were read, in milliseconds since the epoch.
        read_ms: u64,
    },
    /// The delivery of a message ends.
    EndDelivery {
        /// As the store has it.
        entry: LogEntry,
        /// Who has not acknowledged it.
        missed: Vec<UserId>,
    },
    /// A mute or a ban ends, if it is still one that was to end then.
    EndSanction {
        /// Which.
        sanction: Sanction,
        /// Whose.
        user: UserId,
        /// The entry that it began with.
        since: Seq,
        /// When it was to end.
        until_ms: u64,
    },
}

/// A message on its way in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// The same whenever it is sent again.
    pub client_msg_id: ClientMsgId,
    /// What it says.
    pub content: MessageBody,
    /// The sender's promise that the id is new.
    pub first_attempt: bool,
    /// An earlier message of this sender that must have been accepted before this one may be. A schedule has none.
    pub after: Option<ClientMsgId>,
    /// Nothing that comes from a client says this: whoever hands the message in knows it.
    pub by: SentBy,
    /// When it disappears; `None`: as the conversation says.
    pub expiry: Option<Expiry>,
    /// When its delivery ends, in milliseconds since the epoch; 0: it does not.
    pub deliver_by_ms: u64,
}

/// What made a message leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SentBy {
    /// Its author, who thereby has read what is before it.
    Hand,
    /// A schedule. Its author did not look: the message is not unread for them, nor a sign that they read what is
    /// before it.
    Schedule,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect<R> {
    /// Make this durable, after every earlier change of this conversation, and report the outcome with
    /// [`Conversation::on_committed`](super::Conversation::on_committed).
    Commit(Change),
    /// These timers are durable, or may be.
    Wait(Vec<Wait>),
    /// Answer somebody.
    Reply(R, Reply),
    /// Push a durable entry to the sessions of these users.
    FanOut {
        /// The entry.
        entry: LogEntry,
        /// Who were members when it was accepted; a removed member is told of the removal.
        to: Arc<[UserId]>,
        /// Not to the session that sent it: that one gets the reply. No session sends what a schedule does.
        except: Option<R>,
    },
    /// Tell a user's other sessions how far the user has read.
    ReadMoved {
        /// Whose.
        user: UserId,
        /// Where unread counts from now.
        position: Position,
        /// The session that said so.
        except: R,
    },
    /// Whether a read position moved is not known until the conversation is loaded again. Tell all of the user's sessions
    /// then.
    ReadUnknown {
        /// Whose.
        user: UserId,
    },
}

/// A change for the store: all of it or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The newest entry before this change.
    pub after: Seq,
    /// What is appended.
    pub entries: Vec<LogEntry>,
    /// Rows of members.
    pub members: Vec<MemberChange>,
    /// Set when they are new.
    pub details: Option<ConversationDetails>,
    /// Entries that take the place of those that have their seqs.
    pub rewritten: Vec<LogEntry>,
    /// What it waits for from now on. The timers are durable when the rest is, and may be although the rest is not.
    pub waits: Vec<Wait>,
}

/// The answer to an [`Input`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The entry is durable: a message, a new group, or changed members.
    Accepted(Accepted),
    /// Nothing had to change.
    Unchanged,
    /// The read position is durable.
    Read {
        /// Where unread counts from.
        position: Position,
        /// What is left.
        unread: u64,
    },
    /// Nothing was done.
    Refused(Refusal),
}

/// Where an entry went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// Its seq and ordinal.
    pub position: Position,
    /// When, in milliseconds since the epoch.
    pub sent_ms: u64,
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Stable.
    pub code: ErrorCode,
    /// For a developer.
    pub message: String,
    /// Above 0: the same thing may succeed after this long.
    pub retry_after_ms: u32,
}

impl Refusal {
    /// A refusal that repeating does not change.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after_ms: 0 }
    }

    /// A refusal that may pass.
    pub fn retry(code: ErrorCode, message: impl Into<String>, retry_after_ms: u32) -> Self {
        Self { code, message: message.into(), retry_after_ms }
    }
}

/// What the store must be asked before an input can be handled. Hand the same input in again afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Which entry did this user send under this id?
    /// Answer with [`Conversation::on_found`](super::Conversation::on_found).
    FindSend(UserId, ClientMsgId),
    /// What is the ordinal of this entry?
    /// Answer with [`Conversation::on_ordinal`](super::Conversation::on_ordinal).
    Ordinal(Seq),
}
