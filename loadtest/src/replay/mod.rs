//! `replay`: every person of a corpus gets an account and a connection, says what they say in the corpus, and everything
//! that arrives, and everything that the server holds at the end, is compared with the corpus.
//!
//! What will happen is worked out first ([`plan`]), then everybody registers ([`accounts`]), sends ([`send`]) and watches
//! ([`watch`]) while the server is killed now and then; at the end every log is read back ([`verify`]). Comparing is pure
//! ([`log_check`], [`recount`], [`summary_check`]), and its tests show that every kind of fault is found.

mod accounts;
mod chaos;
pub mod corpus;
mod faults;
pub mod generate;
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

use crate::{
    options::setting,
    services::{Backend, Services},
    target::Target,
};
use anyhow::ensure;
use chaos::Chaos;
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
    /// What the started server keeps everything in
    #[arg(long, value_enum, default_value_t, conflicts_with = "server")]
    services: Backend,
    /// Have everything go wrong with the databases that can: they are killed, stalled, flushed, and replies are lost, held
    /// back and cut, at random moments while messages are sent. The server ends by itself now and then, and is started again
    #[arg(long, conflicts_with = "server")]
    chaos: bool,
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
    /// Configuration of the server that is started, as in `limits.message_bytes_max=8192`. Can be repeated
    #[arg(long, value_name = "SECTION.KEY=VALUE", value_parser = setting, conflicts_with = "server")]
    set: Vec<(String, String)>,
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
    // Before the server, which is dropped first: it ends while its databases still run.
    let mut chaos = options.services(seed, &plan).await?;
    let mut target = match (&options.server, &options.fingerprint) {
        (Some(server), Some(fingerprint)) => Target::other(server, fingerprint.clone(), options.pid).await?,
        _ => target::start(options.own_server(chaos.as_ref()), &plan).await?,
    };

    let outcome = run::replay(&options, seed, corpus, plan, &mut target, chaos.as_mut()).await;
    let clean = outcome.as_ref().is_ok_and(|(report, _)| report.is_clean());
    if !clean {
        target.keep_evidence();
        if let Some(chaos) = &mut chaos {
            eprintln!("The databases' data and logs are kept in {}", chaos.services.keep_directory().display());
        }
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
    /// The databases, and what will happen to them: nothing, unless chaos is wanted.
    async fn services(&self, seed: u64, plan: &Plan) -> anyhow::Result<Option<Chaos>> {
        if self.services == Backend::Embedded {
            ensure!(!self.chaos, "--chaos has nothing to strike in an embedded store; add --services scylla");
            return Ok(None);
        }
        eprintln!("Starting a CQL server and Redis");
        let services = Services::start(seed).await?;
        let strikes = if self.chaos { chaos::strikes(plan.places.len(), &plan.kills, seed) } else { Vec::new() };
        Ok(Some(Chaos { services, strikes }))
    }

    fn own_server(&self, chaos: Option<&Chaos>) -> OwnServer {
        let mut environment = chaos.map_or_else(Vec::new, |chaos| chaos.services.environment());
        if self.chaos {
            // Whoever takes over waits for the lease of the server that was killed.
            environment.extend(IMPATIENT.map(|(key, value)| (key.to_owned(), value.to_owned())));
        }
        environment.extend(self.set.iter().cloned());
        OwnServer { binary: self.server_binary.clone(), cores: self.cores, environment, may_end: self.chaos }
    }

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

/// A lease that another server need not wait long for, and requests that are written again soon.
const IMPATIENT: [(&str, &str); 2] =
    [("GODWIT_SCYLLA__LEASE_MS", "4000"), ("GODWIT_SCYLLA__REQUEST_TIMEOUT_MS", "600")];
