//! Who knows whom, who talks how much, and when: the shape of real traffic, with a seed for the decisions.

use crate::{
    scenario::{Circle, Layout},
    wire::STAMP_BYTES,
};
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus, seq::SliceRandom};
use std::{collections::HashMap, time::Duration};

/// A population. People are named by their index.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub layout: Layout,
    /// The share of all messages that each person writes.
    pub activity: Vec<f64>,
    /// Whether a person's phone loses the network now and then.
    pub restless: Vec<bool>,
    /// Lengths of messages, each as likely as it is frequent here.
    pub lengths: Vec<usize>,
}

/// What is known of real messages.
#[derive(Debug, Clone, Default)]
pub struct Habits {
    /// Messages of each sender; empty where nothing is known.
    pub sent: Vec<u64>,
    pub lengths: Vec<usize>,
}

impl Habits {
    /// Of messages with a sender and a length. Who sends how much counts only where the senders are real people.
    pub fn of(messages: impl Iterator<Item = (u64, usize)>, real_senders: bool) -> Self {
        let (mut sent, mut lengths) = (HashMap::<u64, u64>::new(), Vec::new());
        for (sender, length) in messages {
            *sent.entry(sender).or_default() += 1;
            lengths.push(length);
        }
        let mut sent: Vec<u64> = if real_senders { sent.into_values().collect() } else { Vec::new() };
        sent.sort_unstable_by(|one, other| other.cmp(one));
        Self { sent, lengths }
    }
}

impl Plan {
    /// For so many people, of whom a share loses the network now and then.
    pub fn new(people: u32, restless_share: f64, habits: &Habits, seed: u64) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut activity = activity(people as usize, &habits.sent);
        // Neighbours know each other; those who talk much are anywhere.
        activity.shuffle(&mut rng);
        let restless = (0..people).map(|_| rng.random_bool(restless_share)).collect();
        let lengths = habits.lengths.iter().map(|&length| length.max(STAMP_BYTES)).collect();
        Self { layout: Layout::of(people, circles(people, &mut rng)), activity, restless, lengths }
    }
}

