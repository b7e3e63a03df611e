//! Which plots a report has.

use super::{
    RunReport, format,
    plot::{Axis, Band, Line, Plot, nines},
    sides::{Side, median, name},
};
use crate::{
    scenario::{CurvePoint, Outcome, Quantiles, SecondFigures},
    subject::Kind,
};

/// Two by two, those that belong beside each other. What a scenario does not measure has none.
pub fn of(report: &RunReport) -> Vec<Plot> {
    let charts = Charts { sides: report.sides() };
    let mut plots = vec![
        charts.over_time("Delivered", "deliveries/s", &[("", "", |second| second.delivered as f64)]),
        charts.over_time(
            "Offered and acknowledged",
            "messages/s",
            &[
                ("acknowledged", "", |second| second.acked as f64),
                ("offered", "dotted", |second| second.offered as f64),
            ],
        ),
    ];
    plots.extend(charts.latencies("Delivery latency", |second| second.delivery));
    plots.extend(charts.latencies("Ack latency", |second| second.ack));
    plots.push(charts.percentiles("Delivery latency, by percentile", |run| &run.delivery_curve));
    plots.push(charts.percentiles("Ack latency, by percentile", |run| &run.ack_curve));
    plots.push(charts.over_time("Server CPU", "% of one core", &[("", "", |second| second.server_cpu_s * 100.0)]));
    plots.push(charts.over_time(
        "Server memory",
        "MiB",
        &[("", "", |second| second.server_rss_bytes as f64 / format::MIB)],
    ));
    plots.retain(|plot| values(&plot.lines).any(|y| y > 0.0));
    plots
}

/// One thing over time, of all servers that are among the runs.
pub fn over_time(title: &str, y_title: &'static str, runs: &[Outcome], of: fn(&SecondFigures) -> f64) -> Plot {
    Charts { sides: Side::all(runs) }.over_time(title, y_title, &[("", "", of)])
}

/// What of a second is drawn, under which name, in which style.
type Drawn = (&'static str, &'static str, fn(&SecondFigures) -> f64);

type Quantile = fn(Quantiles) -> f64;

struct Charts<'a> {
    sides: Vec<Side<'a>>,
}

impl Charts<'_> {
    /// The medians of both servers, and how far the runs are apart.
    fn over_time(&self, title: &str, y_title: &'static str, drawn: &[Drawn]) -> Plot {
        let (mut lines, mut bands) = (Vec::new(), Vec::new());
        for side in &self.sides {
            for (what, style, of) in drawn {
                let name = if what.is_empty() { side.title() } else { format!("{}, {what}", name(side.kind)) };
                let class = format!("{} {style}", class(side.kind));
                lines.push(Line { name, class, points: by_second(side, of, |values| median(values.to_vec())) });
            }
            if let ([(_, _, of)], true) = (drawn, side.runs.len() > 1) {
                let lowest = by_second(side, of, |values| values.iter().copied().fold(f64::INFINITY, f64::min));
                let highest = by_second(side, of, |values| values.iter().copied().fold(0.0, f64::max));
                let points = lowest.into_iter().zip(highest).map(|((x, low), (_, high))| (x, low, high)).collect();
                bands.push(Band { class: class(side.kind), points });
            }
        }
        let highest = bands.iter().flat_map(|band: &Band| &band.points).map(|(_, _, high)| *high);
        let y = Axis::from_zero(values(&lines).chain(highest));
        Plot { title: title.to_owned(), y, y_title, bands, lines, ..self.seconds() }
    }

    /// A plot per server, since four lines of each would not be told apart in one; over the same axes.
    fn latencies(&self, title: &str, of: fn(&SecondFigures) -> Quantiles) -> Vec<Plot> {
        let quantiles: [(&str, Quantile); 4] =
            [("longest", |it| it.max_ms), ("p99", |it| it.p99_ms), ("p90", |it| it.p90_ms), ("p50", |it| it.p50_ms)];
        let lines_of = |side: &Side<'_>| {
            // They are styled by name.
            let line = |(name, quantile): (&str, Quantile)| Line {
                name: name.to_owned(),
                class: format!("{} {name}", class(side.kind)),
                points: by_second(side, &|second| measured(quantile(of(second))), |values| median(values.to_vec())),
            };
            quantiles.map(line)
        };
        let lines: Vec<[Line; 4]> = self.sides.iter().map(lines_of).collect();
        let y = Axis::fitting(lines.iter().flat_map(|lines| values(lines)));
        let plot = |(side, lines): (&Side<'_>, [Line; 4])| Plot {
            title: format!("{title}, {}", name(side.kind)),
            y: y.clone(),
            y_title: "ms",
            lines: lines.into(),
            ..self.seconds()
        };
        self.sides.iter().zip(lines).map(plot).collect()
    }

    /// How the latencies of the steady window are spread: of the run in the middle, since curves have no median.
    fn percentiles(&self, title: &str, of: fn(&Outcome) -> &Vec<CurvePoint>) -> Plot {
        let mut lines = Vec::new();
        for side in &self.sides {
            let points: Vec<&CurvePoint> =
                middle_run(side).map(of).into_iter().flatten().filter(|point| point.percentile < 100.0).collect();
            let points = points.into_iter().map(|point| (nines(point.percentile), point.ms)).collect();
            lines.push(Line { name: name(side.kind).to_owned(), class: class(side.kind).to_owned(), points });
        }
        let highest = lines.iter().flat_map(|line| &line.points).map(|(x, _)| *x).fold(0.0, f64::max);
        let y = Axis::fitting(values(&lines));
        Plot {
            title: title.to_owned(),
            x: Axis::percentiles(highest),
            x_title: "percentile",
            y,
            y_title: "ms",
            shaded: None,
            bands: Vec::new(),
            lines,
        }
    }

    /// An empty plot over the seconds of the runs.
    fn seconds(&self) -> Plot {
        let runs = || self.sides.iter().flat_map(|side| &side.runs);
        let longest = runs().map(|run| run.seconds.len()).max().unwrap_or(0);
        let steady = runs().next().map(|run| (run.steady_from as f64, (run.steady_from + run.steady_seconds) as f64));
        Plot {
            title: String::new(),
            x: Axis::up_to(longest as f64),
            x_title: "seconds since the load began",
            y: Axis::from_zero([]),
            y_title: "",
            shaded: steady,
            bands: Vec::new(),
            lines: Vec::new(),
        }
    }
}

