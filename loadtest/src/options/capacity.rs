//! `capacity` on the command line.

use super::{Common, positive};
use crate::{
    capacity::LatencyGoal,
    scenario::{ChatLoad, Layout, LoadPace, Timing},
};
use clap::{Args, ValueEnum};
use std::{num::NonZeroUsize, time::Duration};

/// The highest rate that keeps a goal.
#[derive(Debug, Clone, Args)]
pub struct CapacityOptions {
    /// Who talks with whom
    #[arg(value_enum)]
    shape: Shape,
    /// Clients in pairs
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(2..))]
    connections: u32,
    /// Groups
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    groups: u32,
    /// Members of each group [default: 20, of the hot group 1000]
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u32).range(2..))]
    members: Option<u32>,
    /// Clients that send; the others listen [default: all, in the hot group 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    senders: Option<u32>,
    /// What a rate must keep: p50, p90, p99 or p999 of the time from due to delivered
    #[arg(long, value_name = "GOAL", default_value = "p99=50ms")]
    pub goal: LatencyGoal,
    /// The first rate that is tried, in messages a second [default: 1000, for the hot group 10]
    #[arg(long, value_name = "R", value_parser = positive)]
    from: Option<f64>,
    /// Seconds of load before anything is measured, in each run
    #[arg(long, value_name = "S", default_value_t = 2)]
    warm_up: usize,
    /// Seconds that are measured, in each run
    #[arg(long, value_name = "S", default_value = "5")]
    duration: NonZeroUsize,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shape {
    Pairs,
    Groups,
    HotGroup,
}

impl CapacityOptions {
    pub fn first_rate_per_s(&self) -> f64 {
        self.from.unwrap_or(if self.shape == Shape::HotGroup { 10.0 } else { 1_000.0 })
    }

    /// The load, at any rate.
    pub fn load(&self) -> ChatLoad {
        let (name, layout) = match self.shape {
            Shape::Pairs => ("pairs", Layout::pairs(self.connections)),
            Shape::Groups => ("groups", Layout::groups(self.groups, self.members.unwrap_or(20), 1)),
            Shape::HotGroup => ("hot-group", Layout::hot_group(self.members.unwrap_or(1000), 1)),
        };
        let layout = match self.senders {
            Some(senders) => layout.with_senders(senders),
            None => layout,
        };
        let (warm_up_s, steady_s) = (self.warm_up, self.duration.get());
        ChatLoad {
            name,
            layout,
            pace: LoadPace::Open { rate_per_s: self.first_rate_per_s() },
            timing: Timing { warm_up_s, steady_s, patience: Duration::from_secs(5) },
            body_bytes: self.common.clients.body_bytes,
        }
    }
}
