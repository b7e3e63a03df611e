//! How long an attempt to connect may take.

use std::time::Duration;

/// The limit of the next attempt.
///
/// The first connection gets all the time that the application allows. From then on a client is impatient at first: a
/// server that is killed between the client's last handshake packet and its own confirmation of it leaves an attempt
/// hanging, because until it is confirmed a QUIC client probes with handshake packets only (RFC 9002, section 6.2.1), and
/// those draw no stateless reset from the server that took its place. One that is merely busy gets twice the time after
/// every attempt that ran out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patience {
    limit: Duration,
    max: Duration,
}

impl Patience {
    /// Of a client that was never connected: all of `max`.
    pub(crate) fn new(max: Duration) -> Self {
        Self { limit: max, max }
    }

    /// How long the next attempt may take.
    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// An attempt succeeded.
    pub(crate) fn on_connected(&mut self) {
        self.limit = RECONNECT_LIMIT_FIRST.min(self.max);
    }

    /// An attempt ran out of its time.
    pub(crate) fn on_elapsed(&mut self) {
        self.limit = (self.limit * 2).min(self.max);
    }
}

/// Many times what a resume takes on a slow path: two round trips and no password.
const RECONNECT_LIMIT_FIRST: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    #[test]
    fn the_first_connection_gets_all_the_time_and_the_next_ones_little_until_that_is_not_enough() {
        let mut patience = Patience::new(Duration::from_secs(10));
        assert_eq!(patience.limit(), Duration::from_secs(10));
        patience.on_elapsed();
        assert_eq!(patience.limit(), Duration::from_secs(10));
        patience.on_connected();
        let limits = [(); 4].map(|()| {
            let limit = patience.limit();
            patience.on_elapsed();
            limit.as_secs()
        });
        assert_eq!(limits, [2, 4, 8, 10]);
        patience.on_connected();
        assert_eq!(patience.limit(), Duration::from_secs(2));
    }

    #[test]
    fn an_application_may_allow_less() {
        let mut patience = Patience::new(Duration::from_millis(500));
        patience.on_connected();
        assert_eq!(patience.limit(), Duration::from_millis(500));
    }
}
