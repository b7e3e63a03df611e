//! Frames of one receiving stream.

use super::streams::Receiving;
use bytes::Bytes;
use godwit_proto::codec::FrameDecoder;
use std::{
    future::poll_fn,
    io,
    task::{Context, Poll, ready},
};
use thiserror::Error;

/// Reads whole frames.
pub struct FrameReader {
    stream: Receiving,
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
    Broken(#[from] io::Error),
    /// What came is no frame.
    #[error("the server sent a frame that is too large")]
    Malformed,
}

impl FrameReader {
    pub fn new(stream: impl Into<Receiving>) -> Self {
        Self { stream: stream.into(), decoder: FrameDecoder::new() }
    }

    /// The next frame.
    pub async fn next(&mut self) -> Result<Bytes, ReadEnd> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Takes what has arrived and hands its frames to `on_frame`, until nothing more is there; then `cx` is woken for more.
    pub fn poll_frames(&mut self, cx: &mut Context<'_>, mut on_frame: impl FnMut(Bytes)) -> Result<(), ReadEnd> {
        while let Poll::Ready(frame) = self.poll_next(cx) {
            on_frame(frame?);
        }
        Ok(())
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, ReadEnd>> {
        loop {
            if let Some(frame) = self.next_buffered()? {
                return Poll::Ready(Ok(frame));
            }
            if !ready!(self.stream.poll_into(cx, &mut self.decoder))? {
                return Poll::Ready(Err(ReadEnd::Finished));
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
