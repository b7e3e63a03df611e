//! The streams that pushes go out on.

use super::outgoing::Outgoing;
use bytes::Bytes;
use godwit_proto::{
    LANES, codec,
    v1::{LaneOpenedPush, ServerFrame, server_frame::Body},
};
use quinn::{Connection, ConnectionError, OpenUni, SendStream};
use std::{
    pin::Pin,
    task::{Context, Poll},
};

/// The lanes of one connection, each opened when first needed. One that the client does not read holds up no other.
pub(super) struct Lanes<'a> {
    connection: &'a Connection,
    lanes: [Lane; LANES as usize],
    /// Kept while the client's stream limit holds a lane up: it carries the wake-up for when the limit rises.
    opening: Option<Pin<Box<OpenUni<'a>>>>,
}

/// One lane.
enum Lane {
    /// Not opened; frames wait here if the client's stream limit does not allow it yet.
    Closed(Vec<Bytes>),
    Open(Outgoing),
}

impl<'a> Lanes<'a> {
    pub(super) fn new(connection: &'a Connection) -> Self {
        Self { connection, lanes: std::array::from_fn(|_| Lane::Closed(Vec::new())), opening: None }
    }

    /// Queues a frame.
    pub(super) fn push(&mut self, lane: u32, frame: Bytes) {
        assert!(lane < LANES, "a push for lane {lane} of {LANES}");
        match &mut self.lanes[lane as usize] {
            Lane::Closed(waiting) => waiting.push(frame),
            Lane::Open(outgoing) => outgoing.push(frame),
        }
    }

    /// Hands QUIC all that it takes, opening lanes as needed. Returns the bytes of the outbox that are done with.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<usize, ConnectionError> {
        let mut done = 0;
        for index in 0..self.lanes.len() {
            if matches!(&self.lanes[index], Lane::Closed(waiting) if !waiting.is_empty()) {
                self.poll_open(cx, index)?;
            }
            if let Lane::Open(outgoing) = &mut self.lanes[index] {
                done += outgoing.poll_write(cx)?;
            }
        }
        Ok(done)
    }

    fn poll_open(&mut self, cx: &mut Context<'_>, index: usize) -> Result<(), ConnectionError> {
        let connection = self.connection;
        let opening = self.opening.get_or_insert_with(|| Box::pin(connection.open_uni()));
        if let Poll::Ready(stream) = opening.as_mut().poll(cx) {
            self.opening = None;
            self.on_opened(index, stream?);
        }
        Ok(())
    }

    fn on_opened(&mut self, index: usize, stream: SendStream) {
        let opened = LaneOpenedPush { lane: index as u32 };
        let first = codec::frame(&ServerFrame { request_id: 0, body: Some(Body::LaneOpened(opened)) });
        let mut outgoing = Outgoing::starting_with(stream, first);
        if let Lane::Closed(waiting) = &mut self.lanes[index] {
            for frame in waiting.drain(..) {
                outgoing.push(frame);
            }
        }
        self.lanes[index] = Lane::Open(outgoing);
    }
}
