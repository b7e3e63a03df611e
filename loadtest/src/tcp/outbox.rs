//! What waits to be written to a connection.

use bytes::BytesMut;
use std::{cell::RefCell, io, mem};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::Notify,
};

/// Frames for one connection, until it can be written to again: whatever gathered by then leaves in one write.
///
/// Holds at most [`OUTBOX_BYTES_MAX`] and a frame: a peer that does not read is given up rather than waited for.
#[derive(Debug, Default)]
pub struct Outbox {
    frames: RefCell<BytesMut>,
    filled: Notify,
    overflowed: Notify,
}

impl Outbox {
    /// Lets `write` append frames. False, and nothing written, when there is no room.
    pub fn put(&self, write: impl FnOnce(&mut BytesMut)) -> bool {
        let mut frames = self.frames.borrow_mut();
        if frames.len() >= OUTBOX_BYTES_MAX {
            self.overflowed.notify_one();
            return false;
        }
        write(&mut frames);
        self.filled.notify_one();
        true
    }

    /// Writes what is put in, until the connection fails.
    pub async fn write_to(&self, mut connection: impl AsyncWrite + Unpin) -> io::Result<()> {
        let mut leaving = BytesMut::new();
        loop {
            self.filled.notified().await;
            mem::swap(&mut leaving, &mut self.frames.borrow_mut());
            connection.write_all(&leaving).await?;
            connection.flush().await?;
            leaving.clear();
        }
    }

    /// Until something did not fit.
    pub async fn overflow(&self) {
        self.overflowed.notified().await;
    }
}

const OUTBOX_BYTES_MAX: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    /// A connection that notes each write.
    #[derive(Default)]
    struct Writes(Vec<Vec<u8>>);

    impl AsyncWrite for Writes {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.0.push(bytes.to_vec());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn what_gathered_leaves_in_one_write() {
        let (outbox, mut writes) = (Outbox::default(), Writes::default());
        for text in ["one ", "two ", "three"] {
            assert!(outbox.put(|frames| frames.extend_from_slice(text.as_bytes())));
        }
        tokio::select! {
            biased;
            _ = outbox.write_to(&mut writes) => unreachable!("it writes for ever"),
            () = std::future::ready(()) => {}
        }
        assert_eq!(writes.0, [b"one two three"]);
    }

    #[tokio::test]
    async fn a_full_outbox_takes_nothing_and_says_so() {
        let outbox = Outbox::default();
        assert!(outbox.put(|frames| frames.resize(OUTBOX_BYTES_MAX, 0)));
        assert!(!outbox.put(|_| unreachable!("there is no room")));
        outbox.overflow().await;
    }
}
