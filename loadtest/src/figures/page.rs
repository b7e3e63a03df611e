//! Figures as a page for a browser, in the form of the report of a run.

use super::{
    FiguresReport, Key, Row,
    table::{Sheet, of_absolute, of_figures},
};
use crate::{
    report::{
        charts, format,
        markup::escape,
        page::{document, write_origin},
    },
    scenario::SecondFigures,
    subject::Kind,
};
use std::fmt::{self, Write};

/// The whole document.
pub fn of(report: &FiguresReport) -> String {
    document("figures", |out| write(report, out))
}

fn write(report: &FiguresReport, out: &mut String) -> fmt::Result {
    writeln!(out, "<p class=\"faint\">Godwit load test · {}</p>\n<h1>figures</h1>", escape(&report.started))?;
    writeln!(out, "<p class=\"faint\">medians of {}</p>", report.rounds)?;
    let class = if report.is_clean() { "good" } else { "bad" };
    writeln!(out, "<p class=\"note {class}\">{}</p>", report.words())?;
    for (key, error) in &report.failed {
        let error = escape(error);
        writeln!(out, "<p class=\"note warn\">{} could not be measured: {error}</p>", key.name())?;
    }
    if !report.figures.is_empty() {
        write_sheet(out, "Figures and their goals", &of_figures(report.figures.values()))?;
    }
    if !report.absolute.is_empty() {
        write_sheet(out, "Figures that stand for themselves", &of_absolute(&report.absolute))?;
    }
    write_plots(out, report.figures.values())?;
    write_origin(out, &report.machine, &report.command_line, report.tool_version)
}

fn write_sheet(out: &mut String, title: &str, sheet: &Sheet) -> fmt::Result {
    writeln!(out, "<h2>{title}</h2>\n<div class=\"wide\"><table>\n<thead><tr>")?;
    sheet.header.iter().try_for_each(|title| write!(out, "<th scope=\"col\">{}</th>", escape(title)))?;
    out.write_str("</tr></thead>\n<tbody>\n")?;
    for row in &sheet.rows {
        out.write_str("<tr>")?;
        row.iter().try_for_each(|cell| write!(out, "<td>{}</td>", escape(cell)))?;
        out.write_str("</tr>\n")?;
    }
    out.write_str("</tbody>\n</table></div>\n")
}

/// Of the figures that compare two servers over time.
fn write_plots<'a>(out: &mut String, rows: impl Iterator<Item = &'a Row>) -> fmt::Result {
    let plots = rows.filter_map(|row| {
        let (what, unit, of) = drawn(row.key)?;
        let has = |kind| row.runs.iter().any(|run| run.server == kind && !run.seconds.is_empty());
        let both = has(Kind::Godwit) && has(Kind::Baseline);
        both.then(|| charts::over_time(&format!("{}: {what}", row.key.name()), unit, &row.runs, of).to_html())
    });
    let plots: Vec<String> = plots.collect();
    if plots.is_empty() {
        return Ok(());
    }
    writeln!(out, "<h2>Over time</h2>\n<div class=\"plots\">\n{}</div>", plots.concat())
}

/// A name, a unit, and where a second has it.
type Drawn = (&'static str, &'static str, fn(&SecondFigures) -> f64);

/// What a figure is about.
fn drawn(key: Key) -> Option<Drawn> {
    Some(match key {
        Key::PairsRate | Key::HotGroupRate => ("delivered", "deliveries/s", |second| second.delivered as f64),
        Key::PairsCpu | Key::PairsSingleCpu => ("server CPU", "% of one core", |second| second.server_cpu_s * 100.0),
        Key::PairsP99 => ("delivery latency, p99", "ms", |second| second.delivery.p99_ms),
        Key::IdleBytes => ("server memory", "MiB", |second| second.server_rss_bytes as f64 / format::MIB),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;
    use crate::report::{made_up, page::tests::unbalanced};
    use std::collections::BTreeMap;

    fn report(key: Key, kinds: &[Kind]) -> FiguresReport {
        let runs = kinds.iter().map(|&kind| made_up::run(kind, 30_000.0, 2.0)).collect();
        let (goal, value) = (key.goal(), 0.5);
        let (godwit, baseline, verdict) = (Some(15_000.0), Some(30_000.0), goal.judge(value));
        let row = Row { key, godwit, baseline, unit: "/s", value, goal, verdict, notes: Vec::new(), runs };
        let machine = made_up::report(Vec::new()).machine;
        FiguresReport {
            tool_version: "1",
            command_line: vec!["figures <all>".into()],
            machine,
            started: "now".into(),
            rounds: 3,
            figures: BTreeMap::from([(key, row)]),
            absolute: Vec::new(),
            failed: BTreeMap::from([(Key::LanesP99, "<no network>".to_owned())]),
        }
    }

    #[test]
    fn the_page_has_each_figure_with_its_goal_and_what_went_wrong() {
        let page = of(&report(Key::PairsRate, &[Kind::Godwit, Kind::Baseline]));
        assert_eq!(unbalanced(&page), None);
        assert!(page.contains("<td>pairs_rate</td><td>15,000 /s</td><td>30,000 /s</td><td>0.50</td><td>≥ 1</td>"));
        assert!(page.contains("missed by 50 %") && page.contains("lanes_p99 could not be measured: &lt;no network"));
        assert!(page.contains("class=\"note bad\""), "a figure is missing");
        assert_eq!(page.matches("<figure>").count(), 1);
    }

    #[test]
    fn the_seconds_of_runs_are_for_the_page_and_not_in_the_result() {
        let report = report(Key::PairsRate, &[Kind::Godwit]);
        let json = serde_json::to_value(&report).unwrap();
        assert!(!report.figures[&Key::PairsRate].runs[0].seconds.is_empty());
        let run = &json["figures"]["pairs_rate"]["runs"][0];
        assert_eq!((run["seconds"].as_array().map(Vec::len), &run["delivered_per_s"]), (Some(0), &30_000.0.into()));
    }

    #[test]
    fn what_does_not_compare_two_servers_over_time_has_no_plot() {
        for (key, kinds) in [(Key::PairsRate, &[Kind::Godwit][..]), (Key::StormRate, &[Kind::Godwit, Kind::Baseline])] {
            assert!(!of(&report(key, kinds)).contains("<figure>"));
        }
    }
}
