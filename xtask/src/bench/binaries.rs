//! The benchmark binaries of one tree: building them, and running one.

use crate::workspace;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    process::Stdio,
};
use tokio::process::Command;

/// Built, by the names of their files in bench/benches.
pub struct Binaries {
    /// Where they run.
    package: PathBuf,
    executables: BTreeMap<String, PathBuf>,
}

/// Which benchmarks are run, and how. What is not said is as criterion has it.
#[derive(Debug, Default)]
pub struct How<'a> {
    /// A regular expression that finds their names.
    pub filter: Option<&'a str>,
    pub seconds: Option<f64>,
    pub warm_up_seconds: Option<f64>,
    /// What criterion draws to say how sure it is.
    pub resamples: Option<u32>,
    pub shown: Shown,
}

/// Where a person sees what criterion says meanwhile.
#[derive(Debug, Clone, Copy, Default)]
pub enum Shown {
    /// On the standard output.
    #[default]
    Output,
    /// On the error output, for the standard output is taken.
    Errors,
    /// Nowhere, unless it fails.
    Nowhere,
}

impl Binaries {
    /// Builds the benchmarks of the tree at `root` into `target`: `only` these, or all.
    pub async fn build(root: &Path, target: &Path, only: &[String]) -> Result<Self> {
        // A tree need not have all of them: whoever compares may be writing a new one.
        let there: Vec<_> = only.iter().filter(|name| exists(root, name)).collect();
        let mut binaries = Self { package: root.join("bench"), executables: BTreeMap::new() };
        if there.is_empty() && !only.is_empty() {
            return Ok(binaries);
        }
        let mut build = workspace::cargo(&["bench", "--locked", "--no-run", "-p", "godwit-bench"]);
        match there.as_slice() {
            [] => build.arg("--benches"),
            names => names.iter().fold(&mut build, |build, name| build.args(["--bench", name.as_str()])),
        };
        build.arg("--message-format=json-render-diagnostics");
        // Its target directory is its own even where another one is set for everything.
        build.current_dir(root).env("CARGO_TARGET_DIR", target).stdout(Stdio::piped());
        let building = Command::from(build).kill_on_drop(true).spawn().context("starting cargo")?;
        let output = building.wait_with_output().await?;
        ensure!(output.status.success(), "the benchmarks do not build: {}", output.status);
        binaries.executables = executables(&String::from_utf8_lossy(&output.stdout));
        Ok(binaries)
    }

    /// In order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.executables.keys().map(String::as_str)
    }

    /// Runs one, if there is such a one, and lets it write what it measures below `results`.
    pub async fn run(&self, name: &str, how: &How<'_>, results: &Path) -> Result<()> {
        let Some(executable) = self.executables.get(name) else { return Ok(()) };
        let mut command = Command::new(executable);
        command.current_dir(&self.package).env("CRITERION_HOME", results).stdin(Stdio::null());
        command.args(["--bench", "--noplot"]).args(how.options());
        match how.shown {
            Shown::Output => command.stdout(Stdio::inherit()).stderr(Stdio::inherit()),
            Shown::Errors => command.stdout(io::stderr()).stderr(Stdio::inherit()),
            Shown::Nowhere => command.stdout(Stdio::null()).stderr(Stdio::piped()),
        };
        let running = command.kill_on_drop(true).spawn();
        let running = running.with_context(|| format!("starting {}", executable.display()))?;
        let output = running.wait_with_output().await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the benchmark {name} failed: {}\n{}", output.status, said.trim());
        Ok(())
    }

    /// What one prints on its standard output when it is asked for something else than what criterion measures.
    pub async fn printed(&self, name: &str, arguments: &[&str]) -> Result<String> {
        let executable = self.executables.get(name).with_context(|| format!("there is no benchmark `{name}`"))?;
        let mut command = Command::new(executable);
        command.current_dir(&self.package).args(arguments).stdin(Stdio::null());
        let running = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true).spawn();
        let running = running.with_context(|| format!("starting {}", executable.display()))?;
        let output = running.wait_with_output().await?;
        ensure!(output.status.success(), "the benchmark {name} failed: {}", output.status);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl How<'_> {
    fn options(&self) -> Vec<String> {
        let numbers = [
            ("--measurement-time", self.seconds.map(|seconds| seconds.to_string())),
            ("--warm-up-time", self.warm_up_seconds.map(|seconds| seconds.to_string())),
            ("--nresamples", self.resamples.map(|resamples| resamples.to_string())),
        ];
        let numbers = numbers.into_iter().filter_map(|(option, value)| Some([option.to_owned(), value?])).flatten();
        let filter = self.filter.into_iter().flat_map(|filter| ["--".to_owned(), filter.to_owned()]);
        numbers.chain(filter).collect()
    }
}

/// Whether a tree has this benchmark.
pub fn exists(root: &Path, name: &str) -> bool {
    root.join("bench/benches").join(name).with_extension("rs").exists()
}

/// A line of what cargo says about a build.
#[derive(Deserialize)]
struct Message {
    reason: String,
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

fn executables(messages: &str) -> BTreeMap<String, PathBuf> {
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    let benches = artifacts.filter(|message| message.reason == "compiler-artifact").filter_map(|message| {
        let target = message.target.filter(|target| target.kind.iter().any(|kind| kind == "bench"))?;
        Some((target.name, message.executable?))
    });
    benches.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_may_look_like_an_option() {
        let how = How { filter: Some("--all"), seconds: Some(0.5), ..How::default() };
        assert_eq!(how.options(), ["--measurement-time", "0.5", "--", "--all"]);
    }

    #[test]
    fn of_what_cargo_builds_the_benchmarks_are_found() {
        let messages = r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"godwit"},"executable":null}
{"reason":"compiler-artifact","target":{"kind":["bench"],"name":"fan_out"},"executable":"deps/fan_out-12"}
{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"godwit"},"executable":"godwit"}
no JSON at all
{"reason":"build-finished","success":true}"#;
        assert_eq!(executables(messages), BTreeMap::from([("fan_out".to_owned(), PathBuf::from("deps/fan_out-12"))]));
    }
}
