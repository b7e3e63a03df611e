//! Godwit, an instant-messaging server. `docs/ARCHITECTURE.md` says what lives where and what may import what.

pub mod account;
pub mod admin;
pub mod chat;
pub mod config;
pub mod router;
pub mod server;
pub mod store;
pub mod telemetry;
pub mod terminal;
pub mod timer;
pub mod transport;
