//! The rules for statements and tables, and the little reading of CQL and Rust that they need.

use godwit::store::scylla::schema::{ColumnKind, TableShape};

/// What is wrong with a statement.
pub fn statement_complaints(cql: &str, tables: &[TableShape], may_read_whole_tables: bool) -> Vec<String> {
    let words = words(cql);
    let says = |word: &str| words.iter().any(|found| found.eq_ignore_ascii_case(word));
    let mut found = Vec::new();
    let verb = words.first().map(String::as_str).unwrap_or_default();
    if !["SELECT", "INSERT", "UPDATE"].contains(&verb) {
        return vec![format!("{verb} is not done here")];
    }
    if says("*") {
        found.push("SELECT * breaks when a column is added".to_owned());
    }
    if says("FILTERING") {
        found.push("ALLOW FILTERING reads what nobody asked for".to_owned());
    }
    if says("null") {
        found.push("null is a tombstone".to_owned());
    }
    let before = match verb {
        "SELECT" => "FROM",
        "INSERT" => "INTO",
        _ => "UPDATE",
    };
    let name = after(&words, before).first().cloned().unwrap_or_default();
    if name.starts_with("system.") || name.starts_with("system_schema.") {
        return found;
    }
    let Some(table) = tables.iter().find(|table| table.name == name) else {
        found.push(format!("there is no such table: {name}"));
        return found;
    };
    if verb == "SELECT" {
        if !says("WHERE") && !may_read_whole_tables {
            found.push("it reads the whole table".to_owned());
        }
        if says("WHERE") {
            found.extend(unbound(table, &conditions(&words)));
        }
        return found;
    }
    let assigned = match verb {
        "INSERT" => inserted(&words),
        _ => updated(&words),
    };
    found.extend(unbound(table, &assigned));
    found.extend(written_in_part(table, &assigned));
    let (conditional, timestamp) = (says("IF"), says("TIMESTAMP"));
    let marked = after(&words, "TIMESTAMP").first().is_some_and(|value| value == "?");
    let complaint = match table.is_conditional() {
        true if !conditional => Some("a plain write, without IF, of a table of lightweight transactions"),
        true if timestamp => Some("a lightweight transaction has no timestamp of ours"),
        false if conditional => Some("IF on a table of plain writes"),
        false if !marked => Some("a plain write needs USING TIMESTAMP ?"),
        _ => None,
    };
    found.extend(complaint.map(str::to_owned));
    found
}

/// What is wrong with a table.
pub fn table_complaints(table: &TableShape) -> Vec<String> {
    let mut found = Vec::new();
    for column in &table.columns {
        if column.cql_type == "counter" || column.cql_type.contains('<') {
            found.push(format!("{}: {} is of type {}", table.name, column.name, column.cql_type));
        }
    }
    if table.comment.is_empty() {
        found.push(format!("{}: no comment says what bounds its partitions", table.name));
    }
    found
}

/// The string literals of Rust code, as the program sees them, without those in comments.
pub fn literals(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code: String = lines.flat_map(|line| [line, "\n"]).collect();
    let mut rest = code.chars().peekable();
    while let Some(c) = rest.next() {
        if c == '\'' {
            // '"' and '\'' are characters; a lifetime has no second quote where one of them would have it.
            let mut ahead = rest.clone();
            let length = if ahead.next() == Some('\\') { 2 } else { 1 };
            if rest.clone().nth(length) == Some('\'') {
                rest.nth(length);
            }
        }
        if c != '"' {
            continue;
        }
        let mut literal = String::new();
        while let Some(c) = rest.next().filter(|c| *c != '"') {
            match (c, rest.peek()) {
                ('\\', Some('\n')) => while rest.next_if(|c| c.is_whitespace()).is_some() {},
                ('\\', Some(_)) => literal.extend(rest.next()),
                _ => literal.push(c),
            }
        }
        found.push(literal);
    }
    found
}

/// A column and what it is compared with or set to.
type Assignment = (String, String);

/// Columns of the partition key that are not bound to a marker.
fn unbound(table: &TableShape, assigned: &[Assignment]) -> Vec<String> {
    let bound = |column: &str| assigned.iter().any(|(name, value)| name == column && value == "?");
    let unbound = table.partition_key().filter(|column| !bound(column));
    unbound.map(|column| format!("{column}, of the partition key, is not `= ?`")).collect()
}

/// Columns that a row would be without.
fn written_in_part(table: &TableShape, assigned: &[Assignment]) -> Vec<String> {
    let written = |name: &str| assigned.iter().any(|(column, _)| column == name);
    let of = |kind: ColumnKind| {
        table.columns.iter().filter(move |column| column.kind == kind).map(|column| column.name.as_str())
    };
    let mut expected: Vec<&str> = Vec::new();
    if of(ColumnKind::Static).any(&written) {
        expected.extend(of(ColumnKind::Static));
    }
    if expected.is_empty() || of(ColumnKind::Regular).chain(of(ColumnKind::Clustering)).any(&written) {
        expected.extend(of(ColumnKind::Clustering).chain(of(ColumnKind::Regular)));
    }
    let mut found: Vec<String> =
        expected.iter().filter(|name| !written(name)).map(|name| format!("{name} is not written")).collect();
    let unknown = assigned.iter().filter(|(name, _)| table.columns.iter().all(|column| column.name != *name));
    found.extend(unknown.map(|(name, _)| format!("{name} is no column of {}", table.name)));
    found
}

/// Names, numbers, literals, markers and signs.
fn words(cql: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut open = false;
    let mut quoted = false;
    for c in cql.chars() {
        if c == '\'' {
            quoted = !quoted;
        }
        if quoted || c.is_alphanumeric() || matches!(c, '_' | '.' | '\'') {
            match words.last_mut().filter(|_| open) {
                Some(word) => word.push(c),
                None => words.push(c.to_string()),
            }
            open = true;
        } else {
            open = false;
            if !c.is_whitespace() {
                words.push(c.to_string());
            }
        }
    }
    words
}

fn after<'a>(words: &'a [String], word: &str) -> &'a [String] {
    words.iter().position(|found| found == word).map_or(&[], |at| &words[at + 1..])
}

/// `column = value` after WHERE; other comparisons bind nothing.
fn conditions(words: &[String]) -> Vec<Assignment> {
    let end = |word: &String| ["IF", "LIMIT", "ORDER", "PER"].contains(&word.as_str());
    let conditions = after(words, "WHERE");
    let conditions = &conditions[..conditions.iter().position(end).unwrap_or(conditions.len())];
    equalities(conditions)
}

fn updated(words: &[String]) -> Vec<Assignment> {
    let set = after(words, "SET");
    let set = &set[..set.iter().position(|word| word == "WHERE").unwrap_or(set.len())];
    [equalities(set), conditions(words)].concat()
}

fn inserted(words: &[String]) -> Vec<Assignment> {
    let list = |words: &[String]| -> Vec<String> {
        let inner = words.iter().skip_while(|word| *word != "(").skip(1).take_while(|word| *word != ")");
        inner.filter(|word| *word != ",").cloned().collect()
    };
    list(after(words, "INTO")).into_iter().zip(list(after(words, "VALUES"))).collect()
}

fn equalities(words: &[String]) -> Vec<Assignment> {
    let equal = words.windows(3).filter(|three| three[1] == "=");
    equal.map(|three| (three[0].clone(), three[2].clone())).collect()
}
