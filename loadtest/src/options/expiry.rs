//! `expiry` on the command line.

use super::{Common, CompareOptions, Order, positive};
use crate::scenario::{ExpiryLoad, Scenario};
use anyhow::ensure;
use clap::Args;
use std::{
    num::{NonZeroU64, NonZeroUsize},
    time::Duration,
};

/// Messages that disappear.
#[derive(Debug, Clone, Args)]
pub struct ExpiryOptions {
    /// Messages that will disappear; all but those of --due long after the run
    #[arg(long, value_name = "N", default_value = "100000")]
    pending: NonZeroU64,
    /// Those of them that disappear in the run [default: 20000, or a fifth of fewer]
    #[arg(long, value_name = "N")]
    due: Option<NonZeroU64>,
    /// Messages that disappear a second
    #[arg(long, value_name = "R", default_value = "1000", value_parser = positive)]
    due_rate: f64,
    /// People, two by two: everybody writes messages to their partner
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u32).range(2..))]
    people: u32,
    /// Seconds without anything that disappears, at the end, after which what is still there counts as lost
    #[arg(long, value_name = "S", default_value_t = 15)]
    cool_down: u64,
    #[command(flatten)]
    common: Common,
}

impl ExpiryOptions {
    pub fn order(self) -> anyhow::Result<Order> {
        let pending = self.pending.get();
        let due = self.due.map_or_else(|| DUE.min(pending.div_ceil(DUE_PART)), NonZeroU64::get);
        ensure!(due <= pending, "of {pending} messages {due} cannot disappear");
        let load = ExpiryLoad {
            people: self.people / 2 * 2,
            pending,
            due,
            due_rate_per_s: self.due_rate,
            body_bytes: self.common.clients.body_bytes,
            patience: Duration::from_secs(self.cool_down),
        };
        let compare = CompareOptions::godwit_only(NonZeroUsize::MIN);
        Ok(Order { scenario: Scenario::Expiry(load), compare, common: self.common })
    }
}

const DUE: u64 = 20_000;
/// Where there are few, one in so many disappears.
const DUE_PART: u64 = 5;
