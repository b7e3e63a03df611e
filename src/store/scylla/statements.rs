//! What is read of the cluster itself.

/// The node that answers.
pub(super) const SYSTEM_LOCAL: &str = "SELECT broadcast_address, data_center, release_version FROM system.local";

/// The others.
pub(super) const SYSTEM_PEERS: &str = "SELECT peer, data_center, release_version FROM system.peers";

/// Only ScyllaDB has this table.
pub(super) const SCYLLA_VERSION: &str = "SELECT version FROM system.versions";
