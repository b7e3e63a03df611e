//! What one or several runs found: for people on a terminal or in a browser, and for programs.

pub mod charts;
mod comparison;
pub mod format;
mod live;
mod machine;
#[cfg(test)]
pub mod made_up;
pub mod markup;
pub mod page;
mod plot;
mod sides;
mod table;
mod terminal;

pub use live::{Live, while_waiting};
pub use machine::Machine;
pub use sides::{median, name as server_name};
pub use terminal::table as terminal_table;

use crate::{
    rig::{LINK_LATE_MAX_US, LINK_OVERRUN},
    scenario::{Firings, Outcome},
    subject::Kind,
};
use anyhow::Context;
use serde::Serialize;
use sides::{Side, quotient};
use std::{path::Path, time::SystemTime};

/// The result of an invocation.
#[derive(Debug, Clone, Serialize)]
pub struct RunReport {
    pub tool_version: &'static str,
    pub command_line: Vec<String>,
    pub machine: Machine,
    /// In UTC, as `2026-01-31 12:34:56 UTC`.
    pub started: String,
    pub scenario: String,
    /// In the order in which they ran.
    pub runs: Vec<Outcome>,
    /// Of the first run in which messages were scheduled or disappeared, once more for who looks for these figures only.
    #[serde(flatten)]
    pub firings: Option<Firings>,
    /// Godwit ÷ the bare relay; `None` unless both ran.
    pub ratios: Option<Ratios>,
    /// Godwit ÷ the relay over TCP; `None` unless both ran.
    pub tcp_ratios: Option<Ratios>,
}

/// Godwit ÷ a baseline, of the medians over the runs of each. `None` where the baseline's figure is zero.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ratios {
    pub delivered_per_s: Option<f64>,
    pub server_cpu_us_per_delivered: Option<f64>,
    pub server_rss_bytes_per_connection: Option<f64>,
    pub ack_p50_ms: Option<f64>,
    pub ack_p99_ms: Option<f64>,
    pub delivery_p50_ms: Option<f64>,
    pub delivery_p99_ms: Option<f64>,
}

impl RunReport {
    /// Of runs of this process on this machine.
    pub fn new(started: SystemTime, scenario: &str, runs: Vec<Outcome>) -> Self {
        let mut report = Self {
            tool_version: env!("CARGO_PKG_VERSION"),
            command_line: std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect(),
            machine: Machine::this(&std::env::temp_dir()),
            started: format::utc(started),
            scenario: scenario.to_owned(),
            firings: runs.iter().find_map(|run| run.firings.clone()),
            runs,
            ratios: None,
            tcp_ratios: None,
        };
        (report.ratios, report.tcp_ratios) = (report.ratios_to(Kind::Baseline), report.ratios_to(Kind::TcpBaseline));
        report
    }

    /// Writes it as JSON.
    pub fn write_json(&self, path: &Path) -> anyhow::Result<()> {
        write_json(self, path)
    }

    /// Writes it as a page for a browser.
    pub fn write_html(&self, path: &Path) -> anyhow::Result<()> {
        write(path, &page::of(self))
    }

    /// Prints the table of everything, and what to make of it, to standard output.
    pub fn print(&self) {
        self.print_below(&table::of(self).to_terminal());
    }

    /// The same with a table of the few figures that servers are compared by.
    pub fn print_comparison(&self) {
        self.print_below(&comparison::of(self));
    }

    fn print_below(&self, table: &comfy_table::Table) {
        println!("{table}");
        if !self.settings().is_empty() {
            println!("{}", self.settings());
        }
        println!("on {}", self.machine);
        for warning in self.warnings() {
            println!("warning: {warning}");
        }
        println!("{}", self.verdict());
    }

    /// Whether there was a run and nothing went wrong in any.
    pub fn is_clean(&self) -> bool {
        !self.runs.is_empty() && self.runs.iter().all(Outcome::is_clean)
    }

    /// What was asked for, in words: `pace: closed loop, 8 in flight; body bytes: 128`.
    fn settings(&self) -> String {
        let settings = self.runs.first().map(|run| run.settings.as_slice()).unwrap_or_default();
        let words: Vec<String> = settings.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        words.join("; ")
    }

    /// Whether all runs did what they should, and if not, what went wrong in which. One line.
    fn verdict(&self) -> String {
        let of_run = |(name, run)| Some(format!("{name}: {}", faults(run)?));
        let faults: Vec<String> = self.named_runs().filter_map(of_run).collect();
        match (self.runs.is_empty(), faults.is_empty()) {
            (true, _) => "NOTHING was run".to_owned(),
            (false, true) => "clean: nothing lost, duplicated, out of order, refused or unanswered".to_owned(),
            (false, false) => format!("NOT CLEAN: {}", faults.join("; ")),
        }
    }

