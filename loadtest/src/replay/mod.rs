//! `replay`: every person of a corpus gets an account and a connection, says what they say in the corpus, and everything
//! that arrives, and everything that the server holds at the end, is compared with the corpus.
//!
//! What will happen is worked out first ([`plan`]), then everybody registers ([`accounts`]), sends ([`send`]) and watches
//! ([`watch`]) while the server is killed now and then; at the end every log is read back ([`verify`]). Comparing is pure
//! ([`log_check`], [`recount`], [`summary_check`]), and its tests show that every kind of fault is found.

mod accounts;
mod corpus;
mod faults;
mod generate;
mod latency;
mod live;
mod log_check;
mod plan;
mod progress;
mod recount;
mod report;
mod run;
mod send;
mod summary_check;
mod target;
mod verify;
mod watch;

use crate::target::Target;
use clap::Args;
use corpus::Corpus;
use plan::Plan;
use std::{num::NonZeroUsize, path::PathBuf};
use target::OwnServer;

/// What to replay against what.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Messages to replay: a JSON object a line with from, to (or null), and text. Made up from the seed if not given
    #[arg(long, value_name = "FILE")]
    corpus: Option<PathBuf>,
    /// How many messages to make up
    #[arg(long, value_name = "N", default_value = "5000", conflicts_with = "corpus")]
    messages: NonZeroUsize,
    /// Replay only the first N messages
    #[arg(long, value_name = "N")]
    limit: Option<NonZeroUsize>,
    /// Kill the server N times with SIGKILL, at random moments while messages are sent, and start it again
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "server")]
    kill: usize,
    /// Repeats the random decisions of an earlier run, which printed its seed
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Conversations that send at the same time
    #[arg(long, value_name = "N", default_value = "64")]
    in_flight: NonZeroUsize,
    /// Messages that one sender may have unacknowledged in one conversation
    #[arg(long, value_name = "N", default_value = "1")]
    window: NonZeroUsize,
    /// Clients that share a UDP socket. A socket costs some megabytes in this process
    #[arg(long, value_name = "N", default_value = "64")]
    connections_per_socket: NonZeroUsize,
    /// Write the result to FILE
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// A server that runs already, instead of one that is started on a temporary directory
    #[arg(long, value_name = "HOST:PORT", requires = "fingerprint")]
    server: Option<String>,
    /// The SHA-256 of that server's certificate, as the server prints it
    #[arg(long, value_name = "HEX", requires = "server")]
    fingerprint: Option<String>,
    /// That server's process, to report its CPU time and memory
    #[arg(long, value_name = "PID", requires = "server")]
    pid: Option<u32>,
    /// How many cores the started server uses; its own default if not given
    #[arg(long, value_name = "N", conflicts_with = "server")]
    cores: Option<usize>,
    /// The server to start: the `godwit` beside this program if not given
    #[arg(long, value_name = "PATH", conflicts_with = "server")]
    server_binary: Option<PathBuf>,
}

/// How a replay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Everything is as in the corpus.
    Identical,
    /// Something is not.
    Different,
}

/// Replays, prints the result and writes it where it is wanted.
pub async fn run(options: Options) -> anyhow::Result<Verdict> {
    let seed = options.seed.unwrap_or_else(rand::random);
    let corpus = options.read_corpus(seed)?;
    let plan = Plan::new(&corpus, options.kill, seed);
    eprintln!(
        "Replaying {} messages of {} between {} accounts in {} conversations, seed {seed}",
        corpus.messages.len(),
        corpus.name,
        plan.accounts.len(),
        plan.conversations.len(),
    );
    let mut target = match (&options.server, &options.fingerprint) {
        (Some(server), Some(fingerprint)) => Target::other(server, fingerprint.clone(), options.pid).await?,
        _ => {
            let own = OwnServer { binary: options.server_binary.clone(), cores: options.cores };
            target::start(own, &plan).await?
        }
    };

    let outcome = run::replay(&options, seed, corpus, plan, &mut target).await;
    let clean = outcome.as_ref().is_ok_and(|(report, _)| report.is_clean());
    if !clean {
        target.keep_evidence();
    }
    let (report, faults) = outcome?;
    println!("{}", report.to_table());
    if let Some(path) = &options.json {
        report.write_json(path)?;
    }
    if clean {
        println!("Nothing lost, nothing twice, everything in order.");
        return Ok(Verdict::Identical);
    }
    println!("The result differs from the corpus. The first differences of each kind:\n{}", report::describe(&faults));
    Ok(Verdict::Different)
}

impl Options {
    fn read_corpus(&self, seed: u64) -> anyhow::Result<Corpus> {
        let limit = self.limit.map(NonZeroUsize::get);
        match &self.corpus {
            Some(path) => Corpus::read(path, limit),
            None => {
                let mut corpus = generate::corpus(seed, self.messages.get());
                corpus.messages.truncate(limit.unwrap_or(usize::MAX));
                Ok(corpus)
            }
        }
    }
}
