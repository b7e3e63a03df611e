//! Points in time.

use std::time::Duration;

/// A point in time, in whole milliseconds of one clock that starts anywhere.
///
/// Ticks of different clocks have nothing to do with each other: a wheel keeps to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tick(pub u64);

impl Tick {
    /// The present, so long after the clock started. Rounds down, so that nothing due within this millisecond is early.
    pub fn at(elapsed: Duration) -> Self {
        Self(elapsed.as_millis().try_into().unwrap_or(u64::MAX))
    }

    /// What is due so long after this point. Rounds up, for the same reason; a time that cannot be told is the end of time.
    pub fn after(self, wait: Duration) -> Self {
        let wait_ms = wait.as_nanos().div_ceil(1_000_000);
        Self(self.0.saturating_add(wait_ms.try_into().unwrap_or(u64::MAX)))
    }

    /// How long it is from `earlier` to here: nothing if that is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_present_rounds_down_and_a_deadline_rounds_up() {
        assert_eq!(Tick::at(Duration::from_micros(5_999)), Tick(5));
        assert_eq!(Tick(5).after(Duration::from_nanos(1)), Tick(6));
        assert_eq!(Tick(5).after(Duration::from_millis(2)), Tick(7));
    }

    #[test]
    fn a_time_out_of_reach_is_the_end_of_time() {
        assert_eq!(Tick(5).after(Duration::MAX), Tick(u64::MAX));
        assert_eq!(Tick(5).since(Tick(9)), Duration::ZERO);
    }
}
