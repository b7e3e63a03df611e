//! What becomes of each datagram that one direction of a link is given.

use super::spec::{LinkSpec, Queue, Rate};
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// One direction of one client's link: loss, then a queue in front of a bottleneck, then delay.
///
/// No I/O and no clock: whoever has a datagram asks for its fate, and the answer depends on the spec, the seed and what was
/// asked before, nothing else. Unlike `netem`'s, its jitter reorders nothing: a datagram that would overtake an earlier one
/// arrives with it, as behind a queue. So the closer datagrams follow each other, the more of them have the jitter of
/// the slowest among them.
#[derive(Debug)]
pub struct Direction {
    loss: f64,
    delay: Duration,
    jitter: Duration,
    bottleneck: Option<Rate>,
    queue: Queue,
    chance: Xoshiro256PlusPlus,
    /// When the bottleneck has sent everything that it was given.
    idle_at: Option<Instant>,
    /// When the last datagram arrives.
    arrives_last: Option<Instant>,
    /// Until when each datagram takes a place in the queue, earliest first. Kept only when places are counted.
    places: VecDeque<Instant>,
}

/// What becomes of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It arrives then, never before the one that was given before it.
    Arrives(Instant),
    /// Chance took it.
    Lost,
    /// The queue was full.
    Overflowed,
}

impl Direction {
    /// An idle one. The same spec and seed give the same fates to the same datagrams at the same times.
    pub fn new(spec: &LinkSpec, seed: u64) -> Self {
        Self {
            loss: spec.loss_percent / 100.0,
            delay: spec.delay,
            jitter: spec.jitter,
            bottleneck: spec.rate,
            queue: spec.queue_or_default(),
            chance: Xoshiro256PlusPlus::seed_from_u64(seed),
            idle_at: None,
            arrives_last: None,
            places: VecDeque::new(),
        }
    }

