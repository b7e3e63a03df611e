//! Every metric of the server: its name, kind and meaning, in one table.
//!
//! Names follow the Prometheus conventions: base units, the unit last, `_total` on counters. A label never holds what a
//! peer can choose, because each value is a series that stays. Use a name with the macros of the `metrics` crate:
//! `metrics::counter!(metric::MESSAGES_ACCEPTED).increment(1)`; keep the handle where it is hot.

use metrics::Unit;

/// A metric.
#[derive(Debug, Clone)]
pub struct Metric {
    /// As Prometheus sees it.
    pub name: &'static str,
    /// What kind of value it has.
    pub kind: Kind,
    /// What it counts in.
    pub unit: Unit,
    /// What it means, for the operator.
    pub help: &'static str,
}

/// What kind of value a metric has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Spreads over buckets with these upper bounds.
    Histogram(&'static [f64]),
}

/// From a fast sync to a store that hangs.
const SYNC_BOUNDS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// From an idle turn to one that everybody notices.
const TURN_BOUNDS: &[f64] = &[0.00001, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0];

/// How much is done at once.
const BATCH_BOUNDS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0];

/// From a short message to what no database should be given at once.
const BYTES_BOUNDS: &[f64] = &[
    256.0,
    1024.0,
    4096.0,
    16_384.0,
    32_768.0,
    65_536.0,
    131_072.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
];

macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $constant:ident = $name:literal, $kind:expr, $unit:ident;)+) => {
        $($(#[doc = $help])+ pub const $constant: &str = $name;)+

        /// The table.
        pub const ALL: &[Metric] = &[
            $(Metric { name: $name, kind: $kind, unit: Unit::$unit, help: concat!($($help),+) }),+
        ];
    };
}

metrics! {
    /// Open connections whose handshake is done, logged in or not.
    CONNECTIONS = "godwit_connections", Kind::Gauge, Count;
    /// Connection attempts, by outcome: accepted, retried, refused, failed, timed_out. One that is told to retry comes back
    /// and is counted again.
    HANDSHAKES = "godwit_handshakes_total", Kind::Counter, Count;
    /// Sessions that are logged in.
    SESSIONS = "godwit_sessions", Kind::Gauge, Count;
    /// Whole frames from clients that were handed to a core.
    FRAMES_RECEIVED = "godwit_frames_received_total", Kind::Counter, Count;
    /// Stream bytes read from clients.
    BYTES_RECEIVED = "godwit_bytes_received_total", Kind::Counter, Bytes;
    /// Turns in which a connection was written to.
    WRITES = "godwit_writes_total", Kind::Counter, Count;
    /// Frames that one such turn wrote. Above 1, frames share packets.
    WRITE_FRAMES = "godwit_write_frames", Kind::Histogram(BATCH_BOUNDS), Count;
    /// Requests refused, by error code.
    REQUESTS_REFUSED = "godwit_requests_refused_total", Kind::Counter, Count;
    /// Messages that passed the rules and got a seq. A repeated send counts once.
    MESSAGES_ACCEPTED = "godwit_messages_accepted_total", Kind::Counter, Count;
    /// Messages that are on disk and were acknowledged to their sender.
    MESSAGES_DURABLE = "godwit_messages_durable_total", Kind::Counter, Count;
    /// Entries pushed to sessions; one entry pushed to three devices counts three times.
    ENTRIES_DELIVERED = "godwit_entries_delivered_total", Kind::Counter, Count;
    /// Entries that devices acknowledged.
    ENTRIES_ACKED = "godwit_entries_acked_total", Kind::Counter, Count;
    /// Entries pushed again because they were not acknowledged in time.
    ENTRIES_REDELIVERED = "godwit_entries_redelivered_total", Kind::Counter, Count;
    /// Sessions closed because they did not acknowledge an entry however often it was pushed again.
    DELIVERY_TIMEOUTS = "godwit_delivery_timeouts_total", Kind::Counter, Count;
    /// Notices about users without a session, by outcome: handed_over, overflowed (too many waited), given_up (a dead letter).
    OFFLINE_NOTICES = "godwit_offline_notices_total", Kind::Counter, Count;
    /// Notices that were given up and wait for somebody to look at them.
    OFFLINE_DEAD_LETTERS = "godwit_offline_dead_letters", Kind::Gauge, Count;
    /// Scheduled messages that were sent, counted once each however often a crash has them fire.
    SCHEDULED_SENT = "godwit_scheduled_sent_total", Kind::Counter, Count;
    /// Scheduled messages that could not be sent when they were due.
    SCHEDULED_FAILED = "godwit_scheduled_failed_total", Kind::Counter, Count;
    /// From when a scheduled message was due to when its conversation took it.
    SCHEDULED_LAG_SECONDS = "godwit_scheduled_lag_seconds", Kind::Histogram(SYNC_BOUNDS), Seconds;
    /// Messages that disappeared.
    MESSAGES_EXPIRED = "godwit_messages_expired_total", Kind::Counter, Count;
    /// From when a message was to disappear to when it was gone for good. It is handed to nobody in between.
    EXPIRY_LAG_SECONDS = "godwit_expiry_lag_seconds", Kind::Histogram(SYNC_BOUNDS), Seconds;
    /// Deliveries that ended with somebody not having the message.
    MESSAGES_UNDELIVERED = "godwit_messages_undelivered_total", Kind::Counter, Count;
    /// Durable timers in memory, by core: what is due within the next minute.
    TIMERS_ARMED = "godwit_timers_armed", Kind::Gauge, Count;
    /// Sessions told to sync again because they read too slowly.
    RESYNCS = "godwit_resyncs_total", Kind::Counter, Count;
    /// Conversations held in memory.
    CONVERSATIONS_ACTIVE = "godwit_conversations_active", Kind::Gauge, Count;
    /// Items waiting for a core, by core.
    MAILBOX_DEPTH = "godwit_mailbox_depth", Kind::Gauge, Count;
    /// Length of a core's turn, from its first event to its last flush, by core.
    TURN_SECONDS = "godwit_turn_seconds", Kind::Histogram(TURN_BOUNDS), Seconds;
    /// Events that a core took in one turn.
    TURN_EVENTS = "godwit_turn_events", Kind::Histogram(BATCH_BOUNDS), Count;
    /// Entries that one sync of the store made durable, or one mutation of a conversation's log.
    STORE_COMMIT_BATCH_ENTRIES = "godwit_store_commit_batch_entries", Kind::Histogram(BATCH_BOUNDS), Count;
    /// Bytes of such a sync or mutation: the entries, and what goes with them.
    STORE_COMMIT_BATCH_BYTES = "godwit_store_commit_batch_bytes", Kind::Histogram(BYTES_BOUNDS), Bytes;
    /// Time of one sync of the store.
    STORE_COMMIT_SYNC_SECONDS = "godwit_store_commit_sync_seconds", Kind::Histogram(SYNC_BOUNDS), Seconds;
    /// Commits waiting for the next sync, or on their way to the database.
    STORE_COMMIT_QUEUE_DEPTH = "godwit_store_commit_queue_depth", Kind::Gauge, Count;
    /// Durable bytes that are not sorted by conversation yet; a start after a crash works through them.
    STORE_BEHIND_BYTES = "godwit_store_behind_bytes", Kind::Gauge, Bytes;
    /// Commits that the store refused, by reason: full, overloaded, closed.
    STORE_REFUSED = "godwit_store_refused_total", Kind::Counter, Count;
    /// Time until the database answered, or was given up, by statement.
    STORE_STATEMENT_SECONDS = "godwit_store_statement_seconds", Kind::Histogram(SYNC_BOUNDS), Seconds;
    /// Requests to the database that failed, by statement and reason: timed_out, unreachable, disconnected, unavailable (too few
    /// live replicas), overloaded, failed, refused.
    STORE_STATEMENT_FAILURES = "godwit_store_statement_failures_total", Kind::Counter, Count;
    /// Writes of which nobody can say whether they are done, by statement. Each is written again, or read again.
    STORE_UNKNOWN_OUTCOMES = "godwit_store_unknown_outcomes_total", Kind::Counter, Count;
    /// Writes that were written again unchanged because their outcome was unknown, by statement.
    STORE_RETRIES = "godwit_store_retries_total", Kind::Counter, Count;
    /// Statements of one batch to the database.
    STORE_BATCH_STATEMENTS = "godwit_store_batch_statements", Kind::Histogram(BATCH_BOUNDS), Count;
    /// How long this server would still own its keyspace if the database answered no more, at its last renewal.
    LEASE_MARGIN_SECONDS = "godwit_lease_margin_seconds", Kind::Gauge, Seconds;
    /// Renewals of the lease on the keyspace, by outcome: renewed, unknown (tried again), lost (the server ends).
    LEASE_RENEWALS = "godwit_lease_renewals_total", Kind::Counter, Count;
    /// Takeovers of the keyspace from a server that had not given its lease back.
    LEASE_TAKEOVERS = "godwit_lease_takeovers_total", Kind::Counter, Count;
    /// Writes that the database has not answered yet.
    STORE_WRITES_IN_FLIGHT = "godwit_store_writes_in_flight", Kind::Gauge, Count;
    /// Pages of history and whole conversations that were asked for, by how: done, or shared with the same question in flight.
    STORE_READS = "godwit_store_reads_total", Kind::Counter, Count;
    /// Conversations whose state the store keeps in memory.
    STORE_CONVERSATIONS_CACHED = "godwit_store_conversations_cached", Kind::Gauge, Count;
    /// First looks at a conversation.
    STORE_ACTIVATIONS = "godwit_store_activations_total", Kind::Counter, Count;
    /// Conversations that were taken over from a former owner.
    STORE_SEALS = "godwit_store_seals_total", Kind::Counter, Count;
    /// Lines of conversation lists, and whole lists of a user's conversations, by where they were read: redis; or the store,
    /// because of what was missing in Redis, behind (a change was on its way there) or away.
    SUMMARIES = "godwit_summaries_total", Kind::Counter, Count;
    /// Lines and lists that were made from the store and written to Redis.
    SUMMARY_REBUILDS = "godwit_summary_rebuilds_total", Kind::Counter, Count;
    /// How often nothing of a slice of the summaries in Redis was believed any more, by reason: unanswered (a write), lost (by
    /// Redis), overflow (of what waits to be written), newer (an owner). Each costs rebuilds of a 256th of all summaries.
    SUMMARY_GENERATIONS = "godwit_summary_generations_total", Kind::Counter, Count;
    /// Lines and lists in Redis that were compared with the store.
    SUMMARY_AUDITS = "godwit_summary_audits_total", Kind::Counter, Count;
    /// Those of them that were wrong, and were repaired. Anything but 0 is a fault of the server: please report it.
    SUMMARY_MISMATCH = "godwit_summary_mismatch_total", Kind::Counter, Count;
    /// Changes of summaries that wait to be written to Redis.
    SUMMARY_QUEUE_DEPTH = "godwit_summary_queue_depth", Kind::Gauge, Count;
    /// Whether Redis answers: 1 or 0. Without it lists are read from the store.
    REDIS_UP = "godwit_redis_up", Kind::Gauge, Count;
    /// Time of one round trip to Redis, by kind: read, write, audit, sessions.
    REDIS_ROUND_TRIP_SECONDS = "godwit_redis_round_trip_seconds", Kind::Histogram(SYNC_BOUNDS), Seconds;
    /// Round trips to Redis without an answer, by kind.
    REDIS_ERRORS = "godwit_redis_errors_total", Kind::Counter, Count;
    /// Acked positions that are only in memory.
    STORE_ACKED_BEHIND = "godwit_store_acked_behind", Kind::Gauge, Count;
    /// Changes of timers that wait to be written.
    STORE_TIMER_QUEUE_DEPTH = "godwit_store_timer_queue_depth", Kind::Gauge, Count;
    /// Timers that were written or removed; several changes of one that came together count once.
    STORE_TIMERS_WRITTEN = "godwit_store_timers_written_total", Kind::Counter, Count;
    /// Stretches of time that are over and are not looked at any more.
    STORE_TIMER_BUCKETS_CLOSED = "godwit_store_timer_buckets_closed_total", Kind::Counter, Count;
    /// Rows of indexes that a crash left behind and that were put right.
    STORE_TIMERS_REPAIRED = "godwit_store_timers_repaired_total", Kind::Counter, Count;
    /// Time of looking for what is over.
    STORE_TIMER_SWEEP_SECONDS = "godwit_store_timer_sweep_seconds", Kind::Histogram(SYNC_BOUNDS), Seconds;
    /// Passwords checked or hashed, by outcome: right, wrong, hashed, overloaded, failed.
    PASSWORDS = "godwit_passwords_total", Kind::Counter, Count;
}

/// The label of [`HANDSHAKES`], [`PASSWORDS`], [`OFFLINE_NOTICES`] and [`LEASE_RENEWALS`].
pub const OUTCOME: &str = "outcome";
/// The label of [`STORE_REFUSED`], [`STORE_STATEMENT_FAILURES`] and [`SUMMARY_GENERATIONS`].
pub const REASON: &str = "reason";
/// The label of [`STORE_READS`].
pub const HOW: &str = "how";
/// The label of [`REQUESTS_REFUSED`]: the name in the .proto file without its prefix.
pub const CODE: &str = "code";
/// The label of what the store asks of a database: the statement's name in the source.
pub const STATEMENT: &str = "statement";
/// The label of [`SUMMARIES`].
pub const SOURCE: &str = "source";
/// The label of [`REDIS_ROUND_TRIP_SECONDS`] and [`REDIS_ERRORS`].
pub const KIND: &str = "kind";
/// The label of what each core counts for itself.
pub const CORE: &str = "core";

/// Hands units and meanings to the recorder, so that they stand beside the values.
pub(super) fn describe(recorder: &impl metrics::Recorder) {
    for metric in ALL {
        let (name, unit, help) = (metric.name.into(), Some(metric.unit), metric.help.trim().into());
        match metric.kind {
            Kind::Counter => recorder.describe_counter(name, unit, help),
            Kind::Gauge => recorder.describe_gauge(name, unit, help),
            Kind::Histogram(_) => recorder.describe_histogram(name, unit, help),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_end_in_what_their_kind_asks_for() {
        assert_eq!(ALL.iter().map(|metric| metric.name).collect::<HashSet<_>>().len(), ALL.len());
        for metric in ALL {
            let Metric { name, kind, unit, .. } = metric;
            assert!(name.starts_with("godwit_"), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert_eq!(name.ends_with("_seconds"), *unit == Unit::Seconds, "{name}");
            assert_eq!(name.trim_end_matches("_total").contains("bytes"), *unit == Unit::Bytes, "{name}");
        }
    }

    #[test]
    fn buckets_ascend() {
        for metric in ALL {
            if let Kind::Histogram(bounds) = metric.kind {
                assert!(bounds.is_sorted_by(|one, next| one < next), "{}", metric.name);
            }
        }
    }
}
