//! `godwit-loadtest`: puts load on a Godwit server and checks what comes out of it.

mod baseline;
mod cpu;
mod peer;
mod replay;
mod report;
mod scenario;
mod server_binary;
mod server_process;
mod subject;
mod wire;
mod worker;

use anyhow::bail;
use clap::{Parser, Subcommand};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

#[derive(Parser)]
#[command(name = "godwit-loadtest", version, about = "Puts load on a Godwit server and checks what comes out of it")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Replays a corpus of messages as real users would send them, and compares everything that the server then holds
    /// with the corpus
    Replay(Box<replay::Options>),
    /// Serves as the bare relay that a server is compared with
    #[command(hide = true)]
    Relay(baseline::Options),
    #[command(hide = true)]
    Pairs {
        #[arg(long, default_value_t = 200)]
        connections: u32,
        #[arg(long, default_value_t = 8)]
        in_flight: usize,
        #[arg(long, default_value_t = 5)]
        seconds: usize,
        #[arg(long)]
        baseline_only: bool,
        #[arg(long)]
        hot: Option<u32>,
        #[arg(long)]
        server_binary: Option<std::path::PathBuf>,
        #[arg(long, default_value_t = 1)]
        runs: usize,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(clap::Args)]
struct Output {
    #[arg(long)]
    json: Option<std::path::PathBuf>,
    #[arg(long)]
    report: Option<std::path::PathBuf>,
}

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();

    let command = Arguments::parse().command;
    // It has a runtime of its own.
    if let Command::Relay(options) = command {
        return done(baseline::run(&options));
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return done(Err(error.into())),
    };
    runtime.block_on(run(command))
}

async fn run(command: Command) -> ExitCode {
    let options = match command {
        Command::Relay(_) => unreachable!("it runs without this runtime"),
        Command::Pairs { connections, in_flight, seconds, baseline_only, hot, server_binary, runs, output } => {
            return done(
                pairs(connections, in_flight, seconds, baseline_only, hot, server_binary, runs, &output).await,
            );
        }
        Command::Replay(options) => options,
    };
    // Dropping the run drops the server that it started, and that kills it.
    let outcome = tokio::select! {
        outcome = replay::run(*options) => outcome,
        error = interrupted() => Err(error),
    };
    match outcome {
        Ok(replay::Verdict::Identical) => ExitCode::SUCCESS,
        Ok(replay::Verdict::Different) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn interrupted() -> anyhow::Error {
    let wait = async {
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            interrupt = tokio::signal::ctrl_c() => interrupt?,
            _ = terminate.recv() => {}
        }
        bail!("interrupted");
    };
    let outcome: anyhow::Result<()> = wait.await;
    outcome.err().unwrap_or_else(|| anyhow::anyhow!("interrupted"))
}

fn done(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::too_many_arguments)]
async fn pairs(
    connections: u32,
    in_flight: usize,
    seconds: usize,
    baseline_only: bool,
    hot: Option<u32>,
    binary: Option<std::path::PathBuf>,
    runs: usize,
    output: &Output,
) -> anyhow::Result<()> {
    let (server, clients) = subject::split_cpus(&cpu::available()?, 1)?;
    let layout = match hot {
        Some(n) => scenario::Layout::hot_group(n, 1),
        None => scenario::Layout::pairs(connections),
    };
    let load = scenario::ChatLoad {
        name: "pairs",
        layout,
        pace: scenario::LoadPace::Closed { in_flight },
        timing: scenario::Timing { warm_up_s: 2, steady_s: seconds, patience: std::time::Duration::from_secs(5) },
        body_bytes: 128,
        sockets: 16,
        threads: 1,
        client_cpus: clients,
    };
    let recipe = subject::Recipe { binary, cores: Some(1), environment: Vec::new(), cpus: server, body_bytes: 128 };
    let (started, mut outcomes) = (std::time::SystemTime::now(), Vec::new());
    for kind in [subject::Kind::Godwit, subject::Kind::Baseline].repeat(runs) {
        if baseline_only && kind == subject::Kind::Godwit {
            continue;
        }
        let mut subject = subject::Subject::start(kind, &recipe).await?;
        outcomes.push(scenario::run_chat(&mut subject, &load).await?);
    }
    let report = report::RunReport::new(started, "pairs", outcomes);
    report.print();
    if let Some(path) = &output.json {
        report.write_json(path)?;
    }
    if let Some(path) = &output.report {
        report.write_html(path)?;
    }
    anyhow::ensure!(report.is_clean(), "the runs were not clean");
    Ok(())
}
