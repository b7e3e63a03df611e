//! A real server process, which may be killed.
#![allow(dead_code)]

use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::File,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Long enough for a busy machine; nothing is measured against it.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Process {
    child: Child,
    said: Receiver<String>,
    directory: TempDir,
}

impl Process {
    /// Starts one on a directory of its own, with keys of the configuration as on the command line.
    pub fn start(keys: &[String]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let errors = File::create(directory.path().join("errors")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_godwit"));
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--cores", "1", "--data-dir"])
            .arg(directory.path().join("data"));
        let cheap = ["metrics.enabled=false", "password.memory_kib=8", "password.iterations=1"].map(str::to_owned);
        cheap.iter().chain(keys).for_each(|key| {
            command.args(["--set", key]);
        });
        let mut child = command.stdout(Stdio::piped()).stderr(errors).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (say, said) = mpsc::channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                // The test may have heard enough.
                let _ = say.send(line);
            }
        });
        Self { child, said, directory }
    }

    /// Waits until it says that it waits for another one.
    pub fn waits(&self) {
        self.says(" waits: ");
    }

    /// Waits until it serves, and returns where.
    pub fn serves(&self) -> SocketAddr {
        let line = self.says("  listening:");
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    fn says(&self, what: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.said.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(what) => return line,
                Ok(_) => {}
                Err(error) => panic!("{error}: it never said {what:?}, but {}", self.errors()),
            }
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until it has ended by itself.
    pub fn ended(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("it does not end: {}", self.errors())
    }

    /// Stops it as an operator would.
    pub fn stop(mut self) {
        self.signal(Signal::TERM);
        let status = self.ended();
        assert!(status.success(), "{status}: {}", self.errors());
    }

    /// What it wrote to standard error.
    pub fn errors(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("errors")).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
