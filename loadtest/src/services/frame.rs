//! The little of CQL's binary protocol that it takes to tell one frame from the next (native protocol, version 4, section 2).

use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};

/// What a database answers to a statement.
pub const RESULT: u8 = 0x08;
/// Asks what a database can do; anybody may, before anything else.
pub const OPTIONS: u8 = 0x05;
/// The answer to that.
pub const SUPPORTED: u8 = 0x06;

/// One frame, as it is on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    bytes: Vec<u8>,
}

impl Frame {
    /// A request without a body.
    pub fn request(opcode: u8) -> Self {
        Self { bytes: vec![VERSION, 0, 0, 0, opcode, 0, 0, 0, 0] }
    }

    /// Reads the next one; `None` at the end of the stream.
    pub async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Self>> {
        let mut bytes = vec![0; HEADER_BYTES];
        match from.read_exact(&mut bytes).await {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let body = u32::from_be_bytes([bytes[5], bytes[6], bytes[7], bytes[8]]) as usize;
        if body > BODY_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame that is longer than any may be"));
        }
        bytes.resize(HEADER_BYTES + body, 0);
        from.read_exact(&mut bytes[HEADER_BYTES..]).await?;
        Ok(Some(Self { bytes }))
    }

    /// What kind of message it is.
    pub fn opcode(&self) -> u8 {
        self.bytes[4]
    }

    /// As it is on the wire.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

const VERSION: u8 = 4;
const HEADER_BYTES: usize = 9;
/// The protocol's own limit.
const BODY_BYTES_MAX: usize = 256 << 20;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    #[tokio::test]
    async fn frames_are_told_apart_and_a_torn_one_ends_the_stream() {
        let mut stream = Frame::request(OPTIONS).as_bytes().to_vec();
        stream.extend([0x84, 0, 0, 7, RESULT, 0, 0, 0, 3, 1, 2, 3]);
        stream.extend([0x84, 0, 0]);
        let mut stream = stream.as_slice();
        assert_eq!(Frame::read(&mut stream).await.unwrap().unwrap().opcode(), OPTIONS);
        let result = Frame::read(&mut stream).await.unwrap().unwrap();
        assert_eq!((result.opcode(), result.as_bytes().len()), (RESULT, 12));
        assert_eq!(Frame::read(&mut stream).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_frame_that_cannot_be_is_an_error() {
        let mut stream: &[u8] = &[0x84, 0, 0, 7, RESULT, 0xff, 0, 0, 0];
        assert!(Frame::read(&mut stream).await.is_err());
    }
}
