//! The tables, and how they come about: migrations that are compiled in (`migrations`), one server at a time (`guard`).
//!
//! Forward only. A step is noted as done after all nodes agree on it, so a migration that dies goes on where it was; the one
//! step in between is done twice, which changes nothing.

mod check;
mod file;
mod guard;
mod keyspace;
mod migrations;
mod shape;
mod statements;

pub use check::{Finding, check};
pub use keyspace::Replication;
pub use migrations::KNOWN;
pub use shape::{Column, ColumnKind, TableShape, tables};

use super::{cluster::Cluster, error::OpenError, open_failure::Doing};
use guard::Guard;

/// Makes sure, before a server serves, that the keyspace is there and its schema the one that is known.
pub async fn ready(cluster: &Cluster) -> Result<(), OpenError> {
    let options = cluster.options();
    match keyspace::replication(cluster).await? {
        Some(replication) => keyspace::check(cluster, &replication)?,
        None if options.migrate => keyspace::create(cluster).await?,
        None => return Err(OpenError::KeyspaceMissing { keyspace: options.keyspace.clone() }),
    }
    match found(cluster).await? {
        KNOWN => Ok(()),
        found if options.migrate => migrate_from(cluster, found).await,
        found => Err(OpenError::SchemaOld { keyspace: options.keyspace.clone(), found, known: KNOWN }),
    }
}

/// Creates the keyspace if it is not there, and everything in it.
pub async fn init(cluster: &Cluster) -> Result<(), OpenError> {
    if keyspace::replication(cluster).await?.is_none() {
        keyspace::create(cluster).await?;
    }
    migrate(cluster).await.map(drop)
}

/// Brings the schema of a keyspace up to date; says which it was before.
pub async fn migrate(cluster: &Cluster) -> Result<i32, OpenError> {
    let Some(replication) = keyspace::replication(cluster).await? else {
        return Err(OpenError::KeyspaceMissing { keyspace: cluster.options().keyspace.clone() });
    };
    keyspace::check(cluster, &replication)?;
    let found = found(cluster).await?;
    if found < KNOWN {
        migrate_from(cluster, found).await?;
    }
    Ok(found)
}

/// The schema that is there; 0: none. Refuses one that is newer than known.
pub async fn found(cluster: &Cluster) -> Result<i32, OpenError> {
    let version = guard::version(cluster).await?.map_or(0, |row| row.version);
    match version > KNOWN {
        true => {
            Err(OpenError::SchemaNewer { keyspace: cluster.options().keyspace.clone(), found: version, known: KNOWN })
        }
        false => Ok(version),
    }
}

async fn migrate_from(cluster: &Cluster, found: i32) -> Result<(), OpenError> {
    let keyspace = &cluster.options().keyspace;
    tracing::info!(keyspace, from = found, to = KNOWN, "migrates the schema");
    keyspace::enter(cluster).await?;
    for step in migrations::version_table() {
        keyspace::change(cluster, &Doing("create the table of versions"), &step.cql).await?;
    }
    let Some(mut guard) = Guard::take(cluster, KNOWN).await? else {
        // Another server was faster. It may have been a newer one.
        return self::found(cluster).await.map(drop);
    };
    let result = steps(cluster, &mut guard).await;
    guard.give_up().await;
    result
}

async fn steps(cluster: &Cluster, guard: &mut Guard<'_>) -> Result<(), OpenError> {
    while guard.row().version < KNOWN {
        let version = guard.row().version + 1;
        let steps = migrations::steps_to(version, cluster.backend());
        let done = usize::try_from(guard.row().step).unwrap_or(0);
        for (step, number) in steps.iter().zip(1..).skip(done) {
            guard.during(keyspace::change(cluster, &Doing("create the tables"), &step.cql)).await?;
            guard.done(version - 1, number).await?;
        }
        guard.done(version, 0).await?;
        tracing::info!(version, "the schema is there");
    }
    Ok(())
}
