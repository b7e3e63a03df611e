//! Where the transport and a core meet: both run on the core's one thread, so nothing here is locked or `Send`.
//!
//! The transport opens a session for a connection, hands in frames, and drains the session's [`Outbox`]. The core takes
//! the events of a whole turn at once and fills outboxes. Both directions are bounded: a full inbox makes the transport
//! stop reading, and a full outbox makes it stop reading from that client and the core stop pushing to it.

use bytes::Bytes;
use godwit_proto::v1::ErrorCode;
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    net::SocketAddr,
    rc::Rc,
};
use tokio::sync::Notify;

/// One of the server's cores, 0..N.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CoreId(pub u16);

/// A connection, on the core that it landed on. Never reused while the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// The stream that a frame came on, and that its reply goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// The session stream.
    Session,
    /// A bulk stream, by a number that the transport gave it, unique within the connection.
    Bulk(u64),
}

/// What a connection did.
#[derive(Debug)]
pub enum Event {
    /// It opened its session stream.
    Opened {
        /// Where to answer.
        outbox: Rc<Outbox>,
        /// The client's address, for the log and for registration that is open on loopback only.
        remote: SocketAddr,
        /// How long it may take from now on to come online, in milliseconds.
        login_within_ms: u64,
    },
    /// A whole frame, without its length prefix, not decoded yet.
    Frame {
        /// The stream it came on.
        channel: Channel,
        /// `godwit.v1.ClientFrame`.
        frame: Bytes,
    },
    /// A datagram: `godwit.v1.ClientFrame`, not decoded yet. It may be lost, so it is left out when the inbox is full.
    Datagram(Bytes),
    /// Its outbox was full, and is down to a quarter again.
    Drained,
    /// It is gone; nothing that is put in its outbox will leave.
    Closed,
}

/// The transport's way into its core. Clones share one inbox.
#[derive(Clone)]
pub struct CorePort {
    inner: Rc<PortInner>,
}

struct PortInner {
    core: CoreId,
    events: RefCell<VecDeque<(SessionId, Event)>>,
    events_max: usize,
    /// Wakes the core.
    filled: Rc<Notify>,
    /// Wakes connections that wait for room.
    drained: Notify,
    next_session: Cell<u64>,
    sessions: Cell<usize>,
    sessions_max: usize,
    outbox_bytes_max: usize,
}

impl CorePort {
    /// An inbox that holds about `events_max` events and at most `sessions_max` sessions, and that notifies `filled`.
    /// Each session's outbox holds about `outbox_bytes_max` bytes.
    pub fn new(
        core: CoreId,
        events_max: usize,
        sessions_max: usize,
        outbox_bytes_max: usize,
        filled: Rc<Notify>,
    ) -> Self {
        Self {
            inner: Rc::new(PortInner {
                core,
                events: RefCell::new(VecDeque::new()),
                events_max,
                filled,
                drained: Notify::new(),
                next_session: Cell::new(1),
                sessions: Cell::new(0),
                sessions_max,
                outbox_bytes_max,
            }),
        }
    }

    /// Which core this leads to.
    pub fn core(&self) -> CoreId {
        self.inner.core
    }

    /// Opens a session; `None` when the core has as many as it may, which the client is told as `OVERLOADED`.
    pub fn open(&self, remote: SocketAddr, login_within_ms: u64) -> Option<(SessionId, Rc<Outbox>)> {
        let inner = &self.inner;
        if inner.sessions.get() >= inner.sessions_max {
            return None;
        }
        inner.sessions.set(inner.sessions.get() + 1);
        let id = SessionId(inner.next_session.replace(inner.next_session.get() + 1));
        let outbox = Rc::new(Outbox::new(inner.outbox_bytes_max));
        self.push(id, Event::Opened { outbox: outbox.clone(), remote, login_within_ms });
        Some((id, outbox))
    }

    /// Hands in a frame. Wait for [`room`](Self::room) before reading the next one.
    pub fn frame(&self, session: SessionId, channel: Channel, frame: Bytes) {
        self.push(session, Event::Frame { channel, frame });
    }

    /// Hands in a datagram, if there is room.
    pub fn datagram(&self, session: SessionId, frame: Bytes) {
        if self.has_room() {
            self.push(session, Event::Datagram(frame));
        }
    }

    /// Tells the core that a session's outbox, which was full, has drained.
    pub fn drained(&self, session: SessionId) {
        self.push(session, Event::Drained);
    }

    /// Ends a session. Called exactly once for each that was opened.
    pub fn close(&self, session: SessionId) {
        let sessions = self.inner.sessions.get();
        assert!(sessions > 0, "a session was closed that was never opened");
        self.inner.sessions.set(sessions - 1);
        self.push(session, Event::Closed);
    }

    /// Whether the inbox has room.
    pub fn has_room(&self) -> bool {
        self.inner.events.borrow().len() < self.inner.events_max
    }

    /// Waits until the inbox has room.
    pub async fn room(&self) {
        loop {
            // Registered before the check, so that a drain in between is not missed.
            let drained = self.inner.drained.notified();
            if self.has_room() {
                return;
            }
            drained.await;
        }
    }

    /// Sessions that are open now.
    pub fn sessions(&self) -> usize {
        self.inner.sessions.get()
    }

