//! A stream that the client opened: requests in, replies out.

use super::{open_session::OpenSession, outgoing::Outgoing};
use crate::router::Channel;
use bytes::Bytes;
use godwit_proto::codec::{FrameDecoder, FrameError};
use prost::{
    Message,
    encoding::{WireType, decode_varint},
};
use quinn::{ConnectionError, ReadError, RecvStream, SendStream};
use std::{
    pin::pin,
    task::{Context, Poll},
};

/// The session stream or a bulk stream.
pub(super) struct ClientStream {
    channel: Channel,
    /// `None` once the client finished or reset its side.
    recv: Option<RecvStream>,
    decoder: FrameDecoder,
    out: Outgoing,
    /// Requests that want a reply and have none yet.
    unanswered: usize,
    unanswered_max: usize,
}

/// How far reading came.
#[derive(Debug)]
pub(super) enum Read {
    /// Nothing to do until the client's next bytes, a reply, or room to write one wake the task.
    Blocked,
    /// The core's inbox is full: read again when it has room.
    InboxFull,
    /// There may be more, but other connections come first.
    TurnOver,
    /// The client finished its side, all requests are answered and the answers written.
    Done,
    /// The client gave the stream up, or broke off inside a frame.
    Abandoned,
    /// What follows cannot be told apart into frames.
    Malformed(FrameError),
    /// The connection is gone.
    Lost(ConnectionError),
}

impl ClientStream {
    /// A stream that is read on only while fewer than `unanswered_max` of its requests wait for their replies.
    pub(super) fn new(channel: Channel, unanswered_max: usize, send: SendStream, recv: RecvStream) -> Self {
        let out = Outgoing::new(send);
        if matches!(channel, Channel::Bulk(_)) {
            out.set_priority(BULK_PRIORITY);
        }
        Self { channel, recv: Some(recv), decoder: FrameDecoder::new(), out, unanswered: 0, unanswered_max }
    }

    pub(super) fn channel(&self) -> Channel {
        self.channel
    }

    pub(super) fn out(&mut self) -> &mut Outgoing {
        &mut self.out
    }

    /// Queues a reply, or an unasked frame.
    pub(super) fn push(&mut self, frame: Bytes) {
        if answers_request(&frame) {
            self.unanswered = self.unanswered.saturating_sub(1);
        }
        self.out.push(frame);
    }

    /// Reads what is there and hands whole frames to the core, one after the other, and only while the core, the session's
    /// outbox and this stream have room for their replies.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, session: &OpenSession) -> Read {
        let mut chunks_left = CHUNKS_PER_TURN_MAX;
        loop {
            if let Some(held_up) = self.hand_in(session) {
                return held_up;
            }
            let Some(recv) = &mut self.recv else { return self.at_end() };
            if chunks_left == 0 {
                return Read::TurnOver;
            }
            let mut chunks = [const { Bytes::new() }; CHUNKS_PER_READ];
            let read = pin!(recv.read_chunks(&mut chunks)).poll(cx);
            match read {
                Poll::Ready(Ok(Some(count))) => {
                    chunks_left = chunks_left.saturating_sub(count);
                    let chunks = &chunks[..count];
                    session.metrics().bytes_received.increment(chunks.iter().map(|chunk| chunk.len() as u64).sum());
                    for chunk in chunks {
                        self.decoder.push(chunk);
                    }
                }
                Poll::Ready(Ok(None)) => self.recv = None,
                Poll::Ready(Err(ReadError::ConnectionLost(error))) => return Read::Lost(error),
                // Reset by the client. The other errors are of streams read out of order, stopped, or of 0-RTT.
                Poll::Ready(Err(_)) => return Read::Abandoned,
                Poll::Pending => return Read::Blocked,
            }
        }
    }

    /// Hands in the frames that were read; says what holds them up, if anything.
    fn hand_in(&mut self, session: &OpenSession) -> Option<Read> {
        while self.decoder.pending_bytes() > 0 {
            if session.outbox().is_full() || self.unanswered >= self.unanswered_max {
                return Some(Read::Blocked);
            }
            if !session.port().has_room() {
                return Some(Read::InboxFull);
            }
            match self.decoder.next_frame() {
                Ok(Some(frame)) => {
                    if wants_reply(&frame) {
                        self.unanswered += 1;
                    }
                    session.frame(self.channel, frame);
                }
                Ok(None) => return None,
                Err(error) => return Some(Read::Malformed(error)),
            }
        }
        // An emptied decoder still holds the buffer of its last frame; an idle connection holds none.
        self.decoder = FrameDecoder::new();
        None
    }

    fn at_end(&self) -> Read {
        if self.decoder.pending_bytes() > 0 || self.out.is_gone() {
            Read::Abandoned
        } else if self.unanswered == 0 && self.out.is_empty() {
            Read::Done
        } else {
            // The reply, or the room to write it, wakes the task.
            Read::Blocked
        }
    }
}

