//! What a run measured.

use super::Firings;
use crate::{
    peer::{Second, Verdict},
    process_figures::Figures,
    subject::Kind,
};
use hdrhistogram::Histogram;
use serde::Serialize;

/// The result of one run of one scenario against one server. Where a scenario sends no messages, what is said about
/// messages is zero.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Outcome {
    pub scenario: String,
    pub server: Kind,
    /// What was asked for, in words.
    pub settings: Vec<(String, String)>,
    pub connections: u32,
    /// Of the whole run.
    pub totals: Totals,
    pub verdict: Verdict,
    /// Times that the server told a client that it reads too slowly. More than none is a failure.
    pub resyncs: u64,
    /// Connections that were lost. More than none is a failure.
    pub lost_connections: u64,
    /// Of the steady window.
    pub steady_s: f64,
    pub offered_per_s: f64,
    pub acked_per_s: f64,
    pub delivered_per_s: f64,
    pub ack: Quantiles,
    pub delivery: Quantiles,
    pub ack_curve: Vec<CurvePoint>,
    pub delivery_curve: Vec<CurvePoint>,
    /// All figures of the server are zero where its process is not known.
    pub server_cpu_s: f64,
    pub server_cpu_us_per_delivered: f64,
    pub delivered_per_server_cpu_s: f64,
    pub client_cpu_s: f64,
    /// As many CPUs as the clients can keep busy.
    pub client_cpus: usize,
    /// At the end of the steady window.
    pub server_rss_bytes: u64,
    pub server_rss_peak_bytes: u64,
    pub written_bytes_per_acked: f64,
    /// What this scenario measures beyond that.
    pub figures: Vec<Figure>,
    /// What became of messages that were scheduled, or were to disappear; `None` where none were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firings: Option<Firings>,
    /// From the beginning on.
    pub seconds: Vec<SecondFigures>,
    /// The seconds that are measured: the first, and how many.
    pub steady_from: usize,
    pub steady_seconds: usize,
}

/// A number with a name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// With the unit last.
    pub name: &'static str,
    pub value: f64,
}

/// Counts over a whole run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    pub offered: u64,
    /// Taken by the connection.
    pub accepted: u64,
    pub acked: u64,
    pub refused: u64,
    pub delivered: u64,
    pub deliveries_expected: u64,
}

/// Latencies in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Quantiles {
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
}

/// One point of a distribution of latencies, ascending: as many per cent took no longer than this.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CurvePoint {
    pub percentile: f64,
    pub ms: f64,
}

/// One second of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SecondFigures {
    pub offered: u64,
    pub acked: u64,
    pub delivered: u64,
    pub refused: u64,
    pub ack: Quantiles,
    pub delivery: Quantiles,
    /// CPU seconds that the server used in it.
    pub server_cpu_s: f64,
    pub server_rss_bytes: u64,
}

impl Outcome {
    /// Of a scenario in which nothing has been measured yet.
    pub fn new(scenario: &str, server: Kind, connections: u32) -> Self {
        Self { scenario: scenario.to_owned(), server, connections, ..Self::default() }
    }

    /// Nothing lost, doubled, out of order, refused or early.
    pub fn is_clean(&self) -> bool {
        let is_clean = self.verdict.is_clean() && self.resyncs == 0 && self.lost_connections == 0;
        is_clean && self.totals.refused == 0 && self.firings.as_ref().is_none_or(Firings::is_clean)
    }

    /// As much as must hold under any load: a server may refuse, and tell slow clients to sync again, and nothing else.
    pub fn is_right(&self) -> bool {
        let Verdict { lost, duplicated, disordered, .. } = self.verdict;
        duplicated == 0 && disordered == 0 && (lost == 0 || self.resyncs > 0 || self.lost_connections > 0)
    }

    /// Adds a figure of this scenario.
    pub fn note(&mut self, name: &'static str, value: f64) {
        self.figures.push(Figure { name, value });
    }

    /// A figure of this scenario; 0 if it has none of this name.
    pub fn figure(&self, name: &str) -> f64 {
        self.figures.iter().find(|figure| figure.name == name).map_or(0.0, |figure| figure.value)
    }

    /// What the server used in the steady window.
    pub fn note_server(&mut self, from: Figures, to: Figures) {
        self.server_cpu_s = to.cpu_s - from.cpu_s;
        self.server_rss_bytes = to.rss_now_bytes;
        self.server_rss_peak_bytes = to.rss_bytes;
    }
}

impl Quantiles {
    /// Of durations in microseconds.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        Self { p50_ms: at(0.5), p90_ms: at(0.9), p99_ms: at(0.99), p999_ms: at(0.999), max_ms: at(1.0) }
    }
}

impl CurvePoint {
    /// The whole distribution of durations in microseconds, denser where it is longer: some points for every halving of
    /// what is left above.
    pub fn curve(histogram: &Histogram<u64>) -> Vec<Self> {
        if histogram.is_empty() {
            return Vec::new();
        }
        let points = histogram.iter_quantiles(POINTS_PER_HALVING);
        points
            .map(|at| Self {
                percentile: at.quantile_iterated_to() * 100.0,
                ms: at.value_iterated_to() as f64 / 1000.0,
            })
            .collect()
    }
}

impl SecondFigures {
    pub fn new(second: &Second, server_cpu_s: f64, server_rss_bytes: u64) -> Self {
        Self {
            offered: second.offered,
            acked: second.acked,
            delivered: second.delivered,
            refused: second.refused,
            ack: Quantiles::of(&second.ack_us),
            delivery: Quantiles::of(&second.delivery_us),
            server_cpu_s,
            server_rss_bytes,
        }
    }
}

/// `numerator` ÷ `denominator`; 0 where that says nothing.
pub fn ratio(numerator: f64, denominator: f64) -> f64 {
    if denominator > 0.0 { numerator / denominator } else { 0.0 }
}

const POINTS_PER_HALVING: u32 = 3;
