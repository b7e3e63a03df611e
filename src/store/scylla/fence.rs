//! Until when this server owns its keyspace, and which timestamps it may write.

use godwit_proto::Vshard;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use thiserror::Error;

/// Reads the time.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock: microseconds since the epoch.
    fn wall_us(&self) -> i64;
    /// Time since some moment, by a clock that nobody sets and that goes on while the machine sleeps.
    fn elapsed(&self) -> Duration;
}

/// The lease has lapsed, or is not long enough for another timestamp now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("this server's lease has lapsed; another one may have taken over")]
pub struct Lapsed;

/// Shared by all that write and acknowledge. Whoever renews the lease moves it on.
///
/// Once it has lapsed nothing is believed. It holds again if the lease is renewed after all, for then nobody else had it in
/// between; when it has [ended](Self::has_ended) it never does.
#[derive(Clone)]
pub struct Fence(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock>,
    epochs: Vec<u64>,
    state: Mutex<State>,
}

struct State {
    /// The newest timestamp that was given out, or one below the first.
    last_us: i64,
    /// The highest that may be given out.
    until_us: i64,
    /// From then on nothing is believed any more, by [`Clock::elapsed`].
    ends: Duration,
    /// Nothing moves it on any more.
    ended: bool,
}

impl Fence {
    /// A fence of vshards with these epochs, in order. It is closed until it is moved on.
    pub fn new(clock: Arc<dyn Clock>, epochs: Vec<u64>, ts_floor_us: i64) -> Self {
        let state = State { last_us: ts_floor_us - 1, until_us: i64::MIN, ends: Duration::ZERO, ended: false };
        Self(Arc::new(Inner { clock, epochs, state: Mutex::new(state) }))
    }

    /// The owner's epoch of a vshard.
    pub fn epoch(&self, vshard: Vshard) -> u64 {
        self.0.epochs.get(usize::from(vshard.index())).copied().unwrap_or(0)
    }

    /// The timestamp of the next write, in microseconds: more than any before.
    pub fn timestamp(&self) -> Result<i64, Lapsed> {
        let now_us = self.0.clock.wall_us();
        let mut state = self.lock();
        let next_us = now_us.max(state.last_us + 1);
        if next_us > state.until_us || self.0.clock.elapsed() >= state.ends {
            return Err(Lapsed);
        }
        state.last_us = next_us;
        Ok(next_us)
    }

    /// Whether what was just answered may be believed and passed on.
    pub fn holds(&self) -> bool {
        self.0.clock.elapsed() < self.lock().ends
    }

    /// Whether it never holds again.
    pub fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// The newest timestamp that was given out.
    pub fn newest_us(&self) -> i64 {
        self.lock().last_us
    }

    /// How long the fence holds if it is not moved on.
    pub fn margin(&self) -> Duration {
        self.lock().ends.saturating_sub(self.0.clock.elapsed())
    }

    /// A renewal that was begun at `begun` was answered: it has stored `until_us`, and holds for `held` from `begun` on.
    pub fn renewed(&self, begun: Duration, held: Duration, until_us: i64) {
        let mut state = self.lock();
        if state.ended {
            return;
        }
        state.until_us = state.until_us.max(until_us);
        state.ends = state.ends.max(begun + held);
    }

    /// Nothing is believed from now on, whatever is renewed.
    pub fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        state.ends = Duration::ZERO;
        state.until_us = i64::MIN;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

    #[derive(Default)]
    struct Hands {
        wall_us: AtomicI64,
        elapsed_ms: AtomicU64,
    }

    impl Clock for Hands {
        fn wall_us(&self) -> i64 {
            self.wall_us.load(Ordering::Relaxed)
        }

        fn elapsed(&self) -> Duration {
            Duration::from_millis(self.elapsed_ms.load(Ordering::Relaxed))
        }
    }

    fn fence(ts_floor_us: i64) -> (Arc<Hands>, Fence) {
        let hands = Arc::new(Hands::default());
        (hands.clone(), Fence::new(hands, vec![7], ts_floor_us))
    }

    #[test]
    fn timestamps_grow_however_the_clock_goes() {
        let (hands, fence) = fence(100);
        fence.renewed(Duration::ZERO, Duration::from_secs(1), 1_000);
        assert_eq!(fence.timestamp(), Ok(100));
        hands.wall_us.store(500, Ordering::Relaxed);
        assert_eq!(fence.timestamp(), Ok(500));
        hands.wall_us.store(200, Ordering::Relaxed);
        assert_eq!(fence.timestamp(), Ok(501));
    }

    #[test]
    fn no_timestamp_is_above_what_the_lease_has_stored() {
        let (hands, fence) = fence(0);
        assert_eq!(fence.timestamp(), Err(Lapsed), "there is no lease yet");
        fence.renewed(Duration::ZERO, Duration::from_secs(1), 1_000);
        hands.wall_us.store(1_001, Ordering::Relaxed);
        assert_eq!(fence.timestamp(), Err(Lapsed));
        fence.renewed(Duration::ZERO, Duration::from_secs(1), 1_001);
        assert_eq!(fence.timestamp(), Ok(1_001));
        assert_eq!(fence.timestamp(), Err(Lapsed));
    }

    #[test]
    fn nothing_is_believed_half_a_lease_after_a_renewal_was_begun() {
        let (hands, fence) = fence(0);
        hands.elapsed_ms.store(100, Ordering::Relaxed);
        fence.renewed(Duration::from_millis(10), Duration::from_millis(500), i64::MAX);
        assert_eq!(fence.margin(), Duration::from_millis(410));
        hands.elapsed_ms.store(509, Ordering::Relaxed);
        assert!(fence.holds() && fence.timestamp().is_ok());
        hands.elapsed_ms.store(510, Ordering::Relaxed);
        assert!(!fence.holds() && fence.timestamp().is_err());
    }

    #[test]
    fn a_fence_that_has_lapsed_holds_again_when_the_lease_is_renewed_after_all() {
        let (hands, fence) = fence(0);
        fence.renewed(Duration::ZERO, Duration::from_millis(500), i64::MAX);
        hands.elapsed_ms.store(700, Ordering::Relaxed);
        fence.renewed(Duration::from_millis(100), Duration::from_millis(500), i64::MAX);
        assert!(!fence.holds(), "that one was begun too long ago");
        fence.renewed(Duration::from_millis(650), Duration::from_millis(500), i64::MAX);
        assert!(fence.holds() && fence.timestamp().is_ok());
    }

    #[test]
    fn a_fence_that_has_ended_gives_nothing_out() {
        let (_, fence) = fence(0);
        fence.renewed(Duration::ZERO, Duration::from_secs(9), i64::MAX);
        assert_eq!(fence.epoch(Vshard::all().next().unwrap()), 7);
        assert!(!fence.has_ended());
        fence.end();
        assert!(fence.has_ended() && !fence.holds() && fence.timestamp().is_err());
        fence.renewed(Duration::ZERO, Duration::from_secs(9), i64::MAX);
        assert!(!fence.holds() && fence.timestamp().is_err());
    }
}
