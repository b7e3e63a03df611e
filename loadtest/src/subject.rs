//! What is measured: a Godwit server, or the bare relay.

use crate::{
    server_binary,
    server_process::{Figures, Launch},
    target::Target,
    wire::{Dialect, FrameSizes, Login, godwit},
};
use anyhow::bail;
use std::{
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

/// Which one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    #[default]
    Godwit,
    Baseline,
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
}

/// Which Godwit server.
#[derive(Debug, Clone)]
pub enum Server {
    /// One that is started: this program, or the one beside the load test when `None`.
    Started(Option<PathBuf>),
    /// One that runs already.
    Running { address: String, fingerprint: String, pid: Option<u32> },
}

/// A server that runs.
pub struct Subject {
    pub kind: Kind,
    pub dialect: Dialect,
    target: Target,
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
                (Target::own(launch.on_cpus(recipe.cpus.clone())).await?, Dialect::Godwit)
            }
            (Kind::Godwit, Server::Running { address, fingerprint, pid }) => {
                (Target::other(address, fingerprint.clone(), *pid).await?, Dialect::Godwit)
            }
            (Kind::Baseline, _) => {
                let sizes = godwit::frame_sizes(body_bytes).max(FrameSizes::at_least(body_bytes));
                let launch = Launch::relay(sizes)?;
                (Target::own(launch.on_cpus(recipe.cpus.clone())).await?, Dialect::Bare(sizes))
            }
        };
        Ok(Self { kind, dialect, target, run: random_name() })
    }

    pub fn address(&self) -> SocketAddr {
        self.target.address()
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

fn random_name() -> String {
    format!("{:08x}", rand::random::<u32>())
}

const IDLE_TIMEOUT: Duration = Duration::from_secs(120);
const IDLE_SAMPLE: Duration = Duration::from_millis(250);
const IDLE_SAMPLES: u32 = 4;
/// Of one CPU. Clocks tick in hundredths of a second, and a server with nothing to do still looks at its timers.
const IDLE_SHARE: f64 = 0.08;
