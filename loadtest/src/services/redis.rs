//! A Redis of one's own.

use super::process::Process;
use anyhow::{Context, ensure};
use std::{net::SocketAddr, path::Path, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

/// It saves only when it is told to, so that after a kill it has what it had then, or nothing.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    address: SocketAddr,
}

impl Redis {
    /// Starts one and waits until it answers.
    pub async fn start(address: SocketAddr, directory: &Path) -> anyhow::Result<Self> {
        let launch = godwit_services::redis(&directory.join("redis"), address)?;
        let mut redis = Self { process: Process::start(launch, directory.join("redis.log"))?, address };
        redis.wait().await?;
        Ok(redis)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Writes what it has to the disk: an old backup, soon.
    pub async fn save(&self) -> anyhow::Result<()> {
        self.ask("SAVE").await
    }

    /// Forgets everything.
    pub async fn flush(&self) -> anyhow::Result<()> {
        self.ask("FLUSHALL").await
    }

    /// Kills it and, after a while, starts it on what it saved last.
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
        self.process.wait_until("redis-server", async || ask(address, "PING", "+PONG").await.is_ok()).await
    }

    async fn ask(&self, command: &str) -> anyhow::Result<()> {
        ask(self.address, command, "+OK").await.with_context(|| format!("{command} at Redis"))
    }
}

/// One command, in the form that is meant for people who type.
async fn ask(address: SocketAddr, command: &str, expected: &str) -> anyhow::Result<()> {
    let asking = async {
        let mut connection = BufReader::new(TcpStream::connect(address).await?);
        connection.write_all(format!("{command}\r\n").as_bytes()).await?;
        let mut answer = String::new();
        connection.read_line(&mut answer).await?;
        ensure!(answer.trim_end() == expected, "it says {:?}", answer.trim_end());
        Ok(())
    };
    timeout(ANSWER_TIMEOUT, asking).await.context("no answer")?
}

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
