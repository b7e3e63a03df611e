//! The frames of the bare relays that Godwit is compared with: a length as Godwit's own frames have it, a kind, and what a
//! relay and a client must know to count and to measure. The rest is padding, so that a frame is as long as Godwit's.

use anyhow::{bail, ensure};
use bytes::{BufMut, BytesMut};
use godwit_proto::codec::FRAME_BYTES_MAX;
use std::time::Duration;

/// What a client and a relay say to each other.
///
/// | kind | name | fields, little-endian |
/// | --- | --- | --- |
/// | 1 | hello | group `u32`, member `u32` |
/// | 2 | send | number `u64`, due `u64` |
/// | 3 | ack | number `u64` |
/// | 4 | push | member `u32`, number `u64`, due `u64` |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// The first of a client: which group it is in, and as whom. The relay answers with the same when it is.
    Hello {
        /// Who gets what each of them sends.
        group: u32,
        /// Who it is in that group.
        member: u32,
    },
    /// A client sends something to the others of its group.
    Send {
        /// Its own number for it.
        number: u64,
        /// When it was due to be sent, since the start of the run.
        due: Duration,
    },
    /// The relay has passed it on.
    Ack {
        /// The sender's number for it.
        number: u64,
    },
    /// Somebody else's send.
    Push {
        /// Whose.
        member: u32,
        /// The sender's number for it.
        number: u64,
        /// When it was due.
        due: Duration,
    },
}

/// How long frames are, without their length prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameSizes {
    send_bytes: usize,
    ack_bytes: usize,
    push_bytes: usize,
}

impl FrameSizes {
    /// Checks that what each frame has to say fits into it, and each of them into a frame.
    pub fn new(send_bytes: usize, ack_bytes: usize, push_bytes: usize) -> anyhow::Result<Self> {
        for (name, bytes, bytes_min) in [
            ("send", send_bytes, SEND_BYTES_MIN),
            ("ack", ack_bytes, ACK_BYTES_MIN),
            ("push", push_bytes, PUSH_BYTES_MIN),
        ] {
            let allowed = bytes_min..=FRAME_BYTES_MAX;
            ensure!(allowed.contains(&bytes), "a {name} frame has {bytes_min} to {FRAME_BYTES_MAX} bytes, not {bytes}");
        }
        Ok(Self { send_bytes, ack_bytes, push_bytes })
    }
}

impl Frame {
    /// Appends the frame with its prefix, as long as it should be.
    pub fn encode(&self, sizes: &FrameSizes, out: &mut BytesMut) {
        let bytes = match self {
            Frame::Hello { .. } => HELLO_BYTES,
            Frame::Send { .. } => sizes.send_bytes,
            Frame::Ack { .. } => sizes.ack_bytes,
            Frame::Push { .. } => sizes.push_bytes,
        };
        put_prefix(bytes, out);
        let end = out.len() + bytes;
        out.reserve(bytes);
        match *self {
            Frame::Hello { group, member } => {
                out.put_u8(HELLO);
                out.put_u32_le(group);
                out.put_u32_le(member);
            }
            Frame::Send { number, due } => {
                out.put_u8(SEND);
                out.put_u64_le(number);
                out.put_u64_le(nanoseconds(due));
            }
            Frame::Ack { number } => {
                out.put_u8(ACK);
                out.put_u64_le(number);
            }
            Frame::Push { member, number, due } => {
                out.put_u8(PUSH);
                out.put_u32_le(member);
                out.put_u64_le(number);
                out.put_u64_le(nanoseconds(due));
            }
        }
        out.resize(end, 0);
    }

    /// What a frame without its prefix says.
    pub fn decode(frame: &[u8]) -> anyhow::Result<Self> {
        let mut fields = Fields(frame);
        Ok(match fields.u8()? {
            HELLO => Frame::Hello { group: fields.u32()?, member: fields.u32()? },
            SEND => Frame::Send { number: fields.u64()?, due: fields.due()? },
            ACK => Frame::Ack { number: fields.u64()? },
            PUSH => Frame::Push { member: fields.u32()?, number: fields.u64()?, due: fields.due()? },
            other => bail!("{other} is no kind of frame"),
        })
    }
}

