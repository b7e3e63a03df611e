//! The server that is replayed against: one of our own, or one that runs already.

use super::plan::{Kind, Plan};
use crate::{
    server_binary,
    server_process::{Figures, Launch, ServerProcess, process_figures},
};
use anyhow::{Context, bail};
use std::{net::SocketAddr, path::PathBuf};

/// Where the messages go.
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

/// How to start one's own.
#[derive(Debug)]
pub struct OwnServer {
    pub binary: Option<PathBuf>,
    pub cores: Option<usize>,
}

impl Target {
    /// Starts a server that will take as many accounts, and as large a group, as the plan needs.
    pub async fn start(own: OwnServer, plan: &Plan) -> anyhow::Result<Self> {
        let environment = environment(plan);
        let binary = server_binary::find(own.binary)?;
        let settings: Vec<String> = environment.iter().map(|(key, value)| format!("{key}={value}")).collect();
        // Nobody should think that a server does this by itself.
        eprintln!("Starting {} with cheap passwords and open registration:", binary.display());
        eprintln!("  {}", settings.join(" "));
        Ok(Self::Own(Box::new(ServerProcess::start(Launch::godwit(binary, own.cores, environment)?).await?)))
    }

    /// A server that runs.
    pub async fn other(server: &str, fingerprint: String, pid: Option<u32>) -> anyhow::Result<Self> {
        let mut addresses = tokio::net::lookup_host(server).await.with_context(|| format!("looking up {server}"))?;
        let address = addresses.next().with_context(|| format!("{server} has no address"))?;
        Ok(Self::Other { address, fingerprint, pid })
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

    /// Fails if it is our own and ended by itself.
    pub fn check_alive(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Own(server) => server.check_alive(),
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

    /// Keeps what could tell why something went wrong, and says where it is.
    pub fn keep_evidence(&mut self) {
        if let Self::Own(server) = self {
            eprintln!("The server's data and log are kept in {}", server.keep_directory().display());
        }
    }
}

fn environment(plan: &Plan) -> Vec<(&'static str, String)> {
    let mut environment = vec![
        // Thousands of accounts log in twice within a minute, and what is measured is chat.
        ("GODWIT_PASSWORD__MEMORY_KIB", "64".to_owned()),
        ("GODWIT_PASSWORD__ITERATIONS", "1".to_owned()),
        ("GODWIT_REGISTRATION__MODE", "open".to_owned()),
        // Any port: another server on this machine may have the usual one.
        ("GODWIT_METRICS__LISTEN", "127.0.0.1:0".to_owned()),
    ];
    let group = plan.conversations.iter().find(|conversation| conversation.kind == Kind::Group);
    let members = group.map_or(0, |group| group.members.len());
    if members > GROUP_MEMBERS_BY_DEFAULT {
        environment.push(("GODWIT_LIMITS__GROUP_MEMBERS_MAX", members.to_string()));
    }
    environment
}

/// The server's own limit, unless it is told another.
const GROUP_MEMBERS_BY_DEFAULT: usize = 5000;
