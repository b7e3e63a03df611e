//! Behaviours one by one. `tests/timer_wheel.rs` compares random work with a model.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use super::*;

/// Everything that is due at `now`, in order.
fn due<T>(wheel: &mut Wheel<T>, now: u64) -> Vec<T> {
    due_at_most(wheel, now, usize::MAX)
}

fn due_at_most<T>(wheel: &mut Wheel<T>, now: u64, limit: usize) -> Vec<T> {
    let mut fired = Vec::new();
    let count = wheel.advance(Tick(now), limit, &mut |deadline, payload| {
        assert!(deadline <= Tick(now));
        fired.push(payload);
    });
    assert_eq!(count, fired.len());
    fired
}

/// How often one has to wake for an entry to fire, if one always wakes when the wheel says so.
fn wakes(from: u64, deadline: u64) -> usize {
    let mut wheel = Wheel::new(Tick(from));
    wheel.insert(Tick(deadline), ());
    for wakes in 1.. {
        let Tick(at) = wheel.next_at().unwrap();
        assert!(at <= deadline);
        if !due(&mut wheel, at).is_empty() {
            assert_eq!(at, deadline);
            return wakes;
        }
    }
    unreachable!()
}

const DAY_MS: u64 = 86_400_000;
const YEAR_MS: u64 = 365 * DAY_MS;

#[test]
fn an_entry_fires_on_its_millisecond_at_any_distance() {
    for distance in [1, 255, 256, 257, 65_535, 65_536, DAY_MS, 49 * DAY_MS, 50 * DAY_MS, YEAR_MS, 1 << 60] {
        let mut wheel = Wheel::new(Tick(1_000));
        let deadline = 1_000 + distance;
        wheel.insert(Tick(deadline), 'a');
        assert_eq!(due(&mut wheel, deadline - 1), [' '; 0], "{distance} ms");
        assert_eq!((due(&mut wheel, deadline), wheel.len()), (vec!['a'], 0), "{distance} ms");
    }
}

#[test]
fn the_end_of_time_can_be_waited_for() {
    let mut wheel = Wheel::new(Tick(0));
    wheel.insert(Tick(u64::MAX), 'a');
    assert_eq!(due(&mut wheel, u64::MAX - 1), [' '; 0]);
    assert_eq!(due(&mut wheel, u64::MAX), ['a']);
    wheel.insert(Tick(u64::MAX), 'b');
    assert_eq!(due(&mut wheel, u64::MAX), ['b']);
}

#[test]
fn a_jump_of_a_year_fires_everything_in_due_order() {
    let mut wheel = Wheel::new(Tick(0));
    let deadlines = [YEAR_MS, 3, DAY_MS, 70_000, 60 * DAY_MS, 300, 2, 50 * DAY_MS, 299];
    deadlines.iter().for_each(|deadline| _ = wheel.insert(Tick(*deadline), *deadline));
    let mut sorted = deadlines.to_vec();
    sorted.sort_unstable();
    assert_eq!(due(&mut wheel, YEAR_MS), sorted);
}

