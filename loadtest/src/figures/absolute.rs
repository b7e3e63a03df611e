//! The figures that stand for themselves: the shapes in which other chat servers are measured.

use super::{Effort, ratios::median_of, slim};
use crate::{
    rig::Rig,
    scenario::{By, LoadPace, Outcome, PER_CPU_S, RSS_PER_CONNECTION, SYNCED_P50_MS, SYNCED_P99_MS, Scenario},
    subject::{Kind, Subject},
};
use serde::Serialize;

/// One shape on one server; medians.
#[derive(Debug, Serialize)]
pub struct Absolute {
    pub shape: &'static str,
    pub on: On,
    pub delivered_per_s: f64,
    /// Deliveries, or sessions in a storm, for every CPU second of the server.
    pub per_server_cpu_s: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub rss_bytes: f64,
    /// Of an idle connection; 0 elsewhere.
    pub rss_per_connection_bytes: f64,
    pub written_bytes_per_message: f64,
    #[serde(serialize_with = "super::without_seconds")]
    pub runs: Vec<Outcome>,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum On {
    /// Godwit with a new data directory.
    Fresh,
    /// Godwit with one through which many messages went.
    Aged,
    /// The bare relay, which has none.
    Baseline,
}

/// Measures all shapes, on each in turn.
pub async fn measure(rig: &Rig, effort: &Effort) -> anyhow::Result<Vec<Absolute>> {
    let mut aged = aged(rig, effort).await?;
    let mut rows = Vec::new();
    for (shape, scenario) in shapes(effort) {
        let [mut fresh, mut on_aged, mut baseline] = [const { Vec::new() }; 3];
        for round in 1..=effort.rounds {
            eprintln!("{shape}, run {round} of {}", effort.rounds);
            fresh.push(rig.run(Kind::Godwit, &scenario).await?);
            on_aged.push(rig.run_on(&mut aged, &scenario).await?);
            baseline.push(rig.run(Kind::Baseline, &scenario).await?);
        }
        for (on, runs) in [(On::Fresh, fresh), (On::Aged, on_aged), (On::Baseline, baseline)] {
            rows.push(Absolute::of(shape, on, runs));
        }
    }
    Ok(rows)
}

/// A server that many messages went through and that was restarted since.
async fn aged(rig: &Rig, effort: &Effort) -> anyhow::Result<Subject> {
    let mut subject = filled(rig, effort).await?;
    subject.restart().await?;
    subject.idle().await?;
    Ok(subject)
}

/// A server that many messages went through, so that what it keeps in memory of them is at its bounds.
pub async fn filled(rig: &Rig, effort: &Effort) -> anyhow::Result<Subject> {
    eprintln!("filling a data directory with {} messages", effort.aged_by);
    let mut subject = Subject::start(Kind::Godwit, &rig.recipe, Vec::new(), effort.body_bytes).await?;
    crate::scenario::fill(&mut subject, &rig.crew, AGED_PEERS, effort.aged_by, effort.body_bytes).await?;
    subject.idle().await?;
    Ok(subject)
}

fn shapes(effort: &Effort) -> Vec<(&'static str, Scenario)> {
    let timing = effort.short_timing;
    let closed = |in_flight| LoadPace::Closed { in_flight };
    let open = |rate_per_s| LoadPace::Open { rate_per_s };
    let pairs = |connections, pace| Scenario::Chat(effort.pairs(connections, pace, timing));
    vec![
        ("pairs, 200 × 1 in flight", pairs(200, closed(1))),
        ("pairs, 50 × 20 in flight", pairs(50, closed(20))),
        ("pairs, 200 at 1,000/s", pairs(200, open(1_000.0))),
        ("pairs, 200 at 2,000/s", pairs(200, open(2_000.0))),
        ("hot group, 1 in flight", effort.hot_group(closed(1), timing)),
        ("hot group, 4 in flight", effort.hot_group(closed(4), timing)),
        ("hot group, 32 in flight", effort.hot_group(closed(32), timing)),
        ("hot group at 37/s", effort.hot_group(open(37.0), timing)),
        ("idle connections", effort.idle(effort.idle_absolute)),
        ("logins by password", effort.storm(By::Password)),
        ("resumes by token", effort.storm(By::Token)),
    ]
}

impl Absolute {
    fn of(shape: &'static str, on: On, runs: Vec<Outcome>) -> Self {
        let of = |figure: fn(&Outcome) -> f64| median_of(&runs, figure);
        // A scenario has one of them.
        let first = |one: f64, other: f64| if one > 0.0 { one } else { other };
        Self {
            shape,
            on,
            delivered_per_s: of(|run| run.delivered_per_s),
            per_server_cpu_s: first(of(|run| run.delivered_per_server_cpu_s), of(|run| run.figure(PER_CPU_S))),
            p50_ms: first(of(|run| run.delivery.p50_ms), of(|run| run.figure(SYNCED_P50_MS))),
            p99_ms: first(of(|run| run.delivery.p99_ms), of(|run| run.figure(SYNCED_P99_MS))),
            rss_bytes: of(|run| run.server_rss_bytes as f64),
            rss_per_connection_bytes: of(|run| run.figure(RSS_PER_CONNECTION)),
            written_bytes_per_message: of(|run| run.written_bytes_per_acked),
            runs: runs.into_iter().map(slim).collect(),
        }
    }
}

const AGED_PEERS: u32 = 100;
