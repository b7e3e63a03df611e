//! What the load test's own clients put on the wire: as little as a client can do, so that the server is what is measured.
//!
//! The SDK reconnects, repeats, syncs and orders; these clients do none of that. They speak to a Godwit server, or to one of
//! the bare relays that it is compared with, in the same way: a [`Dialect`] says what, a [`Transport`] how.

mod bare;
mod dialer;
pub mod godwit;
mod link;
mod quic;
mod reader;
mod stamp;
mod streams;
mod tcp;

pub use bare::{BareFrame, FrameSizes};
pub use dialer::Dialer;
pub use link::{Dialect, Link, Login, Refused, bulk};
pub use reader::{FrameReader, ReadEnd};
pub use stamp::{STAMP_BYTES, Stamp};
pub use streams::{Connection, Sending, Transport};
