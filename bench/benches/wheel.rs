//! What it costs to wait for many things: the wheel, tokio-util's `DelayQueue`, and a binary heap.
//!
//! With `--ratios ROUNDS` it measures the first two in turn instead, and prints JSON for `cargo xtask bench wheel`.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod cpu_time;
mod wheel_timers;

use cpu_time::CpuTime;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, measurement::Measurement};
use godwit_bench::{Counted, scaled};
use rand::rngs::StdRng;
use std::{cell::RefCell, time::Duration};
use wheel_timers::{HORIZON_MS, InDelayQueue, OnHeap, OnWheel, Timers, ahead_ms, numbers, print_ratios, shuffled};

#[global_allocator]
static ALLOCATOR: Counted = Counted;

/// That wait, all the time.
const ENTRIES: [u64; 3] = [1_000, 100_000, 10_000_000];

/// Inserted or expired between two looks at the clock, which would be what is measured if it were few.
const BATCH_MIN: u64 = 100;

/// What is timed; the other things happen all the same.
#[derive(Clone, Copy, PartialEq)]
enum Timed {
    Insert,
    Cancel,
    Expire,
}

fn wheel(c: &mut Criterion<CpuTime>) {
    steady::<OnWheel>(c, &[Timed::Insert, Timed::Cancel, Timed::Expire]);
}

fn delay_queue(c: &mut Criterion<CpuTime>) {
    steady::<InDelayQueue>(c, &[Timed::Insert, Timed::Cancel, Timed::Expire]);
}

/// Which has no way to cancel.
fn binary_heap(c: &mut Criterion<CpuTime>) {
    steady::<OnHeap>(c, &[Timed::Insert, Timed::Expire]);
}

fn steady<T: Timers>(c: &mut Criterion<CpuTime>, timed: &[Timed]) {
    let mut group = c.benchmark_group(T::NAME);
    group.sample_size(20);
    group.throughput(Throughput::Elements(1));
    for entries in ENTRIES {
        // Ten million are made once, and only if some benchmark of them is wanted.
        let population = RefCell::new(None);
        for &timed in timed {
            let name = match timed {
                Timed::Insert => "insert",
                Timed::Cancel => "cancel",
                Timed::Expire => "expire",
            };
            group.bench_function(BenchmarkId::new(name, entries), |b| {
                let mut population = population.borrow_mut();
                let population = population.get_or_insert_with(|| Population::<T>::new(scaled(entries)));
                b.iter_custom(|iterations| population.run(timed, iterations));
            });
        }
    }
    group.finish();
}

/// As many entries all the time: as many expire as are inserted.
struct Population<T: Timers> {
    timers: T,
    entries: u64,
    /// In nanoseconds: of ten million entries, many are due in a millisecond.
    now_ns: u64,
    numbers: StdRng,
}

impl<T: Timers> Population<T> {
    fn new(entries: u64) -> Self {
        let (mut timers, mut numbers) = (T::new(), numbers());
        for number in 0..entries {
            // What is left of the time of entries that came evenly: most of those with a long way to go have gone some of it.
            let left_ms = ahead_ms(&mut numbers).min(ahead_ms(&mut numbers));
            timers.insert(left_ms, number);
        }
        Self { timers, entries, now_ns: 0, numbers }
    }

    fn run(&mut self, timed: Timed, mut rest: u64) -> Duration {
        let batch_max = BATCH_MIN.max(self.entries / 1_000);
        let mut spent = Duration::ZERO;
        while rest > 0 {
            let batch = rest.min(batch_max);
            rest -= batch;
            spent += self.batch(timed, batch);
        }
        spent
    }

    /// Inserts so many, and either cancels them or lets as many others expire.
    fn batch(&mut self, timed: Timed, batch: u64) -> Duration {
        let now_ms = self.now_ns / 1_000_000;
        let deadlines_ms: Vec<u64> = (0..batch).map(|_| now_ms + ahead_ms(&mut self.numbers)).collect();
        let mut handles = Vec::with_capacity(deadlines_ms.len());
        let timers = &mut self.timers;
        let inserting = cpu(|| {
            let inserted = deadlines_ms.iter().map(|deadline_ms| timers.insert(*deadline_ms, *deadline_ms));
            handles.extend(inserted);
        });
        if timed == Timed::Cancel {
            let handles = shuffled(handles, &mut self.numbers);
            return cpu(|| handles.into_iter().for_each(|handle| timers.cancel(handle)));
        }
        // An entry waits for half the horizon on average.
        self.now_ns += batch * (HORIZON_MS / 2 * 1_000_000) / self.entries;
        let now_ms = self.now_ns / 1_000_000;
        timers.set_time(now_ms);
        let expiring = cpu(|| timers.expire(|deadline_ms| _ = std::hint::black_box(deadline_ms)));
        if timed == Timed::Insert { inserting } else { expiring }
    }
}

fn cpu(work: impl FnOnce()) -> Duration {
    let started = CpuTime.start();
    work();
    CpuTime.end(started)
}

criterion_group!(
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = wheel, delay_queue, binary_heap
);

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--ratios").skip(1);
    if let Some(rounds) = arguments.next() {
        print_ratios(rounds.parse().expect("a number of rounds"));
    } else {
        benches();
        Criterion::default().configure_from_args().final_summary();
    }
}
