//! A first look at a cluster, before anything in it is used: who it is, how new, and where its nodes are.

use super::{
    error::OpenError,
    open_failure::{self, Doing},
    options::ScyllaOptions,
    statements, tls,
};
use scylla::{
    client::{
        PoolSize,
        execution_profile::ExecutionProfile,
        session::{Session, TlsContext},
        session_builder::SessionBuilder,
    },
    errors::{DbError, ExecutionError, RequestAttemptError},
    policies::retry::DefaultRetryPolicy,
    statement::Consistency,
};
use std::{collections::BTreeSet, net::IpAddr, num::NonZeroUsize, sync::Arc, time::Duration};

/// Which database it is. They speak the same CQL; the ways of keeping a table differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// ScyllaDB.
    Scylla,
    /// Apache Cassandra.
    Cassandra,
}

/// A node, as the cluster knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterNode {
    /// Where it speaks to other nodes.
    pub address: IpAddr,
    /// Its data centre.
    pub datacenter: String,
    /// What it says it is; ScyllaDB pretends to be an old Cassandra.
    pub release: String,
}

/// A cluster that answers and is new enough. The session is in no keyspace: what is done with it must not need one.
pub struct Cluster {
    pub(super) session: Session,
    options: ScyllaOptions,
    backend: Backend,
    version: String,
    datacenter: String,
    nodes: Vec<ClusterNode>,
}

/// A node that does not say anything for so long is asked whether it is there; if it does not answer for as long again, its
/// connections are closed and others are used.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// A change of the schema takes seconds on a busy cluster.
const SCHEMA_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

impl Cluster {
    /// Connects, logs in, and refuses what is too old. A keyspace of the database's own is refused before.
    pub async fn reach(options: &ScyllaOptions) -> Result<Self, OpenError> {
        if options.keyspace == "system" || options.keyspace.starts_with("system_") {
            return Err(OpenError::KeyspaceReserved { keyspace: options.keyspace.clone() });
        }
        let profile = ExecutionProfile::builder()
            .consistency(Consistency::LocalQuorum)
            .request_timeout(Some(SCHEMA_REQUEST_TIMEOUT))
            .retry_policy(Arc::new(DefaultRetryPolicy::new()))
            .build();
        let builder = session_builder(options)?
            .pool_size(PoolSize::PerHost(NonZeroUsize::MIN))
            .fetch_schema_metadata(false)
            .default_execution_profile_handle(profile.into_handle());
        let session = open(options, &builder).await?;
        let nodes = nodes(&session, options).await?;
        let (backend, version) = version(&session, options, &nodes).await?;
        let datacenter = datacenter(options, &nodes)?;
        Ok(Self { session, options: options.clone(), backend, version, datacenter, nodes })
    }

    /// What it was reached with.
    pub fn options(&self) -> &ScyllaOptions {
        &self.options
    }

    /// Which database it is.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Name and version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Where requests go.
    pub fn datacenter(&self) -> &str {
        &self.datacenter
    }

    /// All nodes, first the one that was asked.
    pub fn nodes(&self) -> &[ClusterNode] {
        &self.nodes
    }
}

/// What every session has in common.
pub(super) fn session_builder(options: &ScyllaOptions) -> Result<SessionBuilder, OpenError> {
    let mut builder =
        SessionBuilder::new().known_nodes(&options.nodes).connection_timeout(options.connect_timeout).tcp_nodelay(true);
    if let (Some(user), Some(password)) = (&options.user, &options.password) {
        builder = builder.user(user, password.as_str());
    }
    if let Some(tls) = &options.tls {
        builder = builder.tls_context(Some(TlsContext::from(tls::client_config(tls)?)));
    }
    Ok(builder)
}

/// Opens a session, or gives up: whoever listens there may never say a word.
pub(super) async fn open(options: &ScyllaOptions, builder: &SessionBuilder) -> Result<Session, OpenError> {
    let nodes = u32::try_from(options.nodes.len()).unwrap_or(u32::MAX);
    let patience = (options.connect_timeout + 3 * KEEPALIVE).saturating_mul(nodes);
    match tokio::time::timeout(patience, builder.build()).await {
        Ok(result) => result.map_err(|error| open_failure::of_session(options, &error)),
        Err(_) => Err(open_failure::silence(options, patience)),
    }
}

