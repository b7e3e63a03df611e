//! Three ways to wait for many things, made to look alike.

mod ratios;

pub use ratios::print_ratios;

use godwit::timer::{Tick, TimerHandle, Wheel};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use std::{cmp::Reverse, collections::BinaryHeap, future::poll_fn, task::Poll, time::Duration};
use tokio::{
    runtime::{Builder, Runtime},
    time::Instant,
};
use tokio_util::time::{DelayQueue, delay_queue::Key};

/// How far ahead entries are due at most.
pub const HORIZON_MS: u64 = 60_000;

/// What waits, with a payload of 8 bytes each. Time begins at 0 and passes when told.
pub trait Timers {
    /// Its name in results.
    const NAME: &'static str;
    type Handle;

    /// Without entries.
    fn new() -> Self;
    fn insert(&mut self, deadline_ms: u64, payload: u64) -> Self::Handle;
    /// Of an entry that waits.
    fn cancel(&mut self, handle: Self::Handle);
    fn set_time(&mut self, now_ms: u64);
    /// Hands over what is due.
    fn expire(&mut self, fire: impl FnMut(u64));
}

pub struct OnWheel {
    wheel: Wheel<u64>,
    now: Tick,
}

impl Timers for OnWheel {
    const NAME: &'static str = "wheel";
    type Handle = TimerHandle;

    fn new() -> Self {
        Self { wheel: Wheel::new(Tick(0)), now: Tick(0) }
    }

    fn insert(&mut self, deadline_ms: u64, payload: u64) -> TimerHandle {
        self.wheel.insert(Tick(deadline_ms), payload)
    }

    fn cancel(&mut self, handle: TimerHandle) {
        assert!(self.wheel.cancel(handle).is_some());
    }

    fn set_time(&mut self, now_ms: u64) {
        self.now = Tick(now_ms);
    }

    fn expire(&mut self, mut fire: impl FnMut(u64)) {
        self.wheel.advance(self.now, usize::MAX, &mut |_, payload| fire(payload));
    }
}

pub struct InDelayQueue {
    queue: DelayQueue<u64>,
    runtime: Runtime,
    start: Instant,
}

impl Timers for InDelayQueue {
    const NAME: &'static str = "delay_queue";
    type Handle = Key;

    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let guard = runtime.enter();
        let (queue, start) = (DelayQueue::new(), Instant::now());
        drop(guard);
        Self { queue, runtime, start }
    }

    fn insert(&mut self, deadline_ms: u64, payload: u64) -> Key {
        let _entered = self.runtime.enter();
        self.queue.insert_at(payload, self.start + Duration::from_millis(deadline_ms))
    }

    fn cancel(&mut self, handle: Key) {
        let _entered = self.runtime.enter();
        self.queue.remove(&handle);
    }

    fn set_time(&mut self, now_ms: u64) {
        let start = self.start;
        self.runtime.block_on(async {
            let now = start + Duration::from_millis(now_ms);
            tokio::time::advance(now - Instant::now()).await;
        });
    }

    fn expire(&mut self, mut fire: impl FnMut(u64)) {
        let queue = &mut self.queue;
        // Without tokio's limit on what a task does before it lets others run, of which there are none.
        let expired = tokio::task::coop::unconstrained(poll_fn(|context| {
            while let Poll::Ready(Some(expired)) = queue.poll_expired(context) {
                fire(expired.into_inner());
            }
            Poll::Ready(())
        }));
        self.runtime.block_on(expired);
    }
}

#[derive(Default)]
pub struct OnHeap {
    heap: BinaryHeap<Reverse<(u64, u64)>>,
    now_ms: u64,
}

impl Timers for OnHeap {
    const NAME: &'static str = "binary_heap";
    type Handle = ();

    fn new() -> Self {
        Self::default()
    }

    fn insert(&mut self, deadline_ms: u64, payload: u64) {
        self.heap.push(Reverse((deadline_ms, payload)));
    }

    fn cancel(&mut self, (): ()) {
        unreachable!("a heap does not know where an entry is");
    }

    fn set_time(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
    }

    fn expire(&mut self, mut fire: impl FnMut(u64)) {
        while self.heap.peek().is_some_and(|Reverse((deadline_ms, _))| *deadline_ms <= self.now_ms) {
            if let Some(Reverse((_, payload))) = self.heap.pop() {
                fire(payload);
            }
        }
    }
}

/// The same numbers every time.
pub fn numbers() -> StdRng {
    StdRng::seed_from_u64(1987)
}

/// How far ahead something is due.
pub fn ahead_ms(numbers: &mut StdRng) -> u64 {
    numbers.random_range(1..=HORIZON_MS)
}

/// In any order.
pub fn shuffled<T>(mut items: Vec<T>, numbers: &mut StdRng) -> Vec<T> {
    items.shuffle(numbers);
    items
}
