//! `idle`, `storm` and `history` on the command line.

use super::{Common, CompareOptions, Order};
use crate::scenario::{By, HistoryLoad, IdleLoad, Scenario, StormLoad};
use clap::Args;
use std::{
    num::{NonZeroU32, NonZeroU64, NonZeroUsize},
    time::Duration,
};

/// Connections that only stay open.
#[derive(Debug, Clone, Args)]
pub struct IdleOptions {
    /// Clients that are logged in
    #[arg(long, value_name = "N", default_value = "10000")]
    connections: NonZeroU32,
    /// Seconds between the last login and the first measurement
    #[arg(long, value_name = "S", default_value_t = 5)]
    warm_up: usize,
    /// Seconds in which the cost of staying open is measured
    #[arg(long, value_name = "S", default_value = "10")]
    duration: NonZeroUsize,
    #[command(flatten)]
    compare: CompareOptions,
    #[command(flatten)]
    common: Common,
}

/// Everybody comes back at once.
#[derive(Debug, Clone, Args)]
pub struct StormOptions {
    /// Clients
    #[arg(long, value_name = "N", default_value = "10000")]
    connections: NonZeroU32,
    /// Clients that are on their way in at the same time. From limits.retry_handshakes_min on, the server has each prove its
    /// address first, which costs another round trip
    #[arg(long, value_name = "N", default_value = "256")]
    at_once: NonZeroUsize,
    /// How clients log in the second time
    #[arg(long, value_enum, default_value_t = By::Token)]
    by: By,
    #[command(flatten)]
    compare: CompareOptions,
    #[command(flatten)]
    common: Common,
}

/// Paging.
#[derive(Debug, Clone, Args)]
pub struct HistoryOptions {
    /// Entries of the long conversation
    #[arg(long, value_name = "N", default_value = "1000000")]
    entries: NonZeroU64,
    /// Entries of the short conversation that it is compared with
    #[arg(long, value_name = "N", default_value = "1000")]
    short_entries: NonZeroU64,
    /// Pages of each kind that are read: the newest, backwards from the newest, and at random
    #[arg(long, value_name = "N", default_value = "1000")]
    pages: NonZeroUsize,
    /// Entries on a page
    #[arg(long, value_name = "N", default_value = "50", value_parser = clap::value_parser!(u32).range(1..=200))]
    page_entries: u32,
    /// Restart the server and read everything once more, so that nothing comes from memory by luck
    #[arg(long, conflicts_with = "server")]
    restart: bool,
    /// Runs, each on a fresh server; the result is their median
    #[arg(long, value_name = "N", default_value = "1")]
    rounds: NonZeroUsize,
    #[command(flatten)]
    common: Common,
}

impl IdleOptions {
    pub fn order(self) -> Order {
        let load =
            IdleLoad { connections: self.connections.get(), settle_s: self.warm_up, steady_s: self.duration.get() };
        Order { scenario: Scenario::Idle(load), compare: self.compare, common: self.common }
    }
}

impl StormOptions {
    pub fn order(self) -> Order {
        let load = StormLoad { sessions: self.connections.get(), at_once: self.at_once.get(), by: self.by };
        Order { scenario: Scenario::Storm(load), compare: self.compare, common: self.common }
    }
}

impl HistoryOptions {
    pub fn order(self) -> Order {
        let load = HistoryLoad {
            entries: self.entries.get(),
            short_entries: self.short_entries.get(),
            pages: self.pages.get(),
            page_entries: self.page_entries,
            restart: self.restart,
            body_bytes: self.common.clients.body_bytes,
            seed: self.common.clients.seed,
            patience: PATIENCE,
        };
        let compare = CompareOptions::godwit_only(self.rounds);
        Order { scenario: Scenario::History(load), compare, common: self.common }
    }
}

const PATIENCE: Duration = Duration::from_secs(30);
