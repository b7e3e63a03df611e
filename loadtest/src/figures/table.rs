//! Figures as text in rows and columns, on a terminal and in the page.

use super::{
    Row,
    absolute::{Absolute, On},
};
use crate::report::{format, terminal_table};

/// A table.
pub struct Sheet {
    pub header: &'static [&'static str],
    /// A cell for each column.
    pub rows: Vec<Vec<String>>,
    /// The first column of numbers, which stand to the right.
    pub numbers_from: usize,
}

impl Sheet {
    pub fn to_terminal(&self) -> comfy_table::Table {
        terminal_table(self.header, self.rows.iter().cloned(), self.numbers_from)
    }
}

/// With goals and verdicts.
pub fn of_figures<'a>(figures: impl Iterator<Item = &'a Row>) -> Sheet {
    let mut rows = Vec::new();
    for row in figures {
        let side = |figure: Option<f64>| figure.map_or_else(String::new, |figure| format::with_unit(figure, row.unit));
        rows.push(vec![
            row.key.name(),
            side(row.godwit),
            side(row.baseline),
            format::ratio(row.value),
            row.goal.to_string(),
            row.verdict.to_string(),
        ]);
        for note in &row.notes {
            let blank = String::new;
            rows.push(vec![format!("  {}", note.name), blank(), blank(), format::figure(note.value), blank(), blank()]);
        }
    }
    Sheet { header: &["figure", "Godwit", "compared with", "value", "goal", "verdict"], rows, numbers_from: 1 }
}

/// Without.
pub fn of_absolute(figures: &[Absolute]) -> Sheet {
    let cells = |row: &Absolute| {
        let or_blank = |figure: f64| if figure > 0.0 { format::figure(figure) } else { String::new() };
        let memory = match row.rss_per_connection_bytes {
            0.0 => or_blank(row.rss_bytes / format::MIB),
            each => format!("{} ({} B each)", or_blank(row.rss_bytes / format::MIB), format::figure(each)),
        };
        let on = match row.on {
            On::Fresh => "Godwit, fresh",
            On::Aged => "Godwit, aged",
            On::Baseline => "baseline",
        };
        vec![
            row.shape.to_owned(),
            on.to_owned(),
            or_blank(row.delivered_per_s),
            or_blank(row.per_server_cpu_s),
            or_blank(row.p50_ms),
            or_blank(row.p99_ms),
            memory,
            or_blank(row.written_bytes_per_message),
        ]
    };
    let header = &["shape", "on", "delivered /s", "per CPU s", "p50 ms", "p99 ms", "memory MiB", "written B/message"];
    Sheet { header, rows: figures.iter().map(cells).collect(), numbers_from: 2 }
}
