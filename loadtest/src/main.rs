//! `godwit-loadtest`: puts load on a Godwit server and checks what comes out of it.

#[allow(dead_code, reason = "no scenario runs against a bare relay yet")]
mod baseline_frame;
#[allow(dead_code, unused_imports, reason = "no scenario passes its traffic through a link yet")]
mod link;
mod replay;
mod server_binary;
mod server_process;
#[allow(dead_code, unused_imports, reason = "no scenario runs against it yet")]
mod tcp;

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
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();

    let Command::Replay(options) = Arguments::parse().command;
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
