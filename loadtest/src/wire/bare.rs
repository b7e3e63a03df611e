//! The frames of the bare relay: as long as Godwit's, and with nothing in them to decide.

use bytes::{BufMut, BytesMut};

/// A frame, without its length prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BareFrame<'a> {
    /// From a client, once for each of its groups: who sends to a group reaches everybody who joined it.
    Join { group: u32 },
    /// From a client: to all others in the group.
    Send { group: u32, number: u64, body: &'a [u8] },
    /// To the sender.
    Ack { number: u64 },
    /// To everybody else in the group.
    Push { group: u32, body: &'a [u8] },
}

/// How long frames are, without their length prefix. What a frame does not need of it is filled up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameSizes {
    pub send_bytes: usize,
    pub ack_bytes: usize,
    pub push_bytes: usize,
}

impl FrameSizes {
    /// The least that can carry bodies of this length.
    pub fn at_least(body_bytes: usize) -> Self {
        Self { send_bytes: SEND_HEAD + body_bytes, ack_bytes: ACK_HEAD, push_bytes: PUSH_HEAD + body_bytes }
    }

    /// The larger of both, each.
    pub fn max(self, other: Self) -> Self {
        Self {
            send_bytes: self.send_bytes.max(other.send_bytes),
            ack_bytes: self.ack_bytes.max(other.ack_bytes),
            push_bytes: self.push_bytes.max(other.push_bytes),
        }
    }
}

impl<'a> BareFrame<'a> {
    /// Appends the frame with its length prefix, filled up to its size.
    pub fn encode(self, sizes: FrameSizes, out: &mut BytesMut) {
        let (kind, length) = match self {
            Self::Join { .. } => (JOIN, JOIN_HEAD),
            Self::Send { body, .. } => (SEND, sizes.send_bytes.max(SEND_HEAD + body.len())),
            Self::Ack { .. } => (ACK, sizes.ack_bytes.max(ACK_HEAD)),
            Self::Push { body, .. } => (PUSH, sizes.push_bytes.max(PUSH_HEAD + body.len())),
        };
        prost::encoding::encode_varint(length as u64, out);
        let start = out.len();
        out.put_u8(kind);
        match self {
            Self::Join { group } => out.put_u32_le(group),
            Self::Send { group, number, body } => {
                out.put_u32_le(group);
                out.put_u64_le(number);
                out.put_u16_le(body.len() as u16);
                out.put_slice(body);
            }
            Self::Ack { number } => out.put_u64_le(number),
            Self::Push { group, body } => {
                out.put_u32_le(group);
                out.put_u16_le(body.len() as u16);
                out.put_slice(body);
            }
        }
        out.resize(start + length, 0);
    }

    /// `None` for anything else.
    pub fn decode(frame: &'a [u8]) -> Option<Self> {
        let (&kind, rest) = frame.split_first()?;
        Some(match kind {
            JOIN => Self::Join { group: u32::from_le_bytes(*rest.first_chunk()?) },
            ACK => Self::Ack { number: u64::from_le_bytes(*rest.first_chunk()?) },
            SEND => {
                let (group, rest) = rest.split_first_chunk()?;
                let (number, rest) = rest.split_first_chunk()?;
                let (group, number) = (u32::from_le_bytes(*group), u64::from_le_bytes(*number));
                Self::Send { group, number, body: body(rest)? }
            }
            PUSH => {
                let (group, rest) = rest.split_first_chunk()?;
                Self::Push { group: u32::from_le_bytes(*group), body: body(rest)? }
            }
            _ => return None,
        })
    }
}

fn body(rest: &[u8]) -> Option<&[u8]> {
    let (length, rest) = rest.split_first_chunk()?;
    rest.get(..u16::from_le_bytes(*length).into())
}

const JOIN: u8 = 1;
const SEND: u8 = 2;
const ACK: u8 = 3;
const PUSH: u8 = 4;

const JOIN_HEAD: usize = 1 + 4;
const SEND_HEAD: usize = 1 + 4 + 8 + 2;
const ACK_HEAD: usize = 1 + 8;
const PUSH_HEAD: usize = 1 + 4 + 2;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;
    use godwit_proto::codec::FrameDecoder;

    const SIZES: FrameSizes = FrameSizes { send_bytes: 175, ack_bytes: 22, push_bytes: 195 };

    #[test]
    fn frames_are_read_back_and_are_as_long_as_they_should_be() {
        let body = [0x42; 128];
        for (frame, length) in [
            (BareFrame::Join { group: 4 }, 5),
            (BareFrame::Send { group: 4, number: 9, body: &body }, SIZES.send_bytes),
            (BareFrame::Ack { number: 9 }, SIZES.ack_bytes),
            (BareFrame::Push { group: 4, body: &body }, SIZES.push_bytes),
        ] {
            let (mut out, mut decoder) = (BytesMut::new(), FrameDecoder::new());
            frame.encode(SIZES, &mut out);
            decoder.push(&out);
            let bytes = decoder.next_frame().unwrap().unwrap();
            assert_eq!((bytes.len(), decoder.pending_bytes()), (length, 0));
            assert_eq!(BareFrame::decode(&bytes), Some(frame));
        }
    }

    #[test]
    fn anything_else_is_no_frame() {
        for bytes in [&[][..], &[9], &[SEND, 1, 2], &[PUSH, 0, 0, 0, 0, 50, 0, 1]] {
            assert_eq!(BareFrame::decode(bytes), None);
        }
    }
}
