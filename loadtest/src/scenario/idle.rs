//! Connections that only stay open: what one costs.

use super::{
    Outcome,
    crew::{Crew, CrewSettings},
    outcome::ratio,
    samples::Samples,
};
use crate::{
    peer::Second,
    report::Live,
    subject::{Kind, Subject},
};
use std::time::Instant;

/// A load.
#[derive(Debug, Clone)]
pub struct IdleLoad {
    pub connections: u32,
    /// Between the last connection and the first measurement.
    pub settle_s: usize,
    /// In which nothing but keep-alives happens.
    pub steady_s: usize,
}

/// What a connection holds, and what it costs the server every second.
pub const RSS_PER_CONNECTION: &str = "rss_per_connection_bytes";
const CPU_PER_CONNECTION: &str = "cpu_us_per_connection_and_s";

/// Runs it.
pub async fn run(subject: &mut Subject, settings: &CrewSettings, load: &IdleLoad) -> anyhow::Result<Outcome> {
    let mut crew = Crew::start(subject, settings, load.connections)?;
    // At the relay everybody has a group alone: nothing is ever sent.
    let groups: Vec<Vec<usize>> = (0..load.connections as usize).map(|number| vec![number]).collect();
    let before;
    if subject.kind == Kind::Godwit && subject.is_own() {
        // Making accounts leaves things in memory that are none of a connection's business.
        crew.arrive(subject, &groups).await?;
        crew.disconnect().await?;
        subject.restart().await?;
        subject.idle().await?;
        before = subject.figures()?;
        crew.come_back().await?;
    } else {
        before = subject.figures()?;
        crew.arrive(subject, &groups).await?;
    }

    let seconds = load.settle_s + load.steady_s;
    let live = Live::new("idle", subject.kind, load.settle_s, load.steady_s);
    let samples = Samples::take(subject, Instant::now(), seconds, async |second, samples| {
        if live.wants(second) {
            live.show(second, &samples.second(second, &Second::default()), 0);
        }
    });
    let samples = samples.await?;
    drop(live);
    let (from, to) = (samples.server[load.settle_s], samples.server[load.settle_s + load.steady_s]);
    let (connections, steady_s) = (f64::from(load.connections), load.steady_s as f64);
    let mut outcome = Outcome::new("idle", subject.kind, load.connections);
    outcome.note_server(from, to);
    outcome.lost_connections = crew.lost().await?;
    outcome.client_cpus = settings.cpus_busy_max();
    outcome.client_cpu_s = samples.client_cpu_s(load.settle_s, load.steady_s);
    outcome.seconds = samples.seconds(&[]);
    (outcome.steady_s, outcome.steady_from, outcome.steady_seconds) = (steady_s, load.settle_s, load.steady_s);
    let grown_bytes = to.rss_now_bytes.saturating_sub(before.rss_now_bytes) as f64;
    outcome.note(RSS_PER_CONNECTION, ratio(grown_bytes, connections));
    outcome.note(CPU_PER_CONNECTION, ratio(outcome.server_cpu_s * 1e6, connections * steady_s));
    crew.dismiss().await?;
    Ok(outcome)
}
