//! When a peer sends.

/// The rhythm of one peer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// Listens only.
    Silent,
    /// Closed loop: this many messages without an answer, always.
    Closed { in_flight: usize },
    /// Open loop: one message every `interval_ns`, the first at `first_ns`, whatever the server does.
    Open { first_ns: u64, interval_ns: u64 },
}

impl Pace {
    /// Open loop at `rate_per_s` over all of `peers`, who take turns; this is the one at `index`.
    pub fn share_of(rate_per_s: f64, peers: usize, index: usize) -> Self {
        let interval_ns = (1e9 * peers as f64 / rate_per_s) as u64;
        let first_ns = (interval_ns as f64 * index as f64 / peers as f64) as u64;
        Self::Open { first_ns, interval_ns: interval_ns.max(1) }
    }

    /// When the message after `sent` others is due; `None` if that depends on answers.
    pub fn due_ns(self, sent: u64) -> Option<u64> {
        match self {
            Self::Open { first_ns, interval_ns } => Some(first_ns + sent * interval_ns),
            Self::Silent | Self::Closed { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_of_an_open_loop_take_turns_and_make_the_rate_together() {
        let due = |index, sent| Pace::share_of(1_000.0, 4, index).due_ns(sent);
        assert_eq!((due(0, 0), due(1, 0), due(3, 0)), (Some(0), Some(1_000_000), Some(3_000_000)));
        assert_eq!((due(0, 1), due(1, 2)), (Some(4_000_000), Some(9_000_000)));
        assert_eq!(Pace::Closed { in_flight: 1 }.due_ns(0), None);
    }
}
