//! Reads every statement that the server sends to ScyllaDB or Cassandra, and every table, and says what is against the rules of
//! docs/STORAGE.md. It holds everyone to this:
//!
//! - A CQL text is a literal in a file named `statements.rs` under `src/store/scylla/`, or a step of a migration in `schema/*.cql`.
//! - No `SELECT *`, no `ALLOW FILTERING`, no `DELETE` or `TRUNCATE`, no `null`, no logged batch (a batch is never written as text).
//! - Each column of a partition key is `= ?`, so that a request finds its node. Whole tables are read only by those who list
//!   everything: [`WHOLE_TABLES`].
//! - A table whose comment says *Lightweight transactions only* is written with `IF`, and without a timestamp of ours. Any other
//!   table is written without `IF`, and with `USING TIMESTAMP ?`.
//! - A row is written with all its columns: an `INSERT` or `UPDATE` names all regular columns, or none of them and all static ones.
//! - A migration creates tables and nothing else: no index, no view; no counter, no collection (overwriting one leaves a
//!   tombstone). Each table has a comment that says what bounds its partitions.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod cql_rules;

use cql_rules::{literals, statement_complaints, table_complaints};
use godwit::store::scylla::schema::{TableShape, tables};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Files whose statements may read a table from end to end: what they are for is rare, and is done page by page.
const WHOLE_TABLES: [&str; 2] = ["schema/statements.rs", "inventory/statements.rs"];

#[test]
fn every_statement_keeps_the_rules() {
    let tables = tables();
    let mut complaints = Vec::new();
    let mut read = 0;
    for path in files("rs").filter(|path| path.ends_with("statements.rs")) {
        let whole = WHOLE_TABLES.iter().any(|end| path.ends_with(end));
        for cql in literals(&fs::read_to_string(&path).unwrap()).into_iter().filter(|text| is_cql(text)) {
            read += 1;
            let found = statement_complaints(&cql, &tables, whole);
            complaints.extend(found.into_iter().map(|complaint| format!("{}: {complaint}: {cql}", path.display())));
        }
    }
    assert!(read > 5, "only {read} statements were found; this test looks in the wrong place");
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn no_statement_is_anywhere_else() {
    let others = files("rs").filter(|path| !path.ends_with("statements.rs"));
    let complaints: Vec<String> = others
        .flat_map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            let found: Vec<_> = literals(code).into_iter().filter(|text| is_cql(text)).collect();
            found.into_iter().map(move |cql| format!("{}: belongs in statements.rs: {cql}", path.display()))
        })
        .collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn every_table_keeps_the_rules() {
    let complaints: Vec<String> = tables().iter().flat_map(table_complaints).collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    for path in files("cql") {
        let text = fs::read_to_string(&path).unwrap();
        let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
        let creates = code.iter().filter(|line| line.contains("CREATE")).count();
        let tables = code.iter().filter(|line| line.starts_with("CREATE TABLE IF NOT EXISTS ")).count();
        assert_eq!(creates, tables, "{}: a migration creates tables only, each IF NOT EXISTS", path.display());
    }
}

#[test]
fn what_is_against_the_rules_is_found() {
    let tables = tables();
    for (cql, complaint) in [
        ("SELECT * FROM log WHERE conversation = ? AND bucket = ?", "SELECT *"),
        ("SELECT seq FROM log WHERE conversation = ? AND bucket = ? AND epoch = ? ALLOW FILTERING", "ALLOW FILTERING"),
        ("SELECT seq FROM log WHERE conversation = ? AND bucket = 0", "bucket"),
        ("SELECT seq FROM log WHERE conversation = ? AND bucket IN ?", "bucket"),
        ("SELECT seq FROM log", "the whole table"),
        ("SELECT seq FROM logs WHERE conversation = ? AND bucket = ?", "no such table"),
        ("DELETE FROM tokens WHERE hash = ?", "DELETE"),
        ("TRUNCATE tokens", "TRUNCATE"),
        ("BEGIN BATCH", "BEGIN"),
        ("INSERT INTO tokens (hash, user_id, device) VALUES (?, ?, ?)", "USING TIMESTAMP"),
        ("INSERT INTO tokens (hash, user_id, device) VALUES (?, ?, null) USING TIMESTAMP ?", "null"),
        ("INSERT INTO tokens (hash, user_id) VALUES (?, ?) USING TIMESTAMP ?", "device"),
        ("INSERT INTO tokens (hash, user_id, device) VALUES ('a', ?, ?) USING TIMESTAMP ?", "hash"),
        ("INSERT INTO tokens (hash, user_id, device) VALUES (?, ?, ?) IF NOT EXISTS", "IF"),
        ("UPDATE devices USING TIMESTAMP ? SET hash = ?, name = ? WHERE user_id = ? AND device = ?", "expires_ms"),
        ("UPDATE users SET name_key = ? WHERE user_id = ?", "without IF"),
        ("INSERT INTO users (user_id, name_key) VALUES (?, ?) IF NOT EXISTS USING TIMESTAMP ?", "timestamp"),
        ("INSERT INTO log (conversation, bucket, head) VALUES (?, ?, ?) USING TIMESTAMP ?", "epoch"),
    ] {
        let found = statement_complaints(cql, &tables, false);
        assert!(found.iter().any(|found| found.contains(complaint)), "{cql}: {found:?}");
    }
    let table = |cql_type: &str, comment: &str| {
        let mut table: TableShape = tables[0].clone();
        table.columns.last_mut().unwrap().cql_type = cql_type.to_owned();
        table.comment = comment.to_owned();
        table_complaints(&table)
    };
    assert!(table("counter", "One row.")[0].contains("counter"));
    assert!(table("set<int>", "One row.")[0].contains("set<int>"));
    assert!(table("int", "")[0].contains("bounds"));
    assert!(table("int", "One row.").is_empty());
}

#[test]
fn what_keeps_the_rules_is_let_through() {
    let tables = tables();
    for cql in [
        "SELECT seq, entry FROM log WHERE conversation = ? AND bucket = ? AND seq >= ? ORDER BY seq ASC LIMIT ?",
        "INSERT INTO log (conversation, bucket, head, epoch, pending) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?",
        "INSERT INTO log (conversation, bucket, seq, entry) VALUES (?, ?, ?, ?) USING TIMESTAMP ?",
        "UPDATE devices USING TIMESTAMP ? AND TTL ? SET hash = ?, name = ?, expires_ms = ? WHERE user_id = ? AND device = ?",
        "SELECT version FROM system.versions",
    ] {
        assert_eq!(statement_complaints(cql, &tables, false), [""; 0], "{cql}");
    }
}

fn is_cql(text: &str) -> bool {
    const BEGINNINGS: [&str; 8] =
        ["SELECT ", "INSERT ", "UPDATE ", "DELETE ", "BEGIN ", "TRUNCATE ", "DROP ", "ALTER "];
    BEGINNINGS.iter().any(|beginning| text.trim_start().starts_with(beginning))
}

fn files(extension: &'static str) -> impl Iterator<Item = PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/scylla")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => directories.push(path),
                false => found.push(path),
            }
        }
    }
    found.into_iter().filter(move |path| path.extension().is_some_and(|found| found == extension))
}
