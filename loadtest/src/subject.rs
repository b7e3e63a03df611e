//! What is measured: a Godwit server, or a bare relay.

use crate::{
    link::{LinkSpec, LinkStats, Relay, Tunnel},
    process_figures::Figures,
    server_binary,
    server_process::Launch,
    target::Target,
    wire::{Dialect, FrameSizes, Login, Transport, godwit},
};
use anyhow::{bail, ensure};
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::{Duration, Instant},
};

/// Which one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    #[default]
    Godwit,
    /// The bare quinn relay.
    Baseline,
    /// The same over TLS and TCP.
    TcpBaseline,
}

impl Kind {
    /// In the order in which they are measured and reported.
    pub const ALL: [Self; 3] = [Self::Godwit, Self::Baseline, Self::TcpBaseline];

    /// What its clients reach it by.
    pub fn transport(self) -> Transport {
        match self {
            Self::Godwit | Self::Baseline => Transport::Quic,
            Self::TcpBaseline => Transport::Tcp,
        }
    }
}

/// How one comes about.
#[derive(Debug, Clone)]
pub struct Recipe {
    pub server: Server,
    /// `--cores` of a Godwit server; its own default when `None`.
    pub cores: Option<usize>,
    /// Configuration of a Godwit server beyond what a load test needs.
    pub environment: Vec<(String, String)>,
    /// Those that it may use; empty: all.
    pub cpus: Vec<usize>,
    /// Where one that is started listens; on loopback when `None`.
    pub listen: Option<IpAddr>,
}

/// Which Godwit server.
#[derive(Debug, Clone)]
pub enum Server {
    /// One that is started: this program, or the one beside the load test when `None`.
    Started(Option<PathBuf>),
    /// One that runs already.
    Running { address: String, fingerprint: String, pid: Option<u32> },
}

/// What is between it and its clients.
enum Network {
    Relay(Relay),
    Tunnel(Tunnel),
}

/// A server that runs.
pub struct Subject {
    pub kind: Kind,
    pub dialect: Dialect,
    target: Target,
    /// Where the clients send to instead, if there is a network to simulate.
    network: Option<Network>,
    /// Runs on one server do not meet: each has accounts of its own.
    run: String,
}

impl Subject {
    /// Starts one on a fresh directory, or finds the one that runs. `environment` is what the scenario needs, `body_bytes`
    /// what its messages say.
    pub async fn start(
        kind: Kind,
        recipe: &Recipe,
        environment: Vec<(String, String)>,
        body_bytes: usize,
    ) -> anyhow::Result<Self> {
        let (target, dialect) = match (kind, &recipe.server) {
            (Kind::Godwit, Server::Started(binary)) => {
                let binary = server_binary::find(binary.clone())?;
                let mut all = server_binary::load_test_environment();
                // What somebody asked for by name comes last and counts.
                all.extend(environment.into_iter().chain(recipe.environment.iter().cloned()));
                let launch = Launch::godwit(binary, recipe.cores, all)?;
                (Target::own(recipe.place(launch)?).await?, Dialect::Godwit)
            }
            (Kind::Godwit, Server::Running { address, fingerprint, pid }) => {
                (Target::other(address, fingerprint.clone(), *pid).await?, Dialect::Godwit)
            }
            (Kind::Baseline | Kind::TcpBaseline, _) => {
                let sizes = godwit::frame_sizes(body_bytes).max(FrameSizes::at_least(body_bytes));
                let launch = Launch::relay(kind.transport(), sizes)?;
                (Target::own(recipe.place(launch)?).await?, Dialect::Bare(sizes))
            }
        };
        Ok(Self { kind, dialect, target, network: None, run: random_name() })
    }

    /// Puts it behind a network that carries UDP.
    pub fn behind(self, spec: LinkSpec, seed: u64) -> anyhow::Result<Self> {
        ensure!(self.kind.transport() == Transport::Quic, "TCP goes through a tunnel only");
        let network = Some(Network::Relay(Relay::start(self.target.address(), spec, seed)?));
        Ok(Self { network, ..self })
    }

