//! The report as one page of HTML that needs nothing but itself: no scripts, no fonts, no pictures from elsewhere.

use super::{
    Machine, Ratios, RunReport, charts, format,
    markup::escape,
    sides::{self, Side, name},
    table,
};
use crate::{scenario::Outcome, subject::Kind};
use std::fmt::{self, Write};

/// The page of a report.
pub fn of(report: &RunReport) -> String {
    document(&report.scenario, |out| Page { report, out }.write())
}

/// A whole document: under a title, what `body` writes.
pub fn document(title: &str, body: impl FnOnce(&mut String) -> fmt::Result) -> String {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"/>\n<title>{} · Godwit load test</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n",
        escape(title)
    );
    // Writing to a string does not fail.
    let _ = body(&mut page);
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

/// Where the figures of a page come from.
pub fn write_origin(out: &mut String, machine: &Machine, command_line: &[String], version: &str) -> fmt::Result {
    writeln!(
        out,
        "<h2>How they came about</h2>\n<dl>\n<dt>Machine</dt><dd>{}</dd>\n<dt>Command</dt><dd><code>{}</code></dd>\n\
         <dt>Version</dt><dd>{}</dd>\n</dl>",
        escape(&machine.to_string()),
        escape(&command_line.join(" ")),
        escape(version)
    )
}

struct Page<'a> {
    report: &'a RunReport,
    out: &'a mut String,
}

impl Page<'_> {
    fn write(&mut self) -> fmt::Result {
        self.write_heading()?;
        self.write_cards()?;
        self.write_plots()?;
        self.write_table()?;
        let report = self.report;
        write_origin(self.out, &report.machine, &report.command_line, report.tool_version)
    }

    fn write_heading(&mut self) -> fmt::Result {
        let report = self.report;
        writeln!(self.out, "<p class=\"faint\">Godwit load test · {}</p>", escape(&report.started))?;
        writeln!(self.out, "<h1>{}</h1>", escape(&report.scenario))?;
        writeln!(self.out, "<p class=\"faint\">{}</p>", escape(&report.settings()))?;
        let class = if report.is_clean() { "good" } else { "bad" };
        writeln!(self.out, "<p class=\"note {class}\">{}</p>", escape(&report.verdict()))?;
        for warning in report.warnings() {
            writeln!(self.out, "<p class=\"note warn\">{}</p>", escape(&warning))?;
        }
        Ok(())
    }

    /// The figures that a run is judged by.
    fn write_cards(&mut self) -> fmt::Result {
        let sides = self.report.sides();
        let Some(side) = sides.first() else { return Ok(()) };
        let cards: [Card; 5] = [
            ("delivered", "/s", |run| run.delivered_per_s, |ratios| ratios.delivered_per_s),
            ("delivery latency, p50", "ms", |run| run.delivery.p50_ms, |ratios| ratios.delivery_p50_ms),
            ("delivery latency, p99", "ms", |run| run.delivery.p99_ms, |ratios| ratios.delivery_p99_ms),
            (
                "server CPU per delivered",
                "µs",
                |run| run.server_cpu_us_per_delivered,
                |ratios| ratios.server_cpu_us_per_delivered,
            ),
            (
                "server memory per connection",
                "KiB",
                |run| sides::rss_bytes_per_connection(run) / format::KIB,
                |ratios| ratios.server_rss_bytes_per_connection,
            ),
        ];
        self.out.write_str("<div class=\"cards\">\n")?;
        for (what, unit, of, ratio_of) in cards {
            let value = side.median(of);
            // Not every scenario delivers something.
            if value > 0.0 {
                self.write_card(side, what, &format::with_unit(value, unit), ratio_of)?;
            }
        }
        self.out.write_str("</div>\n")
    }

    fn write_card(
        &mut self,
        side: &Side<'_>,
        what: &str,
        value: &str,
        ratio_of: fn(&Ratios) -> Option<f64>,
    ) -> fmt::Result {
        write!(self.out, "<div><span>{}: {what}</span><b>{value}</b>", name(side.kind))?;
        let RunReport { ratios, tcp_ratios, .. } = self.report;
        for (ratios, other) in [(ratios, Kind::Baseline), (tcp_ratios, Kind::TcpBaseline)] {
            if let Some(ratio) = ratios.as_ref().and_then(ratio_of) {
                write!(self.out, "<span>{} × {}</span>", format::ratio(ratio), name(other))?;
            }
        }
        self.out.write_str("</div>\n")
    }

    fn write_plots(&mut self) -> fmt::Result {
        let plots = charts::of(self.report);
        if plots.is_empty() {
            return Ok(());
        }
        let several = if self.report.sides().iter().any(|side| side.runs.len() > 1) {
            " Lines are medians of the runs, second by second; what is coloured around one lies between the lowest and \
             the highest."
        } else {
            ""
        };
        writeln!(
            self.out,
            "<h2>Over time</h2>\n<p class=\"faint\"><i class=\"steady\"></i> The steady window, which the table is \
             about.{several}</p>\n<div class=\"plots\">"
        )?;
        plots.iter().try_for_each(|plot| self.out.write_str(&plot.to_html()))?;
        self.out.write_str("</div>\n")
    }

    fn write_table(&mut self) -> fmt::Result {
        let table = table::of(self.report);
        self.out.write_str("<h2>Figures</h2>\n<div class=\"wide\"><table>\n<thead><tr>")?;
        for (index, title) in table.header.iter().enumerate() {
            // The scenario is in the heading already.
            let title = if index == 0 { "" } else { title.as_str() };
            write!(self.out, "<th scope=\"col\">{}</th>", escape(title))?;
        }
        self.out.write_str("</tr></thead>\n")?;
        for group in &table.groups {
            let columns = table.header.len();
            writeln!(self.out, "<tbody>\n<tr><th scope=\"rowgroup\" colspan=\"{columns}\">{}</th></tr>", group.title)?;
            for row in &group.rows {
                write!(self.out, "<tr><td>{}</td>", row.name)?;
                row.cells.iter().try_for_each(|cell| write!(self.out, "<td>{}</td>", escape(cell)))?;
                self.out.write_str("</tr>\n")?;
            }
            self.out.write_str("</tbody>\n")?;
        }
        self.out.write_str("</table></div>\n")
    }
}

