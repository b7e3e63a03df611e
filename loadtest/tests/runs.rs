//! The program as an operator runs it, against servers that it starts.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use serde_json::Value;
use std::process::{Command, ExitStatus};

/// A second in pairs, with these options on top. How the program ended, and what it measured.
fn pairs(options: &[&str]) -> (ExitStatus, Value) {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("result.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_godwit-loadtest"));
    command.args(["pairs", "--connections", "8", "--rate", "200", "--warm-up", "0", "--duration", "1", "--no-pin"]);
    // Servers of runs that went wrong leave their data, for somebody to look at.
    command.env("TMPDIR", directory.path());
    let output = command.args(options).arg("--json").arg(&json).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let report = std::fs::read_to_string(&json).unwrap_or_else(|error| panic!("no result: {error}; it said:\n{said}"));
    (output.status, serde_json::from_str(&report).unwrap())
}

#[test]
fn godwit_and_the_baseline_lose_nothing_and_a_ratio_is_made() {
    let (status, report) = pairs(&["--baseline", "--rounds", "1"]);
    assert!(status.success(), "{report:#}");
    let servers: Vec<&str> =
        report["runs"].as_array().unwrap().iter().map(|run| run["server"].as_str().unwrap()).collect();
    assert_eq!(servers, ["godwit", "baseline"]);
    for run in report["runs"].as_array().unwrap() {
        let of = |count: &str| run["totals"][count].as_u64().unwrap();
        assert_eq!([of("accepted"), of("acked"), of("delivered")], [200, 200, 200], "{run:#}");
    }
    assert!(report["ratios"]["delivered_per_s"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_run_with_refused_messages_fails_and_says_how_many() {
    let (status, report) = pairs(&["--set", "limits.message_bytes_max=64"]);
    assert_eq!(status.code(), Some(1));
    let totals = &report["runs"][0]["totals"];
    assert_eq!((totals["refused"].as_u64(), totals["acked"].as_u64()), (Some(200), Some(0)), "{totals:#}");
}
