//! What can be said on the command line, and what it means.

mod capacity;
mod chat;
mod expiry;
mod figures;
mod machine;
mod mixed;
mod others;
mod schedule;
mod under_loss;

pub use capacity::CapacityOptions;
pub use chat::{GroupsOptions, HotGroupOptions, Order, PairsOptions};
pub use expiry::ExpiryOptions;
pub use figures::FiguresOptions;
pub use machine::{ClientOptions, ServerOptions, setting};
pub use mixed::MixedOptions;
pub use others::{HistoryOptions, IdleOptions, StormOptions};
pub use schedule::ScheduleOptions;
pub use under_loss::UnderLossOptions;

use crate::{
    cpu::{self, Shares},
    report::RunReport,
    rig::Rig,
    scenario::{LoadPace, Timing},
    subject::Kind,
};
use clap::Args;
use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

/// What every scenario takes.
#[derive(Debug, Clone, Args)]
pub struct Common {
    #[command(flatten)]
    pub server: ServerOptions,
    #[command(flatten)]
    pub clients: ClientOptions,
    #[command(flatten)]
    pub output: OutputOptions,
}

impl Common {
    pub fn rig(&self) -> anyhow::Result<Rig> {
        rig(&self.server, &self.clients)
    }
}

/// Shares the CPUs out and keeps this thread, and all that it starts, on those of the clients.
fn rig(server: &ServerOptions, clients: &ClientOptions) -> anyhow::Result<Rig> {
    let cpus = cpu::available()?;
    let shares = match server.pinned_cores() {
        Some(cores) => Shares::of(&cpus, cores)?,
        None => Shares::unpinned(),
    };
    if !shares.clients.is_empty() {
        cpu::pin_this_thread(&shares.clients)?;
    }
    let recipe = server.recipe(shares.server);
    let crew = clients.crew(shares.clients)?;
    Ok(Rig { recipe, crew, cpus, link: clients.link(), tunnel: false, seed: clients.seed })
}

/// Where the result goes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Result")]
pub struct OutputOptions {
    /// Write everything that was measured to FILE
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write a page with plots over time to FILE, for a browser
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
}

impl OutputOptions {
    /// Writes a report where it is wanted.
    pub fn write(&self, report: &RunReport) -> anyhow::Result<()> {
        if let Some(path) = &self.json {
            report.write_json(path)?;
        }
        if let Some(path) = &self.report {
            report.write_html(path)?;
        }
        Ok(())
    }
}

/// How long a run takes.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Time")]
pub struct TimingOptions {
    /// Seconds of load before anything is measured
    #[arg(long, value_name = "S", default_value_t = 3)]
    pub warm_up: usize,
    /// Seconds that are measured
    #[arg(long, value_name = "S", default_value = "10")]
    pub duration: NonZeroUsize,
    /// Seconds without any arrival, at the end, after which what is still missing counts as lost
    #[arg(long, value_name = "S", default_value_t = 5)]
    pub cool_down: u64,
}

impl TimingOptions {
    pub fn timing(self) -> Timing {
        Timing { warm_up_s: self.warm_up, steady_s: self.duration.get(), patience: Duration::from_secs(self.cool_down) }
    }
}

/// How fast is sent.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Load")]
pub struct PaceOptions {
    /// Open loop: all senders together offer R messages a second, whatever the server does, and latency counts from when a
    /// message was due
    #[arg(long, value_name = "R", value_parser = positive, conflicts_with = "in_flight")]
    rate: Option<f64>,
    /// Closed loop instead: every sender always has W messages without an answer
    #[arg(long, value_name = "W")]
    in_flight: Option<NonZeroUsize>,
}

impl PaceOptions {
    fn pace(self, default_rate_per_s: f64) -> LoadPace {
        match self.in_flight {
            Some(in_flight) => LoadPace::Closed { in_flight: in_flight.get() },
            None => LoadPace::Open { rate_per_s: self.rate.unwrap_or(default_rate_per_s) },
        }
    }
}

/// What Godwit is compared with.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Comparison")]
pub struct CompareOptions {
    /// Measure the bare quinn relay too, in turn with Godwit, and print the ratios
    #[arg(long, conflicts_with = "server")]
    baseline: bool,
    /// Runs of each, each on a fresh server; the result is their median [default: 1, with --baseline 3]
    #[arg(long, value_name = "N")]
    rounds: Option<NonZeroUsize>,
}

impl CompareOptions {
    /// For a scenario that the bare relay cannot do.
    pub fn godwit_only(rounds: NonZeroUsize) -> Self {
        Self { baseline: false, rounds: Some(rounds) }
    }

    pub fn kinds(self) -> &'static [Kind] {
        if self.baseline { &[Kind::Godwit, Kind::Baseline] } else { &[Kind::Godwit] }
    }

    pub fn rounds(self) -> usize {
        self.rounds.map_or(if self.baseline { 3 } else { 1 }, NonZeroUsize::get)
    }
}

/// The network where a comparison needs one and none is asked for.
const LOSSY_LINK: &str = "loss=2%,delay=30ms";

/// A number above zero.
pub fn positive(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if number.is_finite() && number > 0.0 { Ok(number) } else { Err("not a number above 0".to_owned()) }
}
