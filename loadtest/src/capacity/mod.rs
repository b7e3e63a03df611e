//! `capacity`: the highest rate at which messages still arrive in time.

mod goal;
mod search;

pub use goal::LatencyGoal;

use crate::{
    report::{format, terminal_table},
    rig::Rig,
    scenario::{ChatLoad, LoadPace, Outcome, Scenario},
    subject::Kind,
};
use comfy_table::Table;
use search::Search;

/// What was found.
pub struct Capacity {
    pub goal: LatencyGoal,
    /// The highest rate that kept the goal, in messages a second; `None` if none did.
    pub rate_per_s: Option<f64>,
    /// By rate.
    pub runs: Vec<Outcome>,
}

/// Searches, from a rate on. Every run has a server of its own.
pub async fn search(
    rig: &Rig,
    kind: Kind,
    load: &ChatLoad,
    goal: LatencyGoal,
    from_per_s: f64,
) -> anyhow::Result<Capacity> {
    let (mut search, mut runs) = (Search::new(from_per_s), Vec::new());
    while let Some(rate_per_s) = search.next() {
        let (pace, rate) = (LoadPace::Open { rate_per_s }, format::count(rate_per_s as u64));
        eprintln!("{}: trying {rate} messages/s", load.name);
        let scenario = Scenario::Chat(ChatLoad { pace, ..load.clone() });
        let mut outcome = rig.attempt(kind, &scenario).await?;
        if !goal.is_met(&outcome) {
            // One bad moment of the machine would otherwise halve the answer: a rate is too much when it is so twice.
            eprintln!(
                "{}, {rate} messages/s: p99 {} ms, once more",
                load.name,
                format::figure(outcome.delivery.p99_ms)
            );
            runs.push(outcome);
            outcome = rig.attempt(kind, &scenario).await?;
        }
        let is_met = goal.is_met(&outcome);
        let word = if is_met { "kept" } else { "missed" };
        let p99 = format::figure(outcome.delivery.p99_ms);
        eprintln!("{}, {rate} messages/s: p99 {p99} ms, goal {goal} {word}", load.name);
        search.on_result(rate_per_s, is_met);
        runs.push(outcome);
    }
    runs.sort_by(|one, other| one.offered_per_s.total_cmp(&other.offered_per_s));
    Ok(Capacity { goal, rate_per_s: search.best(), runs })
}

impl Capacity {
    /// Whether an overloaded server did what it must not do even then.
    pub fn is_right(&self) -> bool {
        self.runs.iter().all(Outcome::is_right)
    }

    /// Prints what a server of this size can do.
    pub fn print(&self) {
        println!("{}", self.table());
        match self.rate_per_s {
            Some(rate) => {
                let of = |rate: f64| format::count(rate as u64);
                println!("Messages arrive within the goal, {}, up to {} messages/s.", self.goal, of(rate));
                println!("To have room for bad moments, plan for {} messages/s.", of(rate * PLANNED_SHARE));
            }
            None => println!("No rate that was tried keeps the goal, {}.", self.goal),
        }
    }

    fn table(&self) -> Table {
        let header = [
            "offered /s",
            "acked /s",
            "delivered /s",
            "p50 ms",
            "p99 ms",
            "server CPU",
            "memory MiB",
            "delivered per CPU s",
            "goal",
        ];
        let rows = self.runs.iter().map(|run| {
            let count = |figure: f64| format::count(figure.round() as u64);
            [
                count(run.offered_per_s),
                count(run.acked_per_s),
                count(run.delivered_per_s),
                format::figure(run.delivery.p50_ms),
                format::figure(run.delivery.p99_ms),
                format!("{:.0} %", run.server_cpu_s / run.steady_s.max(1.0) * 100.0),
                count(run.server_rss_bytes as f64 / format::MIB),
                count(run.delivered_per_server_cpu_s),
                if self.goal.is_met(run) { "kept" } else { "missed" }.to_owned(),
            ]
        });
        terminal_table(header, rows, 0)
    }
}

const PLANNED_SHARE: f64 = 0.7;
