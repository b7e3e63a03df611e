//! What a core counts. Handles are made once, because looking one up costs more than counting.

use crate::{chat::Refusal, telemetry::metric};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

/// Of the rules: what [`Core`](super::Core) and its parts count.
#[derive(Clone)]
pub struct CoreMeters {
    pub accepted: Counter,
    pub durable: Counter,
    pub acked: Counter,
    pub redelivered: Counter,
    pub delivery_timeouts: Counter,
    pub resyncs: Counter,
    /// All cores add to and take from the same gauges.
    pub sessions: Gauge,
    pub conversations: Gauge,
}

impl CoreMeters {
    pub fn new() -> Self {
        Self {
            accepted: counter!(metric::MESSAGES_ACCEPTED),
            durable: counter!(metric::MESSAGES_DURABLE),
            acked: counter!(metric::ENTRIES_ACKED),
            redelivered: counter!(metric::ENTRIES_REDELIVERED),
            delivery_timeouts: counter!(metric::DELIVERY_TIMEOUTS),
            resyncs: counter!(metric::RESYNCS),
            sessions: gauge!(metric::SESSIONS),
            conversations: gauge!(metric::CONVERSATIONS_ACTIVE),
        }
    }
}

/// Of scheduled messages.
pub struct ScheduleMeters {
    pub fired: Counter,
    pub failed: Counter,
    pub lag_seconds: Histogram,
}

impl ScheduleMeters {
    pub fn new() -> Self {
        Self {
            fired: counter!(metric::SCHEDULED_SENT),
            failed: counter!(metric::SCHEDULED_FAILED),
            lag_seconds: histogram!(metric::SCHEDULED_LAG_SECONDS),
        }
    }
}

/// Of messages that expire.
pub struct ExpiryMeters {
    pub expired: Counter,
    pub lag_seconds: Histogram,
    pub undelivered: Counter,
}

impl ExpiryMeters {
    pub fn new() -> Self {
        Self {
            expired: counter!(metric::MESSAGES_EXPIRED),
            lag_seconds: histogram!(metric::EXPIRY_LAG_SECONDS),
            undelivered: counter!(metric::MESSAGES_UNDELIVERED),
        }
    }
}

/// Of durable timers.
pub struct TimerMeters {
    pub armed: Gauge,
}

impl TimerMeters {
    pub fn new(core: u16) -> Self {
        Self { armed: gauge!(metric::TIMERS_ARMED, metric::CORE => core.to_string()) }
    }
}

/// Of the loop: what a [`Driver`](super::Driver) counts.
pub struct TurnMeters {
    pub turn_seconds: Histogram,
    pub turn_events: Histogram,
    pub mailbox_depth: Gauge,
    pub delivered: Counter,
}

impl TurnMeters {
    pub fn new(core: u16) -> Self {
        let core = core.to_string();
        Self {
            turn_seconds: histogram!(metric::TURN_SECONDS, metric::CORE => core.clone()),
            turn_events: histogram!(metric::TURN_EVENTS, metric::CORE => core.clone()),
            mailbox_depth: gauge!(metric::MAILBOX_DEPTH, metric::CORE => core),
            delivered: counter!(metric::ENTRIES_DELIVERED),
        }
    }
}

/// Counts a refusal. They are rare, or the server has other worries than a look-up.
pub fn count_refusal(refusal: &Refusal) {
    let name = refusal.code.as_str_name();
    let code = name.strip_prefix("ERROR_CODE_").unwrap_or(name);
    counter!(metric::REQUESTS_REFUSED, metric::CODE => code).increment(1);
}