/// What is left of a frame.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> anyhow::Result<[u8; N]> {
        let Some((field, rest)) = self.0.split_first_chunk() else { bail!("a frame ends inside a field") };
        self.0 = rest;
        Ok(*field)
    }

    fn u8(&mut self) -> anyhow::Result<u8> {
        Ok(u8::from_le_bytes(self.take()?))
    }

    fn u32(&mut self) -> anyhow::Result<u32> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    fn u64(&mut self) -> anyhow::Result<u64> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    fn due(&mut self) -> anyhow::Result<Duration> {
        Ok(Duration::from_nanos(self.u64()?))
    }
}

fn put_prefix(mut length: usize, out: &mut BytesMut) {
    while length >= 0x80 {
        out.put_u8(length as u8 | 0x80);
        length >>= 7;
    }
    out.put_u8(length as u8);
}

fn nanoseconds(due: Duration) -> u64 {
    // No run lasts the 584 years that fit.
    due.as_nanos() as u64
}

const HELLO: u8 = 1;
const SEND: u8 = 2;
const ACK: u8 = 3;
const PUSH: u8 = 4;

const HELLO_BYTES: usize = 1 + 4 + 4;
const SEND_BYTES_MIN: usize = 1 + 8 + 8;
const ACK_BYTES_MIN: usize = 1 + 8;
const PUSH_BYTES_MIN: usize = 1 + 4 + 8 + 8;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;
    use godwit_proto::codec::FrameDecoder;
    use proptest::prelude::*;

    fn any_frame() -> impl Strategy<Value = Frame> {
        let due = || any::<u64>().prop_map(Duration::from_nanos);
        prop_oneof![
            (any::<u32>(), any::<u32>()).prop_map(|(group, member)| Frame::Hello { group, member }),
            (any::<u64>(), due()).prop_map(|(number, due)| Frame::Send { number, due }),
            any::<u64>().prop_map(|number| Frame::Ack { number }),
            (any::<u32>(), any::<u64>(), due()).prop_map(|(member, number, due)| Frame::Push { member, number, due }),
        ]
    }

    #[test]
    fn a_frame_that_is_too_short_for_its_fields_or_too_long_cannot_be_asked_for() {
        assert!(FrameSizes::new(17, 9, 21).is_ok());
        assert!(FrameSizes::new(FRAME_BYTES_MAX, FRAME_BYTES_MAX, FRAME_BYTES_MAX).is_ok());
        for (send, ack, push, named) in [(16, 9, 21, "send"), (17, 8, 21, "ack"), (17, 9, FRAME_BYTES_MAX + 1, "push")]
        {
            assert!(FrameSizes::new(send, ack, push).unwrap_err().to_string().contains(named));
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for bytes in [&[][..], &[0], &[9, 1, 2, 3, 4], &[HELLO, 1, 2, 3, 4, 5, 6, 7], &[ACK]] {
            assert!(Frame::decode(bytes).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn frames_are_read_as_they_were_written_and_as_long_as_they_should_be(
            frames in prop::collection::vec(any_frame(), 1..20),
            send in SEND_BYTES_MIN..20_000, ack in ACK_BYTES_MIN..300, push in PUSH_BYTES_MIN..300,
        ) {
            let sizes = FrameSizes::new(send, ack, push).unwrap();
            let mut stream = BytesMut::new();
            frames.iter().for_each(|frame| frame.encode(&sizes, &mut stream));
            let mut decoder = FrameDecoder::new();
            decoder.push(&stream);
            for frame in frames {
                let bytes = decoder.next_frame().unwrap().unwrap();
                prop_assert_eq!(Frame::decode(&bytes).unwrap(), frame);
                let expected = match frame {
                    Frame::Hello { .. } => HELLO_BYTES,
                    Frame::Send { .. } => send,
                    Frame::Ack { .. } => ack,
                    Frame::Push { .. } => push,
                };
                prop_assert_eq!(bytes.len(), expected);
            }
            prop_assert_eq!(decoder.pending_bytes(), 0);
        }
    }
}
