//! Axes: where a value lies on one, and which values are marked.

/// A range of values along an edge of a plot.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
    pub ticks: Vec<Tick>,
}

/// A mark.
#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    pub value: f64,
    pub label: String,
}

impl Axis {
    /// From zero to a round number that is not below any of the values.
    pub fn from_zero(values: impl IntoIterator<Item = f64>) -> Self {
        let largest = largest(values).unwrap_or(1.0);
        let step = round_step(largest / STEPS_MAX);
        let steps = (largest / step - NEARLY).ceil().max(1.0);
        Self::linear(steps * step, step)
    }

    /// From zero to exactly here: time, which a plot fills.
    pub fn up_to(high: f64) -> Self {
        let high = if high > 0.0 && high.is_finite() { high } else { 1.0 };
        Self::linear(high, round_step(high / STEPS_MAX).max(1.0))
    }

    /// From zero, or in logarithms where the values are so far apart that the small ones would all lie on the ground.
    pub fn fitting(values: impl IntoIterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.into_iter().filter(|value| *value > 0.0 && value.is_finite()).collect();
        let smallest = values.iter().copied().min_by(f64::total_cmp);
        match (smallest, largest(values.iter().copied())) {
            (Some(smallest), Some(largest)) if largest / smallest > WIDE => Self::logarithmic(smallest, largest),
            _ => Self::from_zero(values),
        }
    }

    /// Percentiles so that every further nine takes as much room as the one before. The values are [`nines`], and so is
    /// the highest.
    pub fn percentiles(highest: f64) -> Self {
        let high = highest.clamp(1.0, NINES_MAX);
        let marks = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 99.9999];
        let ticks = marks.map(|percentile| Tick { value: nines(percentile), label: tick_label(percentile) });
        let ticks = ticks.into_iter().filter(|tick| tick.value <= high).collect();
        Self { low: 0.0, high, logarithmic: false, ticks }
    }

    /// 0 for its beginning, 1 for its end. `None` for what has no place: nothing is zero in logarithms.
    pub fn place(&self, value: f64) -> Option<f64> {
        let along = if self.logarithmic {
            (value / self.low).log10() / (self.high / self.low).log10()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        along.is_finite().then_some(along.clamp(0.0, 1.0))
    }

    /// The labels of its marks.
    #[cfg(test)]
    pub fn labels(&self) -> Vec<&str> {
        self.ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    fn linear(high: f64, step: f64) -> Self {
        let marks = (0..=(high / step + NEARLY) as u32).map(|index| f64::from(index) * step);
        let ticks = marks.map(|value| Tick { value, label: tick_label(value) }).collect();
        Self { low: 0.0, high, logarithmic: false, ticks }
    }

    /// Both above zero. Marks are at 1, 2 and 5 times a power of ten, or at the powers alone.
    fn logarithmic(smallest: f64, largest: f64) -> Self {
        let exponents = smallest.log10().floor() as i32..=largest.log10().ceil() as i32;
        let marks = exponents.flat_map(|exponent| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(exponent)));
        let marks: Vec<f64> = marks.collect();
        let low = marks.iter().copied().filter(|mark| *mark <= smallest * (1.0 + NEARLY)).fold(marks[0], f64::max);
        let above = marks.iter().copied().filter(|mark| *mark >= largest * (1.0 - NEARLY));
        let high = above.fold(marks[marks.len() - 1], f64::min);
        let crowded = (high / low).log10() > DECADES_WITH_ALL_MARKS;
        let is_marked = |mark: f64| (low..=high).contains(&mark) && (is_power_of_ten(mark) || !crowded);
        let ticks = marks.into_iter().filter(|mark| is_marked(*mark));
        let ticks = ticks.map(|value| Tick { value, label: tick_label(value) }).collect();
        Self { low, high, logarithmic: true, ticks }
    }
}

/// Where a percentile lies on its axis: 0 for 0, 1 for 90, 2 for 99, 3 for 99.9.
pub fn nines(percentile: f64) -> f64 {
    -(1.0 - percentile / 100.0).log10()
}

fn largest(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    values.into_iter().filter(|value| value.is_finite() && *value > 0.0).max_by(f64::total_cmp)
}

