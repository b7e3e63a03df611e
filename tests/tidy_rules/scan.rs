//! Just enough reading of Rust: comments and strings out, paths found.

/// The code alone: comments and the contents of strings become spaces, line breaks stay.
pub fn code_of(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(end) = raw_string(rest, out.chars().next_back()) {
            end
        } else if c == '"' {
            string(rest)
        } else if let Some(end) = character(rest) {
            end
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        out.extend(rest[..skipped].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = &rest[skipped..];
    }
    out
}

/// The length of the string that `text` begins with.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of the raw string that `text` begins with, if it does.
fn raw_string(text: &str, before: Option<char>) -> Option<usize> {
    if before.is_some_and(is_word) {
        return None;
    }
    let body = text.strip_prefix('r')?;
    let hashes = body.len() - body.trim_start_matches('#').len();
    let quoted = body[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(quoted.find(&end).map_or(text.len(), |at| 1 + hashes + 1 + at + end.len()))
}

/// The length of the character literal that `text` begins with, if it is one and no lifetime.
fn character(text: &str) -> Option<usize> {
    let body = text.strip_prefix('\'')?;
    if body.starts_with('\\') {
        return body[2..].find('\'').map(|at| at + 4);
    }
    let c = body.chars().next()?;
    body[c.len_utf8()..].starts_with('\'').then_some(c.len_utf8() + 2)
}

/// Every module directly under `src/` that is named by `crate::`, or by as many `super::` as lead there, and where.
pub fn modules_named(code: &str, path: &str) -> Vec<(usize, String)> {
    let supers = "super::".repeat(depth(path));
    let mut found = Vec::new();
    for prefix in ["crate::", supers.as_str()] {
        let starts = code.match_indices(prefix).map(|(at, _)| at);
        for at in starts.filter(|&at| !prefix.is_empty() && !code[..at].ends_with([':', '_']) && is_start(code, at)) {
            found.extend(heads(&code[at + prefix.len()..]).into_iter().map(|name| (at, name)));
        }
    }
    found
}

/// How many modules a file lies below the crate: `src/a.rs` and `src/a/mod.rs` one, `src/a/b.rs` two.
fn depth(path: &str) -> usize {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    inner.split('/').count()
}

/// The first names of a path, or of each path in a braced group.
fn heads(rest: &str) -> Vec<String> {
    let Some(group) = rest.strip_prefix('{') else {
        return vec![rest.chars().take_while(|&c| is_word(c)).collect()];
    };
    let mut depth = 0;
    let mut names = vec![String::new()];
    let mut in_head = true;
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            '{' => {
                depth += 1;
                in_head = false;
            }
            ',' if depth == 0 => {
                names.push(String::new());
                in_head = true;
            }
            c if in_head && is_word(c) => names.last_mut().unwrap().push(c),
            c if !c.is_whitespace() => in_head = false,
            _ => {}
        }
    }
    names
}

/// Every mention of one of these crates: `name::…`, `use name;`, `use name as`.
pub fn crates_named(code: &str, crates: &[String]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for name in crates {
        for (at, _) in code.match_indices(name.as_str()) {
            let (before, after) = (&code[..at], &code[at + name.len()..]);
            let used = before.trim_end().ends_with("use") && after.starts_with([';', ' ']);
            let named = is_start(code, at) && !before.ends_with("::") && (after.starts_with("::") || used);
            if named && !is_in_own_tree(before) {
                found.push((at, name.clone()));
            }
        }
    }
    found
}

/// Words: letters, digits and `_`, with a `!` that follows.
pub fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !is_word(c) && c != '!').filter(|word| !word.is_empty())
}

/// The number of the line that holds this byte, from 1.
pub fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// Whether what follows is inside of a `use crate::…` or `use super::…`, where a module may be called what a crate is called.
fn is_in_own_tree(before: &str) -> bool {
    let statement = before.rsplit(';').next().unwrap_or(before);
    ["use crate::", "use super::"].iter().any(|own| statement.contains(own))
}

fn is_start(code: &str, at: usize) -> bool {
    !code[..at].chars().next_back().is_some_and(|c| is_word(c) || c == '.')
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
