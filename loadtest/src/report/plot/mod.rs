//! Plots as inline SVG. Colours and strokes are the page's style sheet's, so that a page follows the reader's light or dark
//! setting; that is also why no plotting crate is used: they write colours into every element.

mod axis;

pub use axis::{Axis, nines};

use crate::report::markup::escape;
use std::fmt::{self, Write};

/// Lines over one pair of axes.
pub struct Plot {
    pub title: String,
    pub x: Axis,
    pub x_title: &'static str,
    pub y: Axis,
    /// With the unit.
    pub y_title: &'static str,
    /// A part of the x axis that stands out.
    pub shaded: Option<(f64, f64)>,
    pub bands: Vec<Band>,
    pub lines: Vec<Line>,
}

/// What is between two lines.
pub struct Band {
    /// Of the style sheet.
    pub class: &'static str,
    /// x, lowest, highest.
    pub points: Vec<(f64, f64, f64)>,
}

/// One line. A point that has no place on the axes leaves a gap.
pub struct Line {
    /// For the legend.
    pub name: String,
    /// Of the style sheet.
    pub class: String,
    pub points: Vec<(f64, f64)>,
}

impl Plot {
    /// With its title and legend.
    pub fn to_html(&self) -> String {
        let mut html = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut html);
        html
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        write!(out, "<figure><figcaption><b>{}</b>", escape(&self.title))?;
        for line in &self.lines {
            write!(
                out,
                "<span class=\"key\"><svg viewBox=\"0 0 24 8\" aria-hidden=\"true\"><path class=\"line {}\" d=\"M0 \
                 4H24\"/></svg>{}</span>",
                line.class,
                escape(&line.name)
            )?;
        }
        let title = escape(&self.title);
        write!(
            out,
            "</figcaption>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title} over {}\">",
            self.x_title
        )?;
        self.write_shade(out)?;
        self.write_axes(out)?;
        for band in &self.bands {
            self.write_band(out, band)?;
        }
        for line in &self.lines {
            self.write_line(out, line)?;
        }
        out.write_str("</svg></figure>\n")
    }

    fn write_shade(&self, out: &mut String) -> fmt::Result {
        let Some((from, to)) = self.shaded else { return Ok(()) };
        let (Some(from), Some(to)) = (self.x.place(from), self.x.place(to)) else { return Ok(()) };
        let (left, width) = (x_at(from), (to - from) * (RIGHT - LEFT));
        writeln!(
            out,
            "<rect class=\"steady\" x=\"{left:.1}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{}\"/>",
            BOTTOM - TOP
        )
    }

    fn write_axes(&self, out: &mut String) -> fmt::Result {
        for tick in &self.y.ticks {
            let Some(y) = self.y.place(tick.value).map(y_at) else { continue };
            writeln!(out, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>")?;
            let (x, y) = (LEFT - 6.0, y + 4.0);
            writeln!(out, "<text class=\"end\" x=\"{x}\" y=\"{y:.1}\">{}</text>", tick.label)?;
        }
        for tick in &self.x.ticks {
            let Some(x) = self.x.place(tick.value).map(x_at) else { continue };
            writeln!(out, "<path class=\"mark\" d=\"M{x:.1} {BOTTOM}v4\"/>")?;
            let y = BOTTOM + 17.0;
            writeln!(out, "<text class=\"middle\" x=\"{x:.1}\" y=\"{y}\">{}</text>", tick.label)?;
        }
        writeln!(out, "<path class=\"mark\" d=\"M{LEFT} {BOTTOM}H{RIGHT}\"/>")?;
        writeln!(out, "<text class=\"title\" x=\"2\" y=\"12\">{}</text>", self.y_title)?;
        let y = HEIGHT - 4.0;
        writeln!(out, "<text class=\"title end\" x=\"{RIGHT}\" y=\"{y}\">{}</text>", self.x_title)
    }

    fn write_band(&self, out: &mut String, band: &Band) -> fmt::Result {
        let edge = |of: fn(&(f64, f64, f64)) -> (f64, f64)| {
            band.points.iter().filter_map(move |point| self.at(of(point))).collect::<Vec<_>>()
        };
        let (highest, lowest) = (edge(|&(x, _, high)| (x, high)), edge(|&(x, low, _)| (x, low)));
        if highest.len() < 2 {
            return Ok(());
        }
        write!(out, "<path class=\"band {}\" d=\"M", band.class)?;
        for (x, y) in highest.into_iter().chain(lowest.into_iter().rev()) {
            write!(out, "{x:.1} {y:.1} ")?;
        }
        out.write_str("Z\"/>\n")
    }

    fn write_line(&self, out: &mut String, line: &Line) -> fmt::Result {
        let places: Vec<Option<(f64, f64)>> = line.points.iter().map(|&point| self.at(point)).collect();
        for piece in places.split(Option::is_none) {
            let piece: Vec<(f64, f64)> = piece.iter().copied().flatten().collect();
            match piece[..] {
                [] => {}
                // A line of one point cannot be seen.
                [(x, y)] => {
                    writeln!(out, "<circle class=\"dot {}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\"/>", line.class)?;
                }
                _ => {
                    write!(out, "<path class=\"line {}\" d=\"M", line.class)?;
                    for (x, y) in piece {
                        write!(out, "{x:.1} {y:.1} ")?;
                    }
                    out.write_str("\"/>\n")?;
                }
            }
        }
        Ok(())
    }

    fn at(&self, (x, y): (f64, f64)) -> Option<(f64, f64)> {
        Some((x_at(self.x.place(x)?), y_at(self.y.place(y)?)))
    }
}

