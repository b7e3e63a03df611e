//! A server of one's own: started on a temporary directory, killed and started again, and gone when the run is.

use crate::{
    cpu,
    process_figures::{Figures, disk_bytes, process_figures},
    wire::{FrameSizes, Transport},
};
use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A `godwit serve`, or a bare relay, that runs. Dropping it kills the process and removes its directory.
#[derive(Debug)]
pub struct ServerProcess {
    child: Option<Child>,
    launch: Launch,
    directory: TempDir,
    fingerprint: String,
    /// Of the processes that are gone.
    past: Figures,
    /// Of the process that runs, as it was seen last.
    seen: Figures,
    starts: u32,
    ends: u32,
}

/// How the server is started, every time the same.
#[derive(Debug, Clone)]
pub struct Launch {
    binary: PathBuf,
    arguments: Vec<String>,
    /// Configuration, as environment variables.
    environment: Vec<(String, String)>,
    /// CPUs that it may use; empty: all.
    cpus: Vec<usize>,
    address: SocketAddr,
    /// It may end by itself with an error, and is started again then.
    may_end: bool,
}

impl Launch {
    /// A Godwit server. `cores` is its own default when `None`.
    pub fn godwit(binary: PathBuf, cores: Option<usize>, environment: Vec<(String, String)>) -> anyhow::Result<Self> {
        let mut arguments = vec!["serve".to_owned()];
        arguments.extend(cores.into_iter().flat_map(|cores| ["--cores".to_owned(), cores.to_string()]));
        let address = free_address(LOOPBACK)?;
        Ok(Self { binary, arguments, environment, cpus: Vec::new(), address, may_end: false })
    }

    /// A bare relay, which is this program itself.
    pub fn relay(over: Transport, sizes: FrameSizes) -> anyhow::Result<Self> {
        let over = match over {
            Transport::Quic => "quic",
            Transport::Tcp => "tcp",
        };
        let arguments = [
            "relay".to_owned(),
            format!("--over={over}"),
            format!("--ack-bytes={}", sizes.ack_bytes),
            format!("--push-bytes={}", sizes.push_bytes),
        ];
        let binary = std::env::current_exe().context("the path of this program")?;
        let arguments = arguments.to_vec();
        let (environment, address) = (Vec::new(), free_address(LOOPBACK)?);
        Ok(Self { binary, arguments, environment, cpus: Vec::new(), address, may_end: false })
    }

    /// Has it listen on a free port of this address rather than of loopback.
    pub fn on_ip(self, ip: IpAddr) -> anyhow::Result<Self> {
        Ok(Self { address: free_address(ip)?, ..self })
    }

    /// Lets it end by itself with an error, as a server does when what it depends on is gone for too long.
    pub fn that_may_end(self) -> Self {
        Self { may_end: true, ..self }
    }

    /// Keeps it on some CPUs.
    pub fn on_cpus(self, cpus: Vec<usize>) -> Self {
        Self { cpus, ..self }
    }
}

