//! Results as a person reads them.

use super::{
    comparison::{Change, Compared, Comparison, Rounds},
    estimates::{Estimate, Name, Throughput},
};
use comfy_table::{Cell, CellAlignment, Color, Table, presets::UTF8_FULL_CONDENSED};
use serde::Serialize;
use std::collections::BTreeMap;

/// Something that a person may read.
pub trait Report {
    /// One line a benchmark.
    fn table(&self) -> Table;

    /// What it comes to.
    fn summary(&self) -> String;
}

/// What one run measured, by the names of benchmarks.
#[derive(Serialize)]
#[serde(transparent)]
pub struct Run(pub BTreeMap<Name, Estimate>);

impl Report for Run {
    fn table(&self) -> Table {
        let rows = self.0.iter().map(|(name, estimate)| {
            let each = estimate.throughput.map_or_else(String::new, |done| each(estimate.median_ns, done));
            [Cell::new(name), Cell::new(time(estimate.median_ns)), Cell::new(each)]
        });
        table(["benchmark", "time", "of which each"], rows)
    }

    fn summary(&self) -> String {
        format!("{} benchmarks; times are medians.", self.0.len())
    }
}

impl Report for Comparison {
    fn table(&self) -> Table {
        let rows = self.benchmarks.iter().map(|Compared { name, before, after, change }| {
            let median = |rounds: &Rounds| Cell::new(rounds.median().map_or_else(|| "–".to_owned(), time));
            let measure = change.measure();
            [
                Cell::new(name),
                median(before),
                median(after),
                Cell::new(measure.map_or_else(String::new, |measure| format!("{:.2}", measure.ratio))),
                Cell::new(measure.map_or_else(String::new, |measure| format!("± {:.0} %", measure.noise * 100.0))),
                verdict(change),
            ]
        });
        table(["benchmark", "before", "after", "ratio", "noise", "change"], rows)
    }

    fn summary(&self) -> String {
        let count = |wanted: fn(&Change) -> bool| self.benchmarks.iter().filter(|one| wanted(&one.change)).count();
        format!(
            "{} benchmarks against {}: {} faster, {} slower, {} within noise, {} only before, {} only after.\n\
             Times are medians over rounds, ratios are after ÷ before, and noise is how far rounds of one side lie apart.",
            self.benchmarks.len(),
            self.revision,
            count(|change| matches!(change, Change::Faster(_))),
            count(|change| matches!(change, Change::Slower(_))),
            count(|change| matches!(change, Change::WithinNoise(_))),
            count(|change| matches!(change, Change::OnlyBefore)),
            count(|change| matches!(change, Change::OnlyAfter)),
        )
    }
}

/// With columns of numbers, but for the first.
pub fn table<const COLUMNS: usize>(header: [&str; COLUMNS], rows: impl Iterator<Item = [Cell; COLUMNS]>) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(header);
    // The name, and a word at the end of a comparison, read from the left; numbers do not.
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.add_rows(rows);
    table
}

fn verdict(change: &Change) -> Cell {
    match change {
        Change::OnlyBefore => Cell::new("only before"),
        Change::OnlyAfter => Cell::new("only after"),
        Change::Faster(_) => Cell::new("faster").fg(Color::Green),
        Change::Slower(_) => Cell::new("slower").fg(Color::Red),
        Change::WithinNoise(_) => Cell::new("within noise"),
    }
}

/// What one of many takes, or how many bytes a second that is.
fn each(ns: f64, done: Throughput) -> String {
    match done {
        Throughput::Elements(1) => String::new(),
        Throughput::Elements(count) => time(ns / count as f64),
        // Bytes a nanosecond are gigabytes a second.
        Throughput::Bytes(bytes) => format!("{} GB/s", three_digits(bytes as f64 / ns)),
    }
}

fn time(ns: f64) -> String {
    let (value, unit) = match ns {
        ..1e3 => (ns, "ns"),
        ..1e6 => (ns / 1e3, "µs"),
        ..1e9 => (ns / 1e6, "ms"),
        _ => (ns / 1e9, "s"),
    };
    format!("{} {unit}", three_digits(value))
}

/// As many as anybody reads.
pub fn three_digits(value: f64) -> String {
    match value {
        ..10.0 => format!("{value:.2}"),
        ..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    fn lines(report: &impl Report) -> Vec<String> {
        let cells = |line: &str| line.split(['│', '┆']).map(str::trim).collect::<Vec<_>>().join(" | ");
        report.table().to_string().lines().filter(|line| line.contains('│')).map(cells).collect()
    }

    #[test]
    fn times_have_three_digits_and_a_unit() {
        let times = [0.5, 9.994, 99.94, 999.4, 1_234.0, 56_789.0, 1.5e6, 2e9, 2.5e11].map(time);
        let expected = ["0.50 ns", "9.99 ns", "99.9 ns", "999 ns", "1.23 µs", "56.8 µs", "1.50 ms", "2.00 s", "250 s"];
        assert_eq!(times, expected);
    }

    #[test]
    fn a_run_says_what_one_of_many_takes() {
        let estimate = |median_ns, throughput| Estimate { median_ns, throughput };
        let run = Run(BTreeMap::from([
            (Name::from("append"), estimate(1e6, Some(Throughput::Elements(1_000)))),
            (Name::from("encode"), estimate(100.0, Some(Throughput::Bytes(250)))),
            (Name::from("plain"), estimate(5.0, None)),
        ]));
        let expected = [
            " | benchmark | time | of which each | ",
            " | append | 1.00 ms | 1.00 µs | ",
            " | encode | 100 ns | 2.50 GB/s | ",
            " | plain | 5.00 ns |  | ",
        ];
        assert_eq!(lines(&run), expected);
    }

    #[test]
    fn a_comparison_says_of_each_benchmark_what_changed() {
        let compared = |name: &str, before: &[f64], after: &[f64]| {
            let (before, after) = (Rounds(before.to_vec()), Rounds(after.to_vec()));
            Compared { name: Name::from(name), change: Change::between(&before, &after), before, after }
        };
        let benchmarks = vec![
            compared("append", &[2_000.0, 2_100.0, 2_050.0], &[1_000.0, 1_010.0, 1_020.0]),
            compared("gone", &[70.0], &[]),
            compared("new", &[], &[80.0]),
            compared("same", &[50.0, 51.0, 52.0], &[51.0, 51.0, 52.0]),
        ];
        let comparison = Comparison { revision: "main".to_owned(), commit: "abc".to_owned(), benchmarks };
        let expected = [
            " | benchmark | before | after | ratio | noise | change | ",
            " | append | 2.05 µs | 1.01 µs | 0.49 | ± 5 % | faster | ",
            " | gone | 70.0 ns | – |  |  | only before | ",
            " | new | – | 80.0 ns |  |  | only after | ",
            " | same | 51.0 ns | 51.0 ns | 1.00 | ± 4 % | within noise | ",
        ];
        assert_eq!(lines(&comparison), expected);
        let counts = "4 benchmarks against main: 1 faster, 0 slower, 1 within noise, 1 only before, 1 only after.";
        assert!(comparison.summary().starts_with(counts), "{}", comparison.summary());
    }
}
