//! The store on ScyllaDB or Apache Cassandra; docs/STORAGE.md says how, and why nothing is torn, lost or doubled.
//!
//! One driver session for the whole process (`connection`), on a small runtime of its own. Every CQL text is in a file named
//! `statements.rs` or in a migration (`schema`), and tests/store_statements.rs reads them all.

mod cluster;
pub mod connection;
mod copying;
mod driver_tables;
mod error;
pub mod fence;
mod inventory;
pub mod lease;
pub mod log;
mod open_failure;
mod options;
mod outcome;
mod owned;
pub mod schema;
mod statement;
mod statements;
mod store;
mod store_impl;
pub mod tables;
pub mod timers;
mod tls;
pub mod users;

pub use cluster::{Backend, Cluster, ClusterNode};
pub use connection::{Conditional, Cql};
pub use driver_tables::DriverTables;
pub use error::OpenError;
pub use inventory::Lists;
pub use options::{ScyllaOptions, TlsOptions};
pub use outcome::{Failed, classify};
pub use statement::{BatchShape, Statement, StatementKind, Text, WriteBatch};
pub use store::{OnLease, Scylla};
