//! An Apache Cassandra of one's own, of one node: what is acknowledged is synced, so it survives being killed.

use super::{
    frame::{Frame, OPTIONS, SUPPORTED},
    process::Process,
};
use anyhow::{Context, ensure};
use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    time::Duration,
};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

/// One node. It tells drivers to come to another address than its own, where a proxy listens.
#[derive(Debug)]
pub struct Cassandra {
    process: Process,
    address: SocketAddr,
}

impl Cassandra {
    /// Starts one and waits until it answers.
    pub async fn start(address: SocketAddr, advertised: IpAddr, directory: &Path) -> anyhow::Result<Self> {
        let own = directory.join("cql");
        // Fetches its jars, perhaps, and waits for whoever does so at the same time.
        let preparing = tokio::task::spawn_blocking(move || godwit_services::cassandra(&own, address, advertised));
        let launch = preparing.await.context("preparing Cassandra")??;
        let mut cassandra = Self { process: Process::start(launch, directory.join("cql.log"))?, address };
        cassandra.wait().await?;
        Ok(cassandra)
    }

    /// Kills it and, after a while, starts it again on what it has synced.
    pub async fn kill_and_restart(&mut self, down: Duration) -> anyhow::Result<()> {
        self.process.kill();
        tokio::time::sleep(down).await;
        self.process.start_again()?;
        self.wait().await
    }

    /// Has it stand still for a while.
    pub async fn stall(&self, time: Duration) -> anyhow::Result<()> {
        self.process.stall()?;
        tokio::time::sleep(time).await;
        self.process.go_on()
    }

    async fn wait(&mut self) -> anyhow::Result<()> {
        let address = self.address;
        self.process.wait_until("Cassandra", async || answers(address).await.is_ok()).await
    }
}

/// Whether it speaks CQL.
async fn answers(address: SocketAddr) -> anyhow::Result<()> {
    let asking = async {
        let mut connection = TcpStream::connect(address).await?;
        connection.write_all(Frame::request(OPTIONS).as_bytes()).await?;
        let answer = Frame::read(&mut connection).await?.context("it hung up")?;
        ensure!(answer.opcode() == SUPPORTED, "it answers opcode {}", answer.opcode());
        Ok(())
    };
    timeout(ANSWER_TIMEOUT, asking).await.context("no answer")?
}

const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
