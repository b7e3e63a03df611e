//! Figures on a terminal.

use super::{
    Row,
    absolute::{Absolute, On},
};
use crate::report::format;
use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};

/// With goals and verdicts.
pub fn of_figures<'a>(rows: impl Iterator<Item = &'a Row>) -> Table {
    let mut table = table(&["figure", "Godwit", "compared with", "value", "goal", "verdict"]);
    for row in rows {
        let side = |figure: Option<f64>| figure.map_or_else(String::new, |figure| format::with_unit(figure, row.unit));
        table.add_row([
            row.key.name(),
            side(row.godwit),
            side(row.baseline),
            format::ratio(row.value),
            row.goal.to_string(),
            row.verdict.to_string(),
        ]);
        for note in &row.notes {
            let blank = String::new;
            table.add_row([format!("  {}", note.name), blank(), blank(), format::figure(note.value), blank(), blank()]);
        }
    }
    align(table, 1)
}

/// Without.
pub fn of_absolute(rows: &[Absolute]) -> Table {
    let header = ["shape", "on", "delivered /s", "per CPU s", "p50 ms", "p99 ms", "memory MiB", "written B/message"];
    let mut table = table(&header);
    for row in rows {
        let or_blank = |figure: f64| if figure > 0.0 { format::figure(figure) } else { String::new() };
        let memory = match row.rss_per_connection_bytes {
            0.0 => or_blank(row.rss_bytes / MIB),
            each => format!("{} ({} B each)", or_blank(row.rss_bytes / MIB), format::figure(each)),
        };
        table.add_row([
            row.shape.to_owned(),
            match row.on {
                On::Fresh => "Godwit, fresh",
                On::Aged => "Godwit, aged",
                On::Baseline => "baseline",
            }
            .to_owned(),
            or_blank(row.delivered_per_s),
            or_blank(row.per_server_cpu_s),
            or_blank(row.p50_ms),
            or_blank(row.p99_ms),
            memory,
            or_blank(row.written_bytes_per_message),
        ]);
    }
    align(table, 2)
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(header);
    table
}

/// Numbers to the right, from a column on.
fn align(mut table: Table, from: usize) -> Table {
    table.column_iter_mut().skip(from).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    table
}

const MIB: f64 = 1024.0 * 1024.0;