    /// Why the figures may not say what they seem to say.
    fn warnings(&self) -> Vec<String> {
        let saturated = self.named_runs().filter_map(|(name, run)| {
            let share = quotient(run.client_cpu_s, run.steady_s * run.client_cpus as f64)?;
            (share > SATURATED_SHARE).then(|| {
                format!(
                    "{name}: the clients used {:.0} % of their CPU time in the steady window, so these figures are the \
                     clients', not the server's",
                    share * 100.0
                )
            })
        });
        let unreliable = self.named_runs().filter_map(|(name, run)| {
            let (late_ms, overrun) = (run.figure(LINK_LATE_MAX_US) / 1000.0, run.figure(LINK_OVERRUN));
            (late_ms > LATE_MS_MAX || overrun > 0.0).then(|| {
                format!(
                    "{name}: the network between server and clients was short of CPU time, up to {} ms late with a packet \
                     and with {} lost that should not have been, so latencies are in part its own",
                    format::figure(late_ms),
                    format::count(overrun as u64)
                )
            })
        });
        saturated.chain(unreliable).collect()
    }

    fn named_runs(&self) -> impl Iterator<Item = (String, &Outcome)> {
        self.runs.iter().enumerate().map(|(index, run)| {
            let earlier = self.runs[..index].iter().filter(|other| other.server == run.server).count();
            (format!("{}, run {}", sides::name(run.server), earlier + 1), run)
        })
    }

    fn ratios_to(&self, kind: Kind) -> Option<Ratios> {
        let (godwit, other) = (self.side(Kind::Godwit)?, self.side(kind)?);
        let of = |figure: fn(&Outcome) -> f64| quotient(godwit.median(figure), other.median(figure));
        Some(Ratios {
            delivered_per_s: of(|run| run.delivered_per_s),
            server_cpu_us_per_delivered: of(|run| run.server_cpu_us_per_delivered),
            server_rss_bytes_per_connection: of(sides::rss_bytes_per_connection),
            ack_p50_ms: of(|run| run.ack.p50_ms),
            ack_p99_ms: of(|run| run.ack.p99_ms),
            delivery_p50_ms: of(|run| run.delivery.p50_ms),
            delivery_p99_ms: of(|run| run.delivery.p99_ms),
        })
    }

    fn side(&self, kind: Kind) -> Option<Side<'_>> {
        Side::of(kind, &self.runs)
    }

    /// Godwit first.
    fn sides(&self) -> Vec<Side<'_>> {
        Side::all(&self.runs)
    }
}

/// Writes a result for programs.
pub fn write_json(result: &impl Serialize, path: &Path) -> anyhow::Result<()> {
    write(path, &(serde_json::to_string_pretty(result)? + "\n"))
}

/// Writes a file, or says which one could not be written.
pub fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

/// In words; `None` when there are none.
fn faults(run: &Outcome) -> Option<String> {
    if run.is_clean() {
        return None;
    }
    let of = |count: fn(&Firings) -> u64| run.firings.as_ref().map_or(0, count);
    let counts = [
        (run.verdict.lost, "lost"),
        (run.verdict.duplicated, "duplicated"),
        (run.verdict.disordered, "out of order"),
        (run.totals.refused, "refused"),
        (run.verdict.unanswered, "unanswered"),
        (run.resyncs, "resyncs"),
        (run.lost_connections, "connections lost"),
        (of(|firings| firings.lost), "due messages lost"),
        (of(|firings| firings.duplicated), "due messages duplicated"),
        (of(|firings| firings.early), "due messages early"),
        (of(|firings| firings.unsettled), "due messages done and still there"),
    ];
    let present = counts.into_iter().filter(|(count, _)| *count > 0);
    let words: Vec<String> = present.map(|(count, what)| format!("{} {what}", format::count(count))).collect();
    Some(if words.is_empty() { "not as it should be".to_owned() } else { words.join(", ") })
}

