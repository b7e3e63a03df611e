//! The server that is under load: one of our own, or one that runs already.

use crate::{
    process_figures::{Figures, process_figures},
    server_process::{Launch, ServerProcess},
};
use anyhow::{Context, bail};
use std::{net::SocketAddr, time::Duration};

/// Where the load goes.
#[derive(Debug)]
pub enum Target {
    /// Started for this run, and gone after it.
    Own(Box<ServerProcess>),
    /// Somebody else's.
    Other {
        /// Where it listens.
        address: SocketAddr,
        /// Of its certificate.
        fingerprint: String,
        /// Its process, if it runs on this machine and its figures are wanted.
        pid: Option<u32>,
    },
}

impl Target {
    /// Starts a server of one's own.
    pub async fn own(launch: Launch) -> anyhow::Result<Self> {
        Ok(Self::Own(Box::new(ServerProcess::start(launch).await?)))
    }

    /// A server that runs.
    pub async fn other(server: &str, fingerprint: String, pid: Option<u32>) -> anyhow::Result<Self> {
        let mut addresses = tokio::net::lookup_host(server).await.with_context(|| format!("looking up {server}"))?;
        let address = addresses.next().with_context(|| format!("{server} has no address"))?;
        Ok(Self::Other { address, fingerprint, pid })
    }

    /// Whether it was started for this run.
    pub fn is_own(&self) -> bool {
        matches!(self, Self::Own(_))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Own(server) => server.address(),
            Self::Other { address, .. } => *address,
        }
    }

    /// Of its certificate, in hexadecimal digits.
    pub fn fingerprint(&self) -> &str {
        match self {
            Self::Own(server) => server.fingerprint(),
            Self::Other { fingerprint, .. } => fingerprint,
        }
    }

    /// What it has used up to now, where that can be known.
    pub fn figures(&self) -> anyhow::Result<Option<Figures>> {
        match self {
            Self::Own(server) => server.figures().map(Some),
            Self::Other { pid, .. } => pid.map(process_figures).transpose(),
        }
    }

    /// What it has on the disk; zero where that is not known.
    pub fn data_bytes(&self) -> anyhow::Result<u64> {
        match self {
            Self::Own(server) => server.data_bytes(),
            Self::Other { .. } => Ok(0),
        }
    }

    /// Fails if it is our own and ended by itself.
    pub fn check_alive(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Own(server) => server.check_alive(),
            Self::Other { .. } => Ok(()),
        }
    }

    /// Does some work, and meanwhile sees to it that the server runs; see [`ServerProcess::keep_up`].
    pub async fn kept_up<T>(&mut self, work: impl Future<Output = T>) -> anyhow::Result<T> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                output = &mut work => return Ok(output),
                () = tokio::time::sleep(KEEP_UP_POLL) => {}
            }
            if let Self::Own(server) = self {
                server.keep_up().await?;
            }
        }
    }

    /// How often it ended by itself and was started again.
    pub fn ends(&self) -> u32 {
        match self {
            Self::Own(server) => server.ends(),
            Self::Other { .. } => 0,
        }
    }

    /// Fails if it is our own and has panicked.
    pub fn check_log(&self) -> anyhow::Result<()> {
        match self {
            Self::Own(server) => server.check_log(),
            Self::Other { .. } => Ok(()),
        }
    }

    /// Kills it and starts it again.
    pub async fn kill_and_restart(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Own(server) => server.kill_and_restart().await,
            Self::Other { .. } => bail!("only a server of one's own can be killed"),
        }
    }

    /// Stops it as an operator would, and starts it again.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Own(server) => server.restart().await,
            Self::Other { .. } => bail!("only a server of one's own can be restarted"),
        }
    }

    /// Keeps what could tell why something went wrong, and says where it is.
    pub fn keep_evidence(&mut self) {
        if let Self::Own(server) = self {
            eprintln!("The server's data and log are kept in {}", server.keep_directory().display());
        }
    }
}

const KEEP_UP_POLL: Duration = Duration::from_millis(20);
