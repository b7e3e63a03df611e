//! The rules, and the little reading of Rust that they need.

mod scan;

use scan::{code_of, crates_named, line_of, modules_named, words};

/// One file.
pub struct Source<'a> {
    /// From the root of the repository.
    pub path: &'a str,
    /// What is in it.
    pub text: &'a str,
}

/// What every rule needs to know.
pub struct House {
    /// The crates that the server depends on, as Rust spells them.
    crates: Vec<String>,
}

/// What the modules directly under `src/` may import from each other. A module that nobody lists here but itself can be
/// used by the composition root alone.
const IMPORTS: [(&str, &[&str]); 10] = [
    ("account", &["store", "telemetry"]),
    ("admin", &["telemetry"]),
    ("chat", &[]),
    ("config", &[]),
    ("router", &["account", "chat", "store", "telemetry", "timer"]),
    // The vocabulary of entries and members is chat's.
    ("store", &["chat", "telemetry"]),
    ("telemetry", &[]),
    // The terminal client, which knows the server only over the wire.
    ("terminal", &[]),
    ("timer", &["store"]),
    ("transport", &["router", "telemetry"]),
];

/// The composition root and the command line: they know every part.
const COMPOSITION: [&str; 4] = ["lib", "main", "server", "command"];

/// Modules that do no I/O, know no clock, and therefore import no other crates than these.
const PURE: [&str; 3] = ["src/chat/", "src/timer/tick", "src/timer/wheel"];
const PURE_CRATES: [&str; 5] = ["bytes", "godwit_proto", "prost", "roaring", "thiserror"];

/// Crates that only these files name, so that they can be replaced there.
const OWNED_CRATES: [(&str, &[&str]); 6] = [
    ("quinn", &["src/transport/"]),
    ("quinn_proto", &["src/transport/"]),
    ("fjall", &["src/store/embedded/"]),
    ("figment", &["src/config"]),
    ("scylla", &["src/store/scylla/"]),
    ("redis", &["src/store/redis/"]),
];

/// Files that may contain unsafe code, each for the reason that it states.
const UNSAFE: [&str; 2] = ["bench/src/counted.rs", "src/transport/steering.rs"];

const LINES_MAX: usize = 500;

/// Names that say nothing about what a thing does, and reminders that belong in an issue.
const BANNED: [&str; 8] = ["Manager", "Helper", "Util", "Utils", "todo!", "unimplemented!", "FIXME", "XXX"];

/// Directories of one person's machine.
const MACHINE_PATHS: [&str; 3] = ["/home/", "/root/", "/work/"];

/// These name what they forbid.
const OWN_FILES: [&str; 3] = ["tests/tidy.rs", "tests/tidy_rules/mod.rs", "tests/tidy_rules/scan.rs"];

impl House {
    /// From the text of the root `Cargo.toml`.
    pub fn new(manifest: &str) -> Self {
        let manifest: toml::Table = manifest.parse().expect("Cargo.toml is TOML");
        let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table).expect("it has dependencies");
        Self { crates: dependencies.keys().map(|name| name.replace('-', "_")).collect() }
    }

    /// Everything that is wrong with a file, as `path:line: what`.
    pub fn complaints(&self, source: &Source<'_>) -> Vec<String> {
        let mut found = Vec::new();
        if OWN_FILES.contains(&source.path) || source.path.contains("/generated/") {
            return found;
        }
        banned_words(source, &mut found);
        machine_paths(source, &mut found);
        if source.path.ends_with(".rs") {
            let code = code_of(source.text);
            too_long(source, &mut found);
            unsafe_code(source, &code, &mut found);
            if source.path.starts_with("src/") {
                let code = without_tests(&code);
                self.imports(source, code, &mut found);
                self.crates(source, code, &mut found);
            }
        }
        found
    }

    fn imports(&self, source: &Source<'_>, code: &str, found: &mut Vec<String>) {
        let module = module_of(source.path);
        if COMPOSITION.contains(&module) {
            return;
        }
        let Some((_, allowed)) = IMPORTS.iter().find(|(name, _)| *name == module) else {
            found.push(format!("{}: tests/tidy_rules says nothing about the module {module}; add it", source.path));
            return;
        };
        for (at, other) in modules_named(code, source.path) {
            let known = IMPORTS.iter().any(|(name, _)| *name == other) || COMPOSITION.contains(&other.as_str());
            if known && other != module && !allowed.contains(&other.as_str()) {
                found.push(format!("{}:{}: {module} must not import {other}", source.path, line_of(code, at)));
            }
        }
    }

    fn crates(&self, source: &Source<'_>, code: &str, found: &mut Vec<String>) {
        let pure = PURE.iter().any(|prefix| source.path.starts_with(prefix));
        for (at, name) in crates_named(code, &self.crates) {
            let line = line_of(code, at);
            let place = OWNED_CRATES.iter().find(|(owned, _)| *owned == name);
            if pure && !PURE_CRATES.contains(&name.as_str()) {
                found.push(format!("{}:{line}: {name} has no place in code without I/O", source.path));
            } else if let Some((_, places)) = place
                && !places.iter().any(|prefix| source.path.starts_with(prefix))
            {
                found.push(format!("{}:{line}: {name} is named only in {}", source.path, places.join(", ")));
            }
        }
    }
}

