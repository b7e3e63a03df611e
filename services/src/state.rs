//! What has been started, in a file, so that a later command can look at it and stop it.

use super::{
    Endpoints, Shape,
    container::{self, Container},
    cql,
    process::{Launch, Process},
    redis,
};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::{
    fmt::Write as _,
    fs::{self, File},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

/// How long a server that runs may take to say which it is.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Everything of the services lies here: logs, data, jars, what runs, and the variables for tests.
pub struct Directory {
    /// Absolute.
    pub path: PathBuf,
    /// Held while a command works, so that two of them do not start the same.
    _lock: File,
}

impl Directory {
    /// Makes it, and waits for other commands to be done with it.
    pub fn open(path: &Path) -> Result<Self> {
        fs::create_dir_all(path)?;
        let path = path.canonicalize()?;
        let lock = File::create(path.join("lock"))?;
        lock.lock().context("waiting for another `cargo xtask services`")?;
        Ok(Self { path, _lock: lock })
    }

    /// What was started and not taken down.
    pub fn state(&self) -> Result<Option<State>> {
        let file = self.path.join(State::FILE);
        match fs::read_to_string(&file) {
            Ok(text) => {
                let advice = || format!("{} is not readable; stop what it names, and remove it", file.display());
                Ok(Some(serde_json::from_str(&text).with_context(advice)?))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| file.display().to_string()),
        }
    }

    /// Remembers what runs: at once after each start, so that nothing runs that no command knows.
    pub fn keep(&self, state: &State) -> Result<()> {
        let (file, next) = (self.path.join(State::FILE), self.path.join("services.json.next"));
        fs::write(&next, serde_json::to_string_pretty(state)?)?;
        fs::rename(next, file)?;
        Ok(())
    }

    /// Writes the variables for tests, to be read by a shell.
    pub fn write_environment(&self, endpoints: &Endpoints) -> Result<PathBuf> {
        let file = self.path.join("env");
        let mut text = String::new();
        for (name, value) in endpoints.variables() {
            writeln!(text, "export {name}={value}")?;
        }
        fs::write(&file, text)?;
        Ok(file)
    }

    /// Stops all that runs, and removes its data. Logs and jars stay.
    pub fn clear(&self, state: &State) -> Result<()> {
        let mut failed = Vec::new();
        for service in &state.services {
            if let Err(error) = service.remove() {
                failed.push(format!("{}: {error:#}", service.name));
            }
        }
        if !failed.is_empty() {
            bail!("what does not stop: {}", failed.join("; "));
        }
        if let Some(engine) = state.services.iter().find_map(|service| service.runs.container()) {
            container::remove_network(&engine.engine);
        }
        for service in &state.services {
            let data = self.data(&service.name);
            if data.exists() {
                fs::remove_dir_all(&data).with_context(|| format!("removing {}", data.display()))?;
            }
        }
        for file in ["env", State::FILE] {
            match fs::remove_file(self.path.join(file)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    /// Where a service keeps its data.
    pub fn data(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// What a process says.
    pub fn log(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}.log"))
    }
}

/// All services that were started together.
#[derive(Debug, Serialize, Deserialize)]
pub struct State {
    /// As they were asked for.
    pub shape: Shape,
    /// In the order in which they are started.
    pub services: Vec<Service>,
}

impl State {
    const FILE: &'static str = "services.json";
}

/// One server.
#[derive(Debug, Serialize, Deserialize)]
pub struct Service {
    /// `redis`, `cql-1`, …
    pub name: String,
    /// Which protocol it speaks.
    pub kind: Kind,
    /// Where it listens.
    pub address: SocketAddr,
    /// What runs it.
    pub runs: Runs,
}

/// Which protocol a service speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// CQL.
    Cql,
    /// Redis.
    Redis,
}

/// What runs a service.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Runs {
    /// A process of this machine, once it was started.
    Process {
        /// How.
        launch: Launch,
        /// Which.
        process: Option<Process>,
    },
    /// A container.
    Container(Container),
}

impl Runs {
    fn container(&self) -> Option<&Container> {
        match self {
            Self::Container(container) => Some(container),
            Self::Process { .. } => None,
        }
    }
}

impl Service {
    /// Whether it is there; it need not answer yet.
    pub fn runs(&self) -> bool {
        match &self.runs {
            Runs::Process { process, .. } => process.is_some_and(|process| process.runs()),
            Runs::Container(container) => container.runs(),
        }
    }

    /// Starts it, or starts it again with the data that it had.
    pub fn start(&mut self, log: &Path) -> Result<()> {
        match &mut self.runs {
            Runs::Process { launch, process } => *process = Some(launch.start(log)?),
            Runs::Container(container) => container.start()?,
        }
        Ok(())
    }

    /// Ends it for good; its data goes with it, so it need not bring anything to an end. Nothing happens when it does not run.
    pub fn remove(&self) -> Result<()> {
        match &self.runs {
            Runs::Process { process, .. } => process.map_or(Ok(()), |process| process.kill()),
            Runs::Container(container) => container.remove(),
        }
    }

    /// Its version, from itself.
    pub fn version(&self) -> Result<String> {
        match self.kind {
            Kind::Redis => Ok(format!("Redis {}", redis::ask(self.address, ANSWER_TIMEOUT)?.unwrap_or_default())),
            Kind::Cql => {
                let mut connection = cql::Connection::open(self.address, ANSWER_TIMEOUT)?;
                connection.start_up()?;
                let rows = connection.query("SELECT release_version FROM system.local")?;
                let version = rows.into_iter().flatten().flatten().next().context("a server without a version")?;
                Ok(match self.runs.container() {
                    // ScyllaDB says which Cassandra it is compatible with.
                    Some(_) => container::SCYLLA.to_owned(),
                    None => format!("Apache Cassandra {}", String::from_utf8_lossy(&version)),
                })
            }
        }
    }

    /// What it has said last, for whoever wonders why it does not answer.
    pub fn last_words(&self, log: &Path) -> String {
        const LINES: usize = 50;
        match &self.runs {
            Runs::Container(container) => container.log(),
            Runs::Process { .. } => {
                let text = fs::read(log).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                lines[lines.len().saturating_sub(LINES)..].join("\n")
            }
        }
    }
}
