//! What is measured: a Godwit server of one's own, or the bare relay.

use crate::{
    server_binary,
    server_process::{Figures, Launch, ServerProcess},
    wire::{Dialect, FrameSizes, godwit},
};
use anyhow::ensure;
use std::{net::SocketAddr, path::PathBuf};

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Godwit,
    Baseline,
}

/// How one is started.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// The `godwit` to start; the one beside this program when `None`.
    pub binary: Option<PathBuf>,
    /// `--cores` of a Godwit server.
    pub cores: Option<usize>,
    /// Configuration of a Godwit server beyond what a load test needs.
    pub environment: Vec<(&'static str, String)>,
    pub cpus: Vec<usize>,
    pub body_bytes: usize,
}

/// A server that runs.
pub struct Subject {
    pub kind: Kind,
    pub dialect: Dialect,
    process: ServerProcess,
}

impl Subject {
    /// Starts one on a fresh directory.
    pub async fn start(kind: Kind, recipe: &Recipe) -> anyhow::Result<Self> {
        let (launch, dialect) = match kind {
            Kind::Godwit => {
                let binary = server_binary::find(recipe.binary.clone())?;
                let mut environment = environment();
                environment.extend(recipe.environment.iter().cloned());
                (Launch::godwit(binary, recipe.cores, environment)?, Dialect::Godwit)
            }
            Kind::Baseline => {
                let sizes = godwit::frame_sizes(recipe.body_bytes).max(FrameSizes::at_least(recipe.body_bytes));
                (Launch::relay(sizes)?, Dialect::Bare(sizes))
            }
        };
        let process = ServerProcess::start(launch.on_cpus(recipe.cpus.clone())).await?;
        Ok(Self { kind, dialect, process })
    }

    pub fn address(&self) -> SocketAddr {
        self.process.address()
    }

    pub fn fingerprint(&self) -> &str {
        self.process.fingerprint()
    }

    /// What it has used up to now.
    pub fn figures(&self) -> anyhow::Result<Figures> {
        self.process.figures()
    }

    /// Fails if it ended by itself.
    pub fn check_alive(&mut self) -> anyhow::Result<()> {
        self.process.check_alive()
    }
}

/// How the CPUs of this machine are shared out: the server gets the first ones, the clients the rest.
pub fn split_cpus(available: &[usize], server_cores: usize) -> anyhow::Result<(Vec<usize>, Vec<usize>)> {
    ensure!(
        available.len() > server_cores,
        "the server wants {server_cores} of {} CPUs and leaves none for the clients; use --no-pin",
        available.len()
    );
    let (server, clients) = available.split_at(server_cores);
    Ok((server.to_vec(), clients.to_vec()))
}

fn environment() -> Vec<(&'static str, String)> {
    vec![
        // Thousands of accounts are made within seconds, and what is measured is chat.
        ("GODWIT_PASSWORD__MEMORY_KIB", "64".to_owned()),
        ("GODWIT_PASSWORD__ITERATIONS", "1".to_owned()),
        ("GODWIT_REGISTRATION__MODE", "open".to_owned()),
        // Any port: another server on this machine may have the usual one.
        ("GODWIT_METRICS__LISTEN", "127.0.0.1:0".to_owned()),
    ]
}
