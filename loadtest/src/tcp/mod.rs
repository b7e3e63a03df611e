//! TLS over TCP, as both sides of the comparison on a network that loses packets have it.
//!
//! TLS 1.3 from the same library as QUIC's, no delay of small segments, CUBIC as in QUIC, and all frames of a connection's
//! turn in one write: nothing is left to chance but what TCP itself costs, which is that everything behind a lost segment
//! waits for it.

mod socket;
mod tls;

pub use socket::{congestion_control, connect, listen};
pub use tls::Identity;