/// A client that has no CPU time left sends late and hears late, and the server gets the blame.
const SATURATED_SHARE: f64 = 0.95;
/// No less than what networks delay packets by on purpose.
const LATE_MS_MAX: f64 = 50.0;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    fn both_sides() -> RunReport {
        made_up::report(vec![
            made_up::run(Kind::Godwit, 30_000.0, 2.0),
            made_up::run(Kind::Baseline, 20_000.0, 1.0),
            made_up::run(Kind::Godwit, 90_000.0, 9.0),
            made_up::run(Kind::Baseline, 30_000.0, 2.0),
            made_up::run(Kind::Godwit, 36_000.0, 3.0),
        ])
    }

    #[test]
    fn a_ratio_is_of_the_medians_of_both_sides() {
        let ratios = both_sides().ratios.unwrap();
        assert_eq!(ratios.delivered_per_s, Some(36_000.0 / 25_000.0));
        assert_eq!(ratios.delivery_p50_ms.map(|ratio| (ratio * 1e6).round()), Some(2e6));
        assert_eq!(ratios.server_rss_bytes_per_connection, Some(1.0));
    }

    #[test]
    fn one_server_alone_has_no_ratio() {
        assert_eq!(made_up::report(vec![made_up::run(Kind::Godwit, 1.0, 1.0)]).ratios, None);
        assert_eq!(made_up::report(Vec::new()).ratios, None);
    }

    #[test]
    fn the_verdict_says_what_went_wrong_in_which_run() {
        let mut report = both_sides();
        assert!(report.is_clean() && report.verdict().starts_with("clean"));
        report.runs[2].verdict.lost = 1_234;
        report.runs[2].resyncs = 1;
        report.runs[3].totals.refused = 7;
        assert!(!report.is_clean());
        assert_eq!(report.verdict(), "NOT CLEAN: Godwit, run 2: 1,234 lost, 1 resyncs; baseline, run 2: 7 refused");
        let nothing = made_up::report(Vec::new());
        assert!(!nothing.is_clean() && nothing.verdict().starts_with("NOTHING"));
    }

    #[test]
    fn a_scheduled_message_that_is_lost_doubled_or_early_fails_a_run() {
        let fired = Firings { pending: 100, due: 20, fired: 20, lag_p99_ms: 4.0, ..Firings::default() };
        let report = |firings: Firings| {
            let run = made_up::run(Kind::Godwit, 30_000.0, 2.0);
            made_up::report(vec![Outcome { firings: Some(firings), ..run }])
        };
        assert!(report(fired.clone()).is_clean());
        let json = serde_json::to_value(report(fired.clone())).unwrap();
        assert_eq!((&json["fired"], &json["lag_p99_ms"]), (&20.into(), &4.0.into()), "where programs look for it");
        for (firings, said) in [
            (Firings { lost: 1, fired: 19, ..fired.clone() }, "1 due messages lost"),
            (Firings { duplicated: 1, ..fired.clone() }, "1 due messages duplicated"),
            (Firings { early: 1, ..fired }, "1 due messages early"),
        ] {
            let report = report(firings);
            assert!(!report.is_clean() && report.verdict().ends_with(said), "{}", report.verdict());
        }
    }

    #[test]
    fn clients_without_cpu_time_left_are_a_warning() {
        let mut report = both_sides();
        assert_eq!(report.warnings(), [""; 0]);
        report.runs[1].client_cpu_s = 14.9;
        assert!(report.warnings()[0].starts_with("baseline, run 1: the clients used 99 %"), "{:?}", report.warnings());
        for enough_or_unknown in [2, 0] {
            report.runs[1].client_cpus = enough_or_unknown;
            assert_eq!(report.warnings(), [""; 0]);
        }
    }

    #[test]
    fn a_network_that_was_late_or_lost_too_much_is_a_warning() {
        let mut report = both_sides();
        report.runs[0].note(LINK_LATE_MAX_US, 49_000.0);
        report.runs[1].note(LINK_LATE_MAX_US, 80_000.0);
        report.runs[2].note(LINK_OVERRUN, 7.0);
        let [late, overrun] = &report.warnings()[..] else { panic!("{:?}", report.warnings()) };
        assert!(late.starts_with("baseline, run 1: ") && late.contains("80.0 ms late"), "{late}");
        assert!(overrun.starts_with("Godwit, run 2: ") && overrun.contains("7 lost"), "{overrun}");
    }

    #[test]
    fn the_json_has_the_runs_and_how_they_came_about() {
        let json = serde_json::to_value(both_sides()).unwrap();
        assert_eq!(json["runs"][4]["delivered_per_s"], 36_000.0);
        assert_eq!(json["runs"][1]["server"], "baseline");
        assert_eq!(json["machine"]["cpus"], 2);
        assert_eq!(json["ratios"]["delivered_per_s"], 1.44);
        assert_eq!(json["command_line"][1], "pairs");
    }
}
