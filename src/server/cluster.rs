//! What a store on ScyllaDB or Cassandra is handed of the configuration.

use crate::{
    config::{Config, StoreAddress},
    store::scylla::{OpenError, ScyllaOptions, TlsOptions},
};
use std::{num::NonZeroUsize, time::Duration};

/// For the nodes and the keyspace in `store`; reads the file of the password.
pub fn scylla_options(config: &Config) -> Result<ScyllaOptions, OpenError> {
    let StoreAddress::Scylla { nodes, keyspace } = &config.store else {
        let reason = "it does not begin with scylla://".to_owned();
        return Err(OpenError::Url { url: config.store.to_string(), reason });
    };
    let scylla = &config.scylla;
    let ms = |ms: u32| Duration::from_millis(ms.into());
    let identity = scylla.cert_file.clone().zip(scylla.key_file.clone());
    let mut options = ScyllaOptions {
        user: scylla.user.clone(),
        tls: scylla.ca_file.clone().map(|ca_file| TlsOptions { ca_file, identity }),
        datacenter: scylla.datacenter.clone(),
        replication_factor: NonZeroUsize::new(scylla.replication),
        migrate: scylla.migrate,
        request_timeout: ms(scylla.request_timeout_ms),
        connect_timeout: ms(scylla.connect_timeout_ms),
        connections_per_host: NonZeroUsize::new(scylla.connections_per_host).unwrap_or(NonZeroUsize::MIN),
        lease_ms: scylla.lease_ms,
        writes_in_flight_max: scylla.writes_in_flight_max,
        reads_in_flight_max: scylla.reads_in_flight_max,
        batch_bytes_max: scylla.batch_bytes_max,
        batch_entries_max: scylla.batch_entries_max,
        conversations_cached_max: scylla.conversations_cached_max,
        ..ScyllaOptions::new(nodes.clone(), keyspace)
    };
    if let Some(path) = &scylla.password_file {
        options.read_password(path)?;
    }
    Ok(options)
}
