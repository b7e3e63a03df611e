//! What durable timers cost: to put and to remove a batch, which share a sync, and to find out what is due while very many
//! are pending.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use godwit::store::{TimerChange, TimerId, TimerKey, TimerKind, TimerOutcome, TimerOwner, TimerRow, TimerStore};
use godwit_bench::{BODY_BYTES, NOW_MS, ScratchStore, body, msg, scaled, user};
use godwit_proto::{Vshard, VshardSet};
use std::ops::Range;

/// Timers of one turn of a core, which share a sync.
const BATCHES_TIMERS: [u64; 3] = [1, 16, 256];

/// Users whose timers they are, in turn: as many as there may be in one vshard and in all others.
const OWNERS: u64 = 10_000;

/// Timers that are due much later than any that is asked for.
const PENDING: u64 = 200_000;

/// When those are due.
const NEXT_MONTH_MS: u64 = NOW_MS + 30 * 24 * 3_600_000;

/// Timers of a page, as an owner reads them.
const PAGE_TIMERS: u64 = 1_000;

fn timer(number: u64, due_ms: u64) -> TimerRow {
    let owner = TimerOwner::User(user(1 + number % OWNERS));
    let key = TimerKey { kind: TimerKind::SCHEDULED_SEND, owner, id: TimerId(msg(number).0) };
    TimerRow { key, due_ms, payload: body(BODY_BYTES) }
}

fn change(scratch: &ScratchStore, changes: Vec<TimerChange>) {
    let outcomes = scratch.wait(scratch.store().put_timers(changes));
    assert!(outcomes.iter().all(|outcome| *outcome == TimerOutcome::Durable), "{outcomes:?}");
}

/// A store with some timers, all of them in rows.
fn with_timers(numbers: Range<u64>, due_ms: impl Fn(u64) -> u64) -> ScratchStore {
    let scratch = ScratchStore::open(env!("CARGO_TARGET_TMPDIR"), |_| ());
    let numbers: Vec<_> = numbers.collect();
    for numbers in numbers.chunks(1_000) {
        change(&scratch, numbers.iter().map(|number| TimerChange::Put(timer(*number, due_ms(*number)))).collect());
    }
    scratch.store().settle().unwrap();
    scratch
}

fn all() -> VshardSet {
    Vshard::all().collect()
}

fn change_synced(c: &mut Criterion) {
    let mut group = c.benchmark_group("store_timers");
    for timers in BATCHES_TIMERS {
        group.throughput(Throughput::Elements(timers));
        // A store of its own, so that no measurement pays for the rows of the one before.
        let (mut opened, mut next) = (None, 0);
        let mut next_batch = move || {
            next += timers;
            (next - timers..next).map(|number| timer(number, NOW_MS + number)).collect::<Vec<_>>()
        };
        group.bench_function(BenchmarkId::new("put_batches_of", timers), |b| {
            let scratch = opened.get_or_insert_with(|| with_timers(0..0, |_| 0));
            let next = || next_batch().into_iter().map(TimerChange::Put).collect();
            b.iter_batched(next, |changes| change(scratch, changes), BatchSize::SmallInput);
        });
        group.bench_function(BenchmarkId::new("remove_batches_of", timers), |b| {
            let scratch = opened.get_or_insert_with(|| with_timers(0..0, |_| 0));
            let put = || {
                let rows = next_batch();
                let removals = rows.iter().map(|row| TimerChange::Remove(row.key)).collect();
                change(scratch, rows.into_iter().map(TimerChange::Put).collect());
                removals
            };
            b.iter_batched(put, |removals| change(scratch, removals), BatchSize::SmallInput);
        });
    }
    group.finish();
}

fn read(c: &mut Criterion) {
    let mut group = c.benchmark_group("store_timers");
    let (pending, due) = (scaled(PENDING), scaled(PAGE_TIMERS));
    let mut opened = None;
    let open = || with_timers(0..pending + due, |number| if number < due { NOW_MS + number } else { NEXT_MONTH_MS });
    group.bench_function(BenchmarkId::new("nothing_due_of", pending), |b| {
        let scratch = opened.get_or_insert_with(open);
        let later = NOW_MS + due..NEXT_MONTH_MS;
        b.iter(|| assert_eq!(scratch.wait(scratch.store().due_timers(all(), later.clone(), None, 1_000)), Ok(vec![])));
    });
    group.throughput(Throughput::Elements(due));
    group.bench_function(BenchmarkId::new("due_page_of", due), |b| {
        let scratch = opened.get_or_insert_with(open);
        b.iter(|| {
            let page = scratch.wait(scratch.store().due_timers(all(), 0..u64::MAX, None, due as usize)).unwrap();
            assert_eq!(page.len() as u64, due);
        });
    });
    group.bench_function(BenchmarkId::new("rows_of", due), |b| {
        let scratch = opened.get_or_insert_with(open);
        let keys: Vec<_> = (0..due).map(|number| timer(number, 0).key).collect();
        b.iter(|| assert_eq!(scratch.wait(scratch.store().timers(keys.clone())).unwrap().len() as u64, due));
    });
    group.finish();

    // Once everything has fired, a store that has just been opened is asked from the beginning of time.
    let mut group = c.benchmark_group("store_timers");
    let fired = scaled(PENDING);
    let mut opened = None;
    group.bench_function(BenchmarkId::new("due_from_0_after_removing", fired), |b| {
        let scratch = opened.get_or_insert_with(|| {
            let scratch = with_timers(0..fired, |number| NOW_MS + number);
            let numbers: Vec<_> = (0..fired).collect();
            for numbers in numbers.chunks(1_000) {
                change(&scratch, numbers.iter().map(|number| TimerChange::Remove(timer(*number, 0).key)).collect());
            }
            scratch.store().settle().unwrap();
            scratch
        });
        b.iter(|| assert_eq!(scratch.wait(scratch.store().due_timers(all(), 0..u64::MAX, None, 1_000)), Ok(vec![])));
    });
    group.finish();
}

criterion_group!(benches, change_synced, read);
criterion_main!(benches);
