//! `godwit store copy`: moving house.

use super::start_log;
use anyhow::{Context, Result};
use clap::Args;
use godwit::{
    config::{Config, StoreAddress},
    server::MovingStore,
    store::copy::{self, Progress, Stage, Totals},
};
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Which stores.
#[derive(Args)]
pub struct CopyArguments<Arguments: Args> {
    /// The store that is copied: "embedded", which is the one in data_dir, "embedded:DIR", or "scylla://HOST,HOST/KEYSPACE". No
    /// server may be using it; it is not changed.
    #[arg(long, value_name = "STORE")]
    pub from: StoreAddress,
    /// The store that becomes the same. It has to be empty, or have been begun to be copied into before.
    #[arg(long, value_name = "STORE")]
    pub to: StoreAddress,
    /// Where the other settings come from, like those of [scylla].
    #[command(flatten)]
    pub config: Arguments,
}

/// Copies everything, and then compares the two stores entry by entry.
pub fn copy(config: &Config, from: &StoreAddress, to: &StoreAddress) -> Result<()> {
    anyhow::ensure!(from != to, "--from and --to are the same store");
    start_log(config)?;
    let waiting = |holder: &str| eprintln!("{holder} has the keyspace; stop it. Waiting until it is gone");
    let source = MovingStore::open(config, from, false, waiting).with_context(|| format!("opening {from}"))?;
    let target = match MovingStore::open(config, to, true, waiting).with_context(|| format!("opening {to}")) {
        Ok(target) => target,
        Err(error) => {
            source.close();
            return Err(error);
        }
    };
    let copied = copy_and_verify(&source, &target);
    if copied.is_ok() {
        target.copy_complete().with_context(|| format!("completing {to}"))?;
    }
    target.close();
    source.close();
    let totals = copied?;
    println!("copied and compared: {}", in_words(&totals));
    println!("Set store = {:?} in godwit.toml, and start the server.", to.to_string());
    Ok(())
}

fn copy_and_verify(source: &MovingStore, target: &MovingStore) -> Result<Totals> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().context("starting to work")?;
    let (source, target) = (source.whole(), target.whole());
    runtime.block_on(async {
        copy::copy(&source, &target, &Bars::new("copying")).await?;
        Ok(copy::verify(&source, &target, &Bars::new("comparing")).await?)
    })
}

fn in_words(totals: &Totals) -> String {
    let Totals { accounts, invitations, tokens, conversations, entries, members, timers, acked } = totals;
    format!(
        "{accounts} accounts, {invitations} used invitations, {tokens} tokens, {conversations} conversations with {entries} \
         entries and {members} members, {timers} timers, {acked} acknowledged positions"
    )
}

/// A bar for each stage, where there is a terminal.
struct Bars {
    doing: &'static str,
    current: Mutex<ProgressBar>,
}

impl Bars {
    fn new(doing: &'static str) -> Self {
        Self { doing, current: Mutex::new(ProgressBar::hidden()) }
    }

    fn current(&self) -> std::sync::MutexGuard<'_, ProgressBar> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for Bars {
    fn begin(&self, stage: Stage, total: Option<u64>) {
        let name = match stage {
            Stage::Accounts => "accounts",
            Stage::Tokens => "tokens",
            Stage::Conversations => "conversations",
            Stage::Timers => "timers",
            Stage::Acked => "acknowledged positions",
        };
        let bar = match total {
            Some(total) => {
                ProgressBar::new(total).with_style(style("{msg} {bar:30} {pos}/{len} ({per_sec}, {eta} left)"))
            }
            None => ProgressBar::no_length().with_style(style("{msg} {spinner} {pos} ({per_sec})")),
        };
        let bar = bar.with_message(format!("{} {name}", self.doing));
        bar.enable_steady_tick(Duration::from_millis(200));
        std::mem::replace(&mut *self.current(), bar).finish();
    }

    fn done(&self, things: u64) {
        self.current().inc(things);
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.current().finish();
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are above; a wrong one shows as the default bar.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
