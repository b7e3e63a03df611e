//! How long things took.

use hdrhistogram::Histogram;
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Durations that many tasks record at once.
#[derive(Debug)]
pub struct Latency {
    /// Several, so that tasks seldom wait for each other.
    shards: Vec<Mutex<Histogram<u64>>>,
}

impl Latency {
    /// Nothing recorded yet.
    pub fn new() -> anyhow::Result<Self> {
        let shard = || Histogram::new_with_max(LONGEST_US, SIGNIFICANT_DIGITS).map(Mutex::new);
        Ok(Self { shards: (0..SHARDS).map(|_| shard()).collect::<Result<_, _>>()? })
    }

    /// Records one. Any number will do as `recorder`; those who record at the same time should have different ones.
    pub fn record(&self, recorder: usize, duration: Duration) {
        let microseconds = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let shard = &self.shards[recorder % self.shards.len()];
        shard.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(microseconds);
    }

    /// The duration in milliseconds that this share of all stayed below; 0 when nothing was recorded.
    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        let mut shards = self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).clone());
        let Some(first) = shards.next() else { return 0.0 };
        let all = shards.fold(first, |mut all, shard| {
            // Cannot fail: they have the same bounds.
            let _ = all.add(&shard);
            all
        });
        all.value_at_quantile(quantile) as f64 / 1000.0
    }
}

const SHARDS: usize = 16;
const LONGEST_US: u64 = 3_600_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    #[test]
    fn quantiles_are_over_what_all_recorders_recorded() {
        let latency = Latency::new().unwrap();
        assert_eq!(latency.quantile_ms(0.5), 0.0);
        (1..=100).for_each(|ms| latency.record(ms, Duration::from_millis(ms as u64)));
        assert!((latency.quantile_ms(0.5) - 50.0).abs() < 0.1);
        assert!((latency.quantile_ms(0.99) - 99.0).abs() < 0.1);
        latency.record(0, Duration::from_secs(1_000_000));
        assert!(latency.quantile_ms(1.0) > 3_000_000.0, "what is too long counts as the longest");
    }
}
