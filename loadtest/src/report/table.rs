//! The table of a report, on a terminal and in the page.

use super::{
    RunReport, format,
    sides::{self, Side, quotient},
    terminal,
};
use crate::scenario::{Firings, Outcome, Quantiles};
use comfy_table::{Attribute, Cell};

/// Its text.
pub struct Table {
    /// The scenario, then a title per column.
    pub header: Vec<String>,
    pub groups: Vec<Group>,
}

/// Rows that belong together.
pub struct Group {
    pub title: &'static str,
    pub rows: Vec<Row>,
}

/// A name, and a cell per column.
pub struct Row {
    pub name: &'static str,
    pub cells: Vec<String>,
}

/// Of all runs of a report. The last columns are ratios, if several servers ran.
pub fn of(report: &RunReport) -> Table {
    let columns = Columns { sides: report.sides() };
    let mut header = vec![report.scenario.clone()];
    header.extend(columns.sides.iter().map(Side::title));
    header.extend(columns.others().iter().map(|other| match columns.others().len() {
        1 => "ratio".to_owned(),
        _ => format!("÷ {}", sides::name(other.kind)),
    }));
    let groups = [
        Group { title: "Whole run", rows: columns.whole_run() },
        Group { title: "What went wrong, all runs together", rows: columns.faults() },
        Group { title: "Rate in the steady window", rows: columns.rates() },
        Group { title: "Ack latency, from when a message was due", rows: columns.latency(|run| run.ack) },
        Group { title: "Delivery latency, from when a message was due", rows: columns.latency(|run| run.delivery) },
        Group { title: "Cost in the steady window", rows: columns.cost() },
        Group { title: "What this scenario is about", rows: columns.figures() },
    ];
    Table { header, groups: groups.into_iter().filter(|group| !group.rows.is_empty()).collect() }
}

impl Table {
    pub fn to_terminal(&self) -> comfy_table::Table {
        let rows = self.groups.iter().flat_map(|group| {
            let blank = self.header.iter().skip(1).map(|_| Cell::new(""));
            let title = std::iter::once(Cell::new(group.title).add_attribute(Attribute::Bold)).chain(blank);
            let rows = group.rows.iter().map(|row| {
                std::iter::once(format!("  {}", row.name)).chain(row.cells.iter().cloned()).map(Cell::new).collect()
            });
            std::iter::once(title.collect::<Vec<Cell>>()).chain(rows)
        });
        terminal::table(&self.header, rows, 1)
    }
}

struct Columns<'a> {
    sides: Vec<Side<'a>>,
}

