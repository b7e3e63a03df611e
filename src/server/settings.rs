//! What each part is handed of the configuration.

use super::StartError;
use crate::{
    account::PasswordSettings,
    chat::ConversationLimits,
    config::Config,
    router,
    store::{
        embedded::EmbeddedOptions,
        redis::{OpenError as RedisError, RedisOptions},
    },
    transport::TransportOptions,
};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

const DAY_MS: u64 = 24 * 3_600_000;

/// Bounds between a core's connections and the core.
#[derive(Debug, Clone, Copy)]
pub struct PortBounds {
    pub events_max: usize,
    pub sessions_max: usize,
    pub outbox_bytes_max: usize,
    pub turn_events_max: usize,
}

pub fn port(config: &Config, endpoints: u16) -> PortBounds {
    let limits = &config.limits;
    PortBounds {
        events_max: limits.inbox_events_max,
        sessions_max: limits.sessions_max.div_ceil(usize::from(endpoints)),
        outbox_bytes_max: limits.outbox_bytes_max,
        turn_events_max: limits.turn_events_max,
    }
}

pub fn router(config: &Config, cores: u16) -> router::Limits {
    let limits = &config.limits;
    router::Limits {
        conversation: ConversationLimits {
            dedupe_entries: limits.dedupe_entries_max,
            group_members_max: limits.group_members_max,
        },
        message_bytes_max: limits.message_bytes_max,
        history_entries_max: limits.history_entries_max,
        users_per_request_max: limits.users_per_request_max,
        conversations_per_page_max: limits.conversations_per_page_max,
        devices_per_user_max: limits.devices_per_user_max,
        // What the transport lets through, so that a client that pipelines is slowed down and not refused.
        requests_per_session_max: limits.requests_in_flight_max
            + limits.bulk_streams_max as usize * limits.bulk_requests_in_flight_max,
        conversations_active_max: limits.conversations_active_max.div_ceil(usize::from(cores)),
        idle_timeout_ms: limits.idle_timeout_ms,
        session_idle_ms_max: limits.session_idle_ms_max,
        bulk_streams_max: limits.bulk_streams_max,
        lanes_max: limits.lanes_max,
        token_lifetime_ms: u64::from(config.token.lifetime_days) * DAY_MS,
        expiry_after_ms_max: u64::from(limits.expiry_after_days_max) * DAY_MS,
        delivery: router::DeliveryLimits {
            backoff: router::Backoff {
                base_ms: config.delivery.ack_wait_ms,
                factor: config.delivery.factor,
                max_ms: config.delivery.max_ms,
            },
            attempts_max: u8::try_from(config.delivery.attempts).unwrap_or(u8::MAX),
            ..router::DeliveryLimits::default()
        },
        schedule: router::ScheduleLimits {
            per_user_max: config.schedule.per_user_max,
            ahead_ms_max: u64::from(config.schedule.ahead_days_max) * DAY_MS,
            late_ms_max: config.schedule.late_ms_max,
            reminders_per_user_max: config.schedule.reminders_per_user_max,
            recurrence_ms_min: u64::from(config.schedule.recurrence_min_s) * 1_000,
            ..router::ScheduleLimits::default()
        },
        ..router::Limits::default()
    }
}

pub fn transport(config: &Config) -> TransportOptions {
    let (limits, transport) = (&config.limits, &config.transport);
    TransportOptions {
        idle_timeout_ms: limits.idle_timeout_ms,
        handshake_timeout_ms: limits.handshake_timeout_ms,
        authentication_timeout_ms: limits.authentication_timeout_ms,
        linger_ms: limits.linger_ms,
        drain_timeout_ms: limits.drain_timeout_ms,
        handshakes_max: limits.handshakes_max,
        retry_handshakes_min: limits.retry_handshakes_min,
        incoming_max: limits.incoming_max,
        incoming_bytes_max: limits.incoming_bytes_max,
        bulk_streams_max: limits.bulk_streams_max,
        requests_in_flight_max: limits.requests_in_flight_max,
        bulk_requests_in_flight_max: limits.bulk_requests_in_flight_max,
        unauthenticated_receive_window_bytes: transport.unauthenticated_receive_window_bytes,
        receive_window_bytes: transport.receive_window_bytes,
        stream_receive_window_bytes: transport.stream_receive_window_bytes,
        send_window_bytes: transport.send_window_bytes,
        mtu_bytes: transport.mtu_bytes,
        mtu_discovery: transport.mtu_discovery,
        reset_interval_min_ms: transport.reset_interval_min_ms,
        socket_receive_bytes: transport.socket_receive_bytes,
        socket_send_bytes: transport.socket_send_bytes,
        kernel_steering: transport.kernel_steering,
    }
}

pub fn embedded(config: &Config, dir: PathBuf) -> EmbeddedOptions {
    let store = &config.embedded;
    EmbeddedOptions {
        cache_bytes: store.cache_bytes,
        disk_reserve_bytes: store.disk_reserve_bytes,
        queue_commits_max: store.queue_commits_max,
        queue_bytes_max: store.queue_bytes_max,
        turn_commits_max: store.turn_commits_max,
        turn_bytes_max: store.turn_bytes_max,
        behind_bytes_max: store.behind_bytes_max,
        heads_max: store.heads_max,
        readers: store.readers,
        reads_max: store.reads_max,
        acked_pending_max: store.acked_pending_max,
        withdrawn_stay_max: Duration::from_millis(store.withdrawn_stay_ms_max),
        journal_bytes_max: store.journal_bytes_max,
        ..EmbeddedOptions::new(dir)
    }
}

pub fn redis(config: &Config) -> Result<RedisOptions, StartError> {
    let section = &config.redis;
    let file = |key, path: &Option<PathBuf>| path.as_deref().map(|path| read(key, path)).transpose();
    let password = file("redis.password_file", &section.password_file)?;
    let password = password.map(|bytes| String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_owned());
    let certificate = file("redis.cert_file", &section.cert_file)?;
    Ok(RedisOptions {
        user: section.user.clone(),
        password,
        ca_pem: file("redis.ca_file", &section.ca_file)?,
        client_pem: certificate.zip(file("redis.key_file", &section.key_file)?),
        connect_timeout: Duration::from_millis(section.connect_timeout_ms.into()),
        response_timeout: Duration::from_millis(section.response_timeout_ms.into()),
        prefix: section.prefix.clone(),
        keep: Duration::from_millis(section.keep_ms),
        audits_per_second: section.audits_per_second,
        beat: Duration::from_millis(section.beat_ms.into()),
        ..RedisOptions::from_url(&config.summaries.to_string()).map_err(RedisError::from)?
    })
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, StartError> {
    fs::read(path).map_err(|source| StartError::File { key, path: path.to_owned(), source })
}

pub fn passwords(config: &Config) -> PasswordSettings {
    let password = &config.password;
    PasswordSettings {
        memory_kib: password.memory_kib,
        iterations: password.iterations,
        parallelism: password.parallelism,
        threads: password.threads,
        queue_max: password.queue_max,
    }
}
