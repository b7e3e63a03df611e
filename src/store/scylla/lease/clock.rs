//! The time of this machine, as leases need it.

use crate::store::scylla::fence::Clock;
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The clock of this machine.
///
/// Its wall clock is read once and goes on by the other clock: that somebody sets it while the server runs changes no timestamp.
#[derive(Debug, Clone)]
pub struct SystemClock {
    wall_us: i64,
    elapsed: Duration,
}

impl SystemClock {
    /// Reads both clocks.
    pub fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { wall_us: i64::try_from(wall.as_micros()).unwrap_or(i64::MAX), elapsed: now() }
    }
}

impl Clock for SystemClock {
    fn wall_us(&self) -> i64 {
        let since = now().saturating_sub(self.elapsed);
        self.wall_us.saturating_add(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn elapsed(&self) -> Duration {
        now()
    }
}

/// Goes on while the machine sleeps, where there is such a clock.
#[cfg(target_os = "linux")]
const CLOCK: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const CLOCK: ClockId = ClockId::Monotonic;

fn now() -> Duration {
    let now = clock_gettime(CLOCK);
    // Neither is negative: both count from a start.
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_go_on_together_and_the_wall_clock_is_the_systems() {
        let clock = SystemClock::start();
        let (wall_us, elapsed) = (clock.wall_us(), clock.elapsed());
        while clock.elapsed() == elapsed {}
        assert!(clock.wall_us() >= wall_us && clock.elapsed() > elapsed);
        let system = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        assert!(Duration::from_micros(clock.wall_us().unsigned_abs()).abs_diff(system) < Duration::from_secs(60));
    }
}
