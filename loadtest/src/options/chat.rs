//! `pairs`, `groups` and `hot-group` on the command line.

use super::{Common, CompareOptions, PaceOptions, TimingOptions};
use crate::scenario::{ChatLoad, Layout, Scenario};
use clap::Args;

/// Two by two.
#[derive(Debug, Clone, Args)]
pub struct PairsOptions {
    /// Clients; each writes to one other
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(2..))]
    connections: u32,
    #[command(flatten)]
    chat: ChatOptions,
}

/// Many groups.
#[derive(Debug, Clone, Args)]
pub struct GroupsOptions {
    /// Groups
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    groups: u32,
    /// Members of each group, all of them online
    #[arg(long, value_name = "M", default_value_t = 20, value_parser = clap::value_parser!(u32).range(2..))]
    members: u32,
    /// Groups that each client is a member of
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    groups_each: u32,
    #[command(flatten)]
    chat: ChatOptions,
}

/// One group.
#[derive(Debug, Clone, Args)]
pub struct HotGroupOptions {
    /// Members of the group, all of them online
    #[arg(long, value_name = "M", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(2..))]
    members: u32,
    #[command(flatten)]
    chat: ChatOptions,
}

/// What the three have in common.
#[derive(Debug, Clone, Args)]
struct ChatOptions {
    /// Clients that send; the others listen [default: all, in a hot group 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    senders: Option<u32>,
    #[command(flatten)]
    pace: PaceOptions,
    #[command(flatten)]
    timing: TimingOptions,
    #[command(flatten)]
    compare: CompareOptions,
    #[command(flatten)]
    common: Common,
}

/// A scenario with all that it takes to run and report it.
pub struct Order {
    pub scenario: Scenario,
    pub compare: CompareOptions,
    pub common: Common,
}

impl PairsOptions {
    pub fn order(self) -> Order {
        self.chat.order("pairs", Layout::pairs(self.connections), 1_000.0)
    }
}

impl GroupsOptions {
    pub fn order(self) -> Order {
        self.chat.order("groups", Layout::groups(self.groups, self.members, self.groups_each), 500.0)
    }
}

impl HotGroupOptions {
    pub fn order(self) -> Order {
        self.chat.order("hot-group", Layout::hot_group(self.members, 1), 20.0)
    }
}

impl ChatOptions {
    fn order(self, name: &'static str, layout: Layout, default_rate_per_s: f64) -> Order {
        let layout = match self.senders {
            Some(senders) => layout.with_senders(senders),
            None => layout,
        };
        let load = ChatLoad {
            name,
            layout,
            pace: self.pace.pace(default_rate_per_s),
            timing: self.timing.timing(),
            body_bytes: self.common.clients.body_bytes,
        };
        Order { scenario: Scenario::Chat(load), compare: self.compare, common: self.common }
    }
}
