//! The command line.

mod command;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use command::{
    copy,
    store::{self, StoreCommand},
};
use godwit::{
    account::{Invitation, InvitationSecret},
    config::{Config, Loaded, Overrides, StoreAddress, SummariesAddress},
    server::{Server, Startup},
    store::InvitationId,
    terminal::{self, ChatArguments, ChatError},
    transport::Steering,
};
use std::{
    env,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Every message allocates some twenty small pieces on one thread and frees some of them on another; docs/PERFORMANCE.md
/// has what the choice of allocator is worth.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An instant-messaging server: QUIC, protobuf frames, a durable log per conversation.
///
/// Without a command it serves.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ConfigArguments,
}

#[derive(Subcommand)]
enum Command {
    /// Serve clients until a SIGINT or SIGTERM (the default).
    Serve(ConfigArguments),
    /// Chat in the terminal.
    Chat(Box<ChatArguments>),
    /// Print an invitation code, for a server whose registration.mode is "invitation". The server may be running.
    Invite(InviteArguments),
    /// Print the configuration in force as TOML, every key with what it does.
    Config(ConfigArguments),
    /// Prepare or look at the keyspace of a store on ScyllaDB or Cassandra.
    #[command(subcommand)]
    Store(StoreCommand<ConfigArguments>),
}

/// Where the configuration comes from: defaults < file < GODWIT_* environment < these flags.
#[derive(Args, Default)]
struct ConfigArguments {
    /// The configuration file [default: godwit.toml, if there is one].
    #[arg(long, env = "GODWIT_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The UDP address for clients [default: 127.0.0.1:4433].
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// How many cores to serve with; 0: all [default: 0].
    #[arg(long, value_name = "N")]
    cores: Option<usize>,
    /// Where the server keeps what is its own, and the embedded store [default: godwit-data].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Any other key, as `section.key=value`; `godwit config` lists them.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Args)]
struct InviteArguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// How long the code can be used.
    #[arg(long, default_value_t = 7, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=365))]
    days: u32,
}

impl ConfigArguments {
    fn load(&self) -> Result<Loaded> {
        let overrides = Overrides {
            listen: self.listen.clone(),
            cores: self.cores,
            data_dir: self.data_dir.clone(),
            set: self.set.clone(),
        };
        Ok(Config::load(self.config.as_deref(), &overrides)?)
    }
}

fn main() -> ExitCode {
    let arguments = CommandLine::parse();
    let result = match arguments.command.unwrap_or(Command::Serve(arguments.serve)) {
        Command::Serve(arguments) => serve(&arguments),
        Command::Chat(arguments) => chat(*arguments),
        Command::Invite(arguments) => invite(&arguments),
        Command::Config(arguments) => print_config(&arguments),
        Command::Store(StoreCommand::Init(arguments)) => with_store(&arguments, store::init),
        Command::Store(StoreCommand::Migrate(arguments)) => with_store(&arguments, store::migrate),
        Command::Store(StoreCommand::Check(arguments)) => with_store(&arguments, store::check),
        Command::Store(StoreCommand::Copy(arguments)) => {
            with_store(&arguments.config, |config| copy::copy(config, &arguments.from, &arguments.to))
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // What could not be done was said line by line.
        Err(error) if matches!(error.downcast_ref(), Some(ChatError::Incomplete)) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("godwit: {}", in_words(&error));
            ExitCode::FAILURE
        }
    }
}

/// With its causes, unless it tells of them itself.
fn in_words(error: &anyhow::Error) -> String {
    error.chain().skip(1).map(ToString::to_string).fold(error.to_string(), |said, cause| match said.contains(&cause) {
        true => said,
        false => format!("{said}: {cause}"),
    })
}