fn x_at(along: f64) -> f64 {
    LEFT + along * (RIGHT - LEFT)
}

fn y_at(along: f64) -> f64 {
    BOTTOM - along * (BOTTOM - TOP)
}

/// In the units of the drawing, of which there are a little less than pixels on a telephone and a little more on a desk.
const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = WIDTH - 10.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = HEIGHT - 40.0;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    fn plot(points: &[(f64, f64)]) -> String {
        let lines = vec![Line { name: "a < b".into(), class: "godwit".into(), points: points.to_vec() }];
        let bands = vec![Band { class: "godwit", points: points.iter().map(|&(x, y)| (x, y, y + 1.0)).collect() }];
        Plot {
            title: "Rate".into(),
            x: Axis::up_to(points.last().map_or(0.0, |point| point.0)),
            x_title: "s",
            y: Axis::fitting(points.iter().map(|point| point.1)),
            y_title: "messages/s",
            shaded: Some((0.0, 0.0)),
            bands,
            lines,
        }
        .to_html()
    }

    #[test]
    fn a_plot_of_no_or_one_point_is_drawn_without_a_number_that_is_none() {
        for points in [vec![], vec![(0.0, 0.0)], vec![(0.5, 3.0)], vec![(0.5, f64::NAN)]] {
            let html = plot(&points);
            assert!(!html.contains("NaN") && !html.contains("inf"), "{html}");
        }
        assert_eq!(plot(&[(0.5, 3.0)]).matches("<circle").count(), 1);
    }

    #[test]
    fn a_point_without_a_place_leaves_a_gap() {
        // So far apart that the axis is logarithmic, where zero has no place.
        let html = plot(&[(0.0, 1.0), (1.0, 100.0), (2.0, 0.0), (3.0, 10.0), (4.0, 10.0)]);
        assert_eq!(html.matches("<path class=\"line godwit\"").count(), 3, "two pieces and the legend: {html}");
    }

    #[test]
    fn a_line_ends_where_its_last_point_is() {
        let html = plot(&[(0.0, 0.0), (10.0, 40.0)]);
        assert!(html.contains(&format!("d=\"M{LEFT:.1} {BOTTOM:.1} {RIGHT:.1} {TOP:.1} \"")), "{html}");
        assert!(html.contains("a &lt; b"), "{html}");
    }
}