impl ServerProcess {
    /// Starts a server on a new temporary directory and waits until it serves.
    pub async fn start(launch: Launch) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("godwit-loadtest-").tempdir()?;
        let (past, seen) = (Figures::default(), Figures::default());
        let mut server =
            Self { child: None, launch, directory, fingerprint: String::new(), past, seen, starts: 0, ends: 0 };
        server.launch().await?;
        Ok(server)
    }

    /// Where it listens; the same after a restart.
    pub fn address(&self) -> SocketAddr {
        self.launch.address
    }

    /// Of its certificate, in hexadecimal digits.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Kills the process as a power failure would, without a word, and starts another on the same directory and port.
    pub async fn kill_and_restart(&mut self) -> anyhow::Result<()> {
        self.kill()?;
        self.launch_patiently().await
    }

    /// Stops the process as an operator would, and starts another on the same directory and port.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        if let Some(child) = &self.child {
            let pid = Pid::from_raw(child.id().cast_signed()).context("the server's process id")?;
            // Its figures are gone with it, and it uses little more than this.
            let figures = process_figures(child.id())?;
            kill_process(pid, Signal::TERM).context("stopping the server")?;
            let deadline = Instant::now() + STOP_TIMEOUT;
            while let Some(child) = &mut self.child {
                if child.try_wait()?.is_some() {
                    self.child = None;
                    self.past = self.past.followed_by(figures);
                } else if Instant::now() > deadline {
                    bail!("the server did not stop within {STOP_TIMEOUT:?}:\n{}", self.last_words());
                } else {
                    tokio::time::sleep(START_POLL).await;
                }
            }
        }
        self.launch().await
    }

    /// What all its processes have used up to now.
    pub fn figures(&self) -> anyhow::Result<Figures> {
        Ok(match &self.child {
            // It may have ended since.
            Some(child) if self.launch.may_end => {
                self.past.followed_by(process_figures(child.id()).unwrap_or(self.seen))
            }
            Some(child) => self.past.followed_by(process_figures(child.id())?),
            None => self.past,
        })
    }

    /// What its data takes on the disk.
    pub fn data_bytes(&self) -> anyhow::Result<u64> {
        disk_bytes(&self.directory.path().join("data")).context("measuring the server's data")
    }

    /// Fails if the process ended by itself.
    pub fn check_alive(&mut self) -> anyhow::Result<()> {
        if let Some(child) = &mut self.child
            && let Some(status) = child.try_wait()?
        {
            bail!("the server ended with {status}:\n{}", self.last_words());
        }
        Ok(())
    }

    /// Fails if the process ended by itself, unless it is one that may: that is started again, as a service manager would.
    pub async fn keep_up(&mut self) -> anyhow::Result<()> {
        if !self.launch.may_end {
            return self.check_alive();
        }
        let Some(child) = &mut self.child else { return Ok(()) };
        let Some(status) = child.try_wait()? else {
            // They are gone with it.
            self.seen = process_figures(child.id()).unwrap_or(self.seen);
            return Ok(());
        };
        self.check_orderly(status)?;
        self.ends += 1;
        self.forget_ended();
        let last_words = self.last_words();
        eprintln!("The server ended by itself and is started again: {}", last_words.lines().last().unwrap_or_default());
        self.launch_patiently().await
    }

    /// How often it ended by itself and was started again.
    pub fn ends(&self) -> u32 {
        self.ends
    }

    /// Fails if it has panicked, even where it went on after that.
    pub fn check_log(&self) -> anyhow::Result<()> {
        let log = fs::read(self.log_path()).context("reading the server's log")?;
        let log = String::from_utf8_lossy(&log);
        match log.lines().find(|line| line.contains("panicked at")) {
            Some(line) => bail!("the server has panicked: {line}"),
            None => Ok(()),
        }
    }

    /// Leaves the directory with the server's data and its log where it is, for whoever looks for the cause.
    pub fn keep_directory(&mut self) -> &Path {
        self.directory.disable_cleanup(true);
        self.directory.path()
    }

    /// Until it runs: one that may end does so, too, when it is started while what it depends on is gone.
    async fn launch_patiently(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + LAUNCH_PATIENCE;
        loop {
            let outcome = self.launch().await;
            let ended = match &mut self.child {
                Some(child) if outcome.is_err() && self.launch.may_end => child.try_wait()?,
                _ => return outcome,
            };
            let Some(status) = ended.filter(|_| Instant::now() < deadline) else { return outcome };
            self.check_orderly(status)?;
            self.forget_ended();
            tokio::time::sleep(LAUNCH_PAUSE).await;
        }
    }

    /// Fails if this is the end of a server that did not say what is wrong.
    fn check_orderly(&self, status: ExitStatus) -> anyhow::Result<()> {
        ensure!(status.code() == Some(1), "the server crashed with {status}:\n{}", self.last_words());
        Ok(())
    }

    fn forget_ended(&mut self) {
        self.child = None;
        self.past = self.past.followed_by(self.seen);
        self.seen = Figures::default();
    }

    async fn launch(&mut self) -> anyhow::Result<()> {
        let log = File::options().create(true).append(true).open(self.log_path())?;
        writeln!(&log, "--- start {}", self.starts)?;
        self.starts += 1;

        let mut command = Command::new(&self.launch.binary);
        command.args(&self.launch.arguments).arg("--listen").arg(self.launch.address.to_string());
        command.arg("--data-dir").arg(self.directory.path().join("data"));
        command.envs(self.launch.environment.iter().map(|(key, value)| (key, value)));
        command.current_dir(self.directory.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log.try_clone()?);
        let mut child = spawn_on(&mut command, &self.launch.cpus)
            .with_context(|| format!("starting {}", self.launch.binary.display()))?;
        let stdout = child.stdout.take();
        self.child = Some(child);

        let (ready, announced) = mpsc::channel();
        if let Some(stdout) = stdout {
            // Reads to the end, so that the server never blocks on a full pipe.
            thread::spawn(move || copy_until_announced(BufReader::new(stdout), log, &ready));
        }
        self.fingerprint = self.wait_for(&announced).await?;
        Ok(())
    }

    async fn wait_for(&mut self, announced: &mpsc::Receiver<String>) -> anyhow::Result<String> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Ok(fingerprint) = announced.try_recv() {
                return Ok(fingerprint);
            }
            self.check_alive()?;
            if Instant::now() > deadline {
                bail!("the server was not ready after {START_TIMEOUT:?}:\n{}", self.last_words());
            }
            tokio::time::sleep(START_POLL).await;
        }
    }

    fn kill(&mut self) -> anyhow::Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        // Its figures are gone with it.
        let figures = process_figures(child.id());
        child.kill()?;
        child.wait()?;
        let figures = if self.launch.may_end { figures.unwrap_or(self.seen) } else { figures? };
        self.past = self.past.followed_by(figures);
        self.seen = Figures::default();
        Ok(())
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("server.log")
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LAST_WORDS_LINES)..].join("\n")
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // An error says that it is gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A process inherits the CPUs of the thread that starts it, so a thread of its own does.
fn spawn_on(command: &mut Command, cpus: &[usize]) -> anyhow::Result<Child> {
    if cpus.is_empty() {
        return Ok(command.spawn()?);
    }
    let spawned = thread::scope(|scope| {
        let spawning = scope.spawn(|| {
            cpu::pin_this_thread(cpus)?;
            Ok(command.spawn()?)
        });
        spawning.join()
    });
    spawned.unwrap_or_else(|_| bail!("the thread that starts the server failed"))
}

