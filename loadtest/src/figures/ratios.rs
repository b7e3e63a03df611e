//! The figures that are ratios.

use super::{Effort, Row, absolute::filled, disk, key::Key, slim};
use crate::{
    capacity,
    report::median,
    rig::Rig,
    scenario::{
        By, Figure, GROWTH, GROWTH_RESTARTED, Habits, LoadPace, Outcome, PER_CPU_S, RSS_PER_CONNECTION, SOAK_GROWTH,
        Scenario, Sockets, ratio,
    },
    subject::{Kind, Recipe},
};
use anyhow::Context;

/// Measures them, and remembers what several of them need.
pub struct Ratios<'a> {
    rig: &'a Rig,
    effort: &'a Effort,
    habits: &'a Habits,
    /// Of pairs with 8 in flight.
    pairs: Option<Vec<Outcome>>,
}

/// Runs of two servers, or of one in two configurations.
struct Both {
    godwit: Vec<Outcome>,
    baseline: Vec<Outcome>,
}

const KINDS: [Kind; 2] = [Kind::Godwit, Kind::Baseline];

impl<'a> Ratios<'a> {
    pub fn new(rig: &'a Rig, effort: &'a Effort, habits: &'a Habits) -> Self {
        Self { rig, effort, habits, pairs: None }
    }

    /// One figure. [`Key::Absolute`] is none of these.
    pub async fn measure(&mut self, key: Key) -> anyhow::Result<Row> {
        let effort = self.effort;
        match key {
            Key::PairsRate => Ok(self.pairs().await?.row(key, "/s", |run| run.delivered_per_s)),
            Key::PairsCpu => Ok(self.pairs().await?.row(key, "µs", |run| run.server_cpu_us_per_delivered)),
            Key::PairsSingleCpu => {
                let load = effort.pairs(PAIRS, LoadPace::Closed { in_flight: 1 }, effort.timing);
                let both = self.both(&Scenario::Chat(load)).await?;
                Ok(both.row(key, "µs", |run| run.server_cpu_us_per_delivered))
            }
            Key::PairsP99 => self.pairs_p99().await,
            Key::IdleBytes => {
                let both = self.both(&effort.idle(effort.idle_connections)).await?;
                Ok(both.row(key, "B", |run| run.figure(RSS_PER_CONNECTION)))
            }
            Key::StormRate => {
                let both = self.both(&effort.storm(By::Token)).await?;
                Ok(both.row(key, "/CPU s", |run| run.figure(PER_CPU_S)))
            }
            Key::HotGroupRate => {
                let both = self.both(&effort.hot_group(LoadPace::Closed { in_flight: 4 }, effort.timing)).await?;
                Ok(both.row(key, "/CPU s", |run| run.delivered_per_server_cpu_s))
            }
            Key::HistoryGrowth => self.history_growth().await,
            Key::LanesP99 => self.lanes_p99().await,
            Key::SoakGrowth => {
                // The store's tables in memory and its cache fill with the first few hundred thousand messages, up to their
                // bounds. That is no growth to look for.
                let mut subject = filled(self.rig, effort).await?;
                let runs = vec![self.rig.run_on(&mut subject, &effort.soak(self.habits.clone())).await?];
                Ok(Row::of(key, median_of(&runs, |run| run.figure(SOAK_GROWTH)), Vec::new(), runs))
            }
            Key::TwoCores => self.two_cores().await,
            Key::Absolute => anyhow::bail!("the absolute figures are no ratio"),
        }
    }

    async fn both(&self, scenario: &Scenario) -> anyhow::Result<Both> {
        let runs = self.rig.rounds(&KINDS, self.effort.rounds, scenario).await?;
        Ok(Both::by_kind(runs))
    }

    async fn pairs(&mut self) -> anyhow::Result<Both> {
        if self.pairs.is_none() {
            let load = self.effort.pairs(PAIRS, LoadPace::Closed { in_flight: 8 }, self.effort.timing);
            self.pairs = Some(self.rig.rounds(&KINDS, self.effort.rounds, &Scenario::Chat(load)).await?);
        }
        Ok(Both::by_kind(self.pairs.clone().unwrap_or_default()))
    }

