//! What the schema asks of the cluster about itself.

pub(super) const KEYSPACE: &str = "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = ?";

pub(super) const TABLES: &str = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?";

pub(super) const COLUMNS: &str =
    "SELECT table_name, column_name, kind, type FROM system_schema.columns WHERE keyspace_name = ?";

pub(super) const VERSION: &str = "SELECT version, step, claim, beat, holder FROM schema_version WHERE component = ?";

pub(super) const FIRST_VERSION: &str = "INSERT INTO schema_version (component, version, step, claim, beat, holder) \
     VALUES (?, 0, 0, 0, 0, '') IF NOT EXISTS";

pub(super) const NEXT_VERSION: &str = "UPDATE schema_version SET version = ?, step = ?, claim = ?, beat = ?, holder = ? \
     WHERE component = ? IF claim = ? AND beat = ?";

pub(super) const LEASES: &str = "SELECT node_id, state, until_us, address FROM node_leases";
