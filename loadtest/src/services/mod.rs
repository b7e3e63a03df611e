//! The databases that a server keeps everything in when it is not alone: a CQL server and a Redis of one's own, for as long as
//! a run lasts, and all that can go wrong with them.

mod cassandra;
mod frame;
mod process;
mod proxy;
mod redis;

pub use cassandra::Cassandra;
pub use proxy::{CqlProxy, Weather};
pub use redis::Redis;

use anyhow::bail;
use clap::ValueEnum;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
};
use tempfile::TempDir;

/// What a server keeps everything in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// Its own directory.
    #[default]
    Embedded,
    /// A CQL server, with summaries in Redis; both are started, and gone after the run.
    Scylla,
}

/// Both, and the proxy in front of the CQL server. Dropping it kills them and removes what they hold.
#[derive(Debug)]
pub struct Services {
    pub cql: Cassandra,
    pub proxy: CqlProxy,
    pub redis: Redis,
    store: SocketAddr,
    directory: TempDir,
}

impl Services {
    /// Starts both on addresses that nobody uses, and waits until they answer.
    pub async fn start(seed: u64) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("godwit-services-").tempdir()?;
        // Drivers go to the address that a node tells them, and to the port that they came to.
        let (database, proxy, redis) = free_addresses()?;
        let (cql, redis) = tokio::try_join!(
            Cassandra::start(database, proxy.ip(), directory.path()),
            Redis::start(redis, directory.path()),
        )?;
        let cql_proxy = CqlProxy::start(proxy, database, seed).await?;
        Ok(Self { cql, proxy: cql_proxy, redis, store: proxy, directory })
    }

    /// The configuration of a server on them, as environment variables.
    pub fn environment(&self) -> Vec<(String, String)> {
        let settings = [
            ("GODWIT_STORE", format!("scylla://{}/godwit", self.store)),
            ("GODWIT_SUMMARIES", format!("redis://{}", self.redis.address())),
        ];
        settings.map(|(key, value)| (key.to_owned(), value)).to_vec()
    }

    /// Leaves what they hold, and their logs, where it is.
    pub fn keep_directory(&mut self) -> &Path {
        self.directory.disable_cleanup(true);
        self.directory.path()
    }
}

/// Of the database, the proxy and Redis; the first two have one port. The whole of 127.0.0.0/8 is this machine.
fn free_addresses() -> anyhow::Result<(SocketAddr, SocketAddr, SocketAddr)> {
    for _ in 0..ATTEMPTS {
        let [second, third]: [u8; 2] = rand::random();
        let ip = |last| IpAddr::V4(Ipv4Addr::new(127, 64 | second >> 2, third, last));
        let port = rand::random_range(PORTS);
        let addresses = [1, 2, 3].map(|last| SocketAddr::new(ip(last), port));
        if addresses.iter().all(|address| TcpListener::bind(address).is_ok()) {
            let [database, proxy, redis] = addresses;
            return Ok((database, proxy, redis));
        }
    }
    bail!("no free port among {PORTS:?} on loopback");
}

/// Linux hands out ports from 32768 on.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
const ATTEMPTS: usize = 100;
