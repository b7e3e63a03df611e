//! One connection, on either side.

use super::outbox::Outbox;
use crate::baseline_frame::Frame;
use anyhow::bail;
use godwit_proto::codec::FrameDecoder;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

/// Reads frames and writes what is in the outbox, until the peer ends the connection or it fails.
pub async fn run(
    stream: impl AsyncRead + AsyncWrite,
    outbox: &Outbox,
    on_frame: impl FnMut(Frame) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (reader, writer) = tokio::io::split(stream);
    // In turns that chance decides, so that neither side of a busy connection starves.
    tokio::select! {
        outcome = read(reader, on_frame) => outcome,
        outcome = outbox.write_to(writer) => Ok(outcome?),
        () = outbox.overflow() => bail!("the peer reads too slowly"),
    }
}

async fn read(
    mut stream: impl AsyncRead + Unpin,
    mut on_frame: impl FnMut(Frame) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut decoder = FrameDecoder::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let length = stream.read(&mut chunk).await?;
        if length == 0 {
            return Ok(());
        }
        decoder.push(&chunk[..length]);
        while let Some(frame) = decoder.next_frame()? {
            on_frame(Frame::decode(&frame)?)?;
        }
    }
}

/// As much as a record of TLS holds.
const CHUNK_BYTES: usize = 16 * 1024;
