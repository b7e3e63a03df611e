//! A relay over TLS and TCP, and clients for it: what Godwit is compared with on a network that loses packets.
//!
//! TLS 1.3 from the same library as QUIC's, no delay of small segments, CUBIC as in QUIC, and all frames of a connection's
//! turn in one write: nothing is left to chance but what TCP itself costs, which is that everything behind a lost segment
//! waits for it.

pub mod client;
pub mod relay;
pub mod tls;

mod connection;
mod outbox;
mod socket;

pub use socket::listen;
