//! How all tables look on a terminal.

use comfy_table::{Cell, CellAlignment, Row, Table, presets::UTF8_FULL_CONDENSED};

/// A table with numbers, which stand to the right, from the column `numbers_from` on.
pub fn table<C: Into<Cell>>(
    header: impl IntoIterator<Item = C>,
    rows: impl IntoIterator<Item = impl Into<Row>>,
    numbers_from: usize,
) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(header.into_iter().map(Into::into).collect::<Vec<Cell>>());
    table.add_rows(rows);
    table.column_iter_mut().skip(numbers_from).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    table
}
