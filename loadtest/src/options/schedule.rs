//! `schedule` on the command line.

use super::{Common, CompareOptions, Order, positive};
use crate::scenario::{Scenario, ScheduleLoad};
use anyhow::ensure;
use clap::Args;
use std::{
    num::{NonZeroU64, NonZeroUsize},
    time::Duration,
};

/// Messages that are sent later.
#[derive(Debug, Clone, Args)]
pub struct ScheduleOptions {
    /// Messages that are scheduled; all but those of --due for days later
    #[arg(long, value_name = "N", default_value = "1000000")]
    pending: NonZeroU64,
    /// Those of them that fall due in the run [default: 20000, or a fiftieth of fewer]
    #[arg(long, value_name = "N")]
    due: Option<NonZeroU64>,
    /// Messages that fall due a second
    #[arg(long, value_name = "R", default_value = "1000", value_parser = positive)]
    due_rate: f64,
    /// People, two by two: everybody schedules and writes messages to their partner
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(2..))]
    people: u32,
    /// Open loop: messages a second that all together write by hand meanwhile
    #[arg(long, value_name = "R", default_value = "500", value_parser = positive)]
    rate: f64,
    /// Kill the server this many times with SIGKILL while messages fall due, and start it again on the same directory
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "server")]
    kill: u32,
    /// Seconds without anything that fires or arrives, at the end, after which what is still missing counts as lost
    #[arg(long, value_name = "S", default_value_t = 15)]
    cool_down: u64,
    #[command(flatten)]
    common: Common,
}

impl ScheduleOptions {
    pub fn order(self) -> anyhow::Result<Order> {
        let pending = self.pending.get();
        let due = self.due.map_or_else(|| DUE.min(pending.div_ceil(DUE_PART)), NonZeroU64::get);
        ensure!(due <= pending, "of {pending} scheduled messages {due} cannot fall due");
        let people = self.people / 2 * 2;
        ensure!(
            due <= u64::from(people) * DUE_PER_PERSON_MAX,
            "{due} messages that fall due are more than {DUE_PER_PERSON_MAX} for each of {people} people, who may write \
             nothing by hand in between; use more --people"
        );
        let load = ScheduleLoad {
            people,
            pending,
            due,
            due_rate_per_s: self.due_rate,
            rate_per_s: self.rate,
            kills: self.kill,
            body_bytes: self.common.clients.body_bytes,
            seed: self.common.clients.seed,
            patience: Duration::from_secs(self.cool_down),
        };
        let compare = CompareOptions::godwit_only(NonZeroUsize::MIN);
        Ok(Order { scenario: Scenario::Schedule(load), compare, common: self.common })
    }
}

const DUE: u64 = 20_000;
/// Where there are few, one in so many falls due.
const DUE_PART: u64 = 50;
/// A server sends this many of somebody who does not look into the conversation meanwhile.
const DUE_PER_PERSON_MAX: u64 = 256;