/// One value a second, in the middle of it, from the runs that have that second.
fn by_second(
    side: &Side<'_>,
    of: &impl Fn(&SecondFigures) -> f64,
    together: impl Fn(&[f64]) -> f64,
) -> Vec<(f64, f64)> {
    let longest = side.runs.iter().map(|run| run.seconds.len()).max().unwrap_or(0);
    let at = |index: usize| {
        let seconds = side.runs.iter().filter_map(|run| run.seconds.get(index));
        let values: Vec<f64> = seconds.map(of).filter(|value| value.is_finite()).collect();
        (index as f64 + 0.5, if values.is_empty() { f64::NAN } else { together(&values) })
    };
    (0..longest).map(at).collect()
}

fn values(lines: &[Line]) -> impl Iterator<Item = f64> {
    lines.iter().flat_map(|line| &line.points).map(|(_, y)| *y)
}

/// A latency of zero stands for none.
fn measured(latency_ms: f64) -> f64 {
    if latency_ms > 0.0 { latency_ms } else { f64::NAN }
}

/// By the p99 of delivery.
fn middle_run<'a>(side: &Side<'a>) -> Option<&'a Outcome> {
    let mut runs = side.runs.clone();
    runs.sort_by(|one, other| one.delivery.p99_ms.total_cmp(&other.delivery.p99_ms));
    runs.get(runs.len() / 2).copied()
}

/// Of the style sheet.
fn class(kind: Kind) -> &'static str {
    match kind {
        Kind::Godwit => "godwit",
        Kind::Baseline => "baseline",
        Kind::TcpBaseline => "tcp-baseline",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;
    use crate::report::made_up;

    #[test]
    fn the_plots_of_both_servers_have_the_same_axes() {
        let runs = vec![made_up::run(Kind::Godwit, 30_000.0, 2.0), made_up::run(Kind::Baseline, 20_000.0, 1.0)];
        let plots = of(&made_up::report(runs));
        let titles: Vec<&str> = plots.iter().map(|plot| plot.title.as_str()).collect();
        assert_eq!(titles[2..4], ["Delivery latency, Godwit", "Delivery latency, baseline"]);
        assert_eq!(plots[2].y, plots[3].y);
        assert!(plots[0].bands.is_empty(), "one run has no spread");
        assert_eq!(plots[0].shaded, Some((3.0, 18.0)));
    }

    #[test]
    fn a_curve_reaches_as_many_nines_as_were_measured() {
        let plots = of(&made_up::report(vec![made_up::run(Kind::Godwit, 30_000.0, 2.0)]));
        let curve = plots.iter().find(|plot| plot.title.ends_with("by percentile")).unwrap();
        assert_eq!(curve.x.labels(), ["0", "50", "90", "99", "99.9", "99.99"]);
        let last = curve.lines[0].points.last().unwrap();
        assert_eq!(curve.x.place(last.0), Some(1.0));
    }

    #[test]
    fn several_runs_are_a_median_and_what_is_around_it() {
        let runs = [10.0, 30.0, 70.0].map(|rate| made_up::run(Kind::Godwit, rate, 1.0)).to_vec();
        let plots = of(&made_up::report(runs));
        let (second, band) = (&plots[0].lines[0].points[1], &plots[0].bands[0].points[1]);
        assert_eq!((second.0, band.0), (1.5, 1.5));
        assert!(band.1 < second.1 && second.1 < band.2, "{second:?} {band:?}");
    }

    #[test]
    fn what_was_not_measured_has_no_plot() {
        let mut run = made_up::run(Kind::Godwit, 0.0, 1.0);
        run.delivery_curve.clear();
        run.seconds.iter_mut().for_each(|second| second.delivery = Quantiles::default());
        let plots = of(&made_up::report(vec![run]));
        assert!(plots.iter().all(|plot| !plot.title.contains("Deliver")));
        assert!(plots.iter().any(|plot| plot.title.starts_with("Ack latency")));
    }
}
