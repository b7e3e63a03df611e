//! What a timing wheel asks the allocator for.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use godwit::timer::{Tick, TimerHandle, Wheel};
use godwit_bench::{Allocated, Counted};

#[global_allocator]
static ALLOCATOR: Counted = Counted;

/// Numbers that look random, without memory of their own.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

fn fill<T>(wheel: &mut Wheel<T>, entries: u64, payload: impl Fn(u64) -> T) {
    let mut numbers = Numbers(1);
    (0..entries).for_each(|number| _ = wheel.insert(Tick(1 + numbers.below(60_000)), payload(number)));
}

/// Of each of so many entries over a minute, beside the payload.
fn bytes_per_entry<T>(entries: u64, payload: impl Fn(u64) -> T) -> f64 {
    let before = Allocated::now();
    let mut wheel = Wheel::new(Tick(0));
    fill(&mut wheel, entries, payload);
    assert_eq!(wheel.len() as u64, entries);
    Allocated::now().since(before).bytes as f64 / entries as f64 - size_of::<T>() as f64
}

#[test]
fn an_entry_takes_at_most_24_bytes_beside_its_payload() {
    for entries in [10_000, 100_000, 300_000] {
        for bytes in [
            bytes_per_entry(entries, |number| number),
            bytes_per_entry(entries, |number| [number as u32; 3]),
            bytes_per_entry(entries, |number| (number, number)),
        ] {
            assert!((16.0..=24.0).contains(&bytes), "{bytes:.1} bytes beside the payload, of {entries} entries");
        }
    }
}

#[test]
fn a_few_entries_take_a_tenth_of_a_megabyte_at_most() {
    let before = Allocated::now();
    let mut wheel = Wheel::new(Tick(0));
    fill(&mut wheel, 1_000, |number| number);
    let bytes = Allocated::now().since(before).bytes;
    assert!((1..100_000).contains(&bytes), "{bytes} bytes");
}

/// A core at work for 200 s: so many entries at most, most of which are cancelled long before they are due, a batch of what is
/// due each turn, and a time without work now and then.
fn work(wheel: &mut Wheel<u64>, now: &mut u64, entries: usize, handles: &mut Vec<TimerHandle>) {
    let mut numbers = Numbers(*now);
    for _ in 0..100_000 {
        let quiet = *now % 10_000 >= 9_000;
        for _ in 0..if quiet { 0 } else { 40 } {
            let ahead = if numbers.below(10) == 0 { 100_000 } else { 5_000 };
            handles.push(wheel.insert(Tick(*now + numbers.below(ahead)), *now));
        }
        while handles.len() > entries || quiet && !handles.is_empty() {
            let handle = handles.swap_remove(numbers.below(handles.len() as u64) as usize);
            wheel.cancel(handle);
        }
        *now += 1 + numbers.below(3);
        wheel.advance(Tick(*now), 64, &mut |_, inserted| assert!(inserted <= *now));
    }
}

#[test]
fn nothing_is_allocated_once_memory_was_used_before() {
    let (mut wheel, mut now, mut handles) = (Wheel::new(Tick(0)), 0, Vec::with_capacity(20_000));
    // A little more than later: what has never been needed before is allocated.
    work(&mut wheel, &mut now, 11_000, &mut handles);
    let before = Allocated::now();
    work(&mut wheel, &mut now, 10_000, &mut handles);
    assert_eq!(Allocated::now().since(before).times, 0);
}

#[test]
fn what_is_cancelled_long_before_its_time_takes_a_bounded_amount_of_memory() {
    let before = Allocated::now();
    let (mut wheel, mut numbers) = (Wheel::new(Tick(0)), Numbers(1));
    for number in 0..1_000_000 {
        let handle = wheel.insert(Tick(86_400_000 + numbers.below(86_400_000)), number);
        wheel.cancel(handle).unwrap();
    }
    let bytes = Allocated::now().since(before).bytes;
    assert!(bytes < 500_000, "{bytes} bytes");
}

#[test]
fn memory_is_given_back_after_a_burst() {
    let before = Allocated::now();
    let mut wheel = Wheel::new(Tick(0));
    wheel.insert(Tick(1 << 40), 0);
    let bytes = || Allocated::now().since(before).bytes;
    fill(&mut wheel, 200_000, |number| number);
    let burst = bytes();
    // As a core does that wakes every 50 ms.
    (0..=90_000).step_by(50).for_each(|now| _ = wheel.advance(Tick(now), 1_000, &mut |_, _| ()));
    assert_eq!(wheel.len(), 1);
    assert!(bytes() < burst / 20, "{} bytes are left of {burst}", bytes());
}