    /// Has its clients come through a tunnel, at whose end it listens.
    pub fn through(self, tunnel: Tunnel) -> Self {
        Self { network: Some(Network::Tunnel(tunnel)), ..self }
    }

    /// Where clients send to.
    pub fn address(&self) -> SocketAddr {
        match &self.network {
            None => self.target.address(),
            Some(Network::Relay(relay)) => relay.address(),
            Some(Network::Tunnel(_)) => Tunnel::address_for(self.target.address()),
        }
    }

    /// What the network did up to now.
    pub fn link_stats(&self) -> Option<LinkStats> {
        Some(match self.network.as_ref()? {
            Network::Relay(relay) => relay.stats(),
            Network::Tunnel(tunnel) => tunnel.stats(),
        })
    }

    pub fn fingerprint(&self) -> &str {
        self.target.fingerprint()
    }

    /// Whether it was started for this run, and can be restarted.
    pub fn is_own(&self) -> bool {
        self.target.is_own()
    }

    /// An account of this run that does not exist yet.
    pub fn account(&self, number: u32) -> Login {
        let (username, password) = self.credentials(number);
        Login::Register { username, password }
    }

    /// The name and the password of an account of this run.
    pub fn credentials(&self, number: u32) -> (String, String) {
        (format!("load-{}-{number}", self.run), format!("password of {}-{number}", self.run))
    }

    /// From here on accounts are new ones.
    pub fn begin_another_run(&mut self) {
        self.run = random_name();
    }

    /// What it has used up to now; zero where its process is not known.
    pub fn figures(&self) -> anyhow::Result<Figures> {
        Ok(self.target.figures()?.unwrap_or_default())
    }

    /// Fails if it ended by itself.
    pub fn check_alive(&mut self) -> anyhow::Result<()> {
        self.target.check_alive()
    }

    /// Stops it as an operator would, and starts it again on the same directory.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.target.restart().await
    }

    /// Kills it as a power failure would, and starts it again on the same directory.
    pub async fn kill_and_restart(&mut self) -> anyhow::Result<()> {
        self.target.kill_and_restart().await
    }

    /// What it has on the disk; zero where that is not known.
    pub fn data_bytes(&self) -> anyhow::Result<u64> {
        self.target.data_bytes()
    }

    /// Waits until it has written and sorted what it has, and does nothing any more: until it used almost no CPU time for
    /// a second.
    pub async fn idle(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + IDLE_TIMEOUT;
        let mut quiet = 0;
        let mut before = self.figures()?.cpu_s;
        while quiet < IDLE_SAMPLES {
            tokio::time::sleep(IDLE_SAMPLE).await;
            self.check_alive()?;
            let now = self.figures()?.cpu_s;
            quiet = if now - before > IDLE_SAMPLE.as_secs_f64() * IDLE_SHARE { 0 } else { quiet + 1 };
            before = now;
            if Instant::now() > deadline {
                bail!("the server is still busy {IDLE_TIMEOUT:?} after the load");
            }
        }
        Ok(())
    }

    /// Keeps what could tell why something went wrong, and says where it is.
    pub fn keep_evidence(&mut self) {
        self.target.keep_evidence();
    }
}

impl Recipe {
    /// Puts what is started where it belongs.
    fn place(&self, launch: Launch) -> anyhow::Result<Launch> {
        let launch = launch.on_cpus(self.cpus.clone());
        match self.listen {
            Some(ip) => launch.on_ip(ip),
            None => Ok(launch),
        }
    }
}

fn random_name() -> String {
    format!("{:08x}", rand::random::<u32>())
}

const IDLE_TIMEOUT: Duration = Duration::from_secs(120);
const IDLE_SAMPLE: Duration = Duration::from_millis(250);
const IDLE_SAMPLES: u32 = 4;
/// Of one CPU. Clocks tick in hundredths of a second, and a server with nothing to do still looks at its timers.
const IDLE_SHARE: f64 = 0.08;
