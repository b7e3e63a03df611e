//! The streams on which the server pushes.

use crate::frames::{FrameFault, FrameReader};
use godwit_proto::{LANES, v1::server_frame::Body};
use quinn::Connection;
use std::{
    future::poll_fn,
    pin::pin,
    task::{Context, Poll},
};

/// The lanes of one connection, read in turns.
///
/// Not reading them is how the client holds the server back: at most a stream window per lane is under way then.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    lanes: Vec<Lane>,
    /// Which lane is looked at first, so that a busy one does not starve the others.
    turn: usize,
}

#[derive(Debug)]
struct Lane {
    frames: FrameReader,
    /// Its first frame said that it is a lane.
    is_introduced: bool,
}

impl Lanes {
    /// The next push. May be dropped while it waits; nothing gets lost.
    pub(crate) async fn next(&mut self, connection: &Connection) -> Result<Body, FrameFault> {
        loop {
            tokio::select! {
                accepted = connection.accept_uni(), if self.lanes.len() < LANES as usize => {
                    let stream = accepted.map_err(quinn::ReadError::from)?;
                    self.lanes.push(Lane { frames: FrameReader::new(stream), is_introduced: false });
                }
                pushed = poll_fn(|cx| poll_lanes(&mut self.lanes, &mut self.turn, cx)), if !self.lanes.is_empty() => {
                    if let Some(body) = pushed? {
                        return Ok(body);
                    }
                }
            }
        }
    }

    /// A push that was read already.
    pub(crate) fn next_buffered(&mut self) -> Result<Option<Body>, FrameFault> {
        for lane in &mut self.lanes {
            if let Some(frame) = lane.frames.next_buffered()? {
                return lane.accept(frame.body);
            }
        }
        Ok(None)
    }
}

impl Lane {
    /// The body, unless it is the introduction or comes from a newer server.
    fn accept(&mut self, body: Option<Body>) -> Result<Option<Body>, FrameFault> {
        match body {
            Some(Body::LaneOpened(_)) if !self.is_introduced => {
                self.is_introduced = true;
                Ok(None)
            }
            _ if !self.is_introduced => Err(FrameFault::Protocol("a lane began without introducing itself")),
            body => Ok(body),
        }
    }
}

fn poll_lanes(lanes: &mut Vec<Lane>, turn: &mut usize, cx: &mut Context<'_>) -> Poll<Result<Option<Body>, FrameFault>> {
    *turn = turn.wrapping_add(1);
    for offset in 0..lanes.len() {
        let index = turn.wrapping_add(offset) % lanes.len();
        // A new future every time: what was read of a frame is kept in the reader.
        let polled = pin!(lanes[index].frames.next()).poll(cx);
        match polled {
            Poll::Ready(Ok(frame)) => return Poll::Ready(lanes[index].accept(frame.body)),
            Poll::Ready(Err(FrameFault::Ended)) => {
                lanes.remove(index);
                return Poll::Ready(Ok(None));
            }
            Poll::Ready(Err(fault)) => return Poll::Ready(Err(fault)),
            Poll::Pending => {}
        }
    }
    Poll::Pending
}
