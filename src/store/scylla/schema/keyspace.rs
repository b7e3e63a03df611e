//! The keyspace: whether it is there, where its rows are, and how it is created.

use super::statements;
use crate::store::scylla::{
    cluster::Cluster,
    error::OpenError,
    open_failure::{self, Doing},
};
use scylla::{
    errors::{DbError, ExecutionError, RequestAttemptError, UseKeyspaceError},
    policies::load_balancing::{NodeIdentifier, SingleTargetLoadBalancingPolicy},
    response::query_result::QueryRowsResult,
    serialize::row::SerializeRow,
    statement::unprepared::Statement,
};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// How the rows of a keyspace are spread, as `system_schema.keyspaces` has it: the class, and a number by data centre.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replication(HashMap<String, String>);

impl Replication {
    /// How many nodes of a data centre have each row.
    pub fn factor(&self, datacenter: &str) -> usize {
        let simple = self.0.get("replication_factor");
        // Cassandra's transient replicas are written 3/1.
        let factor = self.0.get(datacenter).or(simple).map_or("0", |factor| factor.split('/').next().unwrap_or(factor));
        factor.parse().unwrap_or(0)
    }
}

impl std::fmt::Display for Replication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut entries: Vec<_> = self.0.iter().collect();
        entries.sort();
        let class = |value: &str| value.rsplit('.').next().unwrap_or(value).to_owned();
        let text = entries.iter().map(|(key, value)| format!("{key}: {}", class(value)));
        f.write_str(&text.collect::<Vec<_>>().join(", "))
    }
}

/// `None`: there is no such keyspace.
pub(super) async fn replication(cluster: &Cluster) -> Result<Option<Replication>, OpenError> {
    let doing = Doing("tell its keyspaces");
    let rows = query(cluster, &doing, statements::KEYSPACE, (&cluster.options().keyspace,)).await?;
    let row = rows.maybe_first_row::<(HashMap<String, String>,)>();
    Ok(row.map_err(|error| open_failure::failed(&doing, &error))?.map(|(replication,)| Replication(replication)))
}

/// Refuses a keyspace that has no rows where requests go: no quorum could ever be had.
pub(super) fn check(cluster: &Cluster, replication: &Replication) -> Result<(), OpenError> {
    match replication.factor(cluster.datacenter()) {
        0 => Err(OpenError::NoReplicas {
            keyspace: cluster.options().keyspace.clone(),
            datacenter: cluster.datacenter().to_owned(),
            replication: replication.to_string(),
        }),
        _ => Ok(()),
    }
}

/// Creates the keyspace. Harmless when it is there.
pub(super) async fn create(cluster: &Cluster) -> Result<(), OpenError> {
    let (options, datacenter) = (cluster.options(), cluster.datacenter());
    let here = cluster.nodes().iter().filter(|node| node.datacenter == datacenter).count();
    let factor = options.replication_factor.map_or(here.clamp(1, REPLICATION_FACTOR), Into::into);
    if factor > here {
        return Err(OpenError::TooFewNodes { datacenter: datacenter.to_owned(), factor, nodes: here });
    }
    let keyspace = &options.keyspace;
    let cql = format!(
        "CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = \
         {{'class': 'NetworkTopologyStrategy', '{datacenter}': {factor}}}"
    );
    change(cluster, &Doing("create the keyspace"), &cql).await?;
    tracing::info!(keyspace, datacenter, factor, "created the keyspace");
    Ok(())
}

/// What is usual: one node may be gone, and a quorum is left.
const REPLICATION_FACTOR: usize = 3;

/// All that follows is in the keyspace.
pub(super) async fn enter(cluster: &Cluster) -> Result<(), OpenError> {
    let entered = once_there(|| cluster.session.use_keyspace(&cluster.options().keyspace, false)).await;
    entered.map_err(|error| open_failure::failed(&Doing("enter the keyspace"), &error))
}

/// Tries again for a moment: what another server has just created is in the tables of the schema before a node can be asked
/// about it, and while it gets there Cassandra may say that it has gone wrong itself. The work must be harmless when done twice.
pub(super) async fn once_there<T, E: NotThere, F: Future<Output = Result<T, E>>>(work: impl Fn() -> F) -> Result<T, E> {
    let begun = Instant::now();
    loop {
        match work().await {
            Err(error) if error.is_not_there() && begun.elapsed() < CREATED_WITHIN => tokio::time::sleep(LOOK).await,
            result => return result,
        }
    }
}

const CREATED_WITHIN: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(50);

/// An error that says that there is no such thing, or may.
pub(super) trait NotThere {
    fn is_not_there(&self) -> bool;
}

impl NotThere for RequestAttemptError {
    fn is_not_there(&self) -> bool {
        matches!(self, Self::DbError(DbError::Invalid | DbError::ServerError, _))
    }
}

impl NotThere for ExecutionError {
    fn is_not_there(&self) -> bool {
        matches!(self, Self::LastAttemptError(error) if error.is_not_there())
    }
}

impl NotThere for UseKeyspaceError {
    fn is_not_there(&self) -> bool {
        matches!(self, Self::RequestError(error) if error.is_not_there())
    }
}

/// Changes the schema, and waits until all nodes agree on it. All servers send their changes to the same node, as long as it
/// is up, because two nodes of Cassandra that create the same table at once make two of it.
pub(super) async fn change(cluster: &Cluster, doing: &Doing<'_>, cql: &str) -> Result<(), OpenError> {
    let mut statement = Statement::new(cql);
    let state = cluster.session.get_cluster_state();
    let here = state
        .get_nodes_info()
        .iter()
        .filter(|node| node.is_connected() && node.datacenter.as_deref() == Some(cluster.datacenter()));
    if let Some(node) = here.min_by_key(|node| node.host_id) {
        let only = SingleTargetLoadBalancingPolicy::new(NodeIdentifier::Node(node.clone()), None);
        statement.set_load_balancing_policy(Some(only));
    }
    let result = cluster.session.query_unpaged(statement, ()).await;
    result.map(drop).map_err(|error| open_failure::of_execution(cluster.options(), doing, &error))
}

/// Asks for rows.
pub(super) async fn query(
    cluster: &Cluster,
    doing: &Doing<'_>,
    cql: &str,
    values: impl SerializeRow,
) -> Result<QueryRowsResult, OpenError> {
    let result = cluster.session.query_unpaged(cql, values).await;
    let result = result.map_err(|error| open_failure::of_execution(cluster.options(), doing, &error))?;
    result.into_rows_result().map_err(|error| open_failure::failed(doing, &error))
}