/// Whether the core will answer a `ClientFrame`. One that does not decode is the core's to deal with, which closes the
/// connection.
fn wants_reply(frame: &Bytes) -> bool {
    match single_field(frame) {
        Some((request_id, field)) => request_id != 0 && field != ACK_FIELD,
        None => Request::decode(frame.clone()).is_ok_and(|request| request.wants_reply()),
    }
}

/// The request id and the number of the one other field of a frame that is encoded as every protobuf library does it:
/// these two in this order and nothing else. Decoding a frame a second time would cost as much as the rest of reading it.
fn single_field(frame: &[u8]) -> Option<(u64, u64)> {
    let mut rest = frame;
    let mut request_id = 0;
    if rest.first() == Some(&REQUEST_ID_KEY) {
        rest = &rest[1..];
        request_id = decode_varint(&mut rest).ok()?;
    }
    let key = decode_varint(&mut rest).ok()?;
    let length = decode_varint(&mut rest).ok()?;
    let is_message = key & 0x7 == WireType::LengthDelimited as u64;
    (is_message && rest.len() as u64 == length).then_some((request_id, key >> 3))
}

/// Whether a `ServerFrame`, with its length prefix, answers a request: the core encodes a request id first, and 0 not at
/// all.
fn answers_request(frame: &[u8]) -> bool {
    let mut rest = frame;
    decode_varint(&mut rest).is_ok() && rest.first() == Some(&REQUEST_ID_KEY)
}

/// Of field 1, a varint, in both kinds of frame.
const REQUEST_ID_KEY: u8 = 1 << 3;
/// In a `ClientFrame`.
const ACK_FIELD: u64 = 10;

/// What of a `ClientFrame` says whether it wants a reply. The rest is skipped.
#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(uint64, tag = "1")]
    request_id: u64,
    #[prost(bytes = "bytes", optional, tag = "10")]
    ack: Option<Bytes>,
}

impl Request {
    /// Acks are never answered, even if a client numbers them.
    fn wants_reply(&self) -> bool {
        self.request_id != 0 && self.ack.is_none()
    }
}

/// Below live traffic, which has quinn's default of 0.
const BULK_PRIORITY: i32 = -1;

/// A chunk is at most what one packet carried, so one connection reads at most some 80 KB before others get their turn.
const CHUNKS_PER_TURN_MAX: usize = 64;
const CHUNKS_PER_READ: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use godwit_proto::{
        codec,
        v1::{
            AckRequest, ClientFrame, HeartbeatRequest, HeartbeatResponse, ServerFrame, client_frame::Body, server_frame,
        },
    };

    fn frame(request_id: u64, body: Body) -> Bytes {
        ClientFrame { request_id, body: Some(body) }.encode_to_vec().into()
    }

    #[test]
    fn a_numbered_request_wants_a_reply_unless_it_is_an_ack() {
        assert!(wants_reply(&frame(7, Body::Heartbeat(HeartbeatRequest::default()))));
        assert!(!wants_reply(&frame(0, Body::Heartbeat(HeartbeatRequest::default()))));
        assert!(!wants_reply(&frame(7, Body::Ack(AckRequest::default()))));
    }

    #[test]
    fn a_frame_in_an_unusual_order_is_read_as_the_core_reads_it() {
        let numbered = ClientFrame { request_id: 7, body: None }.encode_to_vec();
        let heartbeat = frame(0, Body::Heartbeat(HeartbeatRequest { client_time_ms: 300 }));
        let ack = frame(0, Body::Ack(AckRequest::default()));
        let wants = |parts: &[&[u8]]| wants_reply(&parts.concat().into());
        assert!(wants(&[&heartbeat, &numbered]));
        assert!(!wants(&[&numbered, &heartbeat, &ack]));
        assert!(!wants(&[&ack, &numbered]));
        assert!(!wants(&[&numbered, &heartbeat[..2]]), "cut off");
    }

    #[test]
    fn a_reply_has_a_request_id_and_a_push_has_none() {
        let body = || Some(server_frame::Body::Heartbeat(HeartbeatResponse { client_time_ms: 1, server_time_ms: 2 }));
        assert!(answers_request(&codec::frame(&ServerFrame { request_id: 300, body: body() })));
        assert!(!answers_request(&codec::frame(&ServerFrame { request_id: 0, body: body() })));
    }
}
