//! The bounds that a core keeps.

use super::Backoff;
use crate::chat::ConversationLimits;
use godwit_proto::{codec::FRAME_BYTES_MAX, v1};

/// Room that a frame keeps for everything around the bytes of its entries or lines: up to a thousand of them, with a tag
/// and a length of up to 4 bytes each.
const FRAME_OVERHEAD_BYTES: usize = 8 * 1024;

const DAY_MS: u64 = 24 * 3_600_000;

/// What a core refuses beyond. Every peer-driven queue and map of the router is bounded by one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bounds of one conversation.
    pub conversation: ConversationLimits,
    /// The body of a message.
    pub message_bytes_max: usize,
    /// Entries of a history page.
    pub history_entries_max: usize,
    /// User ids or names in one request.
    pub users_per_request_max: usize,
    /// Conversations in a sync or list page.
    pub conversations_per_page_max: usize,
    /// Conversations that a list is sorted from; a user in more of them sees the first ones by id.
    pub conversations_per_user_max: usize,
    /// Devices of one user with a living token.
    pub devices_per_user_max: usize,
    /// Sessions of one user at one time.
    pub sessions_per_user_max: usize,
    /// Failed attempts to authenticate before the connection is closed.
    pub authentication_attempts_max: u32,
    /// Requests of one session that wait for the store at one time.
    pub requests_per_session_max: usize,
    /// Conversations that a core keeps in memory.
    pub conversations_active_max: usize,
    /// Requests that wait while one conversation is loaded.
    pub parked_per_conversation_max: usize,
    /// Changes of one core that wait for the store.
    pub commits_in_flight_max: usize,
    /// The idle timeout of a connection, told to clients.
    pub idle_timeout_ms: u32,
    /// How long a session may send nothing.
    pub session_idle_ms_max: u64,
    /// Bulk streams of one connection, told to clients.
    pub bulk_streams_max: u32,
    /// Lanes of one connection, 1..=[`LANES`](godwit_proto::LANES).
    pub lanes_max: u32,
    /// How long a token lives after it was last used.
    pub token_lifetime_ms: u64,
    /// Durable timers that one core does something about at a time. What else is due waits in the wheel, and requests are
    /// refused.
    pub timers_busy_max: usize,
    /// How long after its start a message expires at the latest, and how far ahead the end of its delivery may be.
    pub expiry_after_ms_max: u64,
    /// Of entries that a client does not acknowledge.
    pub delivery: DeliveryLimits,
    /// Of notices about users who are not there.
    pub offline: OfflineLimits,
    /// Of scheduled messages.
    pub schedule: ScheduleLimits,
}

/// When an entry that was pushed and not acknowledged is pushed again, and when that has no sense any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveryLimits {
    /// A push has `base_ms` to be acknowledged, and the wait of its attempt on top.
    pub backoff: Backoff,
    /// How often it is pushed again. Once the last one is overdue as well, the session is closed.
    pub attempts_max: u8,
    /// Pages of the log that one core reads at one time to push them again. What else is due waits.
    pub pages_in_flight_max: usize,
}

/// Bounds of what is kept for the offline hook and asked of it, each for one core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfflineLimits {
    /// How long notices are gathered before they are handed over, so that a burst makes one.
    pub gather_ms: u64,
    /// Notices that wait or are under way: one for each user and conversation at most. Others are dropped, and counted.
    pub notices_max: usize,
    /// Notices in one call.
    pub batch_max: usize,
    /// Calls at one time.
    pub calls_max: usize,
    /// How long one call may take.
    pub call_timeout_ms: u64,
    /// How long nothing is handed over after a failure.
    pub backoff: Backoff,
    /// How often a notice is tried. Then it is a dead letter.
    pub attempts_max: u8,
    /// Dead letters that are kept, of all cores together. The oldest make room.
    pub dead_letters_max: usize,
}

/// Bounds of scheduled messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduleLimits {
    /// Of one user, not sent yet.
    pub per_user_max: usize,
    /// How far ahead.
    pub ahead_ms_max: u64,
    /// How long after it was due one is still sent.
    pub late_ms_max: u64,
    /// How far apart the messages of a series are.
    pub recurrence_ms_min: u64,
    /// Reminders of one user, also of those that were due.
    pub reminders_per_user_max: usize,
    /// On one page of a list.
    pub per_page_max: usize,
}

impl Limits {
    /// Bytes of entries in one frame.
    pub fn page_bytes(&self) -> usize {
        FRAME_BYTES_MAX - FRAME_OVERHEAD_BYTES
    }

    /// What a client is told in hello.
    pub fn to_proto(&self) -> v1::Limits {
        let number = |limit: usize| u32::try_from(limit).unwrap_or(u32::MAX);
        v1::Limits {
            frame_bytes_max: number(FRAME_BYTES_MAX),
            message_bytes_max: number(self.message_bytes_max),
            history_entries_max: number(self.history_entries_max),
            group_members_max: number(self.conversation.group_members_max),
            users_per_request_max: number(self.users_per_request_max),
            conversations_per_page_max: number(self.conversations_per_page_max),
            idle_timeout_ms: self.idle_timeout_ms,
            bulk_streams_max: self.bulk_streams_max,
            scheduled_per_user_max: number(self.schedule.per_user_max),
            schedule_ahead_ms_max: self.schedule.ahead_ms_max,
            scheduled_per_page_max: number(self.schedule.per_page_max),
            expiry_after_ms_max: self.expiry_after_ms_max,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            conversation: ConversationLimits { dedupe_entries: 128, group_members_max: 5_000 },
            message_bytes_max: 32 * 1024,
            history_entries_max: 200,
            users_per_request_max: 400,
            conversations_per_page_max: 200,
            conversations_per_user_max: 20_000,
            devices_per_user_max: 16,
            sessions_per_user_max: 32,
            authentication_attempts_max: 5,
            requests_per_session_max: 64,
            conversations_active_max: 50_000,
            parked_per_conversation_max: 1_024,
            commits_in_flight_max: 16_384,
            idle_timeout_ms: 30_000,
            session_idle_ms_max: DAY_MS,
            bulk_streams_max: 4,
            lanes_max: godwit_proto::LANES,
            token_lifetime_ms: 90 * DAY_MS,
            timers_busy_max: 16_384,
            expiry_after_ms_max: 366 * DAY_MS,
            delivery: DeliveryLimits::default(),
            offline: OfflineLimits::default(),
            schedule: ScheduleLimits::default(),
        }
    }
}

impl Default for DeliveryLimits {
    fn default() -> Self {
        Self {
            backoff: Backoff { base_ms: 5_000, factor: 2, max_ms: 30_000 },
            attempts_max: 5,
            pages_in_flight_max: 64,
        }
    }
}

impl Default for OfflineLimits {
    fn default() -> Self {
        Self {
            gather_ms: 1_000,
            notices_max: 65_536,
            batch_max: 64,
            calls_max: 4,
            call_timeout_ms: 10_000,
            backoff: Backoff { base_ms: 500, factor: 2, max_ms: 60_000 },
            attempts_max: 10,
            dead_letters_max: 1_024,
        }
    }
}

impl Default for ScheduleLimits {
    fn default() -> Self {
        Self {
            per_user_max: 1_000,
            ahead_ms_max: 366 * DAY_MS,
            late_ms_max: DAY_MS,
            recurrence_ms_min: 60_000,
            reminders_per_user_max: 100,
            per_page_max: 50,
        }
    }
}
