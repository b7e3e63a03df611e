//! Reads a migration file: statements that end in a semicolon, with comments on lines of their own.

/// One statement of a migration, without comments and semicolon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The comment above it, as one line.
    pub comment: String,
    /// CQL on one line.
    pub cql: String,
}

/// The steps of a migration, in order.
pub fn steps(text: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let (mut comment, mut cql) = (String::new(), String::new());
    for line in text.lines().map(str::trim) {
        if let Some(words) = line.strip_prefix("--") {
            push_words(&mut comment, words);
        } else if line.is_empty() && cql.is_empty() {
            // What stands alone is about the file.
            comment.clear();
        } else if let Some(end) = line.strip_suffix(';') {
            push_words(&mut cql, end);
            steps.push(Step { comment: std::mem::take(&mut comment), cql: std::mem::take(&mut cql) });
        } else {
            push_words(&mut cql, line);
        }
    }
    assert!(cql.is_empty(), "a migration ends with a semicolon");
    steps
}

fn push_words(line: &mut String, words: &str) {
    if !line.is_empty() {
        line.push(' ');
    }
    line.push_str(words.trim());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_cut_into_statements_with_their_comments() {
        let found = steps(
            "-- About all; of them.\n\n-- One row;\n-- no more.\nCREATE TABLE a (\n  b int\n);\nCREATE TABLE c (d int);\n",
        );
        let expected = [("One row; no more.", "CREATE TABLE a ( b int )"), ("", "CREATE TABLE c (d int)")];
        assert_eq!(found.iter().map(|step| (&*step.comment, &*step.cql)).collect::<Vec<_>>(), expected);
    }
}
