//! What `deploy/` sets and asks for exists.

#![allow(clippy::unwrap_used)]

use godwit::{
    config::{Config, Overrides, StoreAddress, SummariesAddress},
    telemetry::metric,
};
use std::{
    collections::{HashMap, HashSet},
    fs,
    path::Path,
};

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

/// The text of one file of `deploy/`.
fn file(name: &str) -> String {
    files().into_iter().find(|(file, _)| file == name).unwrap().1
}

/// The services of a compose file, each with its lines.
fn services(compose: &str) -> HashMap<&str, Vec<&str>> {
    let (mut services, mut name) = (HashMap::<_, Vec<_>>::new(), "");
    let lines = compose.lines().skip_while(|line| *line != "services:").skip(1);
    for line in lines.take_while(|line| line.is_empty() || line.starts_with(' ')) {
        match line.strip_prefix("  ").filter(|inner| !inner.starts_with([' ', '#'])).and_then(|i| i.strip_suffix(':')) {
            Some(service) => name = service,
            None => services.entry(name).or_default().push(line.trim()),
        }
    }
    services
}

#[test]
fn the_server_of_compose_uses_the_services_beside_it_and_waits_for_the_one_it_cannot_do_without() {
    let compose = file("compose.yaml");
    let services = services(&compose);
    let set = |variable: &str| {
        let line = services["godwit"].iter().find_map(|line| line.strip_prefix(variable)).unwrap();
        line.strip_prefix(": ").unwrap().to_owned()
    };
    let set = vec![format!("store={}", set("GODWIT_STORE")), format!("summaries={}", set("GODWIT_SUMMARIES"))];
    let config = Config::load(None, &Overrides { set, ..Overrides::default() }).unwrap().config;

    let StoreAddress::Scylla { nodes, .. } = config.store else { panic!("{:?}", config.store) };
    let SummariesAddress::Redis { nodes: redis, .. } = config.summaries else { panic!("{:?}", config.summaries) };
    for node in nodes.iter().chain(&redis) {
        let host = node.split(':').next().unwrap();
        assert!(services[host].contains(&"healthcheck:"), "{host} is not in {services:?}");
        assert!(services["godwit"].contains(&&*format!("{host}:")), "the server does not depend on {host}");
    }
    assert_eq!(services["godwit"].iter().filter(|line| **line == "condition: service_healthy").count(), nodes.len());
}

#[test]
fn what_compose_brings_up_is_what_tests_run_on() {
    let tests = include_str!("../services/src/container.rs");
    let compose = file("compose.yaml");
    let images: Vec<_> = compose.lines().filter_map(|line| line.trim().strip_prefix("image: ")).collect();
    assert_eq!(images.len(), 2, "{images:?}");
    for image in images {
        assert!(tests.contains(&format!("\"{image}\"")), "the tests know no {image}");
    }
}

#[test]
fn every_metric_that_is_asked_for_is_recorded_by_the_server() {
    let rules = file("prometheus-rules.yml");
    let asked: Vec<_> = names(&rules, "godwit_").collect();
    assert!(!asked.is_empty());
    for name in asked {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!(metric::ALL.iter().any(|metric| metric.name == base), "{name}");
    }
}
