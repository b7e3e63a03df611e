//! What a link did to the datagrams that it was given.

use super::direction::Fate;
use serde::Serialize;
use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Counts since the link was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LinkStats {
    /// From the clients to the server.
    pub up: WayStats,
    /// From the server to the clients.
    pub down: WayStats,
    /// How many clients had a link of their own.
    pub flows: u64,
    /// How much later than it should have a datagram was passed on at worst. Beyond a few milliseconds the relay itself had
    /// too little CPU, and a measurement through it says little.
    pub late_us_max: u64,
    /// What the kernel dropped before the link saw it, because the relay did not read fast enough: loss that nobody asked
    /// for. A measurement with many of these says little.
    pub overrun: u64,
}

/// Counts of one way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct WayStats {
    /// Datagrams that were passed on.
    pub datagrams: u64,
    /// Their bytes, with all headers from IP on.
    pub bytes: u64,
    /// Datagrams that chance took.
    pub lost: u64,
    /// Datagrams that found the queue full.
    pub overflowed: u64,
    /// Datagrams that nobody was there to take.
    pub undeliverable: u64,
}

/// From whom to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From a client to the server.
    Up,
    /// From the server to a client.
    Down,
}

/// What the thread of a link counts, for others to read.
#[derive(Debug, Default)]
pub struct Counters {
    up: WayCounters,
    down: WayCounters,
    flows: AtomicU64,
    late_us_max: AtomicU64,
}

#[derive(Debug, Default)]
struct WayCounters {
    datagrams: AtomicU64,
    bytes: AtomicU64,
    lost: AtomicU64,
    overflowed: AtomicU64,
    undeliverable: AtomicU64,
}

impl Counters {
    pub fn on_flow(&self) {
        self.flows.fetch_add(1, Relaxed);
    }

    /// Counts what does not arrive. What does is counted when it is passed on.
    pub fn on_fate(&self, way: Way, fate: Fate) {
        match fate {
            Fate::Arrives(_) => {}
            Fate::Lost => _ = self.of(way).lost.fetch_add(1, Relaxed),
            Fate::Overflowed => _ = self.of(way).overflowed.fetch_add(1, Relaxed),
        }
    }

    pub fn on_passed(&self, way: Way, bytes: usize, late: Duration) {
        self.of(way).datagrams.fetch_add(1, Relaxed);
        self.of(way).bytes.fetch_add(bytes as u64, Relaxed);
        self.late_us_max.fetch_max(late.as_micros() as u64, Relaxed);
    }

    pub fn on_undeliverable(&self, way: Way) {
        self.of(way).undeliverable.fetch_add(1, Relaxed);
    }

    pub fn stats(&self, overrun: u64) -> LinkStats {
        LinkStats {
            up: self.up.stats(),
            down: self.down.stats(),
            flows: self.flows.load(Relaxed),
            late_us_max: self.late_us_max.load(Relaxed),
            overrun,
        }
    }

    fn of(&self, way: Way) -> &WayCounters {
        match way {
            Way::Up => &self.up,
            Way::Down => &self.down,
        }
    }
}

impl WayCounters {
    fn stats(&self) -> WayStats {
        WayStats {
            datagrams: self.datagrams.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            lost: self.lost.load(Relaxed),
            overflowed: self.overflowed.load(Relaxed),
            undeliverable: self.undeliverable.load(Relaxed),
        }
    }
}
