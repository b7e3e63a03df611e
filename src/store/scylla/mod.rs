//! The store on ScyllaDB or Apache Cassandra; docs/STORAGE.md says how, and why nothing is torn, lost or doubled.

pub mod fence;
pub mod tables;