#[test]
fn equal_deadlines_fire_in_the_order_of_insertion_whatever_slots_they_came_through() {
    let mut wheel = Wheel::new(Tick(0));
    let deadline = Tick(50 * DAY_MS + 70_000);
    for (number, now) in
        [0, 49 * DAY_MS, 50 * DAY_MS, 50 * DAY_MS + 69_000, 50 * DAY_MS + 69_999].into_iter().enumerate()
    {
        assert_eq!(due(&mut wheel, now), [0; 0]);
        wheel.insert(deadline, 2 * number);
        wheel.insert(deadline, 2 * number + 1);
    }
    assert_eq!(due(&mut wheel, deadline.0), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_limit_leaves_the_rest_for_the_next_call() {
    let mut wheel = Wheel::new(Tick(0));
    (0..100).for_each(|number| _ = wheel.insert(Tick(500), number));
    assert_eq!(due_at_most(&mut wheel, 600, 40), (0..40).collect::<Vec<_>>());
    assert_eq!((wheel.next_at(), wheel.len()), (Some(Tick(500)), 60));
    // Among what is left, a deadline that lies before it comes first, and an equal one last.
    wheel.insert(Tick(500), 100);
    wheel.insert(Tick(499), 101);
    assert_eq!(due_at_most(&mut wheel, 600, 2), [101, 40]);
    assert_eq!(due(&mut wheel, 600), (41..=100).collect::<Vec<_>>());
    assert_eq!(wheel.next_at(), None);
}

#[test]
fn what_is_inserted_too_late_fires_next_and_in_due_order() {
    let mut wheel = Wheel::new(Tick(0));
    assert_eq!(due(&mut wheel, 1_000), [0; 0]);
    [900, 1_000, 100, 900].into_iter().enumerate().for_each(|(n, deadline)| _ = wheel.insert(Tick(deadline), n));
    assert_eq!(wheel.next_at(), Some(Tick(100)));
    assert_eq!(due(&mut wheel, 1_000), [2, 0, 3, 1]);
}

#[test]
fn a_handle_finds_only_its_own_entry_and_only_once() {
    let mut wheel = Wheel::new(Tick(0));
    let fired = wheel.insert(Tick(1), 'a');
    let cancelled = wheel.insert(Tick(5), 'b');
    assert_eq!(due(&mut wheel, 1), ['a']);
    let next = wheel.insert(Tick(5), 'c');
    assert_eq!([wheel.cancel(fired), wheel.cancel(cancelled), wheel.cancel(cancelled)], [None, Some('b'), None]);
    assert_eq!(due(&mut wheel, 5), ['c']);
    assert_eq!(wheel.cancel(next), None);
}

#[test]
fn time_that_goes_backwards_is_ignored() {
    let mut wheel = Wheel::new(Tick(100));
    assert_eq!(due(&mut wheel, 200), [' '; 0]);
    wheel.insert(Tick(150), 'a');
    let mut fired = Vec::new();
    assert_eq!(wheel.advance(Tick(50), 9, &mut |deadline, payload| fired.push((deadline, payload))), 1);
    assert_eq!(fired, [(Tick(150), 'a')]);
}

#[test]
fn a_cancelled_entry_wakes_nobody_if_nothing_else_waits() {
    let mut wheel = Wheel::new(Tick(0));
    let handle = wheel.insert(Tick(10), ());
    wheel.cancel(handle);
    assert_eq!((wheel.next_at(), wheel.is_empty()), (None, true));
}

#[test]
fn waking_when_told_comes_to_the_deadline_in_a_few_steps() {
    assert_eq!(wakes(0, 200), 1);
    assert_eq!(wakes(0, 30_001), 2);
    assert_eq!(wakes(0, DAY_MS + 1), 4);
    assert_eq!(wakes(12_345, YEAR_MS + 1), 5);
}

#[test]
fn what_is_cancelled_far_ahead_of_its_time_does_not_pile_up() {
    for ahead_ms in [100, 30_000, DAY_MS, YEAR_MS, 0] {
        let mut wheel = Wheel::new(Tick(200));
        assert_eq!(due(&mut wheel, 500), [] as [u64; 0]);
        let waiting: Vec<_> = (0..2_000).map(|n| wheel.insert(Tick(500 + ahead_ms + n), n)).collect();
        for n in 0..200_000 {
            // The last ones lie in the past, and are never asked for.
            let deadline = if ahead_ms == 0 { n % 499 } else { 500 + ahead_ms + n % 50_000 };
            let handle = wheel.insert(Tick(deadline), n);
            assert_eq!(wheel.cancel(handle), Some(n));
            assert!(wheel.cancelled <= 2 * wheel.len() + 2_048, "{} cancelled, {ahead_ms} ms ahead", wheel.cancelled);
        }
        waiting.iter().for_each(|handle| assert!(wheel.cancel(*handle).is_some()));
        assert!(wheel.cancelled <= 2_048, "{} cancelled, {ahead_ms} ms ahead", wheel.cancelled);
    }
}