/// A name, a unit, a figure and its ratio.
type Card = (&'static str, &'static str, fn(&Outcome) -> f64, fn(&Ratios) -> Option<f64>);

const STYLE: &str = include_str!("page.css");

#[cfg(test)]
pub mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;
    use crate::report::made_up;

    fn both_servers() -> RunReport {
        made_up::report(vec![
            made_up::run(Kind::Godwit, 31_200.0, 2.0),
            made_up::run(Kind::Baseline, 29_800.0, 1.6),
            made_up::run(Kind::Godwit, 33_900.0, 2.2),
            made_up::run(Kind::Baseline, 27_400.0, 1.7),
        ])
    }

    /// Complains about the first tag that does not close what is open.
    pub fn unbalanced(html: &str) -> Option<String> {
        let mut open = Vec::new();
        for tag in html.split('<').skip(1) {
            let tag = tag.split_once('>').map(|(tag, _)| tag)?;
            let name = tag.split(|c: char| c.is_whitespace()).next()?;
            match name.strip_prefix('/') {
                Some(closed) if open.pop() != Some(closed) => return Some(format!("</{closed}> in {open:?}")),
                Some(_) => {}
                None if name.starts_with('!') || tag.ends_with('/') => {}
                None => open.push(name),
            }
        }
        (!open.is_empty()).then(|| format!("never closed: {open:?}"))
    }

    #[test]
    fn the_page_is_well_formed_and_shows_both_servers() {
        let page = of(&both_servers());
        assert_eq!(unbalanced(&page), None);
        assert_eq!(page.matches("<figure>").count(), 10);
        assert!(page.contains("<th scope=\"col\">Godwit, median of 2</th>") && page.contains("× baseline"));
        assert!(page.contains("class=\"note good\"") && !page.contains("class=\"note bad\""));
        assert!(!page.contains("NaN"));
    }

    #[test]
    fn a_third_server_is_compared_with_too() {
        let runs = Kind::ALL.map(|kind| made_up::run(kind, 31_200.0, 2.0)).to_vec();
        let page = of(&made_up::report(runs));
        assert_eq!(unbalanced(&page), None);
        assert!(page.contains("<span>1.00 × baseline</span><span>1.00 × TCP baseline</span>"));
        assert!(page.contains("class=\"line tcp-baseline \""));
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        let page = of(&both_servers());
        for word in ["http://", "https://", "<script", "<link", "<img", "@import", "url("] {
            assert!(!page.contains(word), "{word}");
        }
    }

    #[test]
    fn the_command_line_is_text() {
        let mut report = both_servers();
        report.command_line.push("<script>alert('x')</script>".into());
        let page = of(&report);
        assert!(!page.contains("<script"));
        assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"));
        assert_eq!(unbalanced(&page), None);
    }

    #[test]
    fn a_page_of_one_second_or_of_no_run_is_still_a_page() {
        let mut short = made_up::run(Kind::Godwit, 10.0, 1.0);
        short.seconds.truncate(2);
        short.delivery_curve.truncate(1);
        for runs in [vec![], vec![short]] {
            let page = of(&made_up::report(runs));
            assert_eq!(unbalanced(&page), None);
            assert!(!page.contains("NaN") && !page.contains("inf\""));
        }
    }

    #[test]
    fn what_went_wrong_is_in_the_heading() {
        let mut report = both_servers();
        report.runs[2].verdict.lost = 3;
        report.runs[0].client_cpu_s = 15.0;
        let page = of(&report);
        assert!(page.contains("<p class=\"note bad\">NOT CLEAN: Godwit, run 2: 3 lost</p>"));
        assert!(page.contains("<p class=\"note warn\">Godwit, run 1: the clients used 100 %"));
    }
}
