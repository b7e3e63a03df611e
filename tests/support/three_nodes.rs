//! A cluster of three CQL nodes of one's own, whose nodes may be killed.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, missing_docs)]

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{env, fs, path::PathBuf, process::Command};

/// Taken down when the value is dropped.
pub struct ThreeNodes {
    directory: PathBuf,
}

impl ThreeNodes {
    /// What a node has answered, it still knows after a SIGKILL. `None` unless GODWIT_TEST_NODES is 3, for they take 2.3 GB of memory
    /// and half a minute to start.
    pub fn start() -> Option<Self> {
        if env::var("GODWIT_TEST_NODES").ok().as_deref() != Some("3") {
            println!("left out: set GODWIT_TEST_NODES=3 to start three CQL nodes of 0.75 GB each");
            return None;
        }
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("three-nodes");
        let cluster = Self { directory };
        cluster.bring_up();
        Some(cluster)
    }

    /// Starts those again that were killed, with their data, and waits until they answer.
    pub fn bring_up(&self) {
        assert!(self.services(&["up", "--nodes", "3", "--durable"]), "no cluster");
    }

    /// As an operator writes them into `store`.
    pub fn addresses(&self) -> String {
        let nodes = self.nodes();
        nodes.iter().map(|node| node["address"].as_str().unwrap()).collect::<Vec<_>>().join(",")
    }

    /// Kills one with SIGKILL.
    pub fn kill(&self, node: usize) {
        let runs = &self.nodes()[node]["runs"];
        if let Some(pid) = runs["process"]["process"]["pid"].as_i64() {
            kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
        } else {
            let (engine, id) =
                (runs["container"]["engine"].as_str().unwrap(), runs["container"]["id"].as_str().unwrap());
            assert!(Command::new(engine).args(["kill", id]).status().unwrap().success());
        }
    }

    fn nodes(&self) -> Vec<Value> {
        let state = fs::read_to_string(self.directory.join("services.json")).unwrap();
        let state: Value = serde_json::from_str(&state).unwrap();
        state["services"].as_array().unwrap().iter().filter(|service| service["kind"] == "cql").cloned().collect()
    }

    fn services(&self, arguments: &[&str]) -> bool {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.current_dir(env!("CARGO_MANIFEST_DIR")).args(["xtask", "services", "--directory"]).arg(&self.directory);
        command.args(arguments).status().unwrap().success()
    }
}

impl Drop for ThreeNodes {
    fn drop(&mut self) {
        self.services(&["down"]);
    }
}
