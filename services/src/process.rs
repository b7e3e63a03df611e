//! Processes that outlive the command that starts them.

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How long one may take to be gone after it was killed.
const KILL_TIMEOUT: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_millis(50);

/// How a process is started, every time the same.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Launch {
    /// A name that is looked for in `PATH`, or a path.
    pub program: PathBuf,
    /// All of them.
    pub arguments: Vec<String>,
    /// Where it works and keeps its data.
    pub directory: PathBuf,
}

impl Launch {
    /// Starts it in a process group of its own, so that a Ctrl-C that is meant for somebody else does not reach it. What it says
    /// goes to the end of `log`.
    pub fn start(&self, log: &Path) -> Result<Process> {
        fs::create_dir_all(&self.directory)?;
        let log = File::options().create(true).append(true).open(log)?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).current_dir(&self.directory).process_group(0);
        command.stdin(Stdio::null()).stderr(log.try_clone()?).stdout(log);
        let child = command.spawn().with_context(|| format!("starting {}", self.program.display()))?;
        let pid = child.id();
        // A child is there until it has been waited for, which nobody has.
        let started_ticks = stat(pid).map(|stat| stat.started_ticks).context("a process that is gone at once")?;
        // Whoever waits for it, it is gone as soon as it ends, and its id is free.
        thread::spawn(move || {
            let mut child = child;
            let _ = child.wait();
        });
        Ok(Process { pid, started_ticks })
    }
}

/// A process, told apart from a later one with the same id by when it was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Since the system was started, in the kernel's ticks.
    started_ticks: u64,
}

impl Process {
    /// Whether it is there. One that has ended and was not waited for is not.
    pub fn runs(&self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.started_ticks == self.started_ticks && !matches!(stat.state, 'Z' | 'X'))
    }

    /// Kills it and waits until it is gone; nothing happens when it already is. For what has nothing to bring to an end.
    pub fn kill(&self) -> Result<()> {
        if self.runs() {
            let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw).context("a process id of 0")?;
            // One that has ended meanwhile is as good.
            let _ = kill_process(pid, Signal::KILL);
        }
        let deadline = Instant::now() + KILL_TIMEOUT;
        while self.runs() {
            ensure!(Instant::now() < deadline, "process {} does not end, not even by SIGKILL", self.pid);
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// What of it is in memory.
    pub fn resident_bytes(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
    }
}

struct Stat {
    state: char,
    started_ticks: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(stat: &str) -> Option<Stat> {
    // The name of the program, in parentheses, may hold anything, also spaces and parentheses.
    let after_name = stat.rsplit_once(')')?.1;
    let mut fields = after_name.split_whitespace();
    let state = fields.next()?.chars().next()?;
    // The state is field 3 in proc(5), the start time field 22.
    Some(Stat { state, started_ticks: fields.nth(18)?.parse().ok()? })
}

/// Runs a command that must succeed within `timeout`; it is killed when it takes longer.
pub fn run(command: &mut Command, timeout: Duration) -> Result<()> {
    let line = format!("{command:?}").replace('"', "");
    let mut child = command.stdin(Stdio::null()).spawn().with_context(|| format!("starting {line}"))?;
    let deadline = Instant::now() + timeout;
    loop {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => bail!("`{line}` failed: {status}"),
            None if Instant::now() >= deadline => {
                let _ = child.kill();
                let _ = child.wait();
                bail!("`{line}` took longer than {} s", timeout.as_secs());
            }
            None => thread::sleep(POLL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(directory: &Path) -> Process {
        let launch = Launch { program: "sleep".into(), arguments: vec!["600".into()], directory: directory.to_owned() };
        launch.start(&directory.join("log")).unwrap()
    }

    #[test]
    fn a_process_that_was_killed_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let process = sleeper(directory.path());
        assert!(process.runs() && process.resident_bytes().is_some());
        process.kill().unwrap();
        assert!(!process.runs());
        process.kill().unwrap();
    }

    #[test]
    fn a_process_that_has_the_id_of_another_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let process = sleeper(directory.path());
        let earlier = Process { started_ticks: process.started_ticks - 1, ..process };
        assert!(!earlier.runs());
        earlier.kill().unwrap();
        assert!(process.runs());
        process.kill().unwrap();
    }

    #[test]
    fn a_name_with_parentheses_does_not_confuse() {
        let stat = parse_stat("7 (a) Z (b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20").unwrap();
        assert_eq!((stat.state, stat.started_ticks), ('S', 4711));
    }

    #[test]
    fn a_command_that_takes_too_long_is_killed() {
        let error = run(Command::new("sleep").arg("600"), Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains("sleep 600"), "{error}");
    }
}
