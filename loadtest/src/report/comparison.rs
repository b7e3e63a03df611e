//! Servers beside each other, a row each: the few figures that they are compared by.

use super::{RunReport, format, sides, terminal};
use crate::scenario::Outcome;
use comfy_table::Table;

/// Medians of each server, and Godwit's divided by those of each other.
pub fn of(report: &RunReport) -> Table {
    let header = std::iter::once(report.scenario.as_str()).chain(COLUMNS.map(|(title, _)| title));
    let servers = report.sides();
    let row = |name: String, cell: &dyn Fn(Figure) -> String| {
        std::iter::once(name).chain(COLUMNS.map(|(_, figure)| cell(figure))).collect::<Vec<String>>()
    };
    let medians = servers.iter().map(|side| row(side.title(), &|figure| format::figure(side.median(figure))));
    let ratios = servers.iter().skip(1).map(|other| {
        let first = &servers[0];
        let ratio = |figure| sides::quotient(first.median(figure), other.median(figure));
        let name = format!("{} ÷ {}", sides::name(first.kind), sides::name(other.kind));
        row(name, &|figure| ratio(figure).map_or_else(String::new, format::ratio))
    });
    terminal::table(header, medians.chain(ratios), 1)
}

type Figure = fn(&Outcome) -> f64;

/// A line break where the table would grow too wide for most terminals.
const COLUMNS: [(&str, Figure); 6] = [
    ("delivered\n/s", |run| run.delivered_per_s),
    ("ack\np50 ms", |run| run.ack.p50_ms),
    ("ack\np99 ms", |run| run.ack.p99_ms),
    ("delivery\np50 ms", |run| run.delivery.p50_ms),
    ("delivery\np99 ms", |run| run.delivery.p99_ms),
    ("server CPU µs\nper delivered", |run| run.server_cpu_us_per_delivered),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{report::made_up, subject::Kind};

    #[test]
    fn every_server_has_a_row_and_each_but_the_first_a_row_of_ratios() {
        let runs = Kind::ALL.into_iter().zip([1.0, 2.0, 4.0]).map(|(kind, ms)| made_up::run(kind, 30_000.0, ms));
        let table = of(&made_up::report(runs.collect()));
        let rows: Vec<Vec<String>> =
            table.row_iter().map(|row| row.cell_iter().map(|cell| cell.content()).collect()).collect();
        let of_rows = |column: usize| rows.iter().map(|row| row[column].as_str()).collect::<Vec<_>>();
        assert_eq!(of_rows(0), ["Godwit", "baseline", "TCP baseline", "Godwit ÷ baseline", "Godwit ÷ TCP baseline"]);
        assert_eq!(of_rows(1), ["30,000", "30,000", "30,000", "1.00", "1.00"]);
        assert_eq!(of_rows(2), ["1.00", "2.00", "4.00", "0.50", "0.25"]);
    }
}
