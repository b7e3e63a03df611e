//! The runs of one server together.

use crate::{scenario::Outcome, subject::Kind};

/// All runs against one kind of server; at least one.
pub struct Side<'a> {
    pub kind: Kind,
    pub runs: Vec<&'a Outcome>,
}

impl<'a> Side<'a> {
    /// Its runs among others; `None` when there are none.
    pub fn of(kind: Kind, runs: &'a [Outcome]) -> Option<Self> {
        let runs: Vec<&Outcome> = runs.iter().filter(|run| run.server == kind).collect();
        (!runs.is_empty()).then_some(Self { kind, runs })
    }

    /// All that there are among the runs, Godwit first.
    pub fn all(runs: &'a [Outcome]) -> Vec<Self> {
        Kind::ALL.into_iter().filter_map(|kind| Self::of(kind, runs)).collect()
    }

    /// Of a figure that every run has.
    pub fn median(&self, figure: impl Fn(&Outcome) -> f64) -> f64 {
        median(self.runs.iter().map(|run| figure(run)).collect())
    }

    /// Of a count, over all runs.
    pub fn sum(&self, count: impl Fn(&Outcome) -> u64) -> u64 {
        self.runs.iter().map(|run| count(run)).sum()
    }

    /// `Godwit`, or `Godwit, median of 3`.
    pub fn title(&self) -> String {
        match self.runs.len() {
            1 => name(self.kind).to_owned(),
            runs => format!("{}, median of {runs}", name(self.kind)),
        }
    }
}

/// What people call it.
pub fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Godwit => "Godwit",
        Kind::Baseline => "baseline",
        Kind::TcpBaseline => "TCP baseline",
    }
}

/// The middle one, or the mean of the two in the middle; 0 of none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    match (values.len(), values.len() / 2) {
        (0, _) => 0.0,
        (odd, middle) if odd % 2 == 1 => values[middle],
        (_, middle) => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// `None` when it says nothing.
pub fn quotient(dividend: f64, divisor: f64) -> Option<f64> {
    (divisor > 0.0).then(|| dividend / divisor).filter(|quotient| quotient.is_finite())
}

pub fn rss_bytes_per_connection(run: &Outcome) -> f64 {
    run.server_rss_bytes as f64 / f64::from(run.connections.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_whatever_the_order() {
        assert_eq!(median(vec![3.0, 100.0, 1.0]), 3.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 100.0]), 3.0);
        assert_eq!(median(vec![7.0]), 7.0);
        assert_eq!(median(Vec::new()), 0.0);
    }

    #[test]
    fn a_ratio_to_nothing_is_none() {
        assert_eq!(quotient(3.0, 2.0), Some(1.5));
        assert_eq!(quotient(3.0, 0.0), None);
        assert_eq!(quotient(0.0, 0.0), None);
    }
}
