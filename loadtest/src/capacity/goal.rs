//! What a rate must keep to count as one that the server can do.

use crate::scenario::Outcome;
use std::{fmt, str::FromStr};
use thiserror::Error;

/// A share of the messages arrives within a time, as in `p99=50ms`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LatencyGoal {
    share: Share,
    ms: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Share {
    P50,
    P90,
    P99,
    P999,
}

/// Why a text is no goal.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a goal is p50, p90, p99 or p999, and a time in ms or s, as in p99=50ms")]
pub struct NoGoal;

impl LatencyGoal {
    /// Whether a run kept it: also that the server took what was offered, and that nothing went wrong.
    pub fn is_met(self, outcome: &Outcome) -> bool {
        let latency = outcome.delivery;
        let ms = match self.share {
            Share::P50 => latency.p50_ms,
            Share::P90 => latency.p90_ms,
            Share::P99 => latency.p99_ms,
            Share::P999 => latency.p999_ms,
        };
        let kept_up = outcome.acked_per_s >= outcome.offered_per_s * KEPT_UP;
        outcome.is_clean() && kept_up && outcome.offered_per_s > 0.0 && ms <= self.ms
    }
}

impl FromStr for LatencyGoal {
    type Err = NoGoal;

    fn from_str(text: &str) -> Result<Self, NoGoal> {
        let (share, time) = text.split_once('=').ok_or(NoGoal)?;
        let share = match share {
            "p50" => Share::P50,
            "p90" => Share::P90,
            "p99" => Share::P99,
            "p999" => Share::P999,
            _ => return Err(NoGoal),
        };
        let (number, unit_ms) = match time.strip_suffix("ms") {
            Some(number) => (number, 1.0),
            None => (time.strip_suffix('s').ok_or(NoGoal)?, 1000.0),
        };
        let ms = number.parse::<f64>().map_err(|_| NoGoal)? * unit_ms;
        if ms.is_finite() && ms > 0.0 { Ok(Self { share, ms }) } else { Err(NoGoal) }
    }
}

impl fmt::Display for LatencyGoal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = match self.share {
            Share::P50 => "p50",
            Share::P90 => "p90",
            Share::P99 => "p99",
            Share::P999 => "p999",
        };
        write!(out, "{share}={}ms", self.ms)
    }
}

/// Of what was offered in the steady window, some is acknowledged behind it.
const KEPT_UP: f64 = 0.97;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;
    use crate::{scenario::Quantiles, subject::Kind};

    #[test]
    fn a_goal_is_read_and_printed() {
        let goal: LatencyGoal = "p99=50ms".parse().unwrap();
        assert_eq!(goal.to_string(), "p99=50ms");
        assert_eq!("p999=0.5s".parse::<LatencyGoal>().unwrap().to_string(), "p999=500ms");
        for text in ["", "p99", "p98=5ms", "p99=5", "p99=-1ms", "p99=xms", "p99=0ms"] {
            assert!(text.parse::<LatencyGoal>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_run_keeps_it_if_it_is_fast_keeps_up_and_loses_nothing() {
        let goal: LatencyGoal = "p99=50ms".parse().unwrap();
        let delivery = Quantiles { p99_ms: 50.0, p999_ms: 900.0, ..Quantiles::default() };
        let (offered_per_s, acked_per_s) = (100.0, 99.0);
        let good = Outcome { offered_per_s, acked_per_s, delivery, ..Outcome::new("pairs", Kind::Godwit, 2) };
        assert!(goal.is_met(&good));
        assert!(!goal.is_met(&Outcome { acked_per_s: 90.0, ..good.clone() }));
        assert!(!goal.is_met(&Outcome { lost_connections: 1, ..good.clone() }));
        let delivery = Quantiles { p99_ms: 50.1, ..delivery };
        assert!(!goal.is_met(&Outcome { delivery, ..good }));
    }
}
