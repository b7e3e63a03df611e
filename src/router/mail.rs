//! What cores send each other.

use super::{Channel, CoreId, OfflineNotice, SessionId, reminder::ReminderRequest, schedule::ScheduleRequest};
use crate::{
    chat::{Input, NEVER_MS, Reply},
    store::DueTimer,
};
use bytes::Bytes;
use godwit_proto::{ConversationId, DeviceId, Seq, UserId, v1::ErrorCode};
use std::sync::Arc;

/// A session, wherever it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionRef {
    /// The core that has the connection.
    pub core: CoreId,
    /// The session there.
    pub session: SessionId,
}

impl SessionRef {
    /// No session: what a core asks by itself.
    pub fn none(core: CoreId) -> Self {
        Self { core, session: SessionId(u64::MAX) }
    }
}

/// Where the reply to a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyTo {
    /// To this session.
    pub at: SessionRef,
    /// On this stream.
    pub channel: Channel,
    /// With this id; 0: no reply is wanted.
    pub request_id: u64,
    /// As this kind of message.
    pub kind: ReplyKind,
}

/// Which message a conversation's reply becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyKind {
    /// `SendResponse`
    Send,
    /// `CreateGroupResponse`
    CreateGroup,
    /// `ChangeMembersResponse`
    ChangeMembers,
    /// `MarkReadResponse`
    MarkRead,
    /// `SetExpiryResponse`
    SetExpiry,
    /// None: messages expire or their delivery ends, and the `request_id` is the number under which that is done.
    Expiry,
    /// None: a scheduled message is sent, and the `request_id` is the number under which its author's core asked.
    Scheduled,
}

/// One item of a mailbox.
#[derive(Debug)]
pub enum Mail {
    /// To the owner of a conversation: somebody asks something of it.
    Request(ConversationId, Input<ReplyTo>),
    /// To a session's core: an encoded frame for it, and what its device therefore has.
    Reply {
        /// Which session.
        session: SessionId,
        /// Which stream.
        channel: Channel,
        /// With its length prefix.
        frame: Bytes,
        /// An entry that the client knows of once it reads this.
        known: Option<(ConversationId, Seq)>,
    },
    /// To the owner of a user: they ask something about their scheduled messages.
    Schedule(UserId, ReplyTo, ScheduleRequest),
    /// To the owner of a user: they ask something about their reminders.
    Remind(UserId, ReplyTo, ReminderRequest),
    /// To the owner of a scheduled message's author: what the conversation said, and the number of the request.
    Fired(u64, Reply),
    /// To the owner of a conversation: it has done what was due, or could not; and the number of the request.
    Expired(u64, Reply),
    /// To the owner of a conversation: these timers of it are durable, or may be.
    Armed(Vec<DueTimer>),
    /// To the owner of a conversation: a device of this user has acknowledged a message whose delivery ends then, in
    /// milliseconds since the epoch.
    Delivered(ConversationId, Seq, UserId, u64),
    /// To the owner of a conversation: a session says that its user is typing there, or not any more.
    Typing {
        /// Where.
        conversation: ConversationId,
        /// Who.
        user: UserId,
        /// Which session says so.
        at: SessionRef,
        /// What it says.
        is_typing: bool,
    },
    /// To the owner of users: push this to all their sessions.
    FanOut(Push, Arc<[UserId]>, Option<SessionRef>),
    /// To the core that has these sessions: push this to them.
    Push(Push, Vec<SessionId>),
    /// To the owner of a user: a session of theirs is authenticated.
    Online {
        /// Whose.
        user: UserId,
        /// On which device.
        device: DeviceId,
        /// Where.
        at: SessionRef,
    },
    /// To a session's core: it is registered, or the user has too many.
    OnlineAnswer(SessionId, bool),
    /// To the owner of a user: the session is gone.
    Offline(UserId, SessionRef),
    /// To the owner of a user: these devices lost their tokens. The excepted session ends itself.
    EndDevices(UserId, Vec<DeviceId>, SessionRef),
    /// To the owner of users: hand these notices to the offline hook again.
    Replay(Vec<OfflineNotice>),
    /// To a session's core: close it.
    End(SessionId, ErrorCode, &'static str),
}

/// A frame for many sessions, encoded once.
#[derive(Debug, Clone)]
pub struct Push {
    /// What it is about.
    pub conversation: ConversationId,
    /// The newest entry in it; [`Seq::ZERO`] when it holds none.
    pub seq: Seq,
    /// It leaves before this moment or not at all: see [`LogEntry::until_ms`](crate::chat::LogEntry::until_ms).
    pub until_ms: u64,
    /// When the delivery of a message in it ends; 0: it does not.
    pub deliver_by_ms: u64,
    /// It may be lost, and goes by itself.
    pub is_datagram: bool,
    /// With its length prefix, which a datagram has not.
    pub frame: Bytes,
}

impl Push {
    /// One that may be lost.
    pub fn datagram(conversation: ConversationId, frame: Bytes) -> Self {
        Self { is_datagram: true, ..Self::of(conversation, frame) }
    }

    /// One without entries.
    pub fn of(conversation: ConversationId, frame: Bytes) -> Self {
        Self { conversation, seq: Seq::ZERO, until_ms: NEVER_MS, deliver_by_ms: 0, is_datagram: false, frame }
    }
}
