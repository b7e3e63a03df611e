//! Frames of one QUIC stream, in both directions.

use bytes::BytesMut;
use godwit_proto::{
    codec::{FrameDecoder, encode_frame},
    v1::{ClientFrame, ServerFrame, client_frame},
};
use prost::Message;
use quinn::{ReadError, RecvStream};
use thiserror::Error;

/// Reads frames from a stream.
#[derive(Debug)]
pub(crate) struct FrameReader {
    stream: RecvStream,
    decoder: FrameDecoder,
}

/// Why a stream gives no more frames.
#[derive(Debug, Error)]
pub(crate) enum FrameFault {
    /// It ended between two frames.
    #[error("the stream ended")]
    Ended,
    /// It or its connection broke.
    #[error("{0}")]
    Read(#[from] ReadError),
    /// The server sent something that is no frame, or broke off inside one.
    #[error("the server broke the protocol: {0}")]
    Protocol(&'static str),
}

/// What one read takes at most. The flow-control window bounds it anyway; this keeps one stream from taking a whole turn.
const READ_BYTES_MAX: usize = 16 * 1024;

impl FrameReader {
    pub(crate) fn new(stream: RecvStream) -> Self {
        Self { stream, decoder: FrameDecoder::new() }
    }

    /// The next frame. May be dropped while it waits; nothing gets lost.
    pub(crate) async fn next(&mut self) -> Result<ServerFrame, FrameFault> {
        loop {
            if let Some(frame) = self.next_buffered()? {
                return Ok(frame);
            }
            match self.stream.read_chunk(READ_BYTES_MAX, true).await? {
                Some(chunk) => self.decoder.push(&chunk.bytes),
                None if self.decoder.pending_bytes() > 0 => {
                    return Err(FrameFault::Protocol("a stream ended inside a frame"));
                }
                None => return Err(FrameFault::Ended),
            }
        }
    }

    /// The next frame if it has arrived and was read already.
    pub(crate) fn next_buffered(&mut self) -> Result<Option<ServerFrame>, FrameFault> {
        let frame = self.decoder.next_frame().map_err(|_| FrameFault::Protocol("a frame is too large"))?;
        frame
            .map(ServerFrame::decode)
            .transpose()
            .map_err(|_| FrameFault::Protocol("the bytes of a frame are no frame"))
    }
}

/// Appends a request to what is to be written.
pub(crate) fn encode_request(request_id: u64, body: client_frame::Body, out: &mut BytesMut) {
    encode_frame(&ClientFrame { request_id, body: Some(body) }, out);
}
