//! The tables, and how they come about.

mod file;

use super::{
    cluster::Cluster,
    error::OpenError,
    open_failure::{self, Doing},
};

/// Makes sure that the keyspace and all tables are there.
pub(super) async fn ready(cluster: &Cluster) -> Result<(), OpenError> {
    let keyspace = &cluster.options().keyspace;
    let factor = cluster.options().replication_factor.map_or(cluster.nodes().len().min(3), Into::into);
    let datacenter = cluster.datacenter();
    let create = format!(
        "CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = \
         {{'class': 'NetworkTopologyStrategy', '{datacenter}': {factor}}}"
    );
    run(cluster, &create).await?;
    for step in file::steps(include_str!("0001.cql")) {
        let named = step.cql.replacen("IF NOT EXISTS ", &format!("IF NOT EXISTS {keyspace}."), 1);
        run(cluster, &named).await?;
    }
    Ok(())
}

async fn run(cluster: &Cluster, cql: &str) -> Result<(), OpenError> {
    let doing = Doing("create tables");
    let result = cluster.session.query_unpaged(cql, ()).await;
    result.map(drop).map_err(|error| open_failure::of_execution(cluster.options(), &doing, &error))
}
