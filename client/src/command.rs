//! What the handles say to the driver, and what it lets them see.

use crate::{Refusal, SendError, Sent};
use bytes::Bytes;
use godwit_proto::{
    ClientMsgId, ConversationId,
    v1::{Expiry, client_frame, server_frame},
};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// A handle's wish.
#[derive(Debug)]
pub(crate) enum Command {
    /// Send this message.
    Send(Box<NewMessage>),
    /// Ask this on the session stream. Dropped `reply`: the connection was lost first.
    Request { body: Box<client_frame::Body>, reply: oneshot::Sender<Answer> },
}

/// The server's answer to a request.
#[derive(Debug)]
pub(crate) enum Answer {
    Reply(Box<server_frame::Body>),
    Refused(Refusal),
}

/// A message as the application gave it.
#[derive(Debug)]
pub(crate) struct NewMessage {
    pub(crate) conversation: ConversationId,
    pub(crate) client_msg_id: ClientMsgId,
    pub(crate) body: Bytes,
    pub(crate) content_type: String,
    pub(crate) repeated: bool,
    pub(crate) expiry: Option<Expiry>,
    /// 0: none.
    pub(crate) deliver_by_ms: u64,
    pub(crate) reply: oneshot::Sender<Result<Sent, SendError>>,
    /// Its place in the outbox, free again when this is dropped.
    pub(crate) room: OwnedSemaphorePermit,
}

/// Whether there is a connection.
#[derive(Debug)]
pub(crate) enum LinkState {
    /// None now; there will be one.
    Down,
    /// Logged in.
    Up(Link),
    /// None, for good.
    Closed,
}

impl LinkState {
    /// Whether `link` is the connection that is up.
    pub(crate) fn is(&self, link: &Link) -> bool {
        matches!(self, Self::Up(up) if up.connection.stable_id() == link.connection.stable_id())
    }
}

/// A connection that is logged in, for requests on bulk streams.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) connection: quinn::Connection,
    /// A permit for every bulk stream that may be open.
    pub(crate) bulk_streams: Arc<Semaphore>,
    /// The newest request id: unique on the connection, whatever stream a request is on.
    pub(crate) request_ids: Arc<AtomicU64>,
}

impl Link {
    pub(crate) fn next_request_id(&self) -> u64 {
        self.request_ids.fetch_add(1, Ordering::Relaxed) + 1
    }
}
