//! A session that the core knows of.

use super::metrics::Metrics;
use crate::router::{Channel, CorePort, Outbox, SessionId};
use bytes::Bytes;
use std::{net::SocketAddr, rc::Rc, time::Duration};

/// The transport's half of one session. Dropping it, in whatever way the connection ends, tells the core.
pub(super) struct OpenSession {
    port: CorePort,
    id: SessionId,
    outbox: Rc<Outbox>,
    metrics: Rc<Metrics>,
}

impl OpenSession {
    /// `None` when the core has as many sessions as it may.
    pub(super) fn open(
        port: &CorePort,
        remote: SocketAddr,
        login_within: Duration,
        metrics: Rc<Metrics>,
    ) -> Option<Self> {
        let login_within_ms = u64::try_from(login_within.as_millis()).unwrap_or(u64::MAX);
        let (id, outbox) = port.open(remote, login_within_ms)?;
        Some(Self { port: port.clone(), id, outbox, metrics })
    }

    pub(super) fn port(&self) -> &CorePort {
        &self.port
    }

    pub(super) fn outbox(&self) -> &Rc<Outbox> {
        &self.outbox
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Hands a frame to the core.
    pub(super) fn frame(&self, channel: Channel, frame: Bytes) {
        self.metrics.frames_received.increment(1);
        self.port.frame(self.id, channel, frame);
    }

    /// Hands a datagram to the core, if there is room.
    pub(super) fn datagram(&self, frame: Bytes) {
        self.port.datagram(self.id, frame);
    }

    /// Bytes of the outbox are with QUIC, or will never be.
    pub(super) fn written(&self, bytes: usize) {
        if bytes > 0 && self.outbox.written(bytes) {
            self.port.drained(self.id);
        }
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.port.close(self.id);
    }
}
