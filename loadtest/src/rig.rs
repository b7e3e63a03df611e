//! What runs are made on: how their servers come about, where their clients live, and which run follows which.

use crate::{
    link::{LinkSpec, Tunnel},
    report::server_name,
    scenario::{CrewSettings, Outcome, Scenario},
    subject::{Kind, Recipe, Subject},
};

/// With much of these the link itself was short of CPU time, and the figures say little.
pub const LINK_LATE_MAX_US: &str = "link_late_max_us";
pub const LINK_OVERRUN: &str = "link_overrun";

/// Where runs are made.
#[derive(Debug, Clone)]
pub struct Rig {
    pub recipe: Recipe,
    pub crew: CrewSettings,
    /// All CPUs that there are for servers and clients.
    pub cpus: Vec<usize>,
    /// The network between them; none when `None`.
    pub link: Option<LinkSpec>,
    /// It is a tunnel, which carries TCP, too. Only in a network namespace of its own.
    pub tunnel: bool,
    /// Of what the network does by chance.
    pub seed: u64,
}

impl Rig {
    /// A server for a scenario.
    pub async fn start(&self, kind: Kind, scenario: &Scenario) -> anyhow::Result<Subject> {
        // Before the server, which listens on an address of the tunnel's.
        let tunnel = match self.link {
            Some(spec) if self.tunnel => Some(Tunnel::start(spec, self.seed)?),
            _ => None,
        };
        let subject = Subject::start(kind, &self.recipe, scenario.environment(), scenario.body_bytes()).await?;
        match (tunnel, self.link) {
            (Some(tunnel), _) => Ok(subject.through(tunnel)),
            (None, Some(spec)) => subject.behind(spec, self.seed),
            (None, None) => Ok(subject),
        }
    }

    /// One run on a fresh server.
    pub async fn run(&self, kind: Kind, scenario: &Scenario) -> anyhow::Result<Outcome> {
        let mut subject = self.start(kind, scenario).await?;
        self.run_on(&mut subject, scenario).await
    }

    /// One run on a fresh server that may be too much for it.
    pub async fn attempt(&self, kind: Kind, scenario: &Scenario) -> anyhow::Result<Outcome> {
        let mut subject = self.start(kind, scenario).await?;
        let outcome = scenario.run(&mut subject, &self.crew).await;
        if !outcome.as_ref().is_ok_and(Outcome::is_right) {
            subject.keep_evidence();
        }
        outcome
    }

    /// One run on a server that may have seen others.
    pub async fn run_on(&self, subject: &mut Subject, scenario: &Scenario) -> anyhow::Result<Outcome> {
        subject.begin_another_run();
        let mut outcome = scenario.run(subject, &self.crew).await;
        if let (Ok(outcome), Some(stats)) = (&mut outcome, subject.link_stats()) {
            outcome.note("link_lost", (stats.up.lost + stats.down.lost) as f64);
            outcome.note(LINK_LATE_MAX_US, stats.late_us_max as f64);
            outcome.note(LINK_OVERRUN, stats.overrun as f64);
            // What found nobody: a server that ended, or a device that takes no more.
            outcome.note("link_undeliverable", (stats.up.undeliverable + stats.down.undeliverable) as f64);
        }
        if !outcome.as_ref().is_ok_and(Outcome::is_clean) {
            subject.keep_evidence();
        }
        outcome
    }

    /// Runs on fresh servers, all kinds in turn and then again: what happens on the machine meanwhile happens to all.
    pub async fn rounds(&self, kinds: &[Kind], rounds: usize, scenario: &Scenario) -> anyhow::Result<Vec<Outcome>> {
        let mut outcomes = Vec::new();
        for round in 1..=rounds {
            for &kind in kinds {
                eprintln!("{}, {}, run {round} of {rounds}", scenario.name(), server_name(kind));
                outcomes.push(self.run(kind, scenario).await?);
            }
        }
        Ok(outcomes)
    }
}
