//! A report of runs that never took place, for tests.

use super::{Machine, RunReport};
use crate::{
    peer::Verdict,
    scenario::{CurvePoint, Outcome, Quantiles, SecondFigures, Totals},
    subject::Kind,
};
use std::time::SystemTime;

/// Of these runs, on a machine and with a command line that are always the same.
pub fn report(runs: Vec<Outcome>) -> RunReport {
    let machine = Machine {
        cpu_model: Some("Example CPU @ 2.60GHz".into()),
        cpus: 2,
        memory_bytes: Some(8 << 30),
        kernel: Some("6.1.0".into()),
        data_file_system: Some("ext4".into()),
    };
    let command_line = ["godwit-loadtest", "pairs", "--connections", "200", "--baseline"].map(str::to_owned).to_vec();
    let started = "2026-01-31 12:34:56 UTC".to_owned();
    RunReport { machine, command_line, started, ..RunReport::new(SystemTime::UNIX_EPOCH, "pairs", runs) }
}

/// A clean run of 20 s in pairs, at about this rate and latency.
pub fn run(server: Kind, delivered_per_s: f64, p50_ms: f64) -> Outcome {
    let seconds: Vec<SecondFigures> =
        (0..20).map(|index| second(index, delivered_per_s * wave(index), p50_ms)).collect();
    let total = (delivered_per_s * 20.0) as u64;
    let server_cpu_s = 14.7;
    Outcome {
        scenario: "pairs".into(),
        server,
        settings: vec![("pace".into(), "closed loop, 8 in flight".into()), ("body bytes".into(), "128".into())],
        connections: 200,
        totals: Totals {
            offered: total,
            accepted: total,
            acked: total,
            refused: 0,
            delivered: total,
            deliveries_expected: total,
        },
        verdict: Verdict::default(),
        resyncs: 0,
        lost_connections: 0,
        steady_s: 15.0,
        offered_per_s: delivered_per_s,
        acked_per_s: delivered_per_s,
        delivered_per_s,
        ack: quantiles(p50_ms),
        delivery: quantiles(p50_ms * 1.3),
        ack_curve: curve(p50_ms),
        delivery_curve: curve(p50_ms * 1.3),
        server_cpu_s,
        server_cpu_us_per_delivered: server_cpu_s * 1e6 / (delivered_per_s * 15.0),
        delivered_per_server_cpu_s: delivered_per_s * 15.0 / server_cpu_s,
        client_cpu_s: 9.0,
        client_cpus: 1,
        figures: Vec::new(),
        firings: None,
        server_rss_bytes: 120 << 20,
        server_rss_peak_bytes: 130 << 20,
        written_bytes_per_acked: 400.0,
        seconds,
        steady_from: 3,
        steady_seconds: 15,
    }
}

fn second(index: usize, per_s: f64, p50_ms: f64) -> SecondFigures {
    // The first second has nothing to show: everybody connects.
    let count = if index == 0 { 0 } else { per_s as u64 };
    let latency = if index == 0 { Quantiles::default() } else { quantiles(p50_ms * wave(index + 3)) };
    SecondFigures {
        offered: count,
        acked: count,
        delivered: count,
        refused: 0,
        ack: latency,
        delivery: latency,
        server_cpu_s: 0.97 * wave(index + 5).min(1.0),
        server_rss_bytes: (90 + index as u64) << 20,
    }
}

fn quantiles(p50_ms: f64) -> Quantiles {
    Quantiles { p50_ms, p90_ms: p50_ms * 1.8, p99_ms: p50_ms * 4.0, p999_ms: p50_ms * 9.0, max_ms: p50_ms * 30.0 }
}

fn curve(p50_ms: f64) -> Vec<CurvePoint> {
    let point = |step: i32| {
        let above = 0.5_f64.powf(f64::from(step) / 3.0);
        CurvePoint { percentile: 100.0 * (1.0 - above), ms: p50_ms * (0.6 + above.recip().ln() * 0.8) }
    };
    (0..50).map(point).collect()
}

/// Something that goes up and down a little.
fn wave(index: usize) -> f64 {
    1.0 + 0.06 * (index as f64 * 1.7).sin()
}
