//! The program as an operator runs it, against servers that it starts.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use serde_json::Value;
use std::process::{Command, ExitStatus, Output};

/// What came of a run.
struct Ran {
    status: ExitStatus,
    /// On standard error.
    said: String,
    /// `None` if it measured nothing.
    report: Option<Value>,
}

/// Runs the program, and has it write down what it measured.
fn run(options: &[&str]) -> Ran {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("result.json");
    // Servers of runs that went wrong leave their data, for somebody to look at.
    let mut command = program();
    command.env("TMPDIR", directory.path()).args(options).arg("--json").arg(&json);
    let Output { status, stderr, .. } = command.output().unwrap();
    let report = std::fs::read_to_string(&json).ok().map(|json| serde_json::from_str(&json).unwrap());
    Ran { status, said: String::from_utf8_lossy(&stderr).into_owned(), report }
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_godwit-loadtest"))
}

/// A second in pairs, with these options on top. How the program ended, and what it measured.
fn pairs(options: &[&str]) -> (ExitStatus, Value) {
    let fixed = ["pairs", "--connections", "8", "--rate", "200", "--warm-up", "0", "--duration", "1", "--no-pin"];
    let Ran { status, said, report } = run(&[&fixed, options].concat());
    (status, report.unwrap_or_else(|| panic!("no result; it said:\n{said}")))
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

#[test]
fn under_loss_three_servers_lose_no_message_though_packets_are_lost() {
    let shape = ["under-loss", "--groups", "8", "--members", "4", "--groups-each", "4", "--rate", "100"];
    let short = ["--warm-up", "0", "--duration", "1", "--rounds", "1", "--link", "loss=5%,delay=5ms", "--no-pin"];
    let Ran { status, said, report } = run(&[&shape[..], &short].concat());
    if said.contains("no network namespace") || said.contains("cannot be run; install") {
        eprintln!("under-loss was not run: {said}");
        return;
    }
    let report = report.unwrap_or_else(|| panic!("no result; it said:\n{said}"));
    assert!(status.success(), "{report:#}");
    let runs = report["runs"].as_array().unwrap();
    let servers: Vec<&str> = runs.iter().map(|run| run["server"].as_str().unwrap()).collect();
    assert_eq!(servers, ["godwit", "baseline", "tcp_baseline"]);
    for run in runs {
        let of = |count: &str| run["totals"][count].as_u64().unwrap();
        assert_eq!([of("accepted"), of("acked"), of("delivered")], [100, 100, 300], "{run:#}");
        let lost = run["figures"].as_array().unwrap().iter().find(|figure| figure["name"] == "link_lost").unwrap();
        assert!(lost["value"].as_f64().unwrap() > 0.0, "{run:#}");
        // A round trip, at least.
        assert!(run["delivery"]["p50_ms"].as_f64().unwrap() >= 10.0, "{run:#}");
    }
    assert!(report["tcp_ratios"]["delivery_p99_ms"].as_f64().unwrap() > 0.0);
}

#[test]
fn under_loss_says_what_to_do_where_it_cannot_have_a_network_of_its_own() {
    let nowhere = tempfile::tempdir().unwrap();
    let output = program().arg("under-loss").env("PATH", nowhere.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("install util-linux"), "{said}");
}

/// Two hundred of two thousand scheduled messages fall due, with these options on top. What came of it.
fn schedule(options: &[&str]) -> (ExitStatus, Value) {
    let load = ["schedule", "--pending", "2000", "--due", "200", "--due-rate", "100", "--people", "20", "--rate", "50"];
    let Ran { status, said, report } = run(&[&load[..], &["--no-pin"], options].concat());
    (status, report.unwrap_or_else(|| panic!("no result; it said:\n{said}")))
}

fn fired_once_each(status: ExitStatus, report: &Value) {
    assert!(status.success(), "{report:#}");
    let of = |count: &str| report[count].as_u64().unwrap();
    assert_eq!(["pending", "due", "fired"].map(of), [2000, 200, 200], "{report:#}");
    assert_eq!(["lost", "duplicated", "early", "unsettled"].map(of), [0; 4], "{report:#}");
    let lag = ["lag_p50_ms", "lag_p99_ms", "lag_max_ms"].map(|lag| report[lag].as_f64().unwrap());
    assert!(lag.is_sorted() && lag[2] < 60_000.0, "{lag:?}");
    assert!(report["bytes_per_pending"].is_f64(), "{report:#}");
    let totals = &report["runs"][0]["totals"];
    assert!(totals["acked"].as_u64().unwrap() > 100 && totals["acked"] == totals["delivered"], "{totals:#}");
}

#[test]
fn scheduled_messages_fire_once_each_while_people_chat() {
    let (status, report) = schedule(&[]);
    fired_once_each(status, &report);
    assert!(report["heard_p50_ms"].as_f64().unwrap() > 0.0, "{report:#}");
}

#[test]
fn scheduled_messages_fire_once_each_though_the_server_is_killed_meanwhile() {
    let (status, report) = schedule(&["--kill", "1"]);
    fired_once_each(status, &report);
    assert_eq!(report["kills"], 1);
}

#[test]
fn messages_disappear_once_each_and_none_early() {
    let load = ["expiry", "--pending", "1000", "--due", "200", "--due-rate", "100", "--people", "20", "--no-pin"];
    let Ran { status, said, report } = run(&load);
    let report = report.unwrap_or_else(|| panic!("no result; it said:\n{said}"));
    assert!(status.success(), "{report:#}");
    let of = |count: &str| report[count].as_u64().unwrap();
    assert_eq!(["pending", "due", "fired"].map(of), [1000, 200, 200], "{report:#}");
    assert_eq!(["lost", "duplicated", "early", "unsettled"].map(of), [0; 4], "{report:#}");
    assert!(report["heard_p50_ms"].as_f64().unwrap() > 0.0, "{report:#}");
}
