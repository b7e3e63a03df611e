//! Containers, where an engine runs: ScyllaDB's own image, and Redis's.

use super::process;
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::{
    net::{IpAddr, SocketAddr},
    process::{Command, Stdio},
    time::Duration,
};

/// The oldest ScyllaDB that Godwit runs on.
pub const SCYLLA: &str = "scylladb/scylla:2025.4";
/// As old as Debian's.
pub const REDIS: &str = "redis:7";

/// In which the nodes of a cluster find each other.
const NETWORK: &str = "godwit-services";

const ENGINES: [&str; 2] = ["docker", "podman"];
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);
const INFO_TIMEOUT: Duration = Duration::from_secs(15);
const PULL_TIMEOUT: Duration = Duration::from_secs(900);

/// A container, by its engine and the id that this has given it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// `docker` or `podman`.
    pub engine: String,
    /// In full.
    pub id: String,
}

/// The first engine that answers, if any does.
pub fn engine() -> Option<&'static str> {
    ENGINES.into_iter().find(|engine| {
        let mut info = Command::new(engine);
        process::run(info.arg("info").stdout(Stdio::null()).stderr(Stdio::null()), INFO_TIMEOUT).is_ok()
    })
}

/// Fetches an image unless it is there.
pub fn pull(engine: &str, image: &str) -> Result<()> {
    let mut there = Command::new(engine);
    there.args(["image", "inspect", image]).stdout(Stdio::null()).stderr(Stdio::null());
    if process::run(&mut there, COMMAND_TIMEOUT).is_ok() {
        return Ok(());
    }
    eprintln!("fetching the image {image} with {engine}");
    process::run(Command::new(engine).args(["pull", "--quiet", image]).stdout(Stdio::null()), PULL_TIMEOUT)
}

/// Makes the network that nodes find each other in.
pub fn make_network(engine: &str) -> Result<()> {
    remove_network(engine);
    said_by(engine, &["network", "create", NETWORK]).map(drop)
}

/// Removes it; nothing happens when there is none.
pub fn remove_network(engine: &str) {
    let _ = said_by(engine, &["network", "rm", NETWORK]);
}

impl Container {
    /// A Redis that keeps everything in memory only.
    pub fn redis(engine: &str, address: SocketAddr) -> Result<Self> {
        let publish = format!("{address}:6379");
        Self::run(engine, &["--publish", &publish, REDIS, "--save", "", "--appendonly", "no"])
    }

    /// A node of ScyllaDB that joins the one at `seed`, if any.
    pub fn scylla(
        engine: &str,
        address: SocketAddr,
        seed: Option<IpAddr>,
        cluster: bool,
        durable: bool,
    ) -> Result<Self> {
        let arguments = scylla_arguments(address, seed, cluster, durable);
        Self::run(engine, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn run(engine: &str, arguments: &[&str]) -> Result<Self> {
        let id = said_by(engine, &[&["run", "--detach"], arguments].concat())?;
        ensure!(!id.is_empty(), "{engine} run says no id");
        Ok(Self { engine: engine.to_owned(), id })
    }

    /// Whether it runs.
    pub fn runs(&self) -> bool {
        self.inspect("{{.State.Running}}").is_ok_and(|running| running == "true")
    }

    /// Starts it again, with the data that it had.
    pub fn start(&self) -> Result<()> {
        said_by(&self.engine, &["start", &self.id]).map(drop)
    }

    /// Stops and removes it with its data.
    pub fn remove(&self) -> Result<()> {
        if self.inspect("{{.Id}}").is_err() {
            return Ok(());
        }
        said_by(&self.engine, &["rm", "--force", "--volumes", &self.id]).map(drop)
    }

    /// Its address among the containers of a cluster.
    pub fn inner_address(&self) -> Result<IpAddr> {
        let said = self.inspect("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")?;
        said.parse().with_context(|| format!("the address {said:?} of a container"))
    }

    /// What it has said last.
    pub fn log(&self) -> String {
        let output = Command::new(&self.engine).args(["logs", "--tail", "50", &self.id]).stdin(Stdio::null()).output();
        let both = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
        String::from_utf8_lossy(&both).into_owned()
    }

    /// What it has in memory, as the engine puts it.
    pub fn memory(&self) -> Option<String> {
        let said = said_by(&self.engine, &["stats", "--no-stream", "--format", "{{.MemUsage}}", &self.id]).ok()?;
        said.split('/').next().map(|used| used.trim().to_owned())
    }

    fn inspect(&self, format: &str) -> Result<String> {
        said_by(&self.engine, &["inspect", "--format", format, &self.id])
    }
}

/// The node talks with others at its own address inside, and is known to clients, through other nodes too, by its address outside.
fn scylla_arguments(address: SocketAddr, seed: Option<IpAddr>, cluster: bool, durable: bool) -> Vec<String> {
    let mut arguments = vec!["--publish".to_owned(), format!("{address}:9042")];
    if cluster {
        arguments.extend(["--network".to_owned(), NETWORK.to_owned()]);
    }
    let node = "--developer-mode 1 --smp 1 --memory 750M --overprovisioned 1 --disable-version-check";
    arguments.push(SCYLLA.to_owned());
    arguments.extend(node.split(' ').map(str::to_owned));
    arguments.extend(["--broadcast-rpc-address".to_owned(), address.ip().to_string()]);
    if let Some(seed) = seed {
        arguments.extend(["--seeds".to_owned(), seed.to_string()]);
    }
    if durable {
        arguments.extend(["--commitlog-sync", "batch", "--commitlog-sync-batch-window-in-ms", "1"].map(str::to_owned));
    }
    arguments
}

fn said_by(engine: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(engine).args(arguments).stdin(Stdio::null()).output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{engine} {}` failed: {}", arguments.join(" "), error.trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_listens_on_loopback_only_and_says_so_to_clients() {
        let address = "127.0.0.2:9043".parse().unwrap();
        let said = scylla_arguments(address, Some([172, 18, 0, 2].into()), true, true).join(" ");
        assert!(said.starts_with("--publish 127.0.0.2:9043:9042 --network godwit-services scylladb/scylla:"), "{said}");
        assert!(said.contains("--broadcast-rpc-address 127.0.0.2 --seeds 172.18.0.2 --commitlog-sync batch"), "{said}");
        let alone = scylla_arguments(address, None, false, false).join(" ");
        assert!(!alone.contains("--seeds") && !alone.contains("--network") && !alone.contains("batch"), "{alone}");
    }
}
