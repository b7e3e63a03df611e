//! Connections: streams that keep their own order and no other, and that may break at any frame.

use crate::servers::ServerId;
use bytes::{Bytes, BytesMut};
use godwit::router::{Channel, Outbox, SessionId};
use godwit_proto::codec::FrameDecoder;
use std::{
    collections::{BTreeMap, VecDeque},
    rc::Rc,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// One stream of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    Session,
    Bulk(u64),
    Lane(u32),
}

/// One connection of one client to one core.
pub struct Connection {
    pub client: usize,
    pub server: ServerId,
    pub core: usize,
    pub session: SessionId,
    pub outbox: Rc<Outbox>,
    /// Towards the server.
    pub up: BTreeMap<Stream, Pipe>,
    /// Towards the client.
    pub down: BTreeMap<Stream, Pipe>,
    /// The client reads.
    pub reading: bool,
    /// The client still believes in it.
    pub client_end: bool,
    /// The server still believes in it.
    pub server_end: bool,
}

/// One direction of a stream: first in, first out, each after its own delay.
#[derive(Default)]
pub struct Pipe {
    frames: VecDeque<Bytes>,
    last_ms: u64,
    decoder: FrameDecoder,
}

impl Connection {
    pub fn new(client: usize, to: (ServerId, usize), session: SessionId, outbox: Rc<Outbox>) -> Self {
        let (server, core) = to;
        Self {
            client,
            server,
            core,
            session,
            outbox,
            up: BTreeMap::new(),
            down: BTreeMap::new(),
            reading: true,
            client_end: true,
            server_end: true,
        }
    }
}

impl Pipe {
    /// Puts a frame on its way, and says when it arrives.
    pub fn put(&mut self, frame: Bytes, at_ms: u64) -> u64 {
        self.last_ms = self.last_ms.max(at_ms);
        self.frames.push_back(frame);
        self.last_ms
    }

    /// The next frame arrives; `None` if it was lost with the connection.
    pub fn take(&mut self) -> Option<Result<Bytes, Bytes>> {
        let bytes = self.frames.pop_front()?;
        // In two halves, so that the decoder has something to do.
        let (first, second) = bytes.split_at(bytes.len() / 2);
        self.decoder.push(first);
        self.decoder.push(second);
        Some(match self.decoder.next_frame() {
            Ok(Some(frame)) => Ok(frame),
            Ok(None) | Err(_) => Err(bytes),
        })
    }

    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// The connection broke: only so many of the frames on their way still arrive.
    pub fn cut(&mut self, arriving: usize) {
        self.frames.truncate(arriving);
    }
}

pub fn stream_of(channel: Channel) -> Stream {
    match channel {
        Channel::Session => Stream::Session,
        Channel::Bulk(number) => Stream::Bulk(number),
    }
}

pub fn channel_of(stream: Stream) -> Option<Channel> {
    match stream {
        Stream::Session => Some(Channel::Session),
        Stream::Bulk(number) => Some(Channel::Bulk(number)),
        Stream::Lane(_) => None,
    }
}

/// Bytes with a length prefix in front.
pub fn prefixed(bytes: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    prost::encode_length_delimiter(bytes.len(), &mut out).unwrap();
    out.extend_from_slice(bytes);
    out.freeze()
}