    async fn pairs_p99(&self) -> anyhow::Result<Row> {
        let effort = self.effort;
        let load = effort.pairs(PAIRS, LoadPace::Open { rate_per_s: CAPACITY_FROM_PER_S }, effort.short_timing);
        let goal = CAPACITY_GOAL.parse()?;
        let found = capacity::search(self.rig, Kind::Godwit, &load, goal, CAPACITY_FROM_PER_S).await?;
        let capacity = found.rate_per_s.context("no rate keeps the goal")?;
        let pace = LoadPace::Open { rate_per_s: capacity / 2.0 };
        let (before_ms, both, after_ms) = (
            disk::sync_ms()?,
            self.both(&Scenario::Chat(effort.pairs(PAIRS, pace, effort.timing))).await?,
            disk::sync_ms()?,
        );
        let sync_ms = f64::midpoint(before_ms, after_ms);
        let mut row = both.row(Key::PairsP99, "ms", |run| run.delivery.p99_ms);
        row.judge(ratio(row.godwit.unwrap_or(0.0), row.baseline.unwrap_or(0.0) + sync_ms));
        row.note("capacity_per_s", capacity);
        row.note("sync_ms", sync_ms);
        Ok(row)
    }

    async fn history_growth(&self) -> anyhow::Result<Row> {
        let runs = self.rig.rounds(&[Kind::Godwit], self.effort.rounds, &self.effort.history()).await?;
        let restarted = median_of(&runs, |run| run.figure(GROWTH_RESTARTED));
        let mut row = Row::of(Key::HistoryGrowth, median_of(&runs, |run| run.figure(GROWTH)), Vec::new(), runs);
        row.note(GROWTH_RESTARTED, restarted);
        Ok(row)
    }

    /// With lanes and with one lane in turn, over the same network.
    async fn lanes_p99(&self) -> anyhow::Result<Row> {
        let mut rig = self.rig.clone();
        rig.link = Some(self.effort.link);
        // Clients that share a socket would share a link.
        rig.crew.sockets = Sockets::OneEach;
        let one_lane = Rig { recipe: with_setting(&rig.recipe, "GODWIT_LIMITS__LANES_MAX", "1"), ..rig.clone() };
        let both = self.in_turn(&rig, &one_lane, &self.effort.lanes()).await?;
        let p90_ms = [&both.godwit, &both.baseline].map(|runs| median_of(runs, |run| run.delivery.p90_ms));
        let mut row = both.row(Key::LanesP99, "ms", |run| run.delivery.p99_ms);
        row.note("p90_ratio", ratio(p90_ms[0], p90_ms[1]));
        row.note("late_max_us", row.runs.iter().map(|run| run.figure("link_late_max_us")).fold(0.0, f64::max));
        row.note("overrun", row.runs.iter().map(|run| run.figure("link_overrun")).sum());
        Ok(row)
    }

    async fn two_cores(&self) -> anyhow::Result<Row> {
        let with_cores = |cores| {
            let mut rig = self.rig.clone();
            rig.recipe = Recipe { cores: Some(cores), cpus: rig.cpus.clone(), ..rig.recipe };
            (rig.crew.cpus, rig.crew.threads) = (rig.cpus.clone(), rig.cpus.len());
            rig
        };
        let load = self.effort.pairs(PAIRS, LoadPace::Closed { in_flight: 8 }, self.effort.timing);
        let both = self.in_turn(&with_cores(2), &with_cores(1), &Scenario::Chat(load)).await?;
        let share = |runs: &[Outcome], of: fn(&Outcome) -> f64| median_of(runs, |run| of(run) / run.steady_s);
        let notes = [
            ("two_cores_server_cpus", share(&both.godwit, |run| run.server_cpu_s)),
            ("two_cores_client_cpus", share(&both.godwit, |run| run.client_cpu_s)),
            ("one_core_server_cpus", share(&both.baseline, |run| run.server_cpu_s)),
            ("one_core_client_cpus", share(&both.baseline, |run| run.client_cpu_s)),
            ("two_cores_cpu_us_per_delivered", median_of(&both.godwit, |run| run.server_cpu_us_per_delivered)),
            ("one_core_cpu_us_per_delivered", median_of(&both.baseline, |run| run.server_cpu_us_per_delivered)),
        ];
        let mut row = both.row(Key::TwoCores, "/s", |run| run.delivered_per_s);
        notes.into_iter().for_each(|(name, value)| row.note(name, value));
        Ok(row)
    }

