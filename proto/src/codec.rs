//! Frames on a stream: a varint length, then that many bytes of protobuf.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len},
};
use thiserror::Error;

/// The longest frame, without its length prefix, that either side sends or accepts.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;

/// A length up to [`FRAME_BYTES_MAX`] takes at most this many bytes as a varint.
const PREFIX_BYTES_MAX: usize = 3;

/// Takes a stream apart into frames.
///
/// Holds at most one incomplete frame, so at most [`FRAME_BYTES_MAX`] bytes plus what one [`push`](Self::push) added. A
/// length above the limit is refused when its prefix has arrived, before anything is reserved for it.
#[derive(Debug, Default)]
pub struct FrameDecoder {
    buffer: BytesMut,
}

impl FrameDecoder {
    /// An empty decoder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes as they came from the stream. Take the frames out with [`next_frame`](Self::next_frame) before adding more.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete frame without its prefix, or `None` until more bytes arrive.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some((length, prefix)) = read_prefix(&self.buffer)? else { return Ok(None) };
        if self.buffer.len() < prefix + length {
            return Ok(None);
        }
        self.buffer.advance(prefix);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// Bytes of a frame that is not complete yet. Above 0 when a stream ends, the peer broke off inside a frame.
    pub fn pending_bytes(&self) -> usize {
        self.buffer.len()
    }
}

/// Appends a message with its prefix.
///
/// Panics when the message is longer than [`FRAME_BYTES_MAX`]: whoever builds a frame keeps it inside.
pub fn encode_frame(message: &impl Message, out: &mut BytesMut) {
    let length = message.encoded_len();
    assert!(length <= FRAME_BYTES_MAX, "a frame of {length} bytes was built");
    out.reserve(length + PREFIX_BYTES_MAX);
    // Cannot fail: BytesMut grows, and that is the only error prost knows here.
    if let Err(error) = message.encode_length_delimited(out) {
        unreachable!("a growable buffer refused a frame: {error}");
    }
}

/// A message with its prefix, in a buffer of its own.
pub fn frame(message: &impl Message) -> Bytes {
    let mut out = BytesMut::new();
    encode_frame(message, &mut out);
    out.freeze()
}

/// Appends what stands before the bytes of a length-delimited field, for messages whose parts are encoded already.
pub fn put_field_head(field: u32, length: usize, out: &mut impl BufMut) {
    encode_key(field, WireType::LengthDelimited, out);
    encode_varint(length as u64, out);
}

/// The bytes of a length-delimited field, with what stands before them.
pub fn field_len(field: u32, length: usize) -> usize {
    key_len(field) + encoded_len_varint(length as u64) + length
}

/// Length and size of the prefix, or `None` while the prefix is incomplete.
fn read_prefix(bytes: &[u8]) -> Result<Option<(usize, usize)>, FrameError> {
    let mut length = 0usize;
    for (index, &byte) in bytes.iter().take(PREFIX_BYTES_MAX).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return if length > FRAME_BYTES_MAX { Err(FrameError::TooLarge) } else { Ok(Some((length, index + 1))) };
        }
    }
    if bytes.len() >= PREFIX_BYTES_MAX { Err(FrameError::TooLarge) } else { Ok(None) }
}

/// What is wrong with a peer's bytes. The stream cannot be read on after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The prefix says more than [`FRAME_BYTES_MAX`], or does not end within three bytes.
    #[error("a frame is at most {FRAME_BYTES_MAX} bytes, with a length prefix of at most {PREFIX_BYTES_MAX}")]
    TooLarge,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{ClientFrame, HeartbeatRequest, client_frame::Body};
    use proptest::prelude::*;

    fn heartbeat(request_id: u64) -> ClientFrame {
        ClientFrame { request_id, body: Some(Body::Heartbeat(HeartbeatRequest { client_time_ms: 5 })) }
    }

    #[test]
    fn a_four_gigabyte_prefix_is_refused_before_anything_is_reserved() {
        let mut decoder = FrameDecoder::new();
        decoder.push(&[0xff, 0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(decoder.next_frame(), Err(FrameError::TooLarge));
        assert!(decoder.buffer.capacity() < 1024);
    }

    #[test]
    fn the_longest_frame_passes_and_one_byte_more_does_not() {
        let mut decoder = FrameDecoder::new();
        decoder.push(&[0x80, 0x80, 0x04]);
        decoder.push(&vec![0; FRAME_BYTES_MAX]);
        assert_eq!(decoder.next_frame().unwrap().unwrap().len(), FRAME_BYTES_MAX);
        decoder.push(&[0x81, 0x80, 0x04]);
        assert_eq!(decoder.next_frame(), Err(FrameError::TooLarge));
    }

    #[test]
    fn an_overlong_prefix_is_refused() {
        let mut decoder = FrameDecoder::new();
        decoder.push(&[0x80, 0x80, 0x80, 0x00]);
        assert_eq!(decoder.next_frame(), Err(FrameError::TooLarge));
    }

    proptest! {
        #[test]
        fn frames_come_out_whole_however_the_stream_is_cut(
            ids in prop::collection::vec(any::<u64>(), 1..20),
            cuts in prop::collection::vec(1usize..7, 1..200),
        ) {
            let mut stream = BytesMut::new();
            for &id in &ids {
                encode_frame(&heartbeat(id), &mut stream);
            }
            let mut decoder = FrameDecoder::new();
            let mut seen = Vec::new();
            let mut rest = stream.freeze();
            let mut cuts = cuts.iter().cycle();
            while !rest.is_empty() {
                let cut = (*cuts.next().unwrap()).min(rest.len());
                decoder.push(&rest.split_to(cut));
                while let Some(bytes) = decoder.next_frame().unwrap() {
                    seen.push(ClientFrame::decode(bytes).unwrap().request_id);
                }
            }
            prop_assert_eq!(seen, ids);
            prop_assert_eq!(decoder.pending_bytes(), 0);
        }

        #[test]
        fn random_bytes_never_panic_and_never_hold_more_than_a_frame(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
            let mut decoder = FrameDecoder::new();
            for chunk in bytes.chunks(100) {
                decoder.push(chunk);
                while let Ok(Some(frame)) = decoder.next_frame() {
                    let _ = ClientFrame::decode(frame);
                }
                prop_assert!(decoder.pending_bytes() <= FRAME_BYTES_MAX + 100 + bytes.len());
            }
        }
    }
}
