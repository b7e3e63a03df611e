//! Timers that outlive the process: what is due when, and what is to be done then, in words that the store does not read.

use super::StoreError;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use godwit_proto::{ConversationId, UserId, Vshard, VshardSet};
use std::ops::Range;

/// Bytes of a timer's payload at most: what fits into a frame.
pub const TIMER_PAYLOAD_BYTES_MAX: usize = 64 * 1024;

/// Durable timers, by key, by owner, and by the time at which they are due.
///
/// The store keeps them and never fires one. Whoever owns a vshard reads what is due soon in it, a stretch of time after
/// the other, and removes what has fired. What is due later costs disk only.
pub trait TimerStore: Send + Sync + 'static {
    /// Makes changes durable, one outcome each in the same order. Changes of one key take effect in the order given, and
    /// calls in the order in which they were made. Each change stands or falls by itself.
    ///
    /// # Panics
    ///
    /// When a payload is larger than [`TIMER_PAYLOAD_BYTES_MAX`]: the caller has let it through.
    fn put_timers(&self, changes: Vec<TimerChange>) -> BoxFuture<'static, Vec<TimerOutcome>>;

    /// The timers of these vshards that are due at `due_ms.start` or later and before `due_ms.end`: at most `limit` of
    /// them, and fewer only if there are no more. To read on, ask the same with the last one as `after`.
    ///
    /// Those of one vshard come ascending by [`DueTimer`]'s order; how the vshards' timers are mixed is the store's
    /// business. Costs nothing for what is due at other times, however much, nor for vshards without timers.
    ///
    /// An owner asks for everything once, from 0 on, when it starts, and from then on begins where it ended: what it puts
    /// into a stretch that was read it knows by itself. A store may have to walk over whatever was removed not long ago,
    /// so a start that stays behind would make every question as expensive as the first.
    fn due_timers(
        &self,
        vshards: VshardSet,
        due_ms: Range<u64>,
        after: Option<DueTimer>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<DueTimer>, StoreError>>;

    /// Timers by key, in the order asked; `None` for one that is not there.
    fn timers(&self, keys: Vec<TimerKey>) -> BoxFuture<'static, Result<Vec<Option<TimerRow>>, StoreError>>;

    /// An owner's timers of one kind, ascending by when they are due and then by id, after `after`, at most `limit`.
    fn timers_of(
        &self,
        kind: TimerKind,
        owner: TimerOwner,
        after: Option<(u64, TimerId)>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<TimerRow>, StoreError>>;

    /// How many timers of one kind an owner has, exactly. Costs a look at each.
    fn count_timers(&self, kind: TimerKind, owner: TimerOwner) -> BoxFuture<'static, Result<u64, StoreError>>;
}

/// What a timer is for. The number is stored, so it is never given another meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerKind(pub u8);

impl TimerKind {
    /// Sends a message later, for its author.
    pub const SCHEDULED_SEND: Self = Self(1);
    /// A report of a scheduled message that could not be sent. It is due when it is dropped.
    pub const SCHEDULE_FAILED: Self = Self(2);
    /// Takes a message of a conversation out of it.
    pub const MESSAGE_EXPIRY: Self = Self(3);
    /// Somebody has read messages that expire some time after that: their own timers are to be made.
    pub const EXPIRY_START: Self = Self(4);
    /// Ends the delivery of a message of a conversation.
    pub const DELIVERY_END: Self = Self(5);
    /// A recipient has a message whose delivery ends. It is due some time after that, and dropped then.
    pub const DELIVERED: Self = Self(6);
    /// Reminds a user of a message.
    pub const REMINDER: Self = Self(7);
    /// A member of a group may write again.
    pub const MUTE_END: Self = Self(8);
    /// A user may be added to a group again.
    pub const BAN_END: Self = Self(9);
}

/// Whose timer it is, and so in which vshard it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimerOwner {
    /// A user's.
    User(UserId),
    /// A conversation's.
    Conversation(ConversationId),
}

impl TimerOwner {
    /// The slot that owns the timer.
    pub fn vshard(self) -> Vshard {
        match self {
            Self::User(user) => Vshard::of_user(user),
            Self::Conversation(conversation) => Vshard::of_conversation(conversation),
        }
    }
}

/// Tells a timer from the others of its kind and owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerId(pub [u8; 16]);

/// Names one timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerKey {
    /// What it is for.
    pub kind: TimerKind,
    /// Whose it is.
    pub owner: TimerOwner,
    /// Which one.
    pub id: TimerId,
}

/// A timer with when it is due. Sorts by that, then by key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DueTimer {
    /// Wall clock: milliseconds since the epoch.
    pub due_ms: u64,
    /// Which timer.
    pub key: TimerKey,
}

/// A timer with all that is stored about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimerRow {
    /// Which timer.
    pub key: TimerKey,
    /// Wall clock: milliseconds since the epoch.
    pub due_ms: u64,
    /// What to do then, at most [`TIMER_PAYLOAD_BYTES_MAX`].
    pub payload: Bytes,
}

impl TimerRow {
    /// When it is due, without the payload.
    pub fn due(&self) -> DueTimer {
        DueTimer { due_ms: self.due_ms, key: self.key }
    }
}

/// One change of one timer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimerChange {
    /// Adds a timer, in place of the one that has its key, whenever that was due.
    Put(TimerRow),
    /// Takes a timer out. Nothing to take out is fine.
    Remove(TimerKey),
}

impl TimerChange {
    /// The timer that it changes.
    pub fn key(&self) -> TimerKey {
        match self {
            Self::Put(row) => row.key,
            Self::Remove(key) => *key,
        }
    }
}

/// What became of a [`TimerChange`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimerOutcome {
    /// It is on disk.
    Durable,
    /// Nothing was written.
    NotWritten(StoreError),
    /// Nobody knows. Read the timer again before deciding; or make the same change again, which is harmless unless the
    /// timer was changed otherwise meanwhile.
    Unknown,
}