    /// Moves up to `limit` events into `into`: the core's side, once a turn. Returns whether more are left.
    pub fn drain(&self, into: &mut Vec<(SessionId, Event)>, limit: usize) -> bool {
        let mut events = self.inner.events.borrow_mut();
        let count = events.len().min(limit);
        into.extend(events.drain(..count));
        if count > 0 && events.len() < self.inner.events_max {
            self.inner.drained.notify_waiters();
        }
        !events.is_empty()
    }

    fn push(&self, session: SessionId, event: Event) {
        self.inner.events.borrow_mut().push_back((session, event));
        self.inner.filled.notify_one();
    }
}

/// A frame on its way to the client, encoded with its length prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outbound {
    /// A reply, on the stream that its request came on; or an unasked frame on the session stream. Every request with a
    /// request id, other than an ack, gets exactly one: the transport stops reading a stream with too many unanswered
    /// requests, and ends it when the client has and the last one is answered.
    Reply(Channel, Bytes),
    /// A push, on this lane, 0..LANES.
    Push(u32, Bytes),
    /// A frame without a length prefix that may be lost.
    Datagram(Bytes),
}

impl Outbound {
    fn len(&self) -> usize {
        match self {
            Self::Reply(_, bytes) | Self::Push(_, bytes) | Self::Datagram(bytes) => bytes.len(),
        }
    }
}

/// What waits to be written to one client.
///
/// The core fills it during a turn and calls [`flush`](Self::flush) once at the end; the transport takes everything at
/// once and writes it, so that many frames share a packet. `bytes` counts what was put in and not yet reported
/// [`written`](Self::written), so a client that does not read is noticed here.
pub struct Outbox {
    queue: RefCell<Vec<Outbound>>,
    bytes: Cell<usize>,
    bytes_max: usize,
    /// Was full, and has not drained since.
    was_full: Cell<bool>,
    authenticated: Cell<bool>,
    closing: RefCell<Option<(ErrorCode, String)>>,
    /// Wakes the transport: something to write, a close, or authentication.
    changed: Notify,
}

impl Outbox {
    fn new(bytes_max: usize) -> Self {
        Self {
            queue: RefCell::new(Vec::new()),
            bytes: Cell::new(0),
            bytes_max,
            was_full: Cell::new(false),
            authenticated: Cell::new(false),
            closing: RefCell::new(None),
            changed: Notify::new(),
        }
    }

    /// Core: queues a frame. Replies are always taken, because the transport stops reading requests when the box is
    /// [`full`](Self::is_full); a push is refused with `false` then, and the session must resync. A datagram is refused then,
    /// too, and that does no harm.
    #[must_use]
    pub fn put(&self, outbound: Outbound) -> bool {
        if !matches!(outbound, Outbound::Reply(..)) && self.is_full() {
            return false;
        }
        self.bytes.set(self.bytes.get() + outbound.len());
        self.was_full.set(self.was_full.get() || self.is_full());
        self.queue.borrow_mut().push(outbound);
        true
    }

    /// Core: nothing waits for the transport.
    pub fn is_empty(&self) -> bool {
        self.queue.borrow().is_empty()
    }

    /// Core: ends a turn; wakes the transport if anything waits.
    pub fn flush(&self) {
        if !self.is_empty() {
            self.changed.notify_one();
        }
    }

    /// Core: the client proved who it is; the transport raises its stream limits and drops the deadline.
    pub fn set_authenticated(&self) {
        self.authenticated.set(true);
        self.changed.notify_one();
    }

    /// Core: write what is queued, then close the connection with this code. The first call counts.
    pub fn close(&self, code: ErrorCode, reason: &str) {
        self.closing.borrow_mut().get_or_insert_with(|| (code, reason.to_owned()));
        self.changed.notify_one();
    }

    /// Both: as many unwritten bytes as the limit allows, or more.
    pub fn is_full(&self) -> bool {
        self.bytes.get() >= self.bytes_max
    }

    /// Transport: waits for something to do.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Transport: takes everything queued, in order.
    pub fn take(&self, into: &mut Vec<Outbound>) {
        let mut queue = self.queue.borrow_mut();
        into.append(&mut queue);
        // A burst must not leave its buffer behind in a connection that is idle from then on.
        queue.shrink_to(QUEUE_CAPACITY_KEPT);
    }

    /// Transport: this many bytes went into QUIC's send buffer (or their stream is gone). Returns true when the box was
    /// full and is now down to a quarter: tell the core with [`CorePort::drained`], and read requests again.
    #[must_use]
    pub fn written(&self, bytes: usize) -> bool {
        assert!(bytes <= self.bytes.get(), "more was written than was queued");
        self.bytes.set(self.bytes.get() - bytes);
        let drained = self.was_full.get() && self.bytes.get() <= self.bytes_max / 4;
        if drained {
            self.was_full.set(false);
        }
        drained
    }

    /// Transport: whether the core has authenticated this session.
    pub fn is_authenticated(&self) -> bool {
        self.authenticated.get()
    }

    /// Transport: why to close, once everything that [`take`](Self::take) gave is written.
    pub fn closing(&self) -> Option<(ErrorCode, String)> {
        self.closing.borrow().clone()
    }
}

/// Frames that an idle outbox has room for.
const QUEUE_CAPACITY_KEPT: usize = 4;

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbox").field("bytes", &self.bytes.get()).finish_non_exhaustive()
    }
}
