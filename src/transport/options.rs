//! Every knob of the transport.

use serde::{Deserialize, Serialize};
use std::time::Duration;
use thiserror::Error;

/// Limits and timeouts of the transport. Limits that say "whole server" are shared out evenly among its endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TransportOptions {
    /// A connection is closed after this long without a packet from the client, who keeps it open with QUIC PINGs at
    /// least twice as often. Longer keeps dead phones in memory, shorter costs sleeping phones battery.
    pub idle_timeout_ms: u32,
    /// From the first packet to the end of the TLS handshake.
    pub handshake_timeout_ms: u32,
    /// From the end of the TLS handshake until the core says that the client has authenticated.
    pub authentication_timeout_ms: u32,
    /// How long a connection that is being closed waits for its last frames to be acknowledged.
    pub linger_ms: u32,
    /// At shutdown: how long to wait for the sessions, which the core closes, before what is left is cut off.
    pub drain_timeout_ms: u32,

    /// Connections that may be unauthenticated at once, in their handshake or after it (whole server). Above it new ones
    /// are refused. Each costs about 40 KB.
    pub handshakes_max: usize,
    /// From this many unauthenticated connections on (whole server), a client must prove with a stateless retry, which
    /// costs it a round trip, that it receives at its address before anything is kept for it.
    pub retry_handshakes_min: usize,
    /// First packets that wait to be looked at (whole server). More are dropped, as if the network had lost them.
    pub incoming_max: usize,
    /// Bytes that may wait behind those first packets (whole server).
    pub incoming_bytes_max: u64,

    /// Bulk streams that one client may have open at once.
    pub bulk_streams_max: u32,
    /// Requests of one session stream that may wait for their replies; the next ones are not read. Replies there are small.
    pub requests_in_flight_max: usize,
    /// The same for each bulk stream, where a reply may be as long as a frame: times streams, times frame, this is what
    /// one client can make the server prepare for it.
    pub bulk_requests_in_flight_max: usize,
    /// Bytes that a client may have in flight before it has authenticated, on all streams together.
    pub unauthenticated_receive_window_bytes: u32,
    /// The same after it has: the most that one client can make the server hold of what it sends.
    pub receive_window_bytes: u32,
    /// The same for one stream.
    pub stream_receive_window_bytes: u32,
    /// Unacknowledged bytes that QUIC holds for one client; what is beyond waits in the session's outbox. Should cover
    /// bandwidth times round-trip time of a good mobile network.
    pub send_window_bytes: u32,

    /// UDP payload that is assumed to pass everywhere. 1,200 is what QUIC requires of a path.
    pub mtu_bytes: u16,
    /// Probe for larger packets. Frames here are small, and every connection pays for probes with memory and timers.
    pub mtu_discovery: bool,

    /// The least time between two stateless resets of one endpoint. quinn's own 20 ms would let clients learn of a
    /// restart at 50 a second; connection IDs carry a keyed tag, so strangers cannot draw resets.
    pub reset_interval_min_ms: u32,

    /// Kernel receive buffer of each socket; the kernel may grant less.
    pub socket_receive_bytes: usize,
    /// Kernel send buffer of each socket; the kernel may grant less.
    pub socket_send_bytes: usize,
    /// Let the kernel steer packets to cores by connection ID. Off: one endpoint serves all connections.
    pub kernel_steering: bool,
}

impl Default for TransportOptions {
    fn default() -> Self {
        Self {
            idle_timeout_ms: 30_000,
            handshake_timeout_ms: 10_000,
            authentication_timeout_ms: 10_000,
            linger_ms: 1_000,
            drain_timeout_ms: 5_000,
            handshakes_max: 4_096,
            retry_handshakes_min: 512,
            incoming_max: 2_048,
            incoming_bytes_max: 16 << 20,
            bulk_streams_max: 4,
            requests_in_flight_max: 1_024,
            bulk_requests_in_flight_max: 4,
            unauthenticated_receive_window_bytes: 16 << 10,
            receive_window_bytes: 256 << 10,
            stream_receive_window_bytes: 96 << 10,
            send_window_bytes: 256 << 10,
            mtu_bytes: 1_200,
            mtu_discovery: false,
            reset_interval_min_ms: 1,
            socket_receive_bytes: 4 << 20,
            socket_send_bytes: 4 << 20,
            kernel_steering: true,
        }
    }
}

impl TransportOptions {
    /// Refuses values that would keep every client out, naming the option.
    pub fn validate(&self) -> Result<(), InvalidOption> {
        let at_least = |name, value: u64, min: u64| {
            if value < min { Err(InvalidOption { name, value, min }) } else { Ok(()) }
        };
        at_least("idle_timeout_ms", self.idle_timeout_ms.into(), 1_000)?;
        at_least("handshake_timeout_ms", self.handshake_timeout_ms.into(), 1)?;
        at_least("authentication_timeout_ms", self.authentication_timeout_ms.into(), 1)?;
        at_least("handshakes_max", self.handshakes_max as u64, 1)?;
        at_least("incoming_max", self.incoming_max as u64, 1)?;
        at_least("incoming_bytes_max", self.incoming_bytes_max, 1 << 16)?;
        at_least("requests_in_flight_max", self.requests_in_flight_max as u64, 1)?;
        at_least("bulk_requests_in_flight_max", self.bulk_requests_in_flight_max as u64, 1)?;
        at_least("unauthenticated_receive_window_bytes", self.unauthenticated_receive_window_bytes.into(), 1_024)?;
        at_least("receive_window_bytes", self.receive_window_bytes.into(), 1_024)?;
        at_least("stream_receive_window_bytes", self.stream_receive_window_bytes.into(), 1_024)?;
        at_least("send_window_bytes", self.send_window_bytes.into(), 1_024)?;
        at_least("mtu_bytes", self.mtu_bytes.into(), 1_200)
    }

    pub(super) fn handshake_timeout(&self) -> Duration {
        Duration::from_millis(self.handshake_timeout_ms.into())
    }

    pub(super) fn authentication_timeout(&self) -> Duration {
        Duration::from_millis(self.authentication_timeout_ms.into())
    }

    pub(super) fn linger(&self) -> Duration {
        Duration::from_millis(self.linger_ms.into())
    }

    pub(super) fn drain_timeout(&self) -> Duration {
        Duration::from_millis(self.drain_timeout_ms.into())
    }

    pub(super) fn reset_interval_min(&self) -> Duration {
        Duration::from_millis(self.reset_interval_min_ms.into())
    }
}

/// An option under its least value. Change the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("transport option {name} is {value}; it must be at least {min}")]
pub struct InvalidOption {
    name: &'static str,
    value: u64,
    min: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(TransportOptions::default().validate(), Ok(()));
    }

    #[test]
    fn an_option_below_its_least_value_is_named() {
        let options = TransportOptions { mtu_bytes: 576, ..Default::default() };
        let error = options.validate().map_err(|error| error.to_string());
        assert_eq!(error, Err("transport option mtu_bytes is 576; it must be at least 1200".to_owned()));
    }
}
