//! A process of somebody else's program, which can be killed, stalled and started again as it was.

use anyhow::{Context, bail};
use godwit_services::Launch;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// A database that runs, or is down for a while. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    launch: Launch,
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// Starts it. What it prints is added to a log.
    pub fn start(launch: Launch, log: PathBuf) -> anyhow::Result<Self> {
        let mut process = Self { launch, log, child: None };
        process.start_again()?;
        Ok(process)
    }

    /// Starts it as before.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        // One that is still there is killed, not forgotten.
        self.kill();
        let Launch { program, arguments, directory } = &self.launch;
        fs::create_dir_all(directory)?;
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(program);
        command.args(arguments).current_dir(directory).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("starting {}", program.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// Kills it as a power failure would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // An error says that it is gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Has it stand still, connections and all, until it may go on.
    pub fn stall(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Ends a stall.
    pub fn go_on(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    /// Waits until it answers.
    pub async fn wait_until(&mut self, what: &str, mut answers: impl AsyncFnMut() -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        while !answers().await {
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait()?
            {
                bail!("{what} ended with {status}:\n{}", self.last_words());
            }
            if Instant::now() > deadline {
                bail!("{what} does not answer after {START_TIMEOUT:?}:\n{}", self.last_words());
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let Some(child) = &self.child else { return Ok(()) };
        let pid = Pid::from_raw(child.id().cast_signed()).context("its process id")?;
        kill_process(pid, signal).with_context(|| format!("{signal:?} to {}", self.launch.program.display()))
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LAST_WORDS_LINES)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A machine that is busy compiling takes a while over a Java program.
const START_TIMEOUT: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(50);
const LAST_WORDS_LINES: usize = 20;
