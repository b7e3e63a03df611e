//! `cargo xtask test`: every check, in the order in which they are cheap to fail.

use crate::{
    generate,
    workspace::{self, cargo},
};
use anyhow::{Context, Result, bail};
use godwit_services::{self as services, ForTests};
use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Real messages, where this repository is checked out beside them.
const CORPUS: &str = "../shared/data/sms/en.jsonl";

/// How often the replay kills the server.
const KILLS: &str = "2";

/// Memory that must be available for a cluster of three CQL nodes and a server.
const THREE_NODES_MIB: u64 = 4096;

/// Runs them all; `limit` messages of `corpus` are replayed, unless `quick`. Tests that need a CQL server or a Redis get them, or are
/// left out when they shall do without.
pub fn run(quick: bool, corpus: Option<PathBuf>, limit: usize, without_services: bool) -> Result<()> {
    let root = workspace::root();
    let mut checks = Checks { root, started: Instant::now(), passed: 0, skipped: 0 };

    checks.cargo("format", &["fmt", "--all", "--check"])?;
    checks.cargo("lints", &["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    checks.command(
        "documentation",
        cargo(&["doc", "--locked", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-Dwarnings"),
    )?;
    checks.check("generated code", "cargo xtask generate --check", || generate::run(true))?;
    if has_cargo_deny() {
        // Advisories change without this repository changing, and need the network: `cargo deny check advisories`.
        checks.cargo("dependencies", &["deny", "--locked", "check", "bans", "licenses", "sources"])?;
    } else {
        checks.skip("dependencies", "cargo-deny is not installed; `cargo install cargo-deny --locked` installs it");
    }
    let left_out = workspace::target_dir().join("left-out");
    let (services, variables) = if without_services {
        checks.skip("services", "--without-services");
        let _ = fs::remove_file(&left_out);
        let path = left_out.to_string_lossy().into_owned();
        (None, vec![(services::WITHOUT, "1".to_owned()), (services::LEFT_OUT, path)])
    } else {
        let mut services = None;
        checks.check("services", "cargo xtask services up", || {
            let advice = "`cargo xtask test --without-services` leaves out what needs them";
            services = Some(ForTests::begin().context(advice)?);
            Ok(())
        })?;
        let variables = services.iter().flat_map(ForTests::variables).collect();
        (services, variables)
    };
    checks.command("tests", cargo(&["test", "--locked", "--workspace"]).envs(variables.clone()))?;
    let benchmarks = ["test", "--locked", "-p", "godwit-bench", "--benches"];
    checks.command("benchmarks, once each", cargo(&benchmarks).envs(variables))?;
    drop(services);

    let three_nodes = "a killed node of three";
    if quick || without_services {
        checks.skip(three_nodes, if quick { "--quick" } else { "--without-services" });
    } else if available_mib().is_some_and(|available| available < THREE_NODES_MIB) {
        checks.skip(three_nodes, "it takes more memory than is available");
    } else {
        let mut test = cargo(&["test", "--locked", "--test", "three_nodes", "--", "--nocapture"]);
        checks.command(three_nodes, test.env("GODWIT_TEST_NODES", "3"))?;
    }

    if quick {
        checks.skip("replay under SIGKILL", "--quick");
    } else {
        // One build for both binaries: the load test starts the server that lies beside it.
        checks.cargo("release build", &["build", "--locked", "--release", "-p", "godwit", "-p", "godwit-loadtest"])?;
        checks.command("replay under SIGKILL", &mut replay(root, corpus, limit))?;
    }
    checks.finish();
    if without_services {
        say_what_was_left_out(&left_out);
    }
    Ok(())
}

struct Checks<'a> {
    root: &'a Path,
    started: Instant,
    passed: usize,
    skipped: usize,
}

impl Checks<'_> {
    fn cargo(&mut self, name: &str, arguments: &[&str]) -> Result<()> {
        self.command(name, &mut cargo(arguments))
    }

    fn command(&mut self, name: &str, command: &mut Command) -> Result<()> {
        command.current_dir(self.root);
        let line = in_a_line(command);
        self.check(name, &line, || {
            let status = command.status().with_context(|| format!("starting `{line}`"))?;
            if !status.success() {
                bail!("`{line}` failed: {status}");
            }
            Ok(())
        })
    }

    fn check(&mut self, name: &str, line: &str, run: impl FnOnce() -> Result<()>) -> Result<()> {
        eprintln!("\n── {name}: {line}");
        let started = Instant::now();
        run().with_context(|| format!("the check \"{name}\" failed after {}", seconds(started.elapsed())))?;
        eprintln!("── {name}: passed in {}", seconds(started.elapsed()));
        self.passed += 1;
        Ok(())
    }

    fn skip(&mut self, name: &str, why: &str) {
        eprintln!("\n── {name}: skipped: {why}");
        self.skipped += 1;
    }

    fn finish(&self) {
        let Self { passed, skipped, .. } = self;
        eprintln!("\n── all checks passed: {passed} run, {skipped} skipped, in {}", seconds(self.started.elapsed()));
    }
}

/// `None` where the system does not say.
fn available_mib() -> Option<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo").ok()?;
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? / 1024)
}

fn has_cargo_deny() -> bool {
    let mut asked = cargo(&["deny", "--version"]);
    asked.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn replay(root: &Path, corpus: Option<PathBuf>, limit: usize) -> Command {
    let mut command = Command::new(workspace::target_dir().join("release/godwit-loadtest"));
    command.args(["replay", "--limit", &limit.to_string(), "--kill", KILLS]);
    if let Some(corpus) = corpus.or_else(|| Some(root.join(CORPUS)).filter(|default| default.exists())) {
        command.arg("--corpus").arg(corpus);
    }
    command
}

/// The tests themselves write down, a line each, that they were asked to do without services.
fn say_what_was_left_out(file: &Path) {
    let tests = fs::read_to_string(file).unwrap_or_default();
    let tests: BTreeSet<&str> = tests.lines().collect();
    eprintln!("── without a CQL server and a Redis, {} tests were left out:", tests.len());
    for test in tests {
        eprintln!("   {test}");
    }
}

fn in_a_line(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words: Vec<OsString> = std::iter::once(program).chain(command.get_args()).map(OsString::from).collect();
    let variables = command.get_envs().filter_map(|(name, value)| {
        value.map(|value| format!("{}={} ", name.to_string_lossy(), value.to_string_lossy()))
    });
    variables.collect::<String>() + &words.join(" ".as_ref()).to_string_lossy()
}

fn seconds(duration: Duration) -> String {
    match duration.as_secs() {
        0..60 => format!("{:.1} s", duration.as_secs_f32()),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}