/// The dependencies of the workspace that no line of a table says anything about.
pub fn unjustified(manifest: &str, architecture: &str) -> Vec<String> {
    let manifest: toml::Table = manifest.parse().expect("Cargo.toml is TOML");
    let dependencies = manifest["workspace"]["dependencies"].as_table().expect("the workspace has dependencies");
    let table: Vec<&str> = architecture.lines().filter(|line| line.starts_with('|')).collect();
    dependencies
        .iter()
        .filter(|(_, dependency)| dependency.get("path").is_none())
        .map(|(name, _)| name.clone())
        .filter(|name| !table.iter().any(|line| line.contains(&format!("`{name}`"))))
        .collect()
}

/// `src/router/port.rs` is of `router`, `src/server.rs` of `server`.
fn module_of(path: &str) -> &str {
    let inner = path.trim_start_matches("src/");
    inner.split('/').next().unwrap_or(inner).trim_end_matches(".rs")
}

/// Tests stand last in a file, and may reach for more than the code that they test.
fn without_tests(code: &str) -> &str {
    ["#[cfg(test)]\nmod tests", "#[cfg(test)]\npub(crate) mod tests"]
        .iter()
        .filter_map(|start| code.find(start))
        .min()
        .map_or(code, |end| &code[..end])
}

fn too_long(source: &Source<'_>, found: &mut Vec<String>) {
    let lines = source.text.lines().count();
    if lines > LINES_MAX {
        found.push(format!("{}: {lines} lines; more than {LINES_MAX} usually hold two ideas", source.path));
    }
}

fn banned_words(source: &Source<'_>, found: &mut Vec<String>) {
    for (index, line) in source.text.lines().enumerate() {
        let banned = words(line).find(|word| BANNED.iter().any(|banned| says(word, banned)));
        if let Some(word) = banned {
            found.push(format!("{}:{}: {word} is not a word of this project", source.path, index + 1));
        }
    }
}

/// Whether a word is the banned one or ends in it, as `StringUtil` does.
fn says(word: &str, banned: &str) -> bool {
    word.ends_with(banned)
        || (!banned.ends_with('!') && word.starts_with(banned) && word[banned.len()..].starts_with(char::is_uppercase))
}

fn machine_paths(source: &Source<'_>, found: &mut Vec<String>) {
    for (index, line) in source.text.lines().enumerate() {
        let starts_there = |path: &&&str| {
            line.match_indices(**path).any(|(at, _)| {
                !line[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '}'))
            })
        };
        if let Some(path) = MACHINE_PATHS.iter().find(starts_there) {
            found.push(format!("{}:{}: {path} is a directory of one machine", source.path, index + 1));
        }
    }
}

fn unsafe_code(source: &Source<'_>, code: &str, found: &mut Vec<String>) {
    if UNSAFE.contains(&source.path) {
        return;
    }
    for (index, line) in code.lines().enumerate() {
        if words(line).any(|word| word == "unsafe") {
            found.push(format!("{}:{}: unsafe code is not expected here", source.path, index + 1));
        }
    }
}
