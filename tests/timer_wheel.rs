//! Random work on a timing wheel, compared with a binary heap after every step.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use godwit::timer::{Tick, TimerHandle, Wheel};
use proptest::{prelude::*, sample::Index};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

#[derive(Debug, Clone)]
enum Step {
    /// That many entries, all due so far from now.
    Insert {
        ahead_ms: i64,
        entries: usize,
    },
    /// One of all handles there ever were: it may have fired, or be cancelled already.
    Cancel(Index),
    /// So many of those that wait, counted from the oldest.
    CancelMany(usize),
    Advance {
        by: Jump,
        limit: usize,
    },
    /// Wakes when the wheel says so, until an entry fires.
    Wake,
}

#[derive(Debug, Clone, Copy)]
enum Jump {
    By(i64),
    /// To the deadline that is next, or so far beside it.
    Next(i64),
}

/// Distances around the widths of slots, and anywhere.
fn ahead_ms() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => -20_i64..20,
        4 => 0_i64..70_000,
        2 => (0_u32..42, -2_i64..3).prop_map(|(bits, beside)| (1_i64 << bits) + beside),
        1 => 0_i64..(1 << 42),
        1 => Just(i64::MAX),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let jump = prop_oneof![
        4 => (-1_i64..2).prop_map(Jump::Next),
        3 => ahead_ms().prop_map(|by| Jump::By(by.min(1 << 42))),
        1 => (-100_000_i64..1).prop_map(Jump::By),
    ];
    let limit = prop_oneof![3 => Just(usize::MAX), 2 => 0_usize..20];
    let entries = prop_oneof![8 => Just(1_usize), 3 => 1_usize..100, 1 => 500_usize..2_000];
    prop_oneof![
        8 => (ahead_ms(), entries).prop_map(|(ahead_ms, entries)| Step::Insert { ahead_ms, entries }),
        3 => any::<Index>().prop_map(Step::Cancel),
        1 => (0_usize..3_000).prop_map(Step::CancelMany),
        5 => (jump, limit).prop_map(|(by, limit)| Step::Advance { by, limit }),
        2 => Just(Step::Wake),
    ]
}

/// A wheel and what it should do. Payloads are the numbers of insertion.
struct Pair {
    wheel: Wheel<u64>,
    handles: Vec<TimerHandle>,
    /// Deadline and number, also of what was cancelled.
    heap: BinaryHeap<Reverse<(u64, u64)>>,
    /// By number.
    waiting: HashMap<u64, u64>,
    /// The latest time that the wheel was told.
    now: u64,
    /// The next of those that [`Step::CancelMany`] looks at.
    oldest: usize,
}

impl Pair {
    fn new(start: u64) -> Self {
        let wheel = Wheel::new(Tick(start));
        Self { wheel, handles: Vec::new(), heap: BinaryHeap::new(), waiting: HashMap::new(), now: start, oldest: 0 }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Insert { ahead_ms, entries } => {
                let deadline = self.now.saturating_add_signed(ahead_ms);
                (0..entries).for_each(|_| self.insert(deadline));
            }
            Step::Cancel(_) if self.handles.is_empty() => {}
            Step::Cancel(ref which) => self.cancel(which.index(self.handles.len())),
            Step::CancelMany(count) => {
                let end = self.handles.len().min(self.oldest + count);
                (self.oldest..end).for_each(|number| self.cancel(number));
                self.oldest = end;
            }
            Step::Advance { by, limit } => {
                let now = match by {
                    Jump::By(by) => self.now.saturating_add_signed(by),
                    Jump::Next(beside) => self.next().unwrap_or(self.now).saturating_add_signed(beside),
                };
                self.advance(now, limit);
            }
            Step::Wake => self.wake(),
        }
        self.check();
    }

    fn insert(&mut self, deadline: u64) {
        let number = self.handles.len() as u64;
        self.handles.push(self.wheel.insert(Tick(deadline), number));
        self.heap.push(Reverse((deadline, number)));
        self.waiting.insert(number, deadline);
    }

    fn cancel(&mut self, number: usize) {
        let expected = self.waiting.remove(&(number as u64)).map(|_| number as u64);
        assert_eq!(self.wheel.cancel(self.handles[number]), expected);
    }

    /// How many fired.
    fn advance(&mut self, now: u64, limit: usize) -> usize {
        self.now = self.now.max(now);
        let mut fired = Vec::new();
        let count = self.wheel.advance(Tick(now), limit, &mut |Tick(deadline), number| fired.push((deadline, number)));
        assert_eq!(count, fired.len());
        let mut expected = Vec::new();
        while expected.len() < limit && self.next().is_some_and(|deadline| deadline <= self.now) {
            let Reverse((deadline, number)) = self.heap.pop().unwrap();
            self.waiting.remove(&number);
            expected.push((deadline, number));
        }
        assert_eq!(fired, expected);
        count
    }

    fn wake(&mut self) {
        // One for each move, from beyond the levels down to the lowest. What is left of a cancelled entry wakes it, too.
        let mut wakes = 5 * (1 + self.handles.len() - self.waiting.len());
        while let Some(Tick(at)) = self.wheel.next_at() {
            assert!(at <= self.next().unwrap(), "too late for {:?}", self.next());
            if self.advance(at, usize::MAX) > 0 {
                break;
            }
            assert!(self.wheel.next_at() > Some(Tick(at)), "it wakes at {at} again and again");
            wakes = wakes.checked_sub(1).expect("it wakes too often");
        }
    }

    /// The true next deadline.
    fn next(&mut self) -> Option<u64> {
        while let Some(Reverse((deadline, number))) = self.heap.peek() {
            if self.waiting.contains_key(number) {
                return Some(*deadline);
            }
            self.heap.pop();
        }
        None
    }

    fn check(&mut self) {
        assert_eq!((self.wheel.len(), self.wheel.is_empty()), (self.waiting.len(), self.waiting.is_empty()));
        let next = self.next();
        let wake = self.wheel.next_at();
        assert_eq!(wake.is_some(), next.is_some());
        assert!(wake <= next.map(Tick), "{wake:?} is after {next:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn a_wheel_does_what_a_heap_does(
        start in prop_oneof![Just(0), 0..u64::from(u32::MAX), Just(u64::from(u32::MAX) - 300), Just(u64::MAX - 100_000)],
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut pair = Pair::new(start);
        steps.iter().for_each(|step| pair.step(step));
        // Nothing is lost: what still waits fires at the end of time.
        pair.advance(u64::MAX, usize::MAX);
        assert!(pair.wheel.is_empty() && pair.waiting.is_empty());
    }
}
