//! What the clients of a run do.

mod chat;
mod crew;
mod expiry;
mod fill;
mod history;
mod idle;
mod layout;
mod mixed;
mod outcome;
mod samples;
mod schedule;
mod session;
mod storm;

pub use chat::{ChatLoad, LoadPace, Timing};
pub use crew::{CrewSettings, Sockets};
pub use expiry::ExpiryLoad;
pub use fill::fill;
pub use history::{GROWTH, GROWTH_RESTARTED, HistoryLoad};
pub use idle::{IdleLoad, RSS_PER_CONNECTION};
pub use layout::{Circle, Layout};
pub use mixed::{Habits, MixedLoad, SOAK_GROWTH};
pub use outcome::{CurvePoint, Figure, Outcome, Quantiles, SecondFigures, Totals, ratio};
pub use schedule::{Firings, ScheduleLoad};
pub use storm::{By, PER_CPU_S, SYNCED_P50_MS, SYNCED_P99_MS, StormLoad};

use crate::{subject::Subject, wire::STAMP_BYTES};
use anyhow::Context;
use std::time::SystemTime;

/// One of them, with all that it takes to run it.
#[derive(Debug, Clone)]
pub enum Scenario {
    Chat(ChatLoad),
    Idle(IdleLoad),
    Storm(StormLoad),
    History(HistoryLoad),
    Mixed(MixedLoad),
    Schedule(ScheduleLoad),
    Expiry(ExpiryLoad),
}

impl Scenario {
    /// What it is called.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Chat(load) => load.name,
            Self::Idle(_) => "idle",
            Self::Storm(load) => load.name(),
            Self::History(_) => "history",
            Self::Mixed(_) => "mixed",
            Self::Schedule(_) => "schedule",
            Self::Expiry(_) => "expiry",
        }
    }

    /// How long the messages are.
    pub fn body_bytes(&self) -> usize {
        match self {
            Self::Chat(load) => load.body_bytes,
            Self::History(load) => load.body_bytes,
            Self::Schedule(load) => load.body_bytes,
            Self::Expiry(load) => load.body_bytes,
            Self::Idle(_) | Self::Storm(_) | Self::Mixed(_) => STAMP_BYTES,
        }
    }

    /// What a server that is started for it must allow beyond its defaults.
    pub fn environment(&self) -> Vec<(String, String)> {
        let (connections, members) = match self {
            Self::Chat(load) => (load.layout.peers, load.layout.members_max()),
            Self::Idle(load) => (load.connections, 0),
            Self::Storm(load) => (load.sessions, 0),
            Self::History(_) => (0, 0),
            Self::Mixed(load) => (load.people, 0),
            Self::Schedule(load) => (load.people, 0),
            Self::Expiry(load) => (load.people, 0),
        };
        let scheduled = if let Self::Schedule(load) = self { load.per_person_max() as usize } else { 0 };
        let allow =
            |key: &str, limit: usize, wanted: usize| (wanted > limit).then(|| (key.to_owned(), wanted.to_string()));
        let group = allow("GODWIT_LIMITS__GROUP_MEMBERS_MAX", GROUP_MEMBERS_BY_DEFAULT, members);
        // Some that are on their way out count, too.
        let sessions = allow("GODWIT_LIMITS__SESSIONS_MAX", SESSIONS_BY_DEFAULT, connections as usize * 2);
        let scheduled = allow("GODWIT_SCHEDULE__PER_USER_MAX", SCHEDULED_PER_USER_BY_DEFAULT, scheduled);
        group.into_iter().chain(sessions).chain(scheduled).collect()
    }

    /// Runs it.
    pub async fn run(&self, subject: &mut Subject, crew: &CrewSettings) -> anyhow::Result<Outcome> {
        match self {
            Self::Chat(load) => chat::run(subject, crew, load).await,
            Self::Idle(load) => idle::run(subject, crew, load).await,
            Self::Storm(load) => storm::run(subject, crew, load).await,
            Self::History(load) => history::run(subject, crew, load).await,
            Self::Mixed(load) => mixed::run(subject, crew, load).await,
            Self::Schedule(load) => schedule::run(subject, crew, load).await,
            Self::Expiry(load) => expiry::run(subject, crew, load).await,
        }
    }
}

/// Milliseconds since the epoch, by this machine's clock.
fn unix_ms() -> anyhow::Result<u64> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("the clock is before 1970")?;
    Ok(u64::try_from(since.as_millis())?)
}

/// The server's own limits.
const GROUP_MEMBERS_BY_DEFAULT: usize = 5000;
const SESSIONS_BY_DEFAULT: usize = 100_000;
const SCHEDULED_PER_USER_BY_DEFAULT: usize = 1000;
