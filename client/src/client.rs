//! The handle that an application holds.

use crate::{
    ClientConfig, ConnectError, Events, Expiry, Refusal, RequestError, SendError,
    clock::ServerClock,
    command::{Command, Link, LinkState, NewMessage},
    connector::Identity,
    driver,
    typing::Said,
};
use bytes::Bytes;
use godwit_proto::{
    ClientMsgId, ConversationId, Seq, UserId,
    codec::FRAME_BYTES_MAX,
    v1::{self, ErrorCode, Limits},
};
use quinn::Endpoint;
use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, RwLock},
    task::{Context, Poll},
};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

/// A logged-in client that stays logged in. Clones are handles to the same client.
///
/// When the last handle is gone, the connection is closed and messages that are not durable yet are given up. Call
/// [`shutdown`](Self::shutdown) to close in order.
///
/// Requests survive reconnects: a call waits for the connection and asks again, and every request is such that asking
/// twice changes nothing. It waits for as long as the server is away; put a `tokio::time::timeout` around a call that
/// must not. Dropping a call that waits is safe.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

/// What the handles and the driver's task have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) commands: mpsc::Sender<Command>,
    /// Apart from the commands, which may be held up.
    shutdown: mpsc::Sender<oneshot::Sender<()>>,
    pub(crate) link: watch::Receiver<LinkState>,
    pub(crate) identity: Arc<RwLock<Identity>>,
    /// A permit for every message that is not durable yet.
    outbox_room: Arc<Semaphore>,
    endpoint: Endpoint,
    clock: ServerClock,
    pub(crate) typing: Mutex<Option<Said>>,
}

impl Client {
    /// Connects and logs in, and from then on stays connected until [`shutdown`](Self::shutdown), until the server ends
    /// the session, or until every handle is gone.
    ///
    /// Errors that trying again cannot cure are returned at once. A server that cannot be reached is
    /// [`ConnectError::Unreachable`], or waited for if [`wait_for_server`](ClientConfig::wait_for_server) says so; one
    /// that asks to come back later is waited for in either case. Inside a tokio runtime, whose current thread or pool
    /// then runs one task for the client.
    pub async fn connect(config: ClientConfig) -> Result<(Self, Events), ConnectError> {
        let parts = driver::start(config).await?;
        let shared = Shared {
            commands: parts.commands,
            shutdown: parts.shutdown,
            link: parts.link,
            identity: parts.identity,
            outbox_room: Arc::new(Semaphore::new(parts.outbox_messages_max)),
            endpoint: parts.endpoint,
            clock: parts.clock,
            typing: Mutex::new(None),
        };
        Ok((Self { shared: Arc::new(shared) }, parts.events))
    }

    /// The user who is logged in.
    pub fn user_id(&self) -> UserId {
        self.identity(|identity| identity.user_id)
    }

    /// The user's name, in the letters that it was registered with.
    pub fn username(&self) -> String {
        self.identity(|identity| identity.username.clone())
    }

    /// What others read.
    pub fn display_name(&self) -> String {
        self.identity(|identity| identity.display_name.clone())
    }

    /// The token of this device, to keep for [`Credentials::Token`](crate::Credentials::Token). It is a secret.
    pub fn token(&self) -> Bytes {
        self.identity(|identity| identity.token.clone())
    }

    /// What the server accepts, as it said on the newest connection.
    pub fn limits(&self) -> Limits {
        self.identity(|identity| identity.limits)
    }

    /// The server's clock, by which messages expire and are scheduled: milliseconds since 1970-01-01 UTC. It is as old as the
    /// newest answer that told it, and goes on by the clock of this machine from there; `None` if no answer told it.
    pub fn server_time_ms(&self) -> Option<u64> {
        self.shared.clock.now_ms()
    }

    /// Whether a connection is up and logged in right now. It may be gone by the time the caller looks.
    pub fn is_connected(&self) -> bool {
        matches!(*self.shared.link.borrow(), LinkState::Up(_))
    }

    /// Sends a text message; see [`send_with`](Self::send_with).
    pub async fn send(&self, conversation: ConversationId, body: impl Into<Bytes>) -> Result<Sending, SendError> {
        self.send_with(conversation, body, SendOptions::default()).await
    }

    /// Queues a message and returns as soon as there is room for it in the outbox. Await the [`Sending`] to learn that it
    /// is durable. Messages to one conversation are accepted in the order of these calls, also across reconnects and
    /// refusals that passed.
    pub async fn send_with(
        &self,
        conversation: ConversationId,
        body: impl Into<Bytes>,
        options: SendOptions,
    ) -> Result<Sending, SendError> {
        let body = body.into();
        self.fits(&body, &options.content_type).map_err(SendError::Refused)?;
        let expiry = options.expiry.map(v1::Expiry::from);
        let deliver_by_ms = options.deliver_by_ms.map_or(0, |at_ms| at_ms.max(1));
        self.takes_expiry(expiry.map_or(0, |expiry| expiry.after_ms).max(deliver_by_ms.min(1)))
            .map_err(SendError::Refused)?;
        let room = self.shared.outbox_room.clone().acquire_owned().await.map_err(|_| SendError::Closed)?;
        let (reply, answer) = oneshot::channel();
        let client_msg_id = options.client_msg_id.unwrap_or_else(random_msg_id);
        let message = NewMessage {
            conversation,
            client_msg_id,
            body,
            content_type: options.content_type,
            repeated: options.repeated,
            expiry,
            deliver_by_ms,
            reply,
            room,
        };
        self.shared.commands.send(Command::Send(Box::new(message))).await.map_err(|_| SendError::Closed)?;
        Ok(Sending { client_msg_id, answer })
    }

