//! `under-loss` on the command line.

use super::{Common, LOSSY_LINK, TimingOptions, positive};
use crate::{
    link::Tunnel,
    rig::Rig,
    scenario::{ChatLoad, Layout, LoadPace, Scenario, Sockets},
};
use anyhow::ensure;
use clap::Args;
use std::num::NonZeroUsize;

/// Groups on a network that loses packets.
#[derive(Debug, Clone, Args)]
pub struct UnderLossOptions {
    /// Groups
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    groups: u32,
    /// Members of each group, all of them online
    #[arg(long, value_name = "M", default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..))]
    members: u32,
    /// Groups that each client is a member of, so that there is more than one that a lost packet could hold up
    #[arg(long, value_name = "K", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    groups_each: u32,
    /// Messages a second of all together, whatever the servers do; latency counts from when a message was due
    #[arg(long, value_name = "R", default_value = "200", value_parser = positive, help_heading = "Load")]
    rate: f64,
    #[command(flatten)]
    timing: TimingOptions,
    /// Runs of each, each on a fresh server and a fresh network; the result is their median
    #[arg(long, value_name = "N", default_value = "3", help_heading = "Comparison")]
    rounds: NonZeroUsize,
    #[command(flatten)]
    pub common: Common,
}

impl UnderLossOptions {
    /// What clap cannot say, before anything is started.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(self.common.server.is_own(), "the servers of under-loss are started for it, not found with --server");
        Ok(())
    }

    pub fn rounds(&self) -> usize {
        self.rounds.get()
    }

    /// Servers at the near end of a tunnel, clients at the far end.
    pub fn rig(&self) -> anyhow::Result<Rig> {
        let mut rig = Rig { tunnel: true, ..self.common.rig()? };
        if rig.link.is_none() {
            rig.link = Some(LOSSY_LINK.parse()?);
        }
        if rig.crew.sockets == Sockets::Shared {
            // Clients that share a socket would share a link.
            rig.crew.sockets = Sockets::OneEach;
        }
        rig.recipe.listen = Some(Tunnel::SERVER);
        Ok(rig)
    }

    pub fn scenario(&self) -> Scenario {
        Scenario::Chat(ChatLoad {
            name: "under-loss",
            layout: Layout::groups(self.groups, self.members, self.groups_each),
            pace: LoadPace::Open { rate_per_s: self.rate },
            timing: self.timing.timing(),
            body_bytes: self.common.clients.body_bytes,
        })
    }
}
