//! `cargo xtask bench wheel`: the timing wheel beside tokio-util's `DelayQueue`, in turn.

use super::{
    comparison::Rounds,
    report::{Report, table, three_digits},
};
use anyhow::{Context, Result};
use comfy_table::{Cell, Color, Table};
use serde::{Deserialize, Serialize};

/// The benchmark that measures both.
pub const BENCH: &str = "wheel";

/// What `DelayQueue` takes as a part of what the wheel takes, at least.
const RATIO_MIN: f64 = 2.0;

/// Medians of both, and `DelayQueue` ÷ wheel.
#[derive(Debug, PartialEq, Serialize)]
pub struct Ratios {
    pub insert_ratio: f64,
    pub cancel_ratio: f64,
    pub expire_ratio: f64,
    pub bytes_ratio: f64,
    /// That waited at once.
    pub entries: u64,
    pub rounds: usize,
    pub wheel: Medians,
    pub delay_queue: Medians,
}

/// Of one entry.
#[derive(Debug, PartialEq, Serialize)]
pub struct Medians {
    pub insert_ns: f64,
    pub cancel_ns: f64,
    pub expire_ns: f64,
    /// With a payload of 8 bytes.
    pub bytes: f64,
}

/// What the benchmark prints.
#[derive(Deserialize)]
struct Measured {
    entries: u64,
    wheel: Series,
    delay_queue: Series,
}

/// What each round measured.
#[derive(Deserialize)]
struct Series {
    insert_ns: Vec<f64>,
    cancel_ns: Vec<f64>,
    expire_ns: Vec<f64>,
    bytes: Vec<f64>,
}

impl Ratios {
    /// From what the benchmark prints.
    pub fn read(printed: &str) -> Result<Self> {
        let measured: Measured = serde_json::from_str(printed).context("reading what the benchmark printed")?;
        let rounds = measured.wheel.insert_ns.len();
        let (wheel, delay_queue) = (measured.wheel.medians()?, measured.delay_queue.medians()?);
        Ok(Self {
            insert_ratio: delay_queue.insert_ns / wheel.insert_ns,
            cancel_ratio: delay_queue.cancel_ns / wheel.cancel_ns,
            expire_ratio: delay_queue.expire_ns / wheel.expire_ns,
            bytes_ratio: delay_queue.bytes / wheel.bytes,
            entries: measured.entries,
            rounds,
            wheel,
            delay_queue,
        })
    }

    fn missed(&self) -> usize {
        let ratios = [self.insert_ratio, self.cancel_ratio, self.expire_ratio, self.bytes_ratio];
        ratios.into_iter().filter(|ratio| *ratio < RATIO_MIN).count()
    }
}

impl Report for Ratios {
    fn table(&self) -> Table {
        let (wheel, queue) = (&self.wheel, &self.delay_queue);
        let rows = [
            ("insert", "ns", wheel.insert_ns, queue.insert_ns, self.insert_ratio),
            ("cancel", "ns", wheel.cancel_ns, queue.cancel_ns, self.cancel_ratio),
            ("expire", "ns", wheel.expire_ns, queue.expire_ns, self.expire_ratio),
            ("memory", "B", wheel.bytes, queue.bytes, self.bytes_ratio),
        ];
        let rows = rows.into_iter().map(|(what, unit, wheel, queue, ratio)| {
            let met = ratio >= RATIO_MIN;
            [
                Cell::new(what),
                Cell::new(format!("{} {unit}", three_digits(wheel))),
                Cell::new(format!("{} {unit}", three_digits(queue))),
                Cell::new(format!("{ratio:.2}")),
                Cell::new(format!("≥ {RATIO_MIN}")),
                if met { Cell::new("met").fg(Color::Green) } else { Cell::new("missed").fg(Color::Red) },
            ]
        });
        table(["of one entry", "wheel", "DelayQueue", "ratio", "goal", ""], rows)
    }

    fn summary(&self) -> String {
        format!(
            "{} entries over 60 s, medians of {} rounds, CPU time; {} of 4 goals missed.",
            self.entries,
            self.rounds,
            self.missed()
        )
    }
}

impl Series {
    fn medians(self) -> Result<Medians> {
        let median = |rounds| Rounds(rounds).median().context("the benchmark measured nothing");
        Ok(Medians {
            insert_ns: median(self.insert_ns)?,
            cancel_ns: median(self.cancel_ns)?,
            expire_ns: median(self.expire_ns)?,
            bytes: median(self.bytes)?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    #[test]
    fn ratios_are_of_the_medians_and_a_goal_is_met_by_twice_as_much() {
        let ratios = Ratios::read(
            r#"{"entries": 7,
                "wheel": {"name": "wheel", "insert_ns": [9, 1, 2], "cancel_ns": [1], "expire_ns": [10], "bytes": [24]},
                "delay_queue": {"insert_ns": [4, 90, 5], "cancel_ns": [2], "expire_ns": [19], "bytes": [60]}}"#,
        )
        .unwrap();
        assert_eq!(
            [ratios.insert_ratio, ratios.cancel_ratio, ratios.expire_ratio, ratios.bytes_ratio],
            [2.5, 2.0, 1.9, 2.5]
        );
        assert_eq!((ratios.rounds, ratios.missed()), (3, 1));
        assert!(ratios.table().to_string().contains("1.90"), "{}", ratios.table());
    }

    #[test]
    fn a_benchmark_that_measured_nothing_is_an_error() {
        let nothing = r#"{"insert_ns": [], "cancel_ns": [], "expire_ns": [], "bytes": []}"#;
        let printed = format!(r#"{{"entries": 0, "wheel": {nothing}, "delay_queue": {nothing}}}"#);
        assert!(Ratios::read(&printed).is_err() && Ratios::read("").is_err());
    }
}
