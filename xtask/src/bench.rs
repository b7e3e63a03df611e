//! `cargo xtask bench`: runs the benchmarks; with `--compare REV`, those of the working tree and of a revision in turn, for
//! on a machine that has other things to do, two runs an hour apart say nothing about what changed.

mod binaries;
mod comparison;
mod estimates;
mod report;
mod wheel;
mod worktree;

use crate::workspace;
use anyhow::{Context, Result, bail, ensure};
use binaries::{Binaries, How, Shown};
use comparison::Comparison;
use estimates::{Estimate, Name};
use report::{Report, Run};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};
use tokio::signal::unix::{SignalKind, signal};
use wheel::Ratios;
use worktree::Worktree;

/// How long a benchmark is measured in each round of a comparison, unless told otherwise.
const COMPARE_SECONDS: f64 = 1.0;
/// How long it runs before that.
const COMPARE_WARM_UP_SECONDS: f64 = 0.3;
/// For intervals that nobody reads in a comparison: criterion's 100,000 take longer than the measurement.
const COMPARE_RESAMPLES: u32 = 1_000;

/// How often the wheel and what it is compared with are measured.
const WHEEL_ROUNDS: &str = "7";

/// What to run.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Options {
    #[command(subcommand)]
    only: Option<Only>,
    /// Run the benchmarks whose names this regular expression finds. Everything is built all the same.
    #[arg(long, value_name = "REGEX")]
    filter: Option<String>,
    /// Build and run only this file of bench/benches, without its ending. May be given several times.
    #[arg(long = "bench", value_name = "NAME")]
    benches: Vec<String>,
    /// Compare the working tree, as it is, with this revision: both are built, and their benchmarks run in turn. The
    /// revision has a target directory of its own, so the first time takes as long as a build from nothing.
    #[arg(long, value_name = "REV")]
    compare: Option<String>,
    /// How often each side of a comparison is measured. Of benchmarks that did not change, three rounds call about one in
    /// twenty faster or slower; five call one in five hundred so.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(3..), requires = "compare")]
    rounds: u32,
    /// How long each benchmark is measured, each time: 1 s in a comparison, else 5 s.
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<f64>,
    /// Write the results as JSON to this file; without a file, to the standard output in place of the table.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    json: Option<PathBuf>,
}

/// What is compared with something outside this repository.
#[derive(clap::Subcommand)]
enum Only {
    /// The timing wheel with tokio-util's `DelayQueue`, in turn, at a million entries. Takes a minute.
    Wheel {
        /// Write the results as JSON to this file; without a file, to the standard output in place of the table.
        #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
        json: Option<PathBuf>,
    },
}

/// Runs or compares.
pub fn run(options: &Options) -> Result<()> {
    ensure!(options.seconds.is_none_or(|seconds| seconds > 0.0), "--seconds is above 0");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let interrupted = interrupted()?;
        let work = async {
            match (&options.only, &options.compare) {
                (Some(Only::Wheel { json }), _) => wheel(json.as_deref()).await,
                (None, Some(revision)) => compare(options, revision).await,
                (None, None) => run_once(options).await,
            }
        };
        // Whoever interrupts lets go of the work, and with it of the processes that it runs and of the worktree.
        tokio::select! {
            done = work => done,
            () = interrupted => bail!("interrupted"),
        }
    })
}

/// Ends when somebody wants this process to end.
fn interrupted() -> Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}

async fn run_once(options: &Options) -> Result<()> {
    options.check_benches(&[workspace::root()])?;
    let here = Scratch::new()?;
    let binaries = Binaries::build(workspace::root(), &workspace::target_dir(), &options.benches).await?;
    let shown = if goes_to_stdout(options.json.as_deref()) { Shown::Errors } else { Shown::Output };
    let how = How { filter: options.filter.as_deref(), seconds: options.seconds, shown, ..How::default() };
    let results = here.results("run");
    for name in binaries.names() {
        binaries.run(name, &how, &results).await?;
    }
    let estimates = estimates::read(&results)?;
    ensure!(!estimates.is_empty(), "no benchmark has a name that --filter finds");
    report(options.json.as_deref(), &Run(estimates))
}

