//! The server's clock, which may be set, beside simulated time, which only goes on.

/// What a clock that is right says when simulated time begins: milliseconds since the epoch.
pub const START_MS: u64 = 1_700_000_000_000;

/// What the clock said at every time so far.
#[derive(Debug)]
pub struct ServerClock {
    /// By how much it was ahead, and from when on. The first is from the beginning.
    ahead_ms: Vec<(u64, i64)>,
}

impl Default for ServerClock {
    /// It is right.
    fn default() -> Self {
        Self { ahead_ms: vec![(0, 0)] }
    }
}

impl ServerClock {
    /// Sets it, so far ahead of what is right.
    pub fn set(&mut self, now_ms: u64, ahead_ms: i64) {
        self.ahead_ms.push((now_ms, ahead_ms));
    }

    pub fn ahead_ms(&self) -> i64 {
        self.ahead_ms.last().map_or(0, |(_, ahead_ms)| *ahead_ms)
    }

    /// What it says now.
    pub fn read(&self, now_ms: u64) -> u64 {
        reading(now_ms, self.ahead_ms())
    }

    /// The latest that it said between two points in simulated time, both included.
    pub fn latest_between(&self, from_ms: u64, to_ms: u64) -> u64 {
        let ends_ms = self.ahead_ms.iter().skip(1).map(|(since_ms, _)| *since_ms).chain([u64::MAX]);
        let pieces = self.ahead_ms.iter().zip(ends_ms);
        let touched = pieces.filter(|((since_ms, _), end_ms)| *since_ms <= to_ms && *end_ms >= from_ms);
        touched.map(|((_, ahead_ms), end_ms)| reading(end_ms.min(to_ms), *ahead_ms)).max().unwrap_or_default()
    }

    /// Whether it was set between two points in simulated time.
    pub fn was_set_between(&self, from_ms: u64, to_ms: u64) -> bool {
        self.ahead_ms.iter().skip(1).any(|(since_ms, _)| (from_ms..=to_ms).contains(since_ms))
    }
}

fn reading(now_ms: u64, ahead_ms: i64) -> u64 {
    (START_MS + now_ms).saturating_add_signed(ahead_ms)
}
