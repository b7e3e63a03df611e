//! One session's streams: what is done each time its task wakes.

use super::{
    admission::Ticket,
    client_stream::{ClientStream, Read},
    lanes::Lanes,
    open_session::OpenSession,
    options::TransportOptions,
};
use crate::router::{Channel, Outbound, Outbox};
use bytes::Bytes;
use godwit_proto::{
    codec,
    v1::{Error, ErrorCode, ServerFrame, server_frame::Body},
};
use quinn::{Connection, ConnectionError, RecvStream, SendStream, VarInt};
use std::{
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};
use tokio::time::timeout;

/// The streams of one connection between its session stream and its end.
///
/// All of it is one task: a wake-up takes everything from the outbox, writes it, and reads what the client sent. QUIC's
/// own task runs afterwards and packs whatever was written into as few packets as possible.
pub(super) struct Session<'a> {
    connection: &'a Connection,
    options: &'a TransportOptions,
    open: OpenSession,
    session_stream: ClientStream,
    bulk_streams: Vec<ClientStream>,
    lanes: Lanes<'a>,
    bulk_streams_seen: u64,
    /// Held until the client has authenticated: it may turn out to be a stranger.
    unauthenticated: Option<Ticket>,
    /// While the core's inbox is full.
    room: Option<Pin<Box<dyn Future<Output = ()>>>>,
    taken: Vec<Outbound>,
}

/// Why a session is over.
#[derive(Debug)]
pub(super) enum End {
    /// Somebody, as the outbox says, wants the connection closed.
    Closing,
    /// The client finished its session stream and has its answers.
    Finished,
    /// The client gave up its session stream, without which there is no session.
    Abandoned,
    /// The connection is gone.
    Lost(ConnectionError),
}