    /// Godwit on one rig and on another.
    async fn in_turn(&self, rig: &Rig, other: &Rig, scenario: &Scenario) -> anyhow::Result<Both> {
        let mut both = Both { godwit: Vec::new(), baseline: Vec::new() };
        for _ in 0..self.effort.rounds {
            both.godwit.push(rig.run(Kind::Godwit, scenario).await?);
            both.baseline.push(other.run(Kind::Godwit, scenario).await?);
        }
        Ok(both)
    }
}

impl Both {
    fn by_kind(runs: Vec<Outcome>) -> Self {
        let (godwit, baseline) = runs.into_iter().partition(|run| run.server == Kind::Godwit);
        Self { godwit, baseline }
    }

    /// The ratio of a figure's medians.
    fn row(self, key: Key, unit: &'static str, figure: fn(&Outcome) -> f64) -> Row {
        let (godwit, baseline) = (median_of(&self.godwit, figure), median_of(&self.baseline, figure));
        let runs = self.godwit.into_iter().chain(self.baseline).collect();
        let row = Row::of(key, ratio(godwit, baseline), Vec::new(), runs);
        Row { godwit: Some(godwit), baseline: Some(baseline), unit, ..row }
    }
}

impl Row {
    fn of(key: Key, value: f64, notes: Vec<Figure>, runs: Vec<Outcome>) -> Self {
        let (goal, runs) = (key.goal(), runs.into_iter().map(slim).collect());
        Self { key, godwit: None, baseline: None, unit: "", value, goal, verdict: goal.judge(value), notes, runs }
    }

    fn judge(&mut self, value: f64) {
        (self.value, self.verdict) = (value, self.goal.judge(value));
    }

    fn note(&mut self, name: &'static str, value: f64) {
        self.notes.push(Figure { name, value });
    }
}

/// Of a figure over runs.
pub fn median_of(runs: &[Outcome], figure: impl Fn(&Outcome) -> f64) -> f64 {
    median(runs.iter().map(figure).collect())
}

fn with_setting(recipe: &Recipe, key: &str, value: &str) -> Recipe {
    let mut recipe = recipe.clone();
    recipe.environment.push((key.to_owned(), value.to_owned()));
    recipe
}

const PAIRS: u32 = 200;
const CAPACITY_FROM_PER_S: f64 = 2_000.0;
const CAPACITY_GOAL: &str = "p99=50ms";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::key::Verdict;

    fn run(server: Kind, delivered_per_s: f64) -> Outcome {
        Outcome { delivered_per_s, ..Outcome::new("pairs", server, 2) }
    }

    #[test]
    fn a_figure_is_the_ratio_of_medians_whatever_the_order_of_the_runs() {
        let runs = [90.0, 5.0, 100.0].map(|rate| run(Kind::Godwit, rate)).into_iter();
        let runs = runs.chain([80.0, 120.0, 100.0].map(|rate| run(Kind::Baseline, rate)));
        let row = Both::by_kind(runs.collect()).row(Key::PairsRate, "/s", |run| run.delivered_per_s);
        assert_eq!((row.godwit, row.baseline, row.value), (Some(90.0), Some(100.0), 0.9));
        assert!(matches!(row.verdict, Verdict::Missed { .. }));
        assert_eq!(row.runs.len(), 6);
    }

    #[test]
    fn a_baseline_that_measured_nothing_meets_no_goal() {
        let runs = vec![run(Kind::Godwit, 90.0), run(Kind::Baseline, 0.0)];
        let row = Both::by_kind(runs).row(Key::PairsCpu, "µs", |run| run.delivered_per_s);
        assert_eq!(row.verdict.to_string(), "not measured");
    }
}