/// The smallest 1, 2 or 5 times a power of ten that is not below this.
fn round_step(at_least: f64) -> f64 {
    let power = 10_f64.powf(at_least.log10().floor());
    let digit = [1.0, 2.0, 5.0].into_iter().find(|digit| digit * power >= at_least * (1.0 - NEARLY));
    digit.unwrap_or(10.0) * power
}

fn is_power_of_ten(value: f64) -> bool {
    (value.log10() - value.log10().round()).abs() < NEARLY
}

/// As short as a mark should be: `0.05`, `500`, `20k`, `1.5M`.
fn tick_label(value: f64) -> String {
    let (value, suffix) = match value.abs() {
        size if size >= 1e9 => (value / 1e9, "G"),
        size if size >= 1e6 => (value / 1e6, "M"),
        size if size >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    // 3 × 0.1 is 0.30000000000000004.
    let digits = format!("{value:.6}");
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    format!("{digits}{suffix}")
}

/// Sums of steps are a little off.
const NEARLY: f64 = 1e-9;
const STEPS_MAX: f64 = 5.0;
/// From here on, logarithms.
const WIDE: f64 = 10.0;
const DECADES_WITH_ALL_MARKS: f64 = 2.5;
const NINES_MAX: f64 = 6.0;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    #[test]
    fn marks_are_round_and_reach_the_largest_value() {
        assert_eq!(Axis::from_zero([37_400.0]).labels(), ["0", "10k", "20k", "30k", "40k"]);
        assert_eq!(Axis::from_zero([0.3]).labels(), ["0", "0.1", "0.2", "0.3"]);
        assert_eq!(Axis::from_zero([100.0, 99.0]).labels(), ["0", "20", "40", "60", "80", "100"]);
        assert_eq!(Axis::from_zero([1_500_000.0]).labels(), ["0", "500k", "1M", "1.5M"]);
    }

    #[test]
    fn time_fills_its_axis_and_is_marked_in_whole_seconds() {
        let axis = Axis::up_to(17.0);
        assert_eq!(axis.labels(), ["0", "5", "10", "15"]);
        assert_eq!(axis.place(17.0), Some(1.0));
        assert_eq!(Axis::up_to(2.0).labels(), ["0", "1", "2"]);
    }

    #[test]
    fn values_far_apart_are_shown_in_logarithms() {
        let axis = Axis::fitting([0.9, 34.0]);
        assert_eq!(axis.labels(), ["0.5", "1", "2", "5", "10", "20", "50"]);
        assert_eq!((axis.place(0.5), axis.place(5.0), axis.place(50.0)), (Some(0.0), Some(0.5), Some(1.0)));
        assert_eq!(axis.place(0.0), None);
        assert_eq!(Axis::fitting([0.1, 900.0]).labels(), ["0.1", "1", "10", "100", "1000"]);
        assert_eq!(Axis::fitting([3.0, 9.0]).labels(), ["0", "2", "4", "6", "8", "10"]);
    }

    #[test]
    fn an_axis_of_nothing_still_has_a_range() {
        for axis in [Axis::from_zero([]), Axis::fitting([0.0, f64::NAN]), Axis::up_to(0.0), Axis::percentiles(0.0)] {
            assert!(axis.ticks.len() > 1, "{axis:?}");
            assert_eq!(axis.place(0.0), Some(0.0));
            assert_eq!(axis.place(f64::NAN), None);
        }
    }

    #[test]
    fn every_nine_takes_as_much_room() {
        let axis = Axis::percentiles(nines(99.95));
        assert_eq!(axis.labels(), ["0", "50", "90", "99", "99.9"]);
        let places: Vec<f64> = [90.0, 99.0, 99.9].map(|percentile| axis.place(nines(percentile)).unwrap()).to_vec();
        assert!(((places[1] - places[0]) - (places[2] - places[1])).abs() < 1e-6);
        assert_eq!(axis.place(nines(100.0)), None);
    }

    #[test]
    fn marks_are_short() {
        let marks = [0.0, 0.1 + 0.2, 0.05, 500.0, 5_000.0, 20_000.0, 1_500_000.0, 2e9];
        assert_eq!(marks.map(tick_label), ["0", "0.3", "0.05", "500", "5000", "20k", "1.5M", "2G"]);
    }
}