impl<'a> Session<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        options: &'a TransportOptions,
        open: OpenSession,
        (send, recv): (SendStream, RecvStream),
        ticket: Ticket,
    ) -> Self {
        Self {
            connection,
            options,
            open,
            session_stream: ClientStream::new(Channel::Session, options.requests_in_flight_max, send, recv),
            bulk_streams: Vec::new(),
            lanes: Lanes::new(connection),
            bulk_streams_seen: 0,
            unauthenticated: Some(ticket),
            room: None,
            taken: Vec::new(),
        }
    }

    pub(super) fn outbox(&self) -> Rc<Outbox> {
        self.open.outbox().clone()
    }

    /// The client opened another stream. QUIC keeps it from opening more than the limit.
    pub(super) fn on_stream(&mut self, send: SendStream, recv: RecvStream) {
        let channel = Channel::Bulk(self.bulk_streams_seen);
        self.bulk_streams_seen += 1;
        let in_flight_max = self.options.bulk_requests_in_flight_max;
        self.bulk_streams.push(ClientStream::new(channel, in_flight_max, send, recv));
    }

    /// The client sent a datagram.
    pub(super) fn on_datagram(&self, frame: Bytes) {
        self.open.datagram(frame);
    }

    /// Writes and reads all that can be written and read now, and arranges to be woken for the rest.
    pub(super) fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.check_authentication();
        if let Err(error) = self.poll_write(cx) {
            return Poll::Ready(End::Lost(error));
        }
        if self.open.outbox().closing().is_some() {
            return Poll::Ready(End::Closing);
        }
        self.poll_read(cx)
    }

    /// Writes what is left, gives it [`linger_ms`](TransportOptions::linger_ms) to arrive, and closes the connection.
    pub(super) async fn close(&mut self, end: End) {
        let (code, reason) = match end {
            End::Lost(error) => return tracing::trace!(%error, "a connection was lost"),
            End::Finished => (0, String::new()),
            End::Abandoned => (0, "the session stream was given up".to_owned()),
            End::Closing => {
                self.open.outbox().closing().map_or((0, String::new()), |(code, reason)| (code as u32, reason))
            }
        };
        // What the client does not take in time is lost to it, but was never acknowledged by it either.
        let _ = timeout(self.options.linger(), async {
            poll_fn(|cx| self.poll_flush(cx)).await?;
            for stream in std::iter::once(&mut self.session_stream).chain(&mut self.bulk_streams) {
                stream.out().finish();
            }
            for stream in std::iter::once(&mut self.session_stream).chain(&mut self.bulk_streams) {
                stream.out().acknowledged().await;
            }
            Ok::<_, ConnectionError>(())
        })
        .await;
        self.connection.close(VarInt::from_u32(code), reason.as_bytes());
    }

    fn check_authentication(&mut self) {
        if self.unauthenticated.is_some() && self.open.outbox().is_authenticated() {
            self.unauthenticated = None;
            self.connection.set_receive_window(VarInt::from_u32(self.options.receive_window_bytes));
            self.connection.set_max_concurrent_bi_streams(VarInt::from_u32(1 + self.options.bulk_streams_max));
        }
    }

    /// Hands QUIC everything it takes: replies first, then pushes, then what is in no hurry.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<(), ConnectionError> {
        self.take();
        let mut done = self.session_stream.out().poll_write(cx)?;
        done += self.lanes.poll_write(cx)?;
        for stream in &mut self.bulk_streams {
            done += stream.out().poll_write(cx)?;
        }
        self.open.written(done);
        Ok(())
    }

    /// Sorts what the core put into the outbox by stream.
    fn take(&mut self) {
        self.open.outbox().take(&mut self.taken);
        if self.taken.is_empty() {
            return;
        }
        self.open.metrics().writes.increment(1);
        self.open.metrics().write_frames.record(self.taken.len() as f64);
        for outbound in std::mem::take(&mut self.taken) {
            match outbound {
                Outbound::Push(lane, frame) => self.lanes.push(lane, frame),
                Outbound::Datagram(frame) => {
                    let bytes = frame.len();
                    // A client that takes no datagrams does without.
                    let _ = self.connection.send_datagram(frame);
                    self.open.written(bytes);
                }
                Outbound::Reply(Channel::Session, frame) => self.session_stream.push(frame),
                Outbound::Reply(channel, frame) => {
                    match self.bulk_streams.iter_mut().find(|stream| stream.channel() == channel) {
                        Some(stream) => stream.push(frame),
                        // The client gave that stream up in the meantime.
                        None => self.open.written(frame.len()),
                    }
                }
            }
        }
    }

    /// Reads every stream, if the core has room.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            if let Some(room) = &mut self.room {
                ready!(room.as_mut().poll(cx));
                self.room = None;
            }
            if let Some(end) = self.read_session_stream(cx).or_else(|| self.read_bulk_streams(cx)) {
                return Poll::Ready(end);
            }
            if self.room.is_none() {
                return Poll::Pending;
            }
        }
    }

    fn read_session_stream(&mut self, cx: &mut Context<'_>) -> Option<End> {
        match self.session_stream.poll_read(cx, &self.open) {
            Read::Done => Some(End::Finished),
            Read::Abandoned => Some(End::Abandoned),
            read => self.on_read(cx, Channel::Session, read),
        }
    }

    fn read_bulk_streams(&mut self, cx: &mut Context<'_>) -> Option<End> {
        let mut index = 0;
        while let Some(stream) = self.bulk_streams.get_mut(index) {
            let channel = stream.channel();
            match stream.poll_read(cx, &self.open) {
                Read::Done => {
                    stream.out().finish();
                    self.bulk_streams.swap_remove(index);
                }
                Read::Abandoned => {
                    stream.out().reset(VarInt::from_u32(0));
                    // Nothing waits for QUIC on a stream that was given up, so this only counts bytes as done with.
                    let dropped = stream.out().poll_write(cx).unwrap_or(0);
                    self.open.written(dropped);
                    self.bulk_streams.swap_remove(index);
                }
                read => {
                    let end = self.on_read(cx, channel, read);
                    if end.is_some() {
                        return end;
                    }
                    index += 1;
                }
            }
        }
        None
    }

    /// What every kind of stream has in common.
    fn on_read(&mut self, cx: &mut Context<'_>, channel: Channel, read: Read) -> Option<End> {
        match read {
            Read::Blocked | Read::Done | Read::Abandoned => None,
            Read::TurnOver => {
                cx.waker().wake_by_ref();
                None
            }
            Read::InboxFull => {
                let port = self.open.port().clone();
                self.room.get_or_insert_with(|| Box::pin(async move { port.room().await }));
                None
            }
            Read::Malformed(error) => {
                self.refuse(channel, ErrorCode::FrameTooLarge, &error.to_string());
                Some(End::Closing)
            }
            Read::Lost(error) => Some(End::Lost(error)),
        }
    }

    /// Ends the session for a reason that the core has no part in.
    fn refuse(&self, channel: Channel, code: ErrorCode, message: &str) {
        let error = Error { code: code.into(), message: message.to_owned(), retry_after_ms: 0 };
        let frame = codec::frame(&ServerFrame { request_id: 0, body: Some(Body::Error(error)) });
        // Replies are always taken.
        let _ = self.open.outbox().put(Outbound::Reply(channel, frame));
        self.open.outbox().close(code, message);
    }

    /// Writes until nothing is left on the streams that carry replies. Pushes go as far as they go.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        if let Err(error) = self.poll_write(cx) {
            return Poll::Ready(Err(error));
        }
        let mut streams = std::iter::once(&mut self.session_stream).chain(&mut self.bulk_streams);
        if streams.all(|stream| stream.out().is_empty()) { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}
