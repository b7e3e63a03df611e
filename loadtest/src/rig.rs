//! What runs are made on: how their servers come about, where their clients live, and which run follows which.

use crate::{
    scenario::{CrewSettings, Outcome, Scenario},
    subject::{Kind, Recipe, Subject},
};

/// Where runs are made.
#[derive(Debug, Clone)]
pub struct Rig {
    pub recipe: Recipe,
    pub crew: CrewSettings,
}

impl Rig {
    /// A server for a scenario.
    pub async fn start(&self, kind: Kind, scenario: &Scenario) -> anyhow::Result<Subject> {
        Subject::start(kind, &self.recipe, scenario.environment(), scenario.body_bytes()).await
    }

    /// One run on a fresh server.
    pub async fn run(&self, kind: Kind, scenario: &Scenario) -> anyhow::Result<Outcome> {
        let mut subject = self.start(kind, scenario).await?;
        self.run_on(&mut subject, scenario).await
    }

    /// One run on a server that may have seen others.
    pub async fn run_on(&self, subject: &mut Subject, scenario: &Scenario) -> anyhow::Result<Outcome> {
        subject.begin_another_run();
        let outcome = scenario.run(subject, &self.crew).await;
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
                let server = match kind {
                    Kind::Godwit => "Godwit",
                    Kind::Baseline => "the baseline",
                };
                eprintln!("{} against {server}, run {round} of {rounds}", scenario.name());
                outcomes.push(self.run(kind, scenario).await?);
            }
        }
        Ok(outcomes)
    }
}
