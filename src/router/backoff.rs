//! How long something waits before it is tried again.

use rand::{Rng, RngExt};

/// Exponential backoff with full jitter ("Exponential Backoff And Jitter", Marc Brooker, AWS Architecture Blog, 2015): the
/// wait before attempt `n`, counted from 0, is anything between zero and `base_ms * factor^n`, at most `max_ms`. So what
/// failed together is not tried again together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The upper bound of the first wait.
    pub base_ms: u64,
    /// By how much the bound grows from one attempt to the next.
    pub factor: u32,
    /// The upper bound of every wait.
    pub max_ms: u64,
}

impl Backoff {
    /// The upper bound of the wait before this attempt.
    pub fn ceiling_ms(&self, attempt: u32) -> u64 {
        let factor = u64::from(self.factor).saturating_pow(attempt);
        self.base_ms.saturating_mul(factor).min(self.max_ms)
    }

    /// The wait before this attempt.
    pub fn wait_ms(&self, attempt: u32, random: &mut impl Rng) -> u64 {
        random.random_range(0..=self.ceiling_ms(attempt))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::SmallRng};

    const BACKOFF: Backoff = Backoff { base_ms: 100, factor: 3, max_ms: 5_000 };

    #[test]
    fn the_ceiling_grows_by_the_factor_up_to_the_maximum_and_never_overflows() {
        assert_eq!([0, 1, 2, 3].map(|attempt| BACKOFF.ceiling_ms(attempt)), [100, 300, 900, 2_700]);
        assert_eq!([4, 50, u32::MAX].map(|attempt| BACKOFF.ceiling_ms(attempt)), [5_000; 3]);
        assert_eq!(Backoff { factor: 1, ..BACKOFF }.ceiling_ms(7), 100);
    }

    #[test]
    fn waits_spread_over_all_that_is_allowed() {
        let mut random = SmallRng::seed_from_u64(1);
        let waits: Vec<u64> = (0..1_000).map(|_| BACKOFF.wait_ms(1, &mut random)).collect();
        assert!(waits.iter().all(|wait_ms| *wait_ms <= 300));
        assert!(waits.iter().any(|wait_ms| *wait_ms < 30) && waits.iter().any(|wait_ms| *wait_ms > 270));
    }
}
