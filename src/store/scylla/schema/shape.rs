//! What tables there should be, read from the migrations.

use super::{
    file::Step,
    migrations::{KNOWN, steps_to, version_table},
};
use crate::store::scylla::cluster::Backend;

/// A table as the migrations make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableShape {
    /// Its name.
    pub name: String,
    /// What stands above it.
    pub comment: String,
    /// In the order of the file.
    pub columns: Vec<Column>,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its CQL type.
    pub cql_type: String,
    /// What it is for.
    pub kind: ColumnKind,
}

/// What a column is for, in the words of `system_schema.columns`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// `partition_key`.
    PartitionKey,
    /// `clustering`.
    Clustering,
    /// `static`.
    Static,
    /// `regular`.
    Regular,
}

impl ColumnKind {
    /// As the database calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::PartitionKey => "partition_key",
            Self::Clustering => "clustering",
            Self::Static => "static",
            Self::Regular => "regular",
        }
    }
}

impl TableShape {
    /// The columns of the partition key.
    pub fn partition_key(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().filter(|column| column.kind == ColumnKind::PartitionKey).map(|column| column.name.as_str())
    }

    /// Whether only lightweight transactions write it; its comment says so.
    pub fn is_conditional(&self) -> bool {
        self.comment.contains("Lightweight transactions only")
    }
}

/// All tables of the newest schema.
pub fn tables() -> Vec<TableShape> {
    let steps = (1..=KNOWN).flat_map(|version| steps_to(version, Backend::Scylla));
    version_table().into_iter().chain(steps).map(|step| table(&step)).collect()
}

/// `CREATE TABLE IF NOT EXISTS name (column type [STATIC], …, PRIMARY KEY ((…), …)) …`, which is all that a step can be so far.
fn table(step: &Step) -> TableShape {
    let rest = step.cql.strip_prefix("CREATE TABLE IF NOT EXISTS ");
    let (name, rest) = rest.and_then(|rest| rest.split_once('(')).unwrap_or_default();
    assert!(!name.is_empty(), "a step creates a table: {}", step.cql);
    let parts = split(rest);
    let key = parts.iter().find_map(|part| part.strip_prefix("PRIMARY KEY")).unwrap_or_default().trim();
    let key = split(key.strip_prefix('(').unwrap_or(key));
    let partition: Vec<&str> =
        key.first().map(|first| first.trim_matches(['(', ')']).split(',').map(str::trim).collect()).unwrap_or_default();
    let column = |part: &&str| {
        let mut words = part.split_whitespace();
        let (name, cql_type) = (words.next()?, words.next()?);
        let kind = match () {
            () if partition.contains(&name) => ColumnKind::PartitionKey,
            () if key.contains(&name) => ColumnKind::Clustering,
            () if words.next() == Some("STATIC") => ColumnKind::Static,
            () => ColumnKind::Regular,
        };
        Some(Column { name: name.to_owned(), cql_type: cql_type.to_owned(), kind })
    };
    let columns = parts.iter().filter(|part| !part.starts_with("PRIMARY KEY")).filter_map(column).collect();
    TableShape { name: name.trim().to_owned(), comment: step.comment.clone(), columns }
}

/// The parts between commas, up to the bracket that ends the list.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut begin) = (0, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 0 => {
                parts.push(text[begin..at].trim());
                return parts;
            }
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(text[begin..at].trim());
                begin = at + 1;
            }
            _ => (),
        }
    }
    parts.push(text[begin..].trim());
    parts
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_as_it_is_created() {
        let cql = "CREATE TABLE IF NOT EXISTS log ( a blob, b bigint, c bigint, d blob STATIC, e int, \
                   PRIMARY KEY ((a, b), c) ) WITH CLUSTERING ORDER BY (c DESC)";
        let table = table(&Step { comment: "Short.".to_owned(), cql: cql.to_owned() });
        let columns: Vec<_> = table.columns.iter().map(|c| (&*c.name, &*c.cql_type, c.kind.name())).collect();
        assert_eq!(table.name, "log");
        assert_eq!(
            columns,
            [
                ("a", "blob", "partition_key"),
                ("b", "bigint", "partition_key"),
                ("c", "bigint", "clustering"),
                ("d", "blob", "static"),
                ("e", "int", "regular")
            ]
        );
    }

    #[test]
    fn every_table_has_a_partition_key() {
        let tables = tables();
        assert!(tables.iter().any(|table| table.name == "log") && tables.iter().any(TableShape::is_conditional));
        for table in tables {
            assert!(table.partition_key().next().is_some(), "{}", table.name);
        }
    }
}