async fn nodes(session: &Session, options: &ScyllaOptions) -> Result<Vec<ClusterNode>, OpenError> {
    let mut nodes = Vec::new();
    for (cql, what) in [(statements::SYSTEM_LOCAL, "say who it is"), (statements::SYSTEM_PEERS, "name its nodes")] {
        let doing = Doing(what);
        let result = session.query_unpaged(cql, ()).await;
        let rows = result
            .map_err(|error| open_failure::of_execution(options, &doing, &error))?
            .into_rows_result()
            .map_err(|error| open_failure::failed(&doing, &error))?;
        let rows = rows
            .rows::<(IpAddr, Option<String>, Option<String>)>()
            .map_err(|error| open_failure::failed(&doing, &error))?;
        for row in rows {
            // A node that is joining or leaving has no data centre yet.
            if let (address, Some(datacenter), Some(release)) =
                row.map_err(|error| open_failure::failed(&doing, &error))?
            {
                nodes.push(ClusterNode { address, datacenter, release });
            }
        }
    }
    Ok(nodes)
}

async fn version(
    session: &Session,
    options: &ScyllaOptions,
    nodes: &[ClusterNode],
) -> Result<(Backend, String), OpenError> {
    let doing = Doing("say which version it is");
    let (backend, version, oldest) = match session.query_unpaged(statements::SCYLLA_VERSION, ()).await {
        Ok(result) => {
            let rows = result.into_rows_result().map_err(|error| open_failure::failed(&doing, &error))?;
            let (version,) = rows.first_row::<(String,)>().map_err(|error| open_failure::failed(&doing, &error))?;
            (Backend::Scylla, version, SCYLLA_MIN)
        }
        // Cassandra has no such table.
        Err(ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::Invalid, _))) => {
            let oldest = nodes.iter().map(|node| node.release.clone()).min_by_key(|release| numbers(release));
            (Backend::Cassandra, oldest.unwrap_or_default(), CASSANDRA_MIN)
        }
        // ScyllaDB may keep it from ordinary users. A version that is too old shows when the keyspace is made.
        Err(ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::Unauthorized, _))) => {
            return Ok((Backend::Scylla, "ScyllaDB, of a version that this user may not read".to_owned()));
        }
        Err(error) => return Err(open_failure::of_execution(options, &doing, &error)),
    };
    let name = match backend {
        Backend::Scylla => "ScyllaDB",
        Backend::Cassandra => "Apache Cassandra",
    };
    let found = format!("{name} {version}");
    match numbers(&version) >= oldest {
        true => Ok((backend, found)),
        false => Err(OpenError::Version { found }),
    }
}

/// From this one on, lightweight transactions work in keyspaces with tablets.
const SCYLLA_MIN: (u32, u32) = (2025, 4);
const CASSANDRA_MIN: (u32, u32) = (5, 0);

/// The first two numbers of a version; what cannot be read is older than everything.
fn numbers(version: &str) -> (u32, u32) {
    let mut numbers = version.split(['.', '-', '~']).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn datacenter(options: &ScyllaOptions, nodes: &[ClusterNode]) -> Result<String, OpenError> {
    let known: BTreeSet<&str> = nodes.iter().map(|node| node.datacenter.as_str()).collect();
    let all = || known.iter().copied().collect::<Vec<_>>().join(", ");
    match &options.datacenter {
        Some(datacenter) if known.contains(datacenter.as_str()) => Ok(datacenter.clone()),
        Some(datacenter) => Err(OpenError::Datacenter { datacenter: datacenter.clone(), known: all() }),
        None if known.len() > 1 => Err(OpenError::DatacenterUnset { known: all() }),
        None => Ok(all()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    #[test]
    fn a_keyspace_of_the_database_is_refused_before_anybody_is_asked() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for keyspace in ["system", "system_auth", "system_schema"] {
            let options = ScyllaOptions::new(vec!["127.0.0.1:1".to_owned()], keyspace);
            let error = runtime.block_on(Cluster::reach(&options)).err().unwrap();
            assert!(matches!(error, OpenError::KeyspaceReserved { .. }), "{error}");
            assert!(error.to_string().contains(keyspace) && error.to_string().contains("scylla://"), "{error}");
        }
    }

    #[test]
    fn versions_are_compared_by_number() {
        assert!(numbers("5.0.9") >= CASSANDRA_MIN && numbers("5.0-beta1") >= CASSANDRA_MIN);
        assert!(numbers("4.1.8") < CASSANDRA_MIN);
        assert!(numbers("2025.4.0-0.20251201.abc") >= SCYLLA_MIN && numbers("2026.1") >= SCYLLA_MIN);
        assert!(numbers("2025.3.5") < SCYLLA_MIN && numbers("6.2.3") < SCYLLA_MIN && numbers("") < SCYLLA_MIN);
    }
}