/// Everybody's share: as in the corpus where that says something, else by Zipf's law, under which the second writes half as
/// much as the first.
fn activity(people: usize, sent: &[u64]) -> Vec<f64> {
    let zipf = |rank: usize| 1.0 / (rank + 1) as f64;
    let weights: Vec<f64> = match sent {
        [] => (0..people).map(zipf).collect(),
        // More people than the corpus has: those who come on top write as little as its last.
        [.., least] => (0..people).map(|rank| sent.get(rank).copied().unwrap_or(*least) as f64).collect(),
    };
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

/// Everybody has some friends, and is in some groups of different sizes.
fn circles(people: u32, rng: &mut Xoshiro256PlusPlus) -> Vec<Circle> {
    let mut circles = Vec::new();
    for distance in FRIENDS.into_iter().filter(|distance| distance * 2 < people) {
        let pair = |one| Circle { members: vec![one, (one + distance) % people], direct: true };
        circles.extend((0..people).map(pair));
    }
    if circles.is_empty() {
        circles.push(Circle { members: vec![0, 1], direct: true });
    }
    let everybody: Vec<u32> = (0..people).collect();
    for index in 0..(people / PEOPLE_PER_GROUP) as usize {
        let size = GROUP_SIZES[index % GROUP_SIZES.len()].min(people as usize);
        let mut members = everybody.clone();
        let (chosen, _) = members.partial_shuffle(rng, size);
        circles.push(Circle { members: chosen.to_vec(), direct: false });
    }
    circles
}

/// When one person writes: at random, more by day than by night, with the day compressed to the run's duration.
pub struct Rhythm {
    rng: Xoshiro256PlusPlus,
    rate_per_s: f64,
    day: Duration,
    next: Duration,
}

impl Rhythm {
    /// At `rate_per_s` on the average of a day.
    pub fn new(rate_per_s: f64, day: Duration, seed: u64) -> Self {
        let rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut rhythm = Self { rng, rate_per_s, day, next: Duration::ZERO };
        rhythm.advance();
        rhythm
    }

    /// When the next message is due, since the beginning of the run.
    pub fn next(&self) -> Duration {
        self.next
    }

    /// Goes on to the message after that.
    pub fn advance(&mut self) {
        let fastest_per_s = self.rate_per_s * HOURS.iter().fold(0.0, |max: f64, &hour| max.max(hour));
        // Some of what would come at the fastest rate is left out, so that as much is left as the hour wants.
        loop {
            self.next += exponential(&mut self.rng, 1.0 / fastest_per_s);
            let wanted_per_s = self.rate_per_s * of_day(self.next.as_secs_f64() / self.day.as_secs_f64());
            if self.rng.random_bool((wanted_per_s / fastest_per_s).clamp(0.0, 1.0)) {
                return;
            }
        }
    }
}

/// A random time with this mean, however long it has been already.
pub fn exponential(rng: &mut Xoshiro256PlusPlus, mean_s: f64) -> Duration {
    let uniform: f64 = rng.random_range(f64::MIN_POSITIVE..1.0);
    Duration::from_secs_f64((-uniform.ln() * mean_s).min(LONGEST_S))
}

/// How busy it is at a time of the day, from 0 at midnight to 1 at the next; 1 on the average.
fn of_day(share: f64) -> f64 {
    let hour = share.rem_euclid(1.0) * HOURS.len() as f64;
    let (before, after) = (hour as usize % HOURS.len(), (hour as usize + 1) % HOURS.len());
    HOURS[before] + (HOURS[after] - HOURS[before]) * hour.fract()
}

/// Traffic of chat by the hour, from midnight on: quiet before dawn, busiest in the evening. The mean is 1.
const HOURS: [f64; 24] = [
    0.75, 0.45, 0.3, 0.2, 0.2, 0.25, 0.4, 0.7, 0.95, 1.1, 1.15, 1.2, 1.25, 1.2, 1.15, 1.15, 1.2, 1.3, 1.4, 1.55, 1.65,
    1.7, 1.55, 1.25,
];
/// Each person writes to those this far away, in both directions.
const FRIENDS: [u32; 2] = [1, 7];
const GROUP_SIZES: [usize; 6] = [3, 5, 8, 15, 30, 60];
const PEOPLE_PER_GROUP: u32 = 5;
const LONGEST_S: f64 = 7.0 * 24.0 * 3600.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_corpus_the_second_writes_half_as_much_as_the_first() {
        let shares = activity(100, &[]);
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        assert!((shares[0] / shares[1] - 2.0).abs() < 1e-9 && (shares[0] / shares[99] - 100.0).abs() < 1e-6);
    }

    #[test]
    fn with_a_corpus_people_write_as_much_as_its_senders() {
        let habits = Habits::of([(7, 5), (9, 6), (7, 1)].into_iter(), true);
        assert_eq!((habits.sent.as_slice(), habits.lengths.as_slice()), (&[2, 1][..], &[5, 6, 1][..]));
        assert_eq!(activity(3, &habits.sent), [0.5, 0.25, 0.25]);
        assert!(Habits::of([(7, 5)].into_iter(), false).sent.is_empty());
    }

    #[test]
    fn everybody_has_friends_and_groups_have_several_sizes_without_anybody_twice() {
        let plan = Plan::new(120, 0.3, &Habits { sent: Vec::new(), lengths: vec![1, 400] }, 5);
        assert!(plan.layout.of_peers().iter().all(|conversations| conversations.len() >= 4));
        for size in GROUP_SIZES {
            assert!(plan.layout.conversations.iter().any(|circle| circle.members.len() == size));
        }
        for circle in &plan.layout.conversations {
            let mut members = circle.members.clone();
            members.sort_unstable();
            members.dedup();
            assert_eq!(members.len(), circle.members.len());
        }
        let mut pairs: Vec<Vec<u32>> = plan.layout.conversations.iter().filter(|one| one.direct).map(sorted).collect();
        pairs.sort_unstable();
        pairs.dedup();
        assert_eq!(pairs.len(), 240, "two conversations of the same two people");
        assert_eq!(plan.lengths, [STAMP_BYTES, 400]);
        assert_eq!(Plan::new(2, 0.0, &Habits::default(), 1).layout.conversations.len(), 1);
    }

    fn sorted(circle: &Circle) -> Vec<u32> {
        let mut members = circle.members.clone();
        members.sort_unstable();
        members
    }

    #[test]
    fn a_day_has_its_mean_and_its_night() {
        let mean: f64 = HOURS.iter().sum::<f64>() / 24.0;
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
        assert!(of_day(4.0 / 24.0) < 0.3 && of_day(21.0 / 24.0) > 1.6);
        assert!((of_day(1.0) - of_day(0.0)).abs() < 1e-9);
    }

    #[test]
    fn a_rhythm_keeps_its_rate_over_the_day_and_follows_the_hours() {
        let day = Duration::from_secs(240);
        let mut rhythm = Rhythm::new(50.0, day, 3);
        let (mut all, mut night, mut evening) = (0.0, 0, 0);
        while rhythm.next() < day {
            all += 1.0;
            let hour = rhythm.next().as_secs_f64() / 10.0;
            night += usize::from((2.0..5.0).contains(&hour));
            evening += usize::from((19.0..22.0).contains(&hour));
            let before = rhythm.next();
            rhythm.advance();
            assert!(rhythm.next() > before);
        }
        assert!((all / 240.0 - 50.0_f64).abs() < 2.5, "{all}");
        assert!(evening > 5 * night, "{evening} in the evening, {night} at night");
    }
}
