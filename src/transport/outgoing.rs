//! The sending side of one stream.

use bytes::Bytes;
use quinn::{ConnectionError, SendStream, VarInt, WriteError};
use std::{
    collections::VecDeque,
    pin::pin,
    task::{Context, Poll},
};

/// Frames on their way into one QUIC stream, which takes as many as flow control allows and leaves the rest here.
///
/// The queue is bounded by the session's outbox: bytes count there until [`poll_write`](Self::poll_write) reports them.
pub(super) struct Outgoing {
    stream: SendStream,
    queue: VecDeque<Bytes>,
    /// Leading bytes of the queue that the outbox does not know of.
    uncounted: usize,
    /// The client does not want this stream any more; what is put here is dropped.
    gone: bool,
}

impl Outgoing {
    pub(super) fn new(stream: SendStream) -> Self {
        Self { stream, queue: VecDeque::new(), uncounted: 0, gone: false }
    }

    /// A stream that starts with a frame that is not from the outbox.
    pub(super) fn starting_with(stream: SendStream, frame: Bytes) -> Self {
        Self { uncounted: frame.len(), queue: VecDeque::from([frame]), ..Self::new(stream) }
    }

    pub(super) fn push(&mut self, frame: Bytes) {
        self.queue.push_back(frame);
    }

    /// Nothing waits to be written.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The client stopped this stream.
    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Hands QUIC all that it takes; what is left is retried when the stream is writable, which wakes `cx`. Returns the
    /// bytes of the outbox that are done with.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<usize, ConnectionError> {
        let mut done = 0;
        while !self.queue.is_empty() {
            if self.gone {
                done += self.queue.iter().map(Bytes::len).sum::<usize>();
                self.queue.clear();
                break;
            }
            let written = pin!(self.stream.write_chunks(self.queue.make_contiguous())).poll(cx);
            match written {
                Poll::Ready(Ok(written)) => {
                    self.queue.drain(..written.chunks);
                    done += written.bytes;
                }
                Poll::Ready(Err(WriteError::ConnectionLost(error))) => return Err(error),
                // Stopped by the client. The other errors are of streams that were finished or of 0-RTT, which is off.
                Poll::Ready(Err(_)) => self.gone = true,
                Poll::Pending => break,
            }
        }
        if self.queue.is_empty() {
            // An idle connection holds no buffers.
            self.queue = VecDeque::new();
        }
        let uncounted = self.uncounted.min(done);
        self.uncounted -= uncounted;
        Ok(done - uncounted)
    }

    /// No more frames will follow.
    pub(super) fn finish(&mut self) {
        // Fails only when it was finished or reset before, which is as good.
        let _ = self.stream.finish();
    }

    /// Gives the stream up.
    pub(super) fn reset(&mut self, code: VarInt) {
        let _ = self.stream.reset(code);
        self.gone = true;
    }

    /// Sends this stream's data after that of streams with a higher priority.
    pub(super) fn set_priority(&self, priority: i32) {
        // Fails only on a closed stream, which sends nothing.
        let _ = self.stream.set_priority(priority);
    }

    /// Waits until the client has acknowledged everything up to the end, or does not want it.
    pub(super) async fn acknowledged(&self) {
        let _ = self.stream.stopped().await;
    }
}
