//! The network between clients and server: what `--link` asks for, and two ways to have it.
//!
//! [`Relay`] passes UDP on in user space and needs no rights; QUIC goes through it. [`Tunnel`] does the same to IP packets, so
//! that TCP goes through it too, with the kernel's own retransmissions; it needs a [`namespace`] of its own. Both leave the
//! fate of each datagram to the same state machine, a `Direction`.

#[cfg(test)]
mod delivery_tests;
mod direction;
mod flows;
pub mod namespace;
mod overrun;
mod relay;
mod spec;
mod stats;
mod transit;
mod tunnel;

pub use relay::Relay;
pub use spec::LinkSpec;
pub use stats::LinkStats;
pub use tunnel::Tunnel;
