//! `cargo xtask …`: everything a developer runs that is not plain cargo.

mod bench;
mod generate;
mod test;
mod workspace;

use clap::{Parser, Subcommand};
use std::{path::PathBuf, process::ExitCode};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Everything a developer runs that is not plain cargo")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run every check: format, lints, documentation, generated code, dependencies, tests, and a replay of messages against
    /// a server that is killed meanwhile. Stops at the first that fails.
    Test {
        /// Leave out the replay, and with it the release build.
        #[arg(long)]
        quick: bool,
        /// The messages to replay, one JSON object a line. By default ../shared/data/sms/en.jsonl if it is there, else
        /// messages that the load test makes up.
        #[arg(long)]
        corpus: Option<PathBuf>,
        /// How many messages to replay.
        #[arg(long, default_value_t = 5000)]
        limit: usize,
        /// Leave out the tests that need a CQL server and a Redis, and say at the end which they were.
        #[arg(long)]
        without_services: bool,
    },
    /// A real CQL server and a real Redis on loopback, for tests.
    Services {
        #[command(subcommand)]
        action: godwit_services::Action,
        /// Where they keep everything, and what tells them from others that run besides. By default target/services.
        #[arg(long, global = true)]
        directory: Option<PathBuf>,
    },
    /// Run the benchmarks, or compare the working tree with another revision.
    Bench(bench::Options),
    /// Generate the Rust code of proto/godwit/v1/*.proto and write it to proto/src/generated.
    Generate {
        /// Write nothing; fail if the committed code is not what would be generated.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Test { quick, corpus, limit, without_services } => test::run(quick, corpus, limit, without_services),
        Command::Services { action, directory } => godwit_services::run(&action, directory),
        Command::Bench(options) => bench::run(&options),
        Command::Generate { check } => generate::run(check),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}
