//! What happened, second by second.

use hdrhistogram::Histogram;
use std::time::Duration;

/// One second of a run. Messages count in the second in which a thing happened to them.
#[derive(Debug, Clone)]
pub struct Second {
    /// Due to be sent.
    pub offered: u64,
    /// Handed to the connection.
    pub sent: u64,
    /// Answered as durable.
    pub acked: u64,
    /// Arrived at members other than the sender.
    pub delivered: u64,
    /// Answered with an error.
    pub refused: u64,
    /// From due to answered, in microseconds.
    pub ack_us: Histogram<u64>,
    /// From due to arrived, in microseconds.
    pub delivery_us: Histogram<u64>,
}

impl Default for Second {
    fn default() -> Self {
        let (ack_us, delivery_us) = (empty_histogram(), empty_histogram());
        Self { offered: 0, sent: 0, acked: 0, delivered: 0, refused: 0, ack_us, delivery_us }
    }
}

impl Second {
    /// Adds what another part of the run saw.
    pub fn add(&mut self, other: &Self) {
        self.offered += other.offered;
        self.sent += other.sent;
        self.acked += other.acked;
        self.delivered += other.delivered;
        self.refused += other.refused;
        // Cannot fail: both grow as needed.
        let _ = self.ack_us.add(&other.ack_us);
        let _ = self.delivery_us.add(&other.delivery_us);
    }
}

/// The seconds of a run, from its origin on.
#[derive(Debug, Default)]
pub struct Tally {
    seconds: Vec<Second>,
}

impl Tally {
    /// The second in which `now_ns` lies.
    pub fn at(&mut self, now_ns: u64) -> &mut Second {
        let index = (now_ns / NS_PER_S) as usize;
        while self.seconds.len() <= index {
            self.seconds.push(Second::default());
        }
        &mut self.seconds[index]
    }

    /// Adds what another part of the run saw.
    pub fn add(&mut self, other: &Self) {
        for (index, second) in other.seconds.iter().enumerate() {
            self.at(index as u64 * NS_PER_S).add(second);
        }
    }

    /// All of them.
    pub fn seconds(&self) -> &[Second] {
        &self.seconds
    }

    /// The sum of the seconds from `from` on, `count` of them.
    pub fn sum(&self, from: usize, count: usize) -> Second {
        let window = self.seconds.iter().skip(from).take(count);
        window.fold(Second::default(), |mut sum, second| {
            sum.add(second);
            sum
        })
    }
}

/// Records how long something took that began and ended at these times of a run.
pub fn record(histogram: &mut Histogram<u64>, from_ns: u64, to_ns: u64) {
    record_us(histogram, Duration::from_nanos(to_ns.saturating_sub(from_ns)));
}

/// Records how long something took.
pub fn record_us(histogram: &mut Histogram<u64>, took: Duration) {
    let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).min(LONGEST_US);
    // Cannot fail: it grows up to the longest.
    let _ = histogram.record(us);
}

/// One that grows as needed.
pub fn empty_histogram() -> Histogram<u64> {
    let mut histogram = Histogram::new(SIGNIFICANT_DIGITS).unwrap_or_else(|_| unreachable!("the digits are allowed"));
    histogram.auto(true);
    histogram
}

const NS_PER_S: u64 = 1_000_000_000;
const LONGEST_US: u64 = 3_600_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_count_in_the_second_in_which_they_happen_and_parts_add_up() {
        let (mut one, mut other) = (Tally::default(), Tally::default());
        one.at(0).acked += 1;
        one.at(2_100_000_000).acked += 2;
        other.at(2_900_000_000).acked += 3;
        record(&mut other.at(2_900_000_000).ack_us, 2_899_000_000, 2_900_000_000);
        one.add(&other);
        assert_eq!(one.seconds().iter().map(|second| second.acked).collect::<Vec<_>>(), [1, 0, 5]);
        assert_eq!(one.sum(2, 10).ack_us.max(), 1_000);
        assert_eq!(one.sum(0, 2).acked, 1);
    }
}