    /// Takes a datagram of so many bytes, with its headers from IP on. `now` never goes back from one call to the next.
    pub fn offer(&mut self, now: Instant, bytes: usize) -> Fate {
        // Both are drawn for every datagram, so that the fate of one does not shift the chances of all that follow.
        let lost = self.chance.random::<f64>() < self.loss;
        let jitter = self.jitter.mul_f64(self.chance.random());
        if lost {
            return Fate::Lost;
        }

        while self.places.front().is_some_and(|until| *until <= now) {
            self.places.pop_front();
        }
        let starts = self.idle_at.map_or(now, |idle_at| idle_at.max(now));
        let full = match self.queue {
            Queue::Time(longest) => starts.duration_since(now) >= longest,
            Queue::Datagrams(most) => self.places.len() >= most as usize,
        };
        if full {
            return Fate::Overflowed;
        }

        let leaves = starts + self.bottleneck.map_or(Duration::ZERO, |rate| rate.time_for(bytes));
        let arrives = leaves + self.delay + jitter;
        let arrives = self.arrives_last.map_or(arrives, |last| last.max(arrives));
        self.idle_at = Some(leaves);
        self.arrives_last = Some(arrives);
        if let Queue::Datagrams(_) = self.queue {
            self.places.push_back(if self.bottleneck.is_some() { leaves } else { arrives });
        }
        Fate::Arrives(arrives)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    fn direction(spec: &str, seed: u64) -> Direction {
        Direction::new(&spec.parse().unwrap(), seed)
    }

    /// The fates of datagrams of 1,250 bytes, one every `gap`, as times since the first.
    fn fates(spec: &str, seed: u64, count: u32, gap: Duration) -> Vec<(Duration, Option<Duration>)> {
        let mut direction = direction(spec, seed);
        let start = Instant::now();
        (0..count)
            .map(|index| {
                let arrives = match direction.offer(start + gap * index, 1_250) {
                    Fate::Arrives(at) => Some(at - start),
                    Fate::Lost | Fate::Overflowed => None,
                };
                (gap * index, arrives)
            })
            .collect()
    }

    #[test]
    fn the_share_that_is_lost_is_the_one_that_was_asked_for() {
        for (spec, at_least, at_most) in
            [("loss=0%", 0, 0), ("loss=0.5%", 400, 600), ("loss=20%", 19_500, 20_500), ("loss=100%", 100_000, 100_000)]
        {
            let mut direction = direction(spec, 1);
            let now = Instant::now();
            let lost = (0..100_000).filter(|index| direction.offer(now + MS * *index, 100) == Fate::Lost).count();
            assert!((at_least..=at_most).contains(&lost), "{spec}: {lost} of 100,000");
        }
    }

    #[test]
    fn a_rate_spreads_a_burst_over_the_time_that_it_takes() {
        // 1,250 bytes at 1 mbit take 10 ms.
        let arrivals: Vec<_> = fates("rate=1mbit,delay=5ms,queue=1s", 1, 5, Duration::ZERO)
            .into_iter()
            .filter_map(|(_, arrives)| arrives)
            .collect();
        assert_eq!(arrivals, [15 * MS, 25 * MS, 35 * MS, 45 * MS, 55 * MS]);
    }

    #[test]
    fn a_link_that_was_idle_does_not_catch_up() {
        let mut direction = direction("rate=1mbit", 1);
        let start = Instant::now();
        assert_eq!(direction.offer(start, 1_250), Fate::Arrives(start + 10 * MS));
        assert_eq!(direction.offer(start + 1_000 * MS, 1_250), Fate::Arrives(start + 1_010 * MS));
    }

    #[test]
    fn a_queue_of_datagrams_holds_that_many_and_makes_room_as_they_leave() {
        let mut direction = direction("rate=1mbit,queue=3", 1);
        let start = Instant::now();
        let overflowed = (0..10).filter(|_| direction.offer(start, 1_250) == Fate::Overflowed).count();
        assert_eq!(overflowed, 7);
        assert_eq!(direction.offer(start + 10 * MS, 1_250), Fate::Arrives(start + 40 * MS));
        assert_eq!(direction.offer(start + 10 * MS, 1_250), Fate::Overflowed);
    }

    #[test]
    fn a_queue_in_time_is_full_when_the_next_would_wait_longer() {
        let mut direction = direction("rate=1mbit,queue=25ms", 1);
        let start = Instant::now();
        let arrived = (0..10).filter(|_| matches!(direction.offer(start, 1_250), Fate::Arrives(_))).count();
        assert_eq!(arrived, 3, "they start at 0, 10 and 20 ms");
    }

    #[test]
    fn without_a_rate_the_queue_bounds_what_is_under_way() {
        let mut direction = direction("delay=50ms,queue=4", 1);
        let start = Instant::now();
        assert_eq!((0..9).filter(|_| direction.offer(start, 9) == Fate::Overflowed).count(), 5);
        assert!(matches!(direction.offer(start + 50 * MS, 9), Fate::Arrives(_)));
    }

    proptest! {
        #[test]
        fn without_a_rate_nothing_is_early_or_later_than_the_jitter(seed: u64, gap_us in 0u64..5_000) {
            for (sent, arrives) in fates("delay=40ms,jitter=5ms", seed, 500, Duration::from_micros(gap_us)) {
                let taken = arrives.unwrap() - sent;
                prop_assert!(taken >= 40 * MS && taken <= 45 * MS, "{taken:?}");
            }
        }

        #[test]
        fn order_is_kept(seed: u64, gap_us in 0u64..5_000) {
            let spec = "loss=5%,delay=3ms,jitter=20ms,rate=5mbit";
            let arrivals: Vec<_> =
                fates(spec, seed, 500, Duration::from_micros(gap_us)).into_iter().filter_map(|(_, at)| at).collect();
            prop_assert!(arrivals.is_sorted());
            prop_assert!(arrivals.len() > 40);
        }

        #[test]
        fn no_window_has_more_than_the_rate_allows(seed: u64, gap_us in 0u64..2_000, window_ms in 10u32..200) {
            // 10 mbit are one datagram of 1,250 bytes a millisecond.
            let arrivals: Vec<_> =
                fates("rate=10mbit,loss=1%", seed, 1_000, Duration::from_micros(gap_us)).into_iter().filter_map(|(_, at)| at).collect();
            for (index, first) in arrivals.iter().enumerate() {
                let in_window = arrivals[index..].iter().take_while(|at| **at < *first + window_ms * MS).count();
                prop_assert!(in_window <= window_ms as usize, "{in_window} in {window_ms} ms");
            }
        }

        #[test]
        fn the_queue_never_makes_anything_wait_longer_than_it_is(seed: u64, gap_us in 0u64..2_000) {
            for (sent, arrives) in fates("rate=10mbit,queue=30ms,delay=7ms", seed, 1_000, Duration::from_micros(gap_us)) {
                prop_assert!(arrives.is_none_or(|arrives| arrives - sent <= 30 * MS + MS + 7 * MS));
            }
        }

        #[test]
        fn the_same_seed_means_the_same_fate(seed: u64) {
            let spec = "loss=10%,delay=10ms,jitter=10ms,rate=20mbit,queue=20";
            prop_assert_eq!(fates(spec, seed, 300, MS / 3), fates(spec, seed, 300, MS / 3));
            prop_assert_ne!(fates(spec, seed, 300, MS / 3), fates(spec, seed ^ 1, 300, MS / 3));
        }
    }
}
