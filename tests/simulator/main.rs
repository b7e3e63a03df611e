//! The simulator: the whole router and the rules of chat, with simulated clients, network, store and clock, under one seed.
//!
//! `GODWIT_SIM_SEEDS=n` sets how many seeds are run; `GODWIT_SIM_SEED=n` replays one and prints what happens. The store is a disk,
//! or in one seed of fifteen a cluster with one owner after the other; `GODWIT_SIM_STORE=cluster` makes it one in all of them.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod changes;
mod chaos;
mod checker;
mod client;
mod clock;
mod cluster;
#[path = "../support/composed_store.rs"]
mod composed_store;
mod disk;
mod expiries;
mod ledger;
mod network;
mod process;
mod random_bytes;
mod regressions;
#[path = "../support/rng.rs"]
mod rng;
mod schedules;
mod servers;
mod settings;
#[path = "../simulated_cluster/mod.rs"]
mod simulated_cluster;
mod store;
mod trace;
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
const SEEDS: u64 = 2_500;

const SEED_VARIABLE: &str = "GODWIT_SIM_SEED";
const SEEDS_VARIABLE: &str = "GODWIT_SIM_SEEDS";

#[test]
fn nothing_that_was_acked_is_lost_doubled_or_reordered_whatever_dies() {
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
                    if seed > seeds || failures.lock().unwrap().len() >= 5 {
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
    let store = std::env::var(settings::STORE_VARIABLE);
    let store = store.map_or_else(|_| String::new(), |store| format!("{}={store} ", settings::STORE_VARIABLE));
    for (seed, message) in &failures {
        let command =
            format!("{store}{SEED_VARIABLE}={seed} cargo test -p godwit --test simulator nothing_that -- --nocapture");
        eprintln!("seed {seed} failed: {message}\nreplay it with: {command}\n");
    }
    assert!(failures.is_empty(), "{} seeds failed", failures.len());
    let total = total.into_inner().unwrap();
    let sum = |what: fn(&Summary) -> u64| total.iter().map(what).sum::<u64>();
    println!(
        "{seeds} seeds: {} steps, {} crashes, {} resyncs, {} lost pushes, {} durable entries, {} of them scheduled, {} moves of series, {} withdrawn, {} statements checked",
        sum(|run| run.steps),
        sum(|run| run.crashes),
        sum(|run| run.resyncs),
        sum(|run| run.lost_pushes),
        sum(|run| run.entries),
        sum(|run| run.scheduled),
        sum(|run| run.moves),
        sum(|run| run.withdrawn),
        sum(|run| run.checked)
    );
    let on_cluster = sum(|run| u64::from(run.on_cluster));
    println!(
        "{on_cluster} of them on a cluster: {} owners, {} that went on when another one had taken over, {} unknown writes, {} mutations that came late",
        sum(|run| if run.on_cluster { run.owners } else { 0 }),
        sum(|run| run.former),
        sum(|run| run.happened.unknown),
        sum(|run| run.happened.late),
    );
    // A run in which nothing happens shows nothing.
    if seeds >= 100 {
        assert!(sum(|run| run.entries) > 10 * seeds, "few entries");
        assert!(sum(|run| run.scheduled) > seeds, "few scheduled messages");
        assert!(sum(|run| run.moves) > seeds / 10, "few moves of series");
        assert!(sum(|run| run.withdrawn) > seeds, "few messages disappeared");
        assert!(sum(|run| run.crashes) > seeds / 10, "few crashes");
        assert!(sum(|run| run.resyncs) > seeds / 10, "few resyncs");
        assert!(sum(|run| run.lost_pushes) > seeds, "few lost pushes");
    }
    if seeds >= 1_000 {
        assert!(on_cluster > seeds / 20, "few clusters");
        assert!(sum(|run| run.former) > on_cluster / 4, "few owners that went on too late");
        assert!(sum(|run| run.happened.unknown) > on_cluster, "few unknown writes");
        assert!(sum(|run| run.happened.late) > on_cluster, "few late mutations");
    }
}

#[test]
fn a_seed_is_the_same_run_every_time() {
    let mut on_cluster = 0;
    for seed in 1..30 {
        let run = attempt(seed, None);
        assert_eq!(run, attempt(seed, None), "seed {seed}");
        on_cluster += u64::from(run.is_ok_and(|run| run.on_cluster));
    }
    assert!(on_cluster > 0, "both kinds of stores are needed");
    assert_ne!(attempt(1, None), attempt(2, None));
}

/// Seeds that are tried until one shows a bug that was put in.
const BUG_SEEDS: u64 = 200;

/// Puts a bug into the surroundings and expects that the checker says what is wrong.
fn finds(bug: Bug, complaint: &str) {
    let mut complaints = (1..=BUG_SEEDS).filter_map(|seed| Some((seed, attempt(seed, Some(bug)).err()?)));
    let found = complaints.find(|(_, found)| found.contains(complaint));
    let (seed, found) = found.unwrap_or_else(|| panic!("{bug:?} went unnoticed in {BUG_SEEDS} seeds"));
    println!("{bug:?}: seed {seed}: {found:.300}");
}

#[test]
fn a_store_that_acks_before_it_is_durable_is_found_out() {
    finds(Bug::EarlyAck, "not durable");
}

#[test]
fn a_store_that_forgets_an_entry_is_found_out() {
    finds(Bug::LostEntry, "not durable");
}

#[test]
fn a_store_that_finds_no_repeated_send_is_found_out() {
    finds(Bug::NoDedupe, "is in the log twice");
}

#[test]
fn a_store_that_leaves_an_entry_out_of_a_page_is_found_out() {
    finds(Bug::HoleInPage, "a page has a hole");
}

#[test]
fn a_store_that_forgets_what_was_read_is_found_out() {
    finds(Bug::LostRead, "is durable");
}

#[test]
fn a_store_that_takes_everybody_for_a_member_is_found_out() {
    finds(Bug::OpenDoor, "may not read");
}

#[test]
fn an_entry_that_is_taken_twice_is_found_out() {
    finds(Bug::DoubledEntry, "a hole or a double");
}

#[test]
fn a_gap_that_is_ignored_is_found_out() {
    finds(Bug::IgnoredGap, "a hole or a double");
}

#[test]
fn a_push_that_is_lost_is_found_out() {
    finds(Bug::LostPush, "is not complete");
}

#[test]
fn a_store_that_forgets_a_timer_is_found_out() {
    finds(Bug::LostTimer, "not durable");
}

#[test]
fn a_store_that_loses_the_timer_of_a_message_that_expires_is_found_out() {
    finds(Bug::LostExpiry, "its time has come, and it is there");
}

#[test]
fn a_store_that_keeps_a_timer_that_was_removed_is_found_out() {
    finds(Bug::KeptTimer, "cancelled, and still durable");
}

#[test]
fn a_timer_that_fires_early_is_found_out() {
    finds(Bug::HastyTimer, "before it was due");
}

#[test]
fn an_owner_that_does_not_heed_the_end_of_its_lease_is_found_out() {
    finds(Bug::NoFence, "not durable");
}

#[test]
fn a_takeover_that_does_not_wait_is_found_out() {
    finds(Bug::HastyTakeover, "not durable");
}

#[test]
fn timestamps_below_a_former_owners_are_found_out() {
    finds(Bug::NoFloor, "not durable");
}

#[test]
fn a_takeover_that_does_not_write_again_what_it_finds_is_found_out() {
    finds(Bug::NoSeal, "not durable");
}

#[test]
fn a_seq_that_is_given_to_something_else_while_a_write_may_still_come_is_found_out() {
    finds(Bug::GivenUpWrite, "has two contents");
}

#[test]
fn reads_of_one_replica_are_found_out() {
    finds(Bug::ReadOne, "");
}

#[test]
fn writes_to_one_replica_are_found_out() {
    finds(Bug::WriteOne, "");
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
