//! A real CQL server and a real Redis on loopback: for tests, where `cargo xtask services` starts them in `target/services/`, and for a
//! load test that starts its own, to kill them.
//!
//! In containers where an engine runs, else as processes: Debian's Redis, and Apache Cassandra, which Maven has. What runs is in a
//! file, so that every later command knows it; ports are the usual ones if they are free.

mod cassandra;
mod container;
mod cql;
mod for_tests;
mod jars;
mod packages;
mod process;
mod ready;
mod redis;
mod start;
mod state;

pub use cassandra::Guard;
pub use for_tests::{ForTests, LEFT_OUT, WITHOUT};
pub use process::{Launch, Process};

use anyhow::{Result, bail, ensure};
use clap::Subcommand;
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use serde::{Deserialize, Serialize};
use state::{Directory, Kind, Runs, Service, State};
use std::{
    env, fmt,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Instant,
};

/// What can be done with them.
#[derive(Subcommand)]
pub enum Action {
    /// Start what does not run, and wait until all of it answers. Installs what is missing when it may.
    ///
    /// A server that was killed is started again where it was, with the data that it had.
    Up {
        /// How many CQL nodes, 1 or 3. Three are a cluster on 127.0.0.1 to 127.0.0.3, and take 2.3 GB of memory.
        #[arg(long, default_value_t = 1, value_parser = nodes)]
        nodes: usize,
        /// Have the CQL server sync what it is told before it answers, so that nothing is lost when it is killed. Takes longer.
        #[arg(long)]
        durable: bool,
        /// Use no containers even where an engine runs.
        #[arg(long)]
        without_containers: bool,
    },
    /// Stop what was started, and remove its data.
    Down,
    /// Say what runs. Fails when something that was started does not answer, or nothing was.
    Status,
}

/// What is asked of the CQL servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// 1 or 3.
    pub nodes: usize,
    /// Whether what was answered survives a SIGKILL.
    pub durable: bool,
}

impl Shape {
    const SINGLE: Self = Self { nodes: 1, durable: false };
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--nodes {}{}", self.nodes, if self.durable { " --durable" } else { "" })
    }
}

/// Where the servers are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// Every node.
    pub cql: Vec<SocketAddr>,
    /// At most one.
    pub redis: Option<SocketAddr>,
}

impl Endpoints {
    fn of(state: &State) -> Self {
        let of_kind =
            |kind| state.services.iter().filter(move |service| service.kind == kind).map(|service| service.address);
        Self { cql: of_kind(Kind::Cql).collect(), redis: of_kind(Kind::Redis).next() }
    }

    /// As tests read them.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = Vec::new();
        if !self.cql.is_empty() {
            let nodes: Vec<_> = self.cql.iter().map(SocketAddr::to_string).collect();
            variables.push((for_tests::CQL, nodes.join(",")));
        }
        variables.extend(self.redis.map(|address| (for_tests::REDIS, format!("redis://{address}"))));
        variables
    }
}

/// Runs a command of the command line on the services of one directory.
pub fn run(action: &Action, directory: Option<PathBuf>) -> Result<()> {
    let path = directory.unwrap_or_else(usual_directory);
    match *action {
        Action::Up { nodes, durable, without_containers } => {
            let shape = Shape { nodes, durable };
            let started = Instant::now();
            let (_, file) =
                up(&path, &Wanted { shape: Some(shape), cql: true, redis: true, containers: !without_containers })?;
            eprintln!("up after {:.1} s; for tests: . {}", started.elapsed().as_secs_f32(), file.display());
            status(&path)
        }
        Action::Down => down(&path),
        Action::Status => status(&path),
    }
}

/// A node of Apache Cassandra alone, whose jars are fetched if they are not there. What it has answered survives a SIGKILL. Drivers are
/// told to come to it at another address, with the same port: that of a proxy, or its own.
pub fn cassandra(directory: &Path, address: SocketAddr, advertised: IpAddr) -> Result<Launch> {
    alone(directory, address, advertised, None)
}

/// The same at its own address, with nothing but TLS, and a user.
pub fn guarded_cassandra(directory: &Path, address: SocketAddr, guard: Guard<'_>) -> Result<Launch> {
    alone(directory, address, address.ip(), Some(guard))
}

fn alone(directory: &Path, address: SocketAddr, advertised: IpAddr, guard: Option<Guard<'_>>) -> Result<Launch> {
    // Held while jars are fetched.
    let usual = Directory::open(&usual_directory())?;
    let (java, jars) = (packages::java()?, jars::fetch(&usual.path)?);
    let (addresses, cql_port) = ([address.ip()], address.port());
    let shape = Shape { durable: true, ..Shape::SINGLE };
    let storage_port = ready::free_port(cassandra::STORAGE_PORT, &addresses)?;
    let node = cassandra::Node { index: 0, addresses: &addresses, advertised, cql_port, storage_port, shape, guard };
    node.prepare(&java, &jars, directory)
}