    /// Moves the client's socket to a new local port, as a change of network would; the connection stays. A shared
    /// endpoint moves with all its clients.
    pub fn rebind(&self) -> io::Result<()> {
        crate::endpoint::rebind(&self.shared.endpoint)
    }

    /// Sends what is waiting to be written, closes the connection and ends the client. Messages that are not durable by
    /// then resolve to [`SendError::Closed`].
    pub async fn shutdown(&self) {
        let (done, ended) = oneshot::channel();
        if self.shared.shutdown.send(done).await.is_ok() {
            // An error says that the driver ended on its own: the same thing.
            let _ = ended.await;
        }
    }

    /// The connection that is up, or the one that will be.
    pub(crate) async fn link(&self) -> Result<Link, RequestError> {
        let mut link = self.shared.link.clone();
        let state = link.wait_for(|state| !matches!(state, LinkState::Down)).await;
        match state.as_deref() {
            Ok(LinkState::Up(link)) => Ok(link.clone()),
            _ => Err(RequestError::Closed),
        }
    }

    /// Refuses here what the server would refuse, or would close the connection for.
    pub(crate) fn fits(&self, body: &[u8], content_type: &str) -> Result<(), Refusal> {
        let limits = self.limits();
        let frame_max = FRAME_BYTES_MAX.min(limits.frame_bytes_max as usize);
        let body_max = (limits.message_bytes_max as usize).min(frame_max.saturating_sub(SEND_OVERHEAD_BYTES));
        if body.len() > body_max || content_type.len() > CONTENT_TYPE_BYTES_MAX {
            let message = format!("a body is at most {body_max} bytes, a content type {CONTENT_TYPE_BYTES_MAX}");
            return Err(Refusal::local(ErrorCode::MessageTooLarge, message));
        }
        Ok(())
    }

    /// Refuses an expiry that is too far off. A server of before there were any would let the message stay for ever.
    pub(crate) fn takes_expiry(&self, after_ms: u64) -> Result<(), Refusal> {
        let max = self.limits().expiry_after_ms_max;
        if after_ms > max {
            let message = format!("a message expires at most {max} ms after its start");
            return Err(Refusal::local(ErrorCode::InvalidArgument, message));
        }
        Ok(())
    }

    fn identity<T>(&self, read: impl FnOnce(&Identity) -> T) -> T {
        read(&self.shared.identity.read().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }
}

/// What a message may have besides its body.
#[derive(Debug, Clone, Default)]
pub struct SendOptions {
    /// The id that makes sending it again harmless; a random one when `None`. Choose it to remember the message across
    /// runs of the application.
    pub client_msg_id: Option<ClientMsgId>,
    /// A media type of at most 64 bytes; empty for text.
    pub content_type: String,
    /// The message may have been sent before, by an earlier run of the application, with the same `client_msg_id`.
    pub repeated: bool,
    /// When the message disappears, for everybody; `None`: as the conversation says.
    pub expiry: Option<Expiry>,
    /// Whoever does not have the message by then does not get it any more, and an [`Undelivered`](v1::Undelivered) entry says
    /// who that is. A time to come by the server's clock ([`Client::server_time_ms`]), in milliseconds since 1970-01-01 UTC:
    /// a message that the server gets later is refused with [`DeadlinePassed`](ErrorCode::DeadlinePassed).
    pub deliver_by_ms: Option<u64>,
}

/// A message on its way. Resolves when it is durable, or refused for good. Dropping it does not call the message back.
#[derive(Debug)]
pub struct Sending {
    client_msg_id: ClientMsgId,
    answer: oneshot::Receiver<Result<Sent, SendError>>,
}

impl Sending {
    /// The message's id.
    pub fn client_msg_id(&self) -> ClientMsgId {
        self.client_msg_id
    }
}

impl Future for Sending {
    type Output = Result<Sent, SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer).poll(cx).map(|answer| answer.unwrap_or(Err(SendError::Closed)))
    }
}

/// A message that is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Its place in the conversation's log.
    pub seq: Seq,
    /// The unread-worthy entries up to and including it.
    pub ordinal: u64,
    /// When the server accepted it: milliseconds since 1970-01-01 UTC.
    pub sent_ms: u64,
}

/// What the protocol allows.
const CONTENT_TYPE_BYTES_MAX: usize = 64;

/// More than what a frame with a message in it has besides the body: three ids, the content type, times, tags and lengths.
const SEND_OVERHEAD_BYTES: usize = 256;

pub(crate) fn random_msg_id() -> ClientMsgId {
    ClientMsgId(rand::random())
}
