//! What an operator wants to know about a cluster and a keyspace, and what is wrong with them.

use super::{
    guard, keyspace,
    keyspace::query,
    migrations::KNOWN,
    shape::{TableShape, tables},
    statements,
};
use crate::store::scylla::{
    cluster::Cluster,
    copying,
    error::OpenError,
    lease::LeaseState,
    open_failure::{self, Doing},
};
use std::{
    collections::HashMap,
    time::{SystemTime, UNIX_EPOCH},
};

/// One line of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whether it is as it should be.
    pub well: bool,
    /// What was looked at.
    pub subject: &'static str,
    /// What was found, and if it is not well, what to do.
    pub detail: String,
}

/// Looks at everything, and changes nothing.
pub async fn check(cluster: &Cluster) -> Result<Vec<Finding>, OpenError> {
    let mut findings = vec![well("database", cluster.version().to_owned())];
    for node in cluster.nodes() {
        findings.push(well("node", format!("{} in {}, release {}", node.address, node.datacenter, node.release)));
    }
    let Some(replication) = keyspace::replication(cluster).await? else {
        let missing = OpenError::KeyspaceMissing { keyspace: cluster.options().keyspace.clone() };
        findings.push(ill("keyspace", missing.to_string()));
        return Ok(findings);
    };
    findings.push(match keyspace::check(cluster, &replication) {
        Ok(()) => well("keyspace", format!("{} ({replication})", cluster.options().keyspace)),
        Err(error) => ill("keyspace", error.to_string()),
    });
    findings.extend(replicas(cluster, &replication));
    let row = guard::version(cluster).await?;
    let version = row.as_ref().map_or(0, |row| row.version);
    findings.push(match version {
        KNOWN => well("schema", KNOWN.to_string()),
        found => ill("schema", unknown(cluster, found).to_string()),
    });
    if let Some(row) = row.filter(|row| !row.holder.is_empty()) {
        findings.push(ill(
            "migration",
            format!(
                "{} is at it, step {}; wait for it, or, if it is gone, run `godwit store migrate`",
                row.holder, row.step
            ),
        ));
    }
    let columns = columns(cluster).await?;
    let expected = tables();
    findings.extend(expected.iter().filter_map(|table| what_is_missing(table, &columns)));
    if columns.contains_key("node_leases") {
        findings.extend(leases(cluster).await?);
    }
    Ok(findings)
}

fn well(subject: &'static str, detail: String) -> Finding {
    Finding { well: true, subject, detail }
}

fn ill(subject: &'static str, detail: String) -> Finding {
    Finding { well: false, subject, detail }
}

fn unknown(cluster: &Cluster, found: i32) -> OpenError {
    let keyspace = cluster.options().keyspace.clone();
    match found > KNOWN {
        true => OpenError::SchemaNewer { keyspace, found, known: KNOWN },
        false => OpenError::SchemaOld { keyspace, found, known: KNOWN },
    }
}

/// A keyspace that one dead node takes away, though there are others, is most likely a slip.
fn replicas(cluster: &Cluster, replication: &keyspace::Replication) -> Option<Finding> {
    let datacenter = cluster.datacenter();
    let nodes = cluster.nodes().iter().filter(|node| node.datacenter == datacenter).count();
    let factor = replication.factor(datacenter);
    let detail = match factor {
        1 | 2 if nodes > factor => format!(
            "{factor} replica(s) with {nodes} nodes: what is on a node that dies cannot be used. ALTER KEYSPACE to 3, and repair"
        ),
        more if more > nodes => {
            format!(
                "{more} replicas, but {nodes} node(s) in {datacenter}. Add nodes, or ALTER KEYSPACE to what there is"
            )
        }
        _ => return None,
    };
    Some(ill("replicas", detail))
}

/// By table and column: kind and type.
type Columns = HashMap<String, HashMap<String, (String, String)>>;

async fn columns(cluster: &Cluster) -> Result<Columns, OpenError> {
    let doing = Doing("tell its columns");
    let rows = query(cluster, &doing, statements::COLUMNS, (&cluster.options().keyspace,)).await?;
    let rows = rows.rows::<(String, String, String, String)>().map_err(|error| open_failure::failed(&doing, &error))?;
    let mut columns = Columns::new();
    for row in rows {
        let (table, column, kind, cql_type) = row.map_err(|error| open_failure::failed(&doing, &error))?;
        columns.entry(table).or_default().insert(column, (kind, cql_type));
    }
    Ok(columns)
}

fn what_is_missing(table: &TableShape, columns: &Columns) -> Option<Finding> {
    const ADVICE: &str =
        "It was changed by hand, or a migration was interrupted: run `godwit store migrate`, or restore it";
    let Some(found) = columns.get(&table.name) else {
        return Some(ill("table", format!("{} is not there. {ADVICE}", table.name)));
    };
    let wrong = table.columns.iter().filter(|column| {
        let found = found.get(&column.name).map(|(kind, cql_type)| (kind.as_str(), cql_type.as_str()));
        found != Some((column.kind.name(), column.cql_type.as_str()))
    });
    let wrong: Vec<&str> = wrong.map(|column| column.name.as_str()).collect();
    match wrong.is_empty() {
        true => None,
        false => Some(ill("table", format!("{} lacks or changes {}. {ADVICE}", table.name, wrong.join(", ")))),
    }
}

const RELEASED: i8 = LeaseState::Released as i8;
const COPY_INCOMPLETE: &str = "a copy into this keyspace is not complete, and no server starts on it: if none is at work, begin \
     `godwit store copy` again, or drop the keyspace";

fn wall_us() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}

/// The rows of leases, and the one among them that says whether a copy into the keyspace is complete.
async fn leases(cluster: &Cluster) -> Result<Vec<Finding>, OpenError> {
    let doing = Doing("tell who has the lease");
    let rows = query(cluster, &doing, statements::LEASES, ()).await?;
    let rows = rows
        .rows::<(i32, Option<i8>, Option<i64>, Option<String>)>()
        .map_err(|error| open_failure::failed(&doing, &error))?;
    let (mut findings, mut copy) = (Vec::new(), None);
    for row in rows {
        let (node, state, until_us, address) = row.map_err(|error| open_failure::failed(&doing, &error))?;
        if node == copying::NODE {
            copy = Some(match state {
                Some(copying::INCOMPLETE) => ill("copy", COPY_INCOMPLETE.to_owned()),
                _ => well("copy", "complete".to_owned()),
            });
            continue;
        }
        let address = address.unwrap_or_default();
        let left_s = (until_us.unwrap_or(0) - wall_us()) / 1_000_000;
        let says = match state {
            Some(RELEASED) => format!("{address} gave it back; the next server takes it"),
            _ if left_s >= 0 => format!("held by {address}, for {left_s} s at least"),
            _ => format!("{address} had it, and is silent since {} s; the next server takes it", -left_s),
        };
        findings.push(well("lease", format!("node {node}: {says}")));
    }
    if findings.is_empty() {
        findings.push(well("lease", "nobody has ever had it".to_owned()));
    }
    findings.extend(copy);
    Ok(findings)
}
