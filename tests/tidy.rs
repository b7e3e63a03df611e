//! Keeps the house in order: who may import whom, how long a file may be, which words are not ours.
//!
//! The rules are `docs/ARCHITECTURE.md` in a form that a machine reads. Each is a function from a file to complaints, tried
//! below on a file that breaks it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod tidy_rules;

use std::{
    fs,
    path::{Path, PathBuf},
};
use tidy_rules::{House, Source};

/// What is looked at: everything that people write.
const ROOTS: [&str; 17] = [
    "src",
    "proto",
    "quic",
    "client",
    "loadtest",
    "bench",
    "tests",
    "services",
    "xtask",
    "fuzz",
    "docs",
    "deploy",
    ".ci",
    ".cargo",
    "README.md",
    "Cargo.toml",
    "deny.toml",
];

const EXTENSIONS: [&str; 10] = ["rs", "proto", "md", "toml", "yml", "yaml", "json", "service", "sh", "svg"];

#[test]
fn the_house_is_in_order() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let house = House::new(&fs::read_to_string(root.join("Cargo.toml")).unwrap());
    let mut files = Vec::new();
    ROOTS.iter().for_each(|entry| collect(&root.join(entry), &mut files));
    assert!(files.len() > 40, "only {} files were found", files.len());

    let complaints: Vec<String> = files
        .iter()
        .filter_map(|path| Some((path, fs::read_to_string(path).ok()?)))
        .flat_map(|(path, text)| {
            let path = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            house.complaints(&Source { path: &path, text: &text })
        })
        .collect();
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}

#[test]
fn every_dependency_is_justified_in_the_architecture() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| fs::read_to_string(root.join(file)).unwrap();
    let unjustified = tidy_rules::unjustified(&read("Cargo.toml"), &read("docs/ARCHITECTURE.md"));
    assert!(unjustified.is_empty(), "docs/ARCHITECTURE.md says nothing about {unjustified:?}");
}

#[test]
fn a_dependency_without_a_reason_is_found() {
    let manifest = "[workspace.dependencies]\ngodwit = { path = \".\" }\nprost = \"1\"\nleft-pad = \"1\"";
    assert_eq!(tidy_rules::unjustified(manifest, "| `prost` | protobuf |\nleft-pad"), ["left-pad"]);
}

fn collect(path: &Path, into: &mut Vec<PathBuf>) {
    if path.is_dir() {
        if path.ends_with("target") {
            return;
        }
        for entry in fs::read_dir(path).unwrap() {
            collect(&entry.unwrap().path(), into);
        }
    } else if path.extension().is_none_or(|found| EXTENSIONS.iter().any(|known| found == *known)) && path.exists() {
        into.push(path.to_owned());
    }
}

/// Complaints about one made-up file of a house with the dependencies named here.
fn about(path: &str, text: &str) -> Vec<String> {
    let house =
        House::new("[dependencies]\nquinn = \"1\"\nfjall = \"3\"\nprost = \"1\"\ntokio = \"1\"\nfutures-util = \"1\"");
    house.complaints(&Source { path, text })
}

fn only_complaint(path: &str, text: &str) -> String {
    let mut found = about(path, text);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn an_import_against_the_direction_is_found_in_every_form() {
    for text in [
        "use crate::transport::Connection;",
        "use crate::{chat::Entry, transport};",
        "use crate::{\n    chat::{Entry, Role},\n    transport::{Connection, Lane},\n};",
        "fn f() { crate::transport::close(); }",
        "use super::super::transport::Lane;",
    ] {
        let found = only_complaint("src/router/turn.rs", text);
        assert!(found.contains("router") && found.contains("transport"), "{found}");
    }
}

#[test]
fn imports_in_the_right_direction_and_within_a_module_are_fine() {
    assert_eq!(about("src/router/turn.rs", "use crate::{chat::Entry, router::Core, store::Store};"), [""; 0]);
    assert_eq!(about("src/transport/lane.rs", "use crate::router::CorePort;\nuse quinn::SendStream;"), [""; 0]);
    assert_eq!(about("src/server.rs", "use crate::{config::Config, transport, store};"), [""; 0]);
    // A module may be called what a crate is called.
    assert_eq!(about("src/server.rs", "use std::io;\nuse crate::{store::{fjall::Store, quinn}};"), [""; 0]);
    assert_eq!(about("src/server.rs", "use crate::Core;\nuse fjall::Database;").len(), 1);
}

#[test]
fn what_a_comment_or_a_string_or_a_test_says_is_no_import() {
    let text = "//! See [`crate::transport`].\n// crate::transport\n/* crate::transport */ const A: &str = \"crate::transport\";\n\
                #[cfg(test)]\nmod tests {\n    use crate::transport::Lane;\n}\n";
    assert_eq!(about("src/chat/rules.rs", text), [""; 0]);
}

#[test]
fn a_module_that_the_table_does_not_know_is_found() {
    assert!(only_complaint("src/gossip/mod.rs", "").contains("tests/tidy_rules"));
}

#[test]
fn the_rules_of_chat_and_the_wheel_import_no_other_crate() {
    assert!(only_complaint("src/chat/rules.rs", "use tokio::time::Instant;").contains("tokio"));
    assert!(only_complaint("src/timer/wheel.rs", "fn f() -> futures_util::Ready {}").contains("futures_util"));
    assert_eq!(about("src/chat/rules.rs", "use prost::Message;\nuse std::mem;\nfn f() { self::tokio::x(); }"), [""; 0]);
}

#[test]
fn quinn_and_fjall_stay_where_they_belong() {
    assert!(only_complaint("src/router/turn.rs", "use quinn::Connection;").contains("quinn"));
    assert!(only_complaint("src/store/mod.rs", "use fjall::Database;").contains("fjall"));
    assert_eq!(about("src/store/embedded/rows.rs", "use fjall::Database;"), [""; 0]);
    assert_eq!(about("client/src/driver.rs", "use quinn::Connection;"), [""; 0]);
}

#[test]
fn a_file_of_more_than_500_lines_is_found() {
    assert_eq!(about("client/src/long.rs", &"x\n".repeat(500)), [""; 0]);
    assert!(only_complaint("client/src/long.rs", &"x\n".repeat(501)).contains("501 lines"));
    assert_eq!(about("proto/src/generated/long.rs", &"x\n".repeat(501)), [""; 0]);
}

#[test]
fn banned_words_are_found_and_words_around_them_are_not() {
    for word in ["SessionManager", "Helper", "StringUtil", "Utils", "todo!()", "unimplemented!()", "FIXME", "XXX"] {
        assert!(only_complaint("docs/a.md", &format!("a\n{word}")).starts_with("docs/a.md:2"), "{word}");
    }
    assert_eq!(about("docs/a.md", "Utility, futures_util, a manager, a helper, todo"), [""; 0]);
}

#[test]
fn a_path_of_one_machine_is_found() {
    for path in ["/home/somebody/x", "in /root/.cargo", "\"/work/x\""] {
        assert_eq!(about("docs/a.md", path).len(), 1, "{path}");
    }
    assert_eq!(about("docs/a.md", "proto/workspace, https://example.org/homepage, chroot/x"), [""; 0]);
}

#[test]
fn unsafe_code_is_found_where_it_is_not_expected() {
    let text = "// unsafe is not used\nfn f() { unsafe { g() } }";
    assert!(only_complaint("src/router/turn.rs", text).contains("unsafe"));
    assert_eq!(about("src/transport/steering.rs", text), [""; 0]);
    assert_eq!(about("src/router/turn.rs", "#![deny(unsafe_code)]"), [""; 0]);
}
