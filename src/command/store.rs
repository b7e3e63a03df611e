//! `godwit store …`: the keyspace of a store on ScyllaDB or Cassandra.

use super::{copy::CopyArguments, print, start_log};
use anyhow::{Context, Result, ensure};
use clap::Subcommand;
use godwit::{
    config::{Config, StoreAddress},
    server::scylla_options,
    store::scylla::{
        Cluster, ScyllaOptions,
        schema::{self, KNOWN},
    },
};

/// What to do with it.
#[derive(Subcommand)]
pub enum StoreCommand<Arguments: clap::Args> {
    /// Create the keyspace, if there is none, and its tables.
    Init(Arguments),
    /// Bring the tables of the keyspace up to this version of godwit. Forward only; a migration that was interrupted goes on.
    Migrate(Arguments),
    /// Look at the cluster, the keyspace, its tables and its lease, and change nothing. Fails when something is wrong.
    Check(Arguments),
    /// Copy everything from one store to another, and compare the two. A copy that was interrupted goes on when it is begun again.
    Copy(CopyArguments<Arguments>),
}

/// Creates the keyspace and its tables.
pub fn init(config: &Config) -> Result<()> {
    on_cluster(config, async |cluster| {
        schema::init(cluster).await?;
        println!("the keyspace {} on {} has schema {KNOWN}", cluster.options().keyspace, cluster.version());
        Ok(())
    })
}

/// Brings the tables up to date.
pub fn migrate(config: &Config) -> Result<()> {
    on_cluster(config, async |cluster| {
        let keyspace = &cluster.options().keyspace;
        match schema::migrate(cluster).await? {
            KNOWN => println!("the keyspace {keyspace} has schema {KNOWN} already"),
            before => println!("the keyspace {keyspace} had schema {before}, and has {KNOWN} now"),
        }
        Ok(())
    })
}

/// Says what is there and what is wrong with it.
pub fn check(config: &Config) -> Result<()> {
    on_cluster(config, async |cluster| {
        let findings = schema::check(cluster).await?;
        let lines = findings.iter().map(|finding| {
            let mark = if finding.well { "ok   " } else { "WRONG" };
            format!("{mark}  {:<10} {}\n", finding.subject, finding.detail)
        });
        print(&lines.collect::<String>())?;
        let wrong = findings.iter().filter(|finding| !finding.well).count();
        ensure!(wrong == 0, "{wrong} of these are wrong");
        Ok(())
    })
}

fn on_cluster(config: &Config, work: impl AsyncFnOnce(&Cluster) -> Result<()>) -> Result<()> {
    let options = options(config)?;
    start_log(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting to work")?;
    runtime.block_on(async { work(&Cluster::reach(&options).await?).await })
}

fn options(config: &Config) -> Result<ScyllaOptions> {
    let StoreAddress::Scylla { .. } = config.store else {
        anyhow::bail!(
            "store is {:?}, which needs no tables. Set store = \"scylla://HOST,HOST/KEYSPACE\" in godwit.toml, or give \
             --set store=scylla://HOST/KEYSPACE",
            config.store.to_string()
        );
    };
    Ok(scylla_options(config)?)
}
