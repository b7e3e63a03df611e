//! The log of conversations on a simulated cluster: owners that crash, are stopped and go on too late, on replicas that are told
//! late, twice, in another order or not at all.
//!
//! `GODWIT_SIM_SEEDS=n` sets how many seeds are run; `GODWIT_SIM_SEED=n` replays one and prints what happens.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod calls;
mod cluster;
mod oracle;
mod owner;
mod plans;
#[path = "../support/rng.rs"]
mod rng;
mod settings;
#[path = "../simulated_cluster/mod.rs"]
mod simulated_cluster;
#[path = "../store_suite/mod.rs"]
mod store_suite;
mod timers;
mod world;

use settings::Bug;
use std::{
    cell::Cell,
    panic::{self, AssertUnwindSafe},
    sync::{
        Mutex, Once,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};
use world::Summary;

/// Seeds that the test command runs.
const SEEDS: u64 = 150;

const SEED_VARIABLE: &str = "GODWIT_SIM_SEED";
const SEEDS_VARIABLE: &str = "GODWIT_SIM_SEEDS";

#[test]
fn what_is_durable_stays_and_what_is_not_never_comes_whoever_owns_the_log() {
    if let Some(seed) = number(SEED_VARIABLE) {
        println!("{:#?}", world::run(seed, None, true));
        return;
    }
    let seeds = number(SEEDS_VARIABLE).unwrap_or(SEEDS);
    let (next, failures, total) = (AtomicU64::new(1), Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, |cores| cores.get()) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > seeds || failures.lock().unwrap().len() >= 10 {
                        return;
                    }
                    match attempt(seed, None) {
                        Ok(summary) => total.lock().unwrap().push(summary),
                        Err(message) => failures.lock().unwrap().push((seed, message)),
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    for (seed, message) in &failures {
        let command =
            format!("{SEED_VARIABLE}={seed} cargo test -p godwit --test log_simulator what_is -- --nocapture");
        eprintln!("seed {seed} failed: {message:.600}\nreplay it with: {command}\n");
    }
    assert!(failures.is_empty(), "{} seeds failed", failures.len());
    let total = total.into_inner().unwrap();
    let sum = |what: fn(&Summary) -> u64| total.iter().map(what).sum::<u64>();
    let (durable, unknown, answered) = (sum(|run| run.durable), sum(|run| run.unknown), sum(|run| run.answered));
    let (epochs, zombies, lapses) = (sum(|run| run.epochs), sum(|run| run.zombies), sum(|run| run.lapses));
    let (late, repaired) = (sum(|run| run.happened.late), sum(|run| run.happened.repaired));
    println!(
        "{seeds} seeds: {durable} commits durable, {unknown} unknown, {answered} questions answered, {epochs} owners, \
         {zombies} that went on too late, {lapses} that had lapsed and went on, {late} mutations that came late, {repaired} cells repaired"
    );
    // A run in which nothing happens shows nothing.
    if seeds >= 100 {
        assert!(durable > 10 * seeds && answered > 10 * seeds, "few commits");
        assert!(
            unknown > seeds / 2 && epochs > 2 * seeds && zombies > seeds / 10 && lapses > seeds / 10,
            "little trouble"
        );
        assert!(late > seeds && repaired > seeds, "little trouble in the cluster");
    }
}

#[test]
fn a_seed_is_the_same_run_every_time() {
    for seed in 1..20 {
        assert_eq!(attempt(seed, None), attempt(seed, None), "seed {seed}");
    }
    assert_ne!(attempt(1, None), attempt(2, None));
}

/// Seeds that are tried until one shows a bug that was put in.
const BUG_SEEDS: u64 = 200;

fn finds(bug: Bug) {
    let found = (1..=BUG_SEEDS).find_map(|seed| attempt(seed, Some(bug)).err());
    println!("{bug:?}: {:.300}", found.unwrap_or_else(|| panic!("{bug:?} went unnoticed in {BUG_SEEDS} seeds")));
}

#[test]
fn reads_of_one_replica_are_found_out() {
    finds(Bug::ReadOne);
}

#[test]
fn writes_to_one_replica_are_found_out() {
    finds(Bug::WriteOne);
}

#[test]
fn timestamps_below_a_former_owners_are_found_out() {
    finds(Bug::NoFloor);
}

#[test]
fn a_takeover_that_does_not_wait_is_found_out() {
    finds(Bug::HastyTakeover);
}

thread_local! {
    /// This thread runs a seed.
    static RUNNING: Cell<bool> = const { Cell::new(false) };
}

/// A run under a seed: what it came to, or what was wrong.
fn attempt(seed: u64, bug: Option<Bug>) -> Result<Summary, String> {
    static HOOK: Once = Once::new();
    // What a run says when it fails is reported with its seed, and only once.
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !RUNNING.get() {
                usual(panic);
            }
        }));
    });
    RUNNING.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(|| world::run(seed, bug, false)));
    RUNNING.set(false);
    result.map_err(|cause| match cause.downcast::<String>() {
        Ok(message) => *message,
        Err(cause) => cause.downcast::<&str>().map_or_else(|_| "a panic".into(), |message| (*message).into()),
    })
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not {text:?}")))
}
