//! Two revisions side by side, and whether they differ by more than the machine does by itself.

use super::estimates::{Estimate, Name};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What is never called a change: two builds of the same code lie as far apart, by where the linker put it.
const NOISE_MIN: f64 = 0.02;

/// All benchmarks of two revisions.
#[derive(Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// As it was asked for.
    pub revision: String,
    pub commit: String,
    /// By name.
    pub benchmarks: Vec<Compared>,
}

/// One benchmark before and after.
#[derive(Debug, PartialEq, Serialize)]
pub struct Compared {
    pub name: Name,
    pub before: Rounds,
    pub after: Rounds,
    #[serde(flatten)]
    pub change: Change,
}

/// The median of each round, in nanoseconds. Empty where there is no such benchmark.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Rounds(pub Vec<f64>);

/// What came of a benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    OnlyBefore,
    OnlyAfter,
    Faster(Measure),
    Slower(Measure),
    WithinNoise(Measure),
}

/// How far two sides lie apart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Measure {
    /// After ÷ before, each the median of its rounds.
    pub ratio: f64,
    /// How far the rounds of the same revision lie apart, as a part of their median: the larger of the two sides.
    pub noise: f64,
}

impl Comparison {
    /// From the estimates of every round, by the names of benchmarks.
    pub fn new(
        revision: &str,
        commit: &str,
        before: &[BTreeMap<Name, Estimate>],
        after: &[BTreeMap<Name, Estimate>],
    ) -> Self {
        let names: BTreeSet<&Name> = before.iter().chain(after).flat_map(BTreeMap::keys).collect();
        let compared = names.into_iter().map(|name| {
            let (before, after) = (Rounds::of(name, before), Rounds::of(name, after));
            Compared { name: name.clone(), change: Change::between(&before, &after), before, after }
        });
        Self { revision: revision.to_owned(), commit: commit.to_owned(), benchmarks: compared.collect() }
    }
}

impl Rounds {
    fn of(name: &Name, rounds: &[BTreeMap<Name, Estimate>]) -> Self {
        Self(rounds.iter().filter_map(|round| Some(round.get(name)?.median_ns)).collect())
    }

    /// The median of the rounds; of an even number, the middle between the two in the middle.
    pub fn median(&self) -> Option<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let upper = *sorted.get(sorted.len() / 2)?;
        let lower = *sorted.get((sorted.len() - 1) / 2)?;
        Some((lower + upper) / 2.0)
    }

    fn least(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    fn most(&self) -> f64 {
        self.0.iter().copied().fold(0.0, f64::max)
    }
}

impl Change {
    /// A change is what is larger than the rounds of either side differ among themselves, while no round of one side lies
    /// among those of the other.
    pub fn between(before: &Rounds, after: &Rounds) -> Self {
        let (old, new) = match (before.median(), after.median()) {
            (Some(old), Some(new)) => (old, new),
            (_, None) => return Self::OnlyBefore,
            (None, _) => return Self::OnlyAfter,
        };
        let spread = |rounds: &Rounds, median: f64| (rounds.most() - rounds.least()) / median;
        let noise = spread(before, old).max(spread(after, new)).max(NOISE_MIN);
        let measure = Measure { ratio: new / old, noise };
        // Half as long and twice as long are equally far.
        let distance = measure.ratio.max(1.0 / measure.ratio) - 1.0;
        if distance > noise && after.most() < before.least() {
            Self::Faster(measure)
        } else if distance > noise && after.least() > before.most() {
            Self::Slower(measure)
        } else {
            Self::WithinNoise(measure)
        }
    }

    /// Nothing where one side is missing.
    pub fn measure(&self) -> Option<&Measure> {
        match self {
            Self::OnlyBefore | Self::OnlyAfter => None,
            Self::Faster(measure) | Self::Slower(measure) | Self::WithinNoise(measure) => Some(measure),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    fn change(before: &[f64], after: &[f64]) -> Change {
        Change::between(&Rounds(before.to_vec()), &Rounds(after.to_vec()))
    }

    #[test]
    fn the_median_of_rounds_is_not_moved_by_one_that_was_disturbed() {
        assert_eq!(Rounds(vec![10.0, 900.0, 11.0]).median(), Some(11.0));
        assert_eq!(Rounds(vec![4.0, 1.0, 2.0, 3.0]).median(), Some(2.5));
        assert_eq!(Rounds(vec![]).median(), None);
    }

    #[test]
    fn what_is_further_apart_than_rounds_of_one_revision_is_a_change() {
        let Change::Slower(measure) = change(&[100.0, 102.0, 101.0], &[120.0, 118.0, 121.0]) else { panic!() };
        assert!((measure.ratio - 120.0 / 101.0).abs() < 1e-9 && (measure.noise - 3.0 / 120.0).abs() < 1e-9);
        let Change::Faster(measure) = change(&[120.0, 118.0, 121.0], &[100.0, 102.0, 101.0]) else { panic!() };
        assert!(measure.ratio < 1.0);
    }

    #[test]
    fn what_rounds_of_one_revision_differ_by_is_noise() {
        // The medians are 9 % apart, but so are rounds of the same side.
        assert!(matches!(change(&[100.0, 101.0, 115.0], &[110.0, 104.0, 112.0]), Change::WithinNoise(_)));
        // On one side alone.
        assert!(matches!(change(&[100.0, 100.0, 100.0], &[110.0, 101.0, 125.0]), Change::WithinNoise(_)));
    }

    #[test]
    fn sides_whose_rounds_overlap_are_not_told_apart() {
        // Further apart than each is wide, except for one round of the first.
        assert!(matches!(change(&[100.0, 100.0, 190.0], &[199.0, 200.0, 189.0]), Change::WithinNoise(_)));
    }

    #[test]
    fn a_steady_difference_that_is_too_small_to_mean_anything_is_noise() {
        assert!(matches!(change(&[100.0; 3], &[101.9; 3]), Change::WithinNoise(_)));
        assert!(matches!(change(&[100.0; 3], &[102.5; 3]), Change::Slower(_)));
        assert!(matches!(change(&[102.5; 3], &[100.0; 3]), Change::Faster(_)));
    }

    #[test]
    fn benchmarks_of_one_side_are_listed_as_such() {
        let round = |names: &[&str]| -> BTreeMap<Name, Estimate> {
            let estimate = Estimate { median_ns: 5.0, throughput: None };
            names.iter().map(|name| (Name::from(*name), estimate)).collect()
        };
        let (before, after) = ([round(&["both", "gone"])], [round(&["both", "new"])]);
        let comparison = Comparison::new("main", "abc", &before, &after);
        let changes: Vec<_> = comparison.benchmarks.iter().map(|one| (one.name.to_string(), one.change)).collect();
        let [(both, Change::WithinNoise(_)), (gone, Change::OnlyBefore), (new, Change::OnlyAfter)] = changes.as_slice()
        else {
            panic!("{changes:?}")
        };
        assert_eq!([both, gone, new], ["both", "gone", "new"]);
    }
}