async fn wheel(json: Option<&Path>) -> Result<()> {
    let _here = Scratch::new()?;
    let binaries = Binaries::build(workspace::root(), &workspace::target_dir(), &[wheel::BENCH.to_owned()]).await?;
    let printed = binaries.printed(wheel::BENCH, &["--ratios", WHEEL_ROUNDS]).await?;
    report(json, &Ratios::read(&printed)?)
}

async fn compare(options: &Options, revision: &str) -> Result<()> {
    let here = Scratch::new()?;
    let commit = worktree::commit_of(workspace::root(), revision)?;
    eprintln!("── before: {revision} ({})", commit.get(..12).unwrap_or(&commit));
    let worktree = Worktree::add(workspace::root(), &here.dir.join("tree"), &commit)?;
    options.check_benches(&[worktree.path(), workspace::root()])?;
    let before = Binaries::build(worktree.path(), &here.dir.join("target"), &options.benches)
        .await
        .with_context(|| format!("building the benchmarks of {revision}"))?;
    eprintln!("── after: the working tree");
    let after = Binaries::build(workspace::root(), &workspace::target_dir(), &options.benches).await?;

    let how = How {
        filter: options.filter.as_deref(),
        seconds: Some(options.seconds.unwrap_or(COMPARE_SECONDS)),
        warm_up_seconds: Some(COMPARE_WARM_UP_SECONDS),
        resamples: Some(COMPARE_RESAMPLES),
        shown: Shown::Nowhere,
    };
    let sides = [("before", &before), ("after", &after)];
    let names: BTreeSet<&str> = before.names().chain(after.names()).collect();
    for name in names {
        for round in 1..=options.rounds {
            eprintln!("── {name}: round {round} of {}", options.rounds);
            for (side, binaries) in sides {
                let results = here.results(&format!("{side}/{round}"));
                binaries.run(name, &how, &results).await?;
            }
        }
    }
    let rounds = |side: &str| -> Result<Vec<BTreeMap<Name, Estimate>>> {
        (1..=options.rounds).map(|round| estimates::read(&here.results(&format!("{side}/{round}")))).collect()
    };
    let comparison = Comparison::new(revision, &commit, &rounds("before")?, &rounds("after")?);
    ensure!(!comparison.benchmarks.is_empty(), "no benchmark has a name that --filter finds");
    report(options.json.as_deref(), &comparison)
}

/// To the standard output, or as JSON there or to a file, too.
fn report(json: Option<&Path>, results: &(impl Report + Serialize)) -> Result<()> {
    let text = serde_json::to_string_pretty(results)? + "\n";
    if goes_to_stdout(json) {
        print!("{text}");
        return Ok(());
    }
    println!("\n{}\n{}", results.table(), results.summary());
    if let Some(path) = json {
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

fn goes_to_stdout(json: Option<&Path>) -> bool {
    json == Some(Path::new("-"))
}

impl Options {
    fn check_benches(&self, trees: &[&Path]) -> Result<()> {
        let missing = self.benches.iter().find(|name| !trees.iter().any(|tree| binaries::exists(tree, name)));
        missing.map_or(Ok(()), |name| bail!("there is no benchmark `{name}` in bench/benches"))
    }
}

/// The directory for everything that a run leaves behind until the next one, held by one run at a time.
struct Scratch {
    dir: PathBuf,
    _lock: fs::File,
}

impl Scratch {
    fn new() -> Result<Self> {
        let dir = workspace::target_dir().join("xtask-bench");
        fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
        let lock = fs::File::create(dir.join("lock"))?;
        lock.try_lock().context("another `cargo xtask bench` is running here")?;
        let scratch = Self { dir, _lock: lock };
        match fs::remove_dir_all(scratch.results("")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(scratch),
        }
    }

    /// What criterion writes, by who ran.
    fn results(&self, of: &str) -> PathBuf {
        self.dir.join("results").join(of)
    }
}
