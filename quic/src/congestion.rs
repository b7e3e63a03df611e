//! Congestion control for connections that seldom have much to send.

use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};
use quinn_proto::RttEstimator;
use std::{any::Any, sync::Arc, time::Instant};

/// CUBIC that does not sink under its initial window, unless the network is down.
///
/// A window grows only while the sender fills it, and chat does not. CUBIC alone takes 30 % off at every loss, has no occasion
/// to put it back, and ends at two packets a round trip: then a message waits a round trip for the one before it, on a
/// network that lost one packet in fifty for reasons of its own. The initial window, ten packets, is what every new
/// connection may send at once (RFC 9002, section 7.2), so it is no harm to a network that a long-lived one may as well.
///
/// After persistent congestion (everything lost for several probe timeouts, RFC 9002, section 7.6) CUBIC alone counts, until
/// it has grown to the initial window again.
#[derive(Clone)]
pub struct ThinStreamConfig {
    cubic: Arc<CubicConfig>,
}

impl Default for ThinStreamConfig {
    fn default() -> Self {
        Self { cubic: Arc::new(CubicConfig::default()) }
    }
}

impl ControllerFactory for ThinStreamConfig {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let cubic = self.cubic.clone().build(now, current_mtu);
        Box::new(ThinStream { cubic, in_persistent_congestion: false })
    }
}

/// The state of one path.
struct ThinStream {
    cubic: Box<dyn Controller>,
    in_persistent_congestion: bool,
}

impl Controller for ThinStream {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.cubic.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.cubic.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest_packet_num_acked: Option<u64>) {
        self.cubic.on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
        self.in_persistent_congestion &= self.cubic.window() < self.cubic.initial_window();
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent_congestion: bool, lost_bytes: u64) {
        self.cubic.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
        self.in_persistent_congestion |= is_persistent_congestion;
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.cubic.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        let window = self.cubic.window();
        if self.in_persistent_congestion { window } else { window.max(self.cubic.initial_window()) }
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = self.cubic.metrics();
        metrics.congestion_window = self.window();
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self { cubic: self.cubic.clone_box(), in_persistent_congestion: self.in_persistent_congestion })
    }

    fn initial_window(&self) -> u64 {
        self.cubic.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const MTU: u16 = 1_200;
    const INITIAL_WINDOW: u64 = 12_000;

    /// A controller, and the time, which moves on with every event.
    struct Path {
        controller: Box<dyn Controller>,
        now: Instant,
    }

    impl Path {
        fn new() -> Self {
            let now = Instant::now();
            Self { controller: Arc::new(ThinStreamConfig::default()).build(now, MTU), now }
        }

        fn lose(&mut self, is_persistent: bool) {
            self.now += Duration::from_millis(100);
            self.controller.on_congestion_event(self.now, self.now, is_persistent, 200);
        }
    }

    #[test]
    fn single_losses_leave_the_initial_window() {
        let mut path = Path::new();
        (0..20).for_each(|_| path.lose(false));
        assert_eq!(path.controller.window(), INITIAL_WINDOW);
        assert_eq!(path.controller.metrics().congestion_window, INITIAL_WINDOW);
    }

    #[test]
    fn persistent_congestion_leaves_two_packets_until_the_window_has_grown_again() {
        let mut path = Path::new();
        path.lose(true);
        assert_eq!(path.controller.window(), 2 * u64::from(MTU));
        path.lose(false);
        path.controller.on_end_acks(path.now, 0, false, None);
        assert_eq!(path.controller.clone_box().window(), 2 * u64::from(MTU), "nothing was received meanwhile");

        // Ten packets are enough for the least window now, as if the window had grown.
        path.controller.on_mtu_update(5 * MTU);
        path.controller.on_end_acks(path.now, 0, false, None);
        path.controller.on_mtu_update(MTU);
        path.lose(false);
        assert_eq!(path.controller.window(), INITIAL_WINDOW);
    }
}
