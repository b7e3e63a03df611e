//! The rules of chat, as pure state machines: no I/O, no clock, no tokio, no quinn, no store.
//!
//! Whatever happens to a conversation goes in as an input together with the time; what is to be done comes out as effects.
//! The same code runs on the server's cores and in the simulator.

mod entry;
mod member;

pub use entry::{LogEntry, MessageBody};
pub use member::{Member, MemberChange, Position, Role};