fn serve(arguments: &ConfigArguments) -> Result<()> {
    let Loaded { config, file, warnings } = arguments.load()?;
    command::start_log(&config)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting to wait")?;
    let stopped = runtime.block_on(async {
        let told = until_told_to_stop();
        tokio::pin!(told);
        let (config, shown) = (config.clone(), config);
        // On a thread of its own: it may wait for another server for days, and must be stopped then, too.
        let started = tokio::task::spawn_blocking(move || {
            Server::start_with(&config, Startup { waiting: Some(Box::new(announce_waiting)), ..Startup::default() })
        });
        let server = tokio::select! {
            biased;
            started = started => started??,
            told = &mut told => return told.map(|()| None),
        };
        announce(&server, &shown, file.as_ref());
        told.await.map(|()| Some(server))
    });
    // What is still starting ends with the process.
    runtime.shutdown_background();
    match stopped? {
        Some(server) => {
            tracing::info!("stopping");
            server.stop();
            tracing::info!("stopped");
        }
        None => tracing::info!("stopped before it served"),
    }
    Ok(())
}

fn announce_waiting(holder: &str) {
    println!(
        "godwit {} waits: {holder} has the store, and this one serves when that one is gone",
        env!("CARGO_PKG_VERSION")
    );
}

/// What a newcomer reads first. The keys before the colons are stable, for scripts.
fn announce(server: &Server, config: &Config, file: Option<&PathBuf>) {
    let name = |path: &std::path::Path| path.display().to_string();
    let data_dir = name(server.data_dir());
    println!("godwit {} serves on {} core(s)", env!("CARGO_PKG_VERSION"), server.cores());
    println!("  listening:     {} (QUIC)", server.address());
    if let Steering::SingleEndpoint { reason } = server.steering() {
        println!("  steering:      one endpoint takes all packets, because {reason}");
    }
    println!("  data:          {data_dir}");
    if config.store != StoreAddress::default() {
        println!("  store:         {}", config.store);
    }
    if config.summaries != SummariesAddress::default() {
        println!("  summaries:     {}", config.summaries);
    }
    println!("  configuration: {}", file.map_or("defaults".to_owned(), |file| name(file)));
    let mode = format!("{:?}", config.registration_mode()).to_lowercase();
    println!("  registration:  {mode}");
    if let Some(address) = server.admin_address() {
        println!("  metrics:       http://{address}/metrics");
    }
    println!("  fingerprint:   {}", server.fingerprint());
    println!();
    println!("Now open two more terminals and chat:");
    let default_place = config.data_dir == Config::default().data_dir && config.listen == Config::default().listen;
    let place = match default_place {
        true => String::new(),
        false => format!(" --server {} --fingerprint {}", server.address(), server.fingerprint()),
    };
    let chat = chat_command();
    println!("  {chat} alice{place}");
    println!("  {chat} bob{place}");
    println!("In one of them: /to bob, then write. Stop the server with Ctrl-C.");
}

/// As whoever started this server would write it.
fn chat_command() -> String {
    match env::args().next() {
        Some(program) if !program.starts_with("target/") => format!("{program} chat"),
        _ => "cargo run --release -- chat".to_owned(),
    }
}

async fn until_told_to_stop() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.context("listening for SIGINT"),
        _ = terminate.recv() => Ok(()),
    }
}

fn chat(arguments: ChatArguments) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the client")?;
    Ok(runtime.block_on(terminal::run(arguments))?)
}

fn invite(arguments: &InviteArguments) -> Result<()> {
    let Loaded { config, .. } = arguments.config.load()?;
    let secret = InvitationSecret::load_or_create(&config.data_dir)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("reading the clock")?;
    let expires = now + Duration::from_secs(u64::from(arguments.days) * 24 * 3600);
    let expires_ms = u64::try_from(expires.as_millis()).context("the clock is far in the future")?;
    let mut id = [0; 16];
    anyhow::ensure!(aws_lc_rs::rand::fill(&mut id).is_ok(), "the system has no randomness");
    let invitation = Invitation { id: InvitationId(id), expires_ms };
    println!("{}", invitation.to_code(&secret));
    Ok(())
}

fn print_config(arguments: &ConfigArguments) -> Result<()> {
    Ok(command::print(&arguments.load()?.config.to_commented_toml()?)?)
}

fn with_store(arguments: &ConfigArguments, work: impl FnOnce(&Config) -> Result<()>) -> Result<()> {
    work(&arguments.load()?.config)
}
