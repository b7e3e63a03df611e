//! QUIC, from sockets to frames: what a core knows of its clients, it knows through [`CorePort`](crate::router::CorePort).
//!
//! [`bind`] makes a socket for each core and has the kernel steer packets to them by connection ID; [`Transport::serve`]
//! runs one core's endpoint. A connection is one task, which writes what its [`Outbox`](crate::router::Outbox) holds
//! and hands in what the client sends. quinn's types do not leave this module, except [`Transport::endpoint`], for comparison.
//!
//! What never breaks:
//! - A connection stays on the core that it started on, whatever address its client moves to.
//! - Everything that a client can make grow has a limit in [`TransportOptions`].
//! - A session that was opened is closed exactly once.

mod admission;
mod certificate;
mod client_stream;
mod connection;
mod connection_id;
mod endpoint;
mod lanes;
mod metrics;
mod open_session;
mod options;
mod outgoing;
mod persist;
mod secret;
mod session;
mod sockets;
mod steering;
mod tls;

pub use certificate::{Certificate, CertificateError};
pub use endpoint::{Transport, TransportError};
pub use options::{InvalidOption, TransportOptions};
pub use secret::{QuicSecrets, SECRET_BYTES, SecretError};
pub use sockets::{BindError, Bound, Steering, bind};
pub use tls::TlsError;
