//! The client SDK for a Godwit server: it connects, stays connected, resends, fills gaps, and hands the application each
//! conversation in order.
//!
//! - A message given to [`Client::send`] is sent until it is durable, with one id, in order, across reconnects.
//! - A message given to [`Client::schedule`] is sent by the server when it is due, whether the client is there or not.
//! - [`Events`] carries every entry of every conversation exactly once and in order of seq, whatever was lost, repeated or
//!   reordered on the way.
//! - A message may disappear, or its delivery end, at a time that its sender chose ([`SendOptions`], [`Client::set_expiry`]);
//!   no message is handed to the application after its time.
//! - Everything that waits is bounded by a field of [`ClientLimits`]; an application that does not read its events stops
//!   the stream, not the sends.
//!
//! ```no_run
#![doc = include_str!("../examples/hello.rs")]
//! ```
//!
//! Inside, one task a client (`driver`) owns the connection and the state. The rules are in modules without I/O: `outbox`
//! (what is sent next), `timeline` and `conversations` (what is handed over next), `acks`, `unread` and `backoff`.

mod acks;
mod backlog;
mod backoff;
mod bulk;
mod client;
mod clock;
mod close;
mod command;
mod config;
mod connector;
mod conversations;
mod driver;
mod endpoint;
mod error;
mod events;
mod expiry;
mod fetches;
mod frames;
mod lanes;
mod outbox;
mod patience;
mod position;
mod requests;
mod session;
mod timeline;
mod tls;
mod typing;
mod unread;

pub use backoff::Backoff;
pub use client::{Client, SendOptions, Sending, Sent};
pub use config::{CatchUp, ClientConfig, ClientLimits, Credentials, InvalidTrust, Trust};
pub use endpoint::SharedEndpoint;
pub use error::{ConnectError, Refusal, RequestError, SendError};
pub use events::{ConnectionState, Event, Events};
pub use expiry::Expiry;
pub use godwit_proto::{self as proto, ClientMsgId, ConversationId, ConversationKind, DeviceId, Seq, UserId, v1};
pub use requests::{FOR_GOOD_MS, Heartbeat, Logout, Repeat, ScheduleChange, ScheduleOptions, ScheduledFilter};
pub use unread::Unread;
