//! The wheel and tokio-util's `DelayQueue` in turn, for `cargo xtask bench wheel`.

use super::{HORIZON_MS, InDelayQueue, OnWheel, Timers, ahead_ms, numbers, shuffled};
use crate::cpu_time::CpuTime;
use criterion::measurement::Measurement;
use godwit_bench::Allocated;
use serde::Serialize;
use std::time::Duration;

const ENTRIES: usize = 1_000_000;

/// Expiry in steps of this length, as of a core that has other things to do.
const STEP_MS: usize = 100;

/// What each round measured, of one entry.
#[derive(Serialize)]
struct Rounds {
    name: &'static str,
    insert_ns: Vec<f64>,
    cancel_ns: Vec<f64>,
    expire_ns: Vec<f64>,
    bytes: Vec<f64>,
}

/// Measures both so often, and prints what it measured as JSON.
pub fn print_ratios(rounds: usize) {
    let (mut wheel, mut delay_queue) = (Rounds::of::<OnWheel>(), Rounds::of::<InDelayQueue>());
    for round in 0..rounds {
        // Whoever goes second finds the caches and the allocator as the other left them.
        if round % 2 == 0 {
            wheel.add::<OnWheel>();
            delay_queue.add::<InDelayQueue>();
        } else {
            delay_queue.add::<InDelayQueue>();
            wheel.add::<OnWheel>();
        }
    }
    let printed = serde_json::json!({ "entries": ENTRIES, "wheel": wheel, "delay_queue": delay_queue });
    println!("{printed}");
}

impl Rounds {
    fn of<T: Timers>() -> Self {
        Self { name: T::NAME, insert_ns: vec![], cancel_ns: vec![], expire_ns: vec![], bytes: vec![] }
    }

    fn add<T: Timers>(&mut self) {
        let mut numbers = numbers();
        let deadlines_ms: Vec<u64> = (0..ENTRIES).map(|_| ahead_ms(&mut numbers)).collect();

        let (mut timers, mut handles) = (T::new(), Vec::with_capacity(ENTRIES));
        let before = Allocated::now();
        self.insert_ns.push(timed(|| {
            let inserted =
                deadlines_ms.iter().zip(0..).map(|(deadline_ms, number)| timers.insert(*deadline_ms, number));
            handles.extend(inserted);
        }));
        self.bytes.push(Allocated::now().since(before).bytes as f64 / ENTRIES as f64);

        let handles = shuffled(handles, &mut numbers);
        self.cancel_ns.push(timed(|| handles.into_iter().for_each(|handle| timers.cancel(handle))));
        drop(timers);

        let mut timers = T::new();
        deadlines_ms.iter().zip(0..).for_each(|(deadline_ms, number)| _ = timers.insert(*deadline_ms, number));
        let (mut spent_ns, mut fired, mut sum) = (0.0, 0, 0);
        for now_ms in (0..=HORIZON_MS).step_by(STEP_MS) {
            timers.set_time(now_ms);
            spent_ns += timed(|| {
                timers.expire(|payload| {
                    fired += 1;
                    sum += payload;
                });
            });
        }
        assert_eq!((fired, sum), (ENTRIES, (0..ENTRIES as u64).sum()), "{} lost something", T::NAME);
        self.expire_ns.push(spent_ns);
    }
}

/// CPU time, in nanoseconds for each of all entries.
fn timed(work: impl FnOnce()) -> f64 {
    let started = CpuTime.start();
    work();
    let spent: Duration = CpuTime.end(started);
    spent.as_nanos() as f64 / ENTRIES as f64
}
