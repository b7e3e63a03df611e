//! The figures that Godwit is judged by, each with its goal.

use clap::ValueEnum;
use serde::Serialize;
use std::fmt;

/// A figure. The order is that of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Key {
    /// Pairs, 200 connections, 8 in flight each: delivered rate ÷ bare relay
    PairsRate,
    /// The same: server CPU per delivered message ÷ bare relay
    PairsCpu,
    /// The same with 1 in flight each
    PairsSingleCpu,
    /// Pairs at half of capacity: delivery p99 ÷ (bare relay p99 + one sync of this disk)
    PairsP99,
    /// Idle: server memory per connection ÷ bare relay
    IdleBytes,
    /// Storm: sessions that resume and sync for every server CPU second ÷ bare handshakes
    StormRate,
    /// Hot group of 1,000: deliveries for every server CPU second ÷ bare relay
    HotGroupRate,
    /// History: newest page of a million entries ÷ of a thousand, p50
    HistoryGrowth,
    /// Groups over a network with loss and delay: delivery p99 with lanes ÷ with one lane
    LanesP99,
    /// Mixed, on a server that has seen 500,000 messages: memory after an hour ÷ after ten minutes. Takes an hour, and only when it is named
    SoakGrowth,
    /// Pairs, 8 in flight each, nobody pinned: delivered rate with two cores ÷ with one
    TwoCores,
    /// No ratio: the shapes in which other chat servers are measured, on a fresh data directory and on one through which
    /// many messages went, and the bare relay beside them
    Absolute,
}

/// What a figure should be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    AtLeast(f64),
    AtMost(f64),
    /// It is reported, and nothing is asked of it.
    Reported,
}

/// Whether it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Verdict {
    Met,
    /// By so many per cent of the goal.
    Missed {
        by_percent: f64,
    },
    Reported,
}

impl Key {
    /// Those that are measured when none is named.
    pub fn usual() -> Vec<Self> {
        Self::value_variants().iter().copied().filter(|&key| key != Self::SoakGrowth).collect()
    }

    pub fn goal(self) -> Goal {
        match self {
            Self::PairsRate => Goal::AtLeast(1.0),
            Self::PairsCpu => Goal::AtMost(1.2),
            Self::PairsSingleCpu => Goal::AtMost(1.3),
            Self::PairsP99 => Goal::AtMost(2.0),
            Self::IdleBytes => Goal::AtMost(1.15),
            Self::StormRate => Goal::AtLeast(0.6),
            Self::HotGroupRate => Goal::AtLeast(0.8),
            Self::HistoryGrowth => Goal::AtMost(1.5),
            Self::LanesP99 => Goal::AtMost(0.7),
            Self::SoakGrowth => Goal::AtMost(1.1),
            Self::TwoCores | Self::Absolute => Goal::Reported,
        }
    }

    /// As on the command line and in the result.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

impl Goal {
    /// What a figure that is a number deserves.
    pub fn judge(self, value: f64) -> Verdict {
        let missed = |by: f64| Verdict::Missed { by_percent: by * 100.0 };
        match self {
            Self::Reported => Verdict::Reported,
            // What could not be measured is 0 or no number, and no reason to be pleased.
            _ if !value.is_finite() || value <= 0.0 => missed(f64::INFINITY),
            Self::AtLeast(goal) if value < goal => missed(1.0 - value / goal),
            Self::AtMost(goal) if value > goal => missed(value / goal - 1.0),
            Self::AtLeast(_) | Self::AtMost(_) => Verdict::Met,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(goal) => write!(out, "≥ {goal}"),
            Self::AtMost(goal) => write!(out, "≤ {goal}"),
            Self::Reported => out.write_str("–"),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Met => out.write_str("met"),
            Self::Missed { by_percent } if by_percent.is_finite() => write!(out, "missed by {by_percent:.0} %"),
            Self::Missed { .. } => out.write_str("not measured"),
            Self::Reported => out.write_str("reported"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_met_at_its_very_value_and_missed_by_what_lies_beyond() {
        assert_eq!(Goal::AtLeast(0.8).judge(0.8), Verdict::Met);
        assert_eq!(Goal::AtMost(1.2).judge(1.2), Verdict::Met);
        assert_eq!(Goal::AtLeast(0.8).judge(0.6).to_string(), "missed by 25 %");
        assert_eq!(Goal::AtMost(1.2).judge(1.5).to_string(), "missed by 25 %");
        assert_eq!(Goal::Reported.judge(17.0), Verdict::Reported);
    }

    #[test]
    fn what_was_not_measured_is_never_met() {
        for value in [0.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Goal::AtMost(1.1).judge(value).to_string(), "not measured");
            assert_eq!(Goal::AtLeast(1.1).judge(value).to_string(), "not measured");
        }
    }

    #[test]
    fn keys_are_written_as_in_the_result_and_an_hour_is_not_taken_unasked() {
        assert_eq!(Key::PairsSingleCpu.name(), "pairs_single_cpu");
        assert_eq!(serde_json::to_value(Key::PairsP99).ok(), Some("pairs_p99".into()));
        assert!(!Key::usual().contains(&Key::SoakGrowth) && Key::usual().contains(&Key::TwoCores));
    }
}