impl Columns<'_> {
    fn whole_run(&self) -> Vec<Row> {
        let mut rows = vec![self.count("connections", |run| u64::from(run.connections))];
        if self.sides.iter().any(|side| side.sum(|run| run.totals.offered) > 0) {
            rows.extend([
                self.count("messages offered", |run| run.totals.offered),
                self.count("accepted", |run| run.totals.accepted),
                self.count("acknowledged", |run| run.totals.acked),
                self.count("delivered", |run| run.totals.delivered),
                self.count("deliveries expected", |run| run.totals.deliveries_expected),
            ]);
        }
        rows
    }

    fn faults(&self) -> Vec<Row> {
        let mut rows = vec![
            self.sum("lost", |run| run.verdict.lost),
            self.sum("duplicated", |run| run.verdict.duplicated),
            self.sum("out of order", |run| run.verdict.disordered),
            self.sum("refused", |run| run.totals.refused),
            self.sum("unanswered", |run| run.verdict.unanswered),
            self.sum("resyncs", |run| run.resyncs),
            self.sum("connections lost", |run| run.lost_connections),
        ];
        if self.sides.iter().any(|side| side.runs.iter().any(|run| run.firings.is_some())) {
            rows.extend([
                self.firings("due and lost", |firings| firings.lost),
                self.firings("due and duplicated", |firings| firings.duplicated),
                self.firings("due and early", |firings| firings.early),
                self.firings("done and still there", |firings| firings.unsettled),
            ]);
        }
        rows
    }

    fn rates(&self) -> Vec<Row> {
        let rows = [
            self.figure("offered", "/s", |run| run.offered_per_s),
            self.figure("acknowledged", "/s", |run| run.acked_per_s),
            self.figure("delivered", "/s", |run| run.delivered_per_s),
        ];
        rows.into_iter().flatten().collect()
    }

    fn latency(&self, of: fn(&Outcome) -> Quantiles) -> Vec<Row> {
        let rows = [
            self.figure("p50", "ms", |run| of(run).p50_ms),
            self.figure("p90", "ms", |run| of(run).p90_ms),
            self.figure("p99", "ms", |run| of(run).p99_ms),
            self.figure("p99.9", "ms", |run| of(run).p999_ms),
            self.figure("longest", "ms", |run| of(run).max_ms),
        ];
        rows.into_iter().flatten().collect()
    }

    fn cost(&self) -> Vec<Row> {
        let rows = [
            self.figure("server CPU", "s", |run| run.server_cpu_s),
            self.figure("server CPU per delivered", "µs", |run| run.server_cpu_us_per_delivered),
            self.figure("delivered per server CPU second", "", |run| run.delivered_per_server_cpu_s),
            self.figure("client CPU", "s", |run| run.client_cpu_s),
            self.figure("server memory", "MiB", |run| run.server_rss_bytes as f64 / format::MIB),
            self.figure("server memory, peak", "MiB", |run| run.server_rss_peak_bytes as f64 / format::MIB),
            self.figure("server memory per connection", "KiB", |run| {
                sides::rss_bytes_per_connection(run) / format::KIB
            }),
            self.figure("written to disk per message", "B", |run| run.written_bytes_per_acked),
        ];
        rows.into_iter().flatten().collect()
    }

    /// What the scenario measures beyond what all do, by the names that it gave.
    fn figures(&self) -> Vec<Row> {
        let mut names: Vec<&'static str> = Vec::new();
        for figure in self.sides.iter().flat_map(|side| &side.runs).flat_map(|run| &run.figures) {
            if !names.contains(&figure.name) {
                names.push(figure.name);
            }
        }
        names.into_iter().filter_map(|name| self.figure(name, "", |run| run.figure(name))).collect()
    }

    /// A count, which has no ratio that says anything.
    fn count(&self, name: &'static str, of: fn(&Outcome) -> u64) -> Row {
        let cell = |side: &Side<'_>| format::count(side.median(|run| of(run) as f64).round() as u64);
        self.row(name, cell, |_| None)
    }

    /// A count of which a median would hide something.
    fn sum(&self, name: &'static str, of: fn(&Outcome) -> u64) -> Row {
        self.row(name, |side| format::count(side.sum(of)), |_| None)
    }

    /// The same of what was due.
    fn firings(&self, name: &'static str, of: fn(&Firings) -> u64) -> Row {
        let of_run = |run: &Outcome| run.firings.as_ref().map_or(0, of);
        self.row(name, |side| format::count(side.sum(of_run)), |_| None)
    }

    /// `None` where no run has it: an idle connection has no latency.
    fn figure(&self, name: &'static str, unit: &str, of: impl Fn(&Outcome) -> f64) -> Option<Row> {
        let first = self.sides.first().map_or(0.0, |side| side.median(&of));
        let ratio = |other: &Side<'_>| quotient(first, other.median(&of));
        let row = || self.row(name, |side| format::with_unit(side.median(&of), unit), ratio);
        self.sides.iter().any(|side| side.median(&of) > 0.0).then(row)
    }

    fn row(
        &self,
        name: &'static str,
        cell: impl Fn(&Side<'_>) -> String,
        ratio: impl Fn(&Side<'_>) -> Option<f64>,
    ) -> Row {
        let ratios = self.others().iter().map(|other| ratio(other).map_or_else(String::new, format::ratio));
        Row { name, cells: self.sides.iter().map(cell).chain(ratios).collect() }
    }

    /// Those that the first is compared with.
    fn others(&self) -> &[Side<'_>] {
        self.sides.get(1..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;
    use crate::{
        report::made_up,
        scenario::{Quantiles, Totals},
        subject::Kind,
    };

    fn cells(table: &Table, group: &str, row: &str) -> Vec<String> {
        let group = table.groups.iter().find(|other| other.title == group).unwrap();
        group.rows.iter().find(|other| other.name == row).unwrap().cells.clone()
    }

    #[test]
    fn both_servers_stand_beside_each_other_with_their_ratio() {
        let runs = vec![made_up::run(Kind::Baseline, 20_000.0, 1.0), made_up::run(Kind::Godwit, 30_000.0, 2.0)];
        let table = of(&made_up::report(runs));
        assert_eq!(table.header, ["pairs", "Godwit", "baseline", "ratio"]);
        assert_eq!(cells(&table, "Rate in the steady window", "delivered"), ["30,000 /s", "20,000 /s", "1.50"]);
        assert_eq!(cells(&table, "Ack latency, from when a message was due", "p99"), ["8.00 ms", "4.00 ms", "2.00"]);
        assert_eq!(cells(&table, "Whole run", "connections"), ["200", "200", ""]);
        let memory = cells(&table, "Cost in the steady window", "server memory per connection");
        assert_eq!(memory, ["614 KiB", "614 KiB", "1.00"]);
        assert!(table.to_terminal().to_string().contains("│   delivered "));
    }

    #[test]
    fn three_servers_have_two_ratios() {
        let runs = Kind::ALL.into_iter().zip([30_000.0, 20_000.0, 10_000.0]);
        let table = of(&made_up::report(runs.map(|(kind, rate)| made_up::run(kind, rate, 1.0)).collect()));
        assert_eq!(table.header[3..], ["TCP baseline", "÷ baseline", "÷ TCP baseline"]);
        let delivered = cells(&table, "Rate in the steady window", "delivered");
        assert_eq!(delivered, ["30,000 /s", "20,000 /s", "10,000 /s", "1.50", "3.00"]);
        assert_eq!(cells(&table, "Whole run", "connections").len(), 5);
    }

    #[test]
    fn a_fault_in_one_of_three_runs_is_not_hidden_by_a_median() {
        let mut runs = vec![made_up::run(Kind::Godwit, 30_000.0, 2.0); 3];
        runs[1].verdict.lost = 5;
        let table = of(&made_up::report(runs));
        assert_eq!(table.header, ["pairs", "Godwit, median of 3"]);
        assert_eq!(cells(&table, "What went wrong, all runs together", "lost"), ["5"]);
    }

    #[test]
    fn what_a_scenario_does_not_measure_has_no_row() {
        let mut idle = made_up::run(Kind::Godwit, 0.0, 1.0);
        (idle.ack, idle.delivery) = (Quantiles::default(), Quantiles::default());
        idle.totals = Totals::default();
        let table = of(&made_up::report(vec![idle]));
        let titles: Vec<_> = table.groups.iter().map(|group| group.title).collect();
        assert_eq!(titles, ["Whole run", "What went wrong, all runs together", "Cost in the steady window"]);
        assert_eq!(table.groups[0].rows.len(), 1, "connections");
    }
}
