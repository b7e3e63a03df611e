//! How long to wait before trying again.

use rand::RngExt;
use std::time::Duration;

/// Exponential backoff with full jitter: the wait before attempt `n` is anything between zero and `base * 2^n`, at most
/// `max`. Full jitter spreads thousands of clients that lost the same server at the same moment best ("Exponential
/// Backoff And Jitter", Marc Brooker, AWS Architecture Blog, 2015).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The upper bound of the first wait.
    pub base: Duration,
    /// The upper bound of every wait.
    pub max: Duration,
}

impl Backoff {
    /// The upper bound of the wait after `failures` failures in a row, counted from 0.
    pub fn ceiling(&self, failures: u32) -> Duration {
        self.base.saturating_mul(1u32.checked_shl(failures).unwrap_or(u32::MAX)).min(self.max)
    }

    /// A wait after `failures` failures in a row, counted from 0, and at least `hint` when the server gave one: many
    /// clients got the same hint, so the jitter comes on top of it.
    pub fn wait(&self, failures: u32, hint: Option<Duration>) -> Duration {
        let jitter = self.ceiling(failures).mul_f64(rand::rng().random_range(0.0..=1.0));
        hint.unwrap_or_default() + jitter
    }
}

/// What is added to the hints with which the server refuses requests.
pub(crate) const REFUSED: Backoff = Backoff { base: Duration::from_millis(50), max: Duration::from_secs(5) };

impl Default for Backoff {
    fn default() -> Self {
        Self { base: Duration::from_millis(200), max: Duration::from_secs(20) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_up_to_the_maximum_and_never_overflows() {
        let backoff = Backoff { base: Duration::from_millis(100), max: Duration::from_secs(5) };
        assert_eq!(backoff.ceiling(0), Duration::from_millis(100));
        assert_eq!(backoff.ceiling(3), Duration::from_millis(800));
        assert_eq!(backoff.ceiling(6), Duration::from_secs(5));
        assert_eq!(backoff.ceiling(u32::MAX), Duration::from_secs(5));
    }

    #[test]
    fn waits_differ_and_stay_under_the_ceiling() {
        let backoff = Backoff::default();
        let waits: Vec<_> = (0..50).map(|_| backoff.wait(4, None)).collect();
        assert!(waits.iter().all(|&wait| wait <= backoff.ceiling(4)));
        assert!(waits.iter().any(|&wait| wait != waits[0]));
    }

    #[test]
    fn a_hint_of_the_server_is_waited_for_in_full() {
        let hint = Duration::from_secs(3);
        assert!((0..50).all(|_| Backoff::default().wait(0, Some(hint)) >= hint));
    }
}
