//! What `deploy/` sets and asks for exists.

#![allow(clippy::unwrap_used)]

use godwit::{config::Config, telemetry::metric};
use std::{collections::HashSet, fs, path::Path};

/// Every file of `deploy/`, with its name.
fn files() -> Vec<(String, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
        files.push((entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap()));
    }
    assert!(files.len() >= 4, "{files:?}");
    files
}

/// Runs of letters, digits and `_` that begin with `prefix`.
fn names<'a>(text: &'a str, prefix: &str) -> impl Iterator<Item = &'a str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(move |word| word.starts_with(prefix))
}

/// Every key of the configuration, as the environment spells it.
fn variables() -> HashSet<String> {
    let (mut section, mut found) = (String::new(), HashSet::new());
    for line in Config::default().to_commented_toml().unwrap().lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = format!("{name}__");
        } else if let Some((key, _)) = line.trim_start_matches("# ").split_once(" =") {
            found.insert(format!("GODWIT_{section}{key}").to_uppercase());
        }
    }
    found
}

#[test]
fn every_variable_that_is_set_is_a_key_of_the_configuration() {
    let known = variables();
    assert!(known.contains("GODWIT_REGISTRATION__MODE") && known.contains("GODWIT_LISTEN"), "{known:?}");
    for (file, text) in files() {
        for name in names(&text, "GODWIT_") {
            assert!(known.contains(name), "{file} sets {name}");
        }
    }
}

#[test]
fn every_metric_that_is_asked_for_is_recorded_by_the_server() {
    let (_, rules) = files().into_iter().find(|(file, _)| file == "prometheus-rules.yml").unwrap();
    let asked: Vec<_> = names(&rules, "godwit_").collect();
    assert!(!asked.is_empty());
    for name in asked {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!(metric::ALL.iter().any(|metric| metric.name == base), "{name}");
    }
}
