//! How much is done for a figure.

use crate::{
    link::LinkSpec,
    scenario::{By, ChatLoad, Habits, HistoryLoad, IdleLoad, Layout, LoadPace, MixedLoad, Scenario, StormLoad, Timing},
};
use std::{sync::Arc, time::Duration};

/// Sizes of everything.
#[derive(Debug, Clone)]
pub struct Effort {
    /// Runs of each server; the figure is their median.
    pub rounds: usize,
    pub timing: Timing,
    /// Of the runs that search for the capacity, and of the absolute figures.
    pub short_timing: Timing,
    pub idle_connections: u32,
    pub sessions: u32,
    pub hot_members: u32,
    pub history_entries: u64,
    pub history_pages: usize,
    /// Messages that went through an aged data directory.
    pub aged_by: u64,
    pub idle_absolute: u32,
    pub soak_s: usize,
    pub soak_early_s: usize,
    pub body_bytes: usize,
    pub seed: u64,
    /// The network of `lanes_p99`.
    pub link: LinkSpec,
}

impl Effort {
    /// As the figures are meant.
    pub fn full(seed: u64, link: LinkSpec) -> Self {
        Self {
            rounds: 3,
            timing: timing(3, 10),
            short_timing: timing(2, 5),
            idle_connections: 10_000,
            sessions: 10_000,
            hot_members: 1_000,
            history_entries: 1_000_000,
            history_pages: 1_000,
            aged_by: 500_000,
            idle_absolute: 8_000,
            soak_s: 3_600,
            soak_early_s: 600,
            body_bytes: 128,
            seed,
            link,
        }
    }

    /// To see whether everything works; the figures say little.
    pub fn quick(seed: u64, link: LinkSpec) -> Self {
        Self {
            rounds: 1,
            timing: timing(1, 2),
            short_timing: timing(1, 1),
            idle_connections: 300,
            sessions: 300,
            hot_members: 100,
            history_entries: 20_000,
            history_pages: 100,
            aged_by: 10_000,
            idle_absolute: 200,
            soak_s: 20,
            soak_early_s: 5,
            ..Self::full(seed, link)
        }
    }

    /// Pairs, everybody sending.
    pub fn pairs(&self, connections: u32, pace: LoadPace, timing: Timing) -> ChatLoad {
        let (layout, body_bytes) = (Layout::pairs(connections), self.body_bytes);
        ChatLoad { name: "pairs", layout, pace, timing, body_bytes }
    }

    /// One group with one sender.
    pub fn hot_group(&self, pace: LoadPace, timing: Timing) -> Scenario {
        let (layout, body_bytes) = (Layout::hot_group(self.hot_members, 1), self.body_bytes);
        Scenario::Chat(ChatLoad { name: "hot-group", layout, pace, timing, body_bytes })
    }

    /// Circles of 20 with 8 groups each, so that everybody's conversations lie on all lanes. Everybody is sent some 570
    /// messages a second: with fewer, few wait behind a lost one.
    pub fn lanes(&self) -> Scenario {
        let (layout, body_bytes) = (Layout::groups(16, 20, 8), self.body_bytes);
        let pace = LoadPace::Open { rate_per_s: 1_200.0 };
        Scenario::Chat(ChatLoad { name: "groups", layout, pace, timing: self.timing, body_bytes })
    }

    pub fn idle(&self, connections: u32) -> Scenario {
        Scenario::Idle(IdleLoad { connections, settle_s: 5, steady_s: self.timing.steady_s })
    }

    pub fn storm(&self, by: By) -> Scenario {
        Scenario::Storm(StormLoad { sessions: self.sessions, at_once: 256, by })
    }

    pub fn history(&self) -> Scenario {
        Scenario::History(HistoryLoad {
            entries: self.history_entries,
            short_entries: 1_000,
            pages: self.history_pages,
            page_entries: 50,
            restart: true,
            body_bytes: self.body_bytes,
            seed: self.seed,
        })
    }

    /// An hour of a day's traffic.
    pub fn soak(&self, habits: Habits) -> Scenario {
        Scenario::Mixed(MixedLoad {
            people: 500,
            rate_per_s: 200.0,
            duration_s: self.soak_s,
            early_s: self.soak_early_s,
            restless_share: 0.3,
            online_mean_s: 60.0,
            away_mean_s: 10.0,
            habits: Arc::new(habits),
            seed: self.seed,
            patience: Duration::from_secs(5),
        })
    }
}

fn timing(warm_up_s: usize, steady_s: usize) -> Timing {
    Timing { warm_up_s, steady_s, patience: Duration::from_secs(5) }
}
