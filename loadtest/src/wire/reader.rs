//! Frames of one receiving stream.

use bytes::Bytes;
use godwit_proto::codec::FrameDecoder;
use quinn::{ReadError, RecvStream};
use std::{
    pin::pin,
    task::{Context, Poll},
};
use thiserror::Error;

/// Reads whole frames.
pub struct FrameReader {
    stream: RecvStream,
    decoder: FrameDecoder,
}

/// Why a stream gives no more frames.
#[derive(Debug, Error)]
pub enum ReadEnd {
    /// The other side finished it.
    #[error("the server ended the stream")]
    Finished,
    /// It or its connection broke.
    #[error("{0}")]
    Broken(#[from] ReadError),
    /// What came is no frame.
    #[error("the server sent a frame that is too large")]
    Malformed,
}

/// Chunks that one read takes at most; each is what a packet carried.
const CHUNKS_PER_READ: usize = 32;

impl FrameReader {
    pub fn new(stream: RecvStream) -> Self {
        Self { stream, decoder: FrameDecoder::new() }
    }

    /// The next frame.
    pub async fn next(&mut self) -> Result<Bytes, ReadEnd> {
        loop {
            if let Some(frame) = self.next_buffered()? {
                return Ok(frame);
            }
            match self.stream.read_chunk(usize::MAX, true).await? {
                Some(chunk) => self.decoder.push(&chunk.bytes),
                None => return Err(ReadEnd::Finished),
            }
        }
    }

    /// Takes what has arrived and hands its frames to `on_frame`, until nothing more is there; then `cx` is woken for more.
    pub fn poll_frames(&mut self, cx: &mut Context<'_>, mut on_frame: impl FnMut(Bytes)) -> Result<(), ReadEnd> {
        loop {
            while let Some(frame) = self.next_buffered()? {
                on_frame(frame);
            }
            let mut chunks = [const { Bytes::new() }; CHUNKS_PER_READ];
            let read = pin!(self.stream.read_chunks(&mut chunks)).poll(cx);
            match read {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(Some(count))) => chunks[..count].iter().for_each(|chunk| self.decoder.push(chunk)),
                Poll::Ready(Ok(None)) => return Err(ReadEnd::Finished),
                Poll::Ready(Err(error)) => return Err(error.into()),
            }
        }
    }

    fn next_buffered(&mut self) -> Result<Option<Bytes>, ReadEnd> {
        let frame = self.decoder.next_frame().map_err(|_| ReadEnd::Malformed)?;
        if self.decoder.pending_bytes() == 0 {
            // Thousands of idle connections should not hold a buffer each.
            self.decoder = FrameDecoder::new();
        }
        Ok(frame)
    }
}
