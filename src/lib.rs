//! Godwit, an instant-messaging server. `docs/ARCHITECTURE.md` says what lives where and what may import what.

pub mod chat;
pub mod router;
pub mod store;
pub mod transport;
