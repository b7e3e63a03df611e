//! `godwit-loadtest`: puts load on a Godwit server and checks what comes out of it.

mod baseline;
mod capacity;
mod cpu;
mod figures;
mod link;
mod options;
mod peer;
mod process_figures;
mod replay;
mod report;
mod rig;
mod scenario;
mod server_binary;
mod server_process;
mod services;
mod subject;
mod target;
mod tcp;
mod wire;
mod worker;

use anyhow::bail;
use clap::{Parser, Subcommand};
use link::namespace;
use options::{
    CapacityOptions, ExpiryOptions, FiguresOptions, GroupsOptions, HistoryOptions, HotGroupOptions, IdleOptions,
    MixedOptions, Order, PairsOptions, ScheduleOptions, StormOptions, UnderLossOptions,
};
use report::RunReport;
use std::{process::ExitCode, time::SystemTime};
use subject::Kind;
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};
use tracing_subscriber::EnvFilter;

/// The server's, so that the bare relay, which is this program, differs from it in nothing that is not chat.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    /// Messages between two, many pairs at once
    Pairs(Box<PairsOptions>),
    /// Messages in many groups at once
    Groups(Box<GroupsOptions>),
    /// Messages in one large group
    HotGroup(Box<HotGroupOptions>),
    /// Connections that only stay open: memory and CPU time of each
    Idle(Box<IdleOptions>),
    /// Everybody comes back at once, logs in and syncs
    Storm(Box<StormOptions>),
    /// Paging through a long conversation and a short one
    History(Box<HistoryOptions>),
    /// A day of real traffic: people who write much or little, in pairs and groups, and lose the network now and then
    Mixed(Box<MixedOptions>),
    /// A million scheduled messages, some of which fall due while people chat and, with --kill, the server is killed: every
    /// one must be sent once, and none early
    Schedule(Box<ScheduleOptions>),
    /// Messages that will disappear, some of them in the run: every one must go once, and none early
    Expiry(Box<ExpiryOptions>),
    /// Groups on a network that loses packets, `loss=2%,delay=30ms` if --link names no other: Godwit, the bare relay, and
    /// a bare relay over TLS and TCP
    UnderLoss(Box<UnderLossOptions>),
    /// The highest rate at which messages still arrive in time
    Capacity(Box<CapacityOptions>),
    /// Everything that Godwit is judged by, each figure with its goal
    Figures(Box<FiguresOptions>),
    /// Serves as a bare relay that a server is compared with
    #[command(hide = true)]
    Relay(baseline::Options),
}

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();

    let outcome = match Arguments::parse().command {
        Command::Replay(options) => block_on(Builder::new_multi_thread(), async {
            Ok(replay::run(*options).await? == replay::Verdict::Identical)
        }),
        Command::Pairs(options) => load(options.order()),
        Command::Groups(options) => load(options.order()),
        Command::HotGroup(options) => load(options.order()),
        Command::Idle(options) => load(options.order()),
        Command::Storm(options) => load(options.order()),
        Command::History(options) => load(options.order()),
        Command::Mixed(options) => options.order().and_then(load),
        Command::Schedule(options) => options.order().and_then(load),
        Command::Expiry(options) => options.order().and_then(load),
        Command::UnderLoss(options) => under_loss(&options),
        Command::Capacity(options) => capacity(&options),
        Command::Figures(options) => figures(&options),
        // It has a runtime of its own.
        Command::Relay(options) => baseline::run(&options).map(|()| true),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a scenario and reports it. Whether everything was as it should be.
fn load(Order { scenario, compare, common }: Order) -> anyhow::Result<bool> {
    let (started, rig) = (SystemTime::now(), common.rig()?);
    let runs = block_on(Builder::new_current_thread(), rig.rounds(compare.kinds(), compare.rounds(), &scenario))?;
    let report = RunReport::new(started, scenario.name(), runs);
    report.print();
    common.output.write(&report)?;
    Ok(report.is_clean())
}

/// Compares transports on a network that TCP can be put on, too. Whether everything was as it should be.
fn under_loss(options: &UnderLossOptions) -> anyhow::Result<bool> {
    options.check()?;
    // Starts this program again, so nothing runs yet.
    namespace::enter()?;
    let (started, rig, scenario) = (SystemTime::now(), options.rig()?, options.scenario());
    let rounds = rig.rounds(&Kind::ALL, options.rounds(), &scenario);
    let mut runs = block_on(Builder::new_current_thread(), rounds)?;
    for run in &mut runs {
        run.settings.extend(rig.link.map(|link| ("network".to_owned(), link.to_string())));
        run.settings.push(("TCP avoids congestion by".to_owned(), tcp::congestion_control()));
    }
    let report = RunReport::new(started, scenario.name(), runs);
    report.print_comparison();
    options.common.output.write(&report)?;
    Ok(report.is_clean())
}

/// Searches for the highest rate. Whether there is one, and nothing went wrong.
fn capacity(options: &CapacityOptions) -> anyhow::Result<bool> {
    let (started, rig, load) = (SystemTime::now(), options.common.rig()?, options.load());
    let search = capacity::search(&rig, Kind::Godwit, &load, options.goal, options.first_rate_per_s());
    let found = block_on(Builder::new_current_thread(), search)?;
    found.print();
    let is_good = found.is_right() && found.rate_per_s.is_some();
    options.common.output.write(&RunReport::new(started, &format!("capacity, {}", load.name), found.runs))?;
    Ok(is_good)
}

/// Measures the figures. Whether nothing went wrong on the way; a goal that is missed is not wrong.
fn figures(options: &FiguresOptions) -> anyhow::Result<bool> {
    let (rig, effort, habits) = (options.rig()?, options.effort()?, options.habits()?);
    let keys = options.keys();
    let measure = async { Ok(figures::measure(&rig, &effort, &keys, &habits).await) };
    let report = block_on(Builder::new_current_thread(), measure)?;
    report.print();
    if let Some(path) = &options.json {
        report.write_json(path)?;
    }
    if let Some(path) = &options.report {
        report.write_html(path)?;
    }
    Ok(report.is_clean())
}

/// Until it is done, or somebody wants it to end.
fn block_on<T>(mut builder: Builder, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = builder.enable_all().build()?;
    // Dropping a run drops the server that it started, and that kills it.
    runtime.block_on(async {
        tokio::select! {
            outcome = work => outcome,
            error = interrupted() => Err(error),
        }
    })
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