/// A Redis that saves what it has when it is told to.
pub fn redis(directory: &Path, address: SocketAddr) -> Result<Launch> {
    packages::redis_server()?;
    Ok(redis::launch(directory, address))
}

/// Where cargo builds.
pub fn target_dir() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = own.parent().unwrap_or(own);
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |given| root.join(given))
}

const DOWN_FIRST: &str = "`cargo xtask services down` takes it down";

/// What shall run.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    /// `None` when any will do.
    shape: Option<Shape>,
    cql: bool,
    redis: bool,
    /// Whether containers may be used.
    containers: bool,
}

/// Has it all run and answer; says where, and which file has the variables. What this starts in vain it stops again.
fn up(path: &Path, wanted: &Wanted) -> Result<(Endpoints, PathBuf)> {
    let directory = Directory::open(path)?;
    let state = match directory.state()? {
        Some(state) if state.services.iter().any(Service::runs) => again(&directory, state, wanted)?,
        gone => {
            if let Some(state) = gone {
                directory.clear(&state)?;
            }
            start::anew(&directory, wanted)?
        }
    };
    let endpoints = Endpoints::of(&state);
    let file = directory.write_environment(&endpoints)?;
    Ok((endpoints, file))
}

/// Starts again what has ended of what was started, with its data.
fn again(directory: &Directory, mut state: State, wanted: &Wanted) -> Result<State> {
    if let Some(shape) = wanted.shape {
        ensure!(shape == state.shape, "what runs was started with {}, not with {shape}; {DOWN_FIRST}", state.shape);
    }
    let has = |kind| state.services.iter().any(|service| service.kind == kind);
    ensure!(
        (has(Kind::Cql) || !wanted.cql) && (has(Kind::Redis) || !wanted.redis),
        "only one of CQL and Redis runs; {DOWN_FIRST}"
    );
    for index in 0..state.services.len() {
        let service = &mut state.services[index];
        if !service.runs() {
            eprintln!("starting {} again", service.name);
            service.start(&directory.log(&service.name))?;
            directory.keep(&state)?;
        }
    }
    ready::wait_for(&state.services, directory)?;
    Ok(state)
}

/// Stops what was started; nothing happens when nothing was.
fn down(path: &Path) -> Result<()> {
    let directory = Directory::open(path)?;
    match directory.state()? {
        Some(state) => directory.clear(&state),
        None => {
            eprintln!("nothing runs");
            Ok(())
        }
    }
}

fn status(path: &Path) -> Result<()> {
    let directory = Directory::open(path)?;
    let Some(state) = directory.state()? else { bail!("nothing was started; `cargo xtask services up` starts it") };
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["", "address", "version", "runs as", "memory"]);
    let mut silent = Vec::new();
    for service in &state.services {
        let version = service.version().unwrap_or_else(|error| {
            silent.push(service.name.as_str());
            format!("does not answer: {error:#}")
        });
        let (runs_as, memory) = match &service.runs {
            Runs::Container(container) => (format!("{} {:.12}", container.engine, container.id), container.memory()),
            Runs::Process { process: Some(process), .. } if process.runs() => {
                let memory = process.resident_bytes().map(|bytes| format!("{} MiB", bytes >> 20));
                (format!("process {}", process.pid), memory)
            }
            Runs::Process { .. } => ("has ended".to_owned(), None),
        };
        let memory = memory.unwrap_or_else(|| "–".to_owned());
        table.add_row([service.name.clone(), service.address.to_string(), version, runs_as, memory]);
    }
    println!("{table}");
    for (name, value) in Endpoints::of(&state).variables() {
        println!("{name}={value}");
    }
    ensure!(silent.is_empty(), "down: {}; `cargo xtask services up` starts it again", silent.join(", "));
    Ok(())
}

fn usual_directory() -> PathBuf {
    target_dir().join("services")
}

fn nodes(text: &str) -> Result<usize, String> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        _ => Err("1 or 3".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_told_every_node() {
        let cql = vec!["127.0.0.1:9043".parse().unwrap(), "127.0.0.2:9043".parse().unwrap()];
        let endpoints = Endpoints { cql, redis: Some("127.0.0.1:6380".parse().unwrap()) };
        let expected = [
            ("GODWIT_TEST_CQL", "127.0.0.1:9043,127.0.0.2:9043".to_owned()),
            ("GODWIT_TEST_REDIS", "redis://127.0.0.1:6380".to_owned()),
        ];
        assert_eq!(endpoints.variables(), expected);
        assert_eq!(Endpoints { cql: Vec::new(), redis: None }.variables(), []);
    }
}