/// Copies the server's standard output to its log, and says so when the fingerprint appears in it.
fn copy_until_announced(stdout: impl BufRead, mut log: impl Write, ready: &mpsc::Sender<String>) {
    for line in stdout.lines().map_while(Result::ok) {
        // A log that cannot be written is no reason to stop reading.
        let _ = writeln!(log, "{line}");
        if let Some(fingerprint) = fingerprint_in(&line) {
            // Nobody listens after the first one.
            let _ = ready.send(fingerprint);
        }
    }
}

/// A SHA-256 in hexadecimal digits among the words of a line.
fn fingerprint_in(line: &str) -> Option<String> {
    line.split(|c: char| !c.is_ascii_hexdigit() && c != ':')
        .map(|word| word.replace(':', ""))
        .find(|word| word.len() == 64)
}

/// A port that is free, for UDP and TCP, and stays so: below the ports that the system hands out by itself, or a client's socket might
/// take it while the server is down.
fn free_address(ip: IpAddr) -> anyhow::Result<SocketAddr> {
    for _ in 0..PORT_ATTEMPTS {
        let address = SocketAddr::from((ip, rand::random_range(PORTS)));
        if UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("{ip} has no free port among {PORTS:?}");
}

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// For how long a server that may end is started again and again.
const LAUNCH_PATIENCE: Duration = Duration::from_secs(120);
const LAUNCH_PAUSE: Duration = Duration::from_millis(300);
const START_POLL: Duration = Duration::from_millis(5);
const LAST_WORDS_LINES: usize = 20;
/// Linux hands out ports from 32768 on.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
const PORT_ATTEMPTS: usize = 100;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    #[test]
    fn a_fingerprint_is_found_with_and_without_colons() {
        let plain = "0123456789abcdef".repeat(4);
        assert_eq!(fingerprint_in(&format!("  fingerprint  {plain}")), Some(plain.clone()));
        let colons: Vec<_> = plain.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair)).collect();
        assert_eq!(fingerprint_in(&format!("sha256 {}.", colons.join(":"))), Some(plain));
        assert_eq!(fingerprint_in("listening on 127.0.0.1:4433"), None);
    }
}
