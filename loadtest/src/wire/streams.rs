//! What a connection is made of, whichever transport carries it.

use super::{FrameReader, ReadEnd};
use bytes::Bytes;
use godwit_proto::codec::FrameDecoder;
use quinn::RecvStream;
use std::{
    future, io,
    mem::MaybeUninit,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, ReadHalf},
    net::TcpStream,
};
use tokio_rustls::TlsStream;

/// What carries the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Transport {
    Quic,
    /// Under TLS.
    Tcp,
}

/// A new connection.
pub struct Streams {
    pub connection: Connection,
    pub send: Sending,
    pub reader: FrameReader,
}

/// The sending half of the session stream. Over TLS, what it took may wait inside until it is flushed.
pub type Sending = Box<dyn AsyncWrite + Unpin>;

/// What there is of a connection besides its session stream.
#[derive(Clone)]
pub enum Connection {
    Quic(quinn::Connection),
    /// Nothing: it is its one stream, and ends when that is dropped.
    Tcp,
}

impl Connection {
    /// The next stream that the server opens. Over TCP there never is one.
    pub async fn accept_lane(&self) -> Result<FrameReader, ReadEnd> {
        match self {
            Self::Quic(connection) => Ok(FrameReader::new(connection.accept_uni().await.map_err(io::Error::from)?)),
            Self::Tcp => future::pending().await,
        }
    }

    /// A stream for one request.
    pub async fn open_bulk(&self) -> anyhow::Result<(quinn::SendStream, FrameReader)> {
        let Self::Quic(connection) = self else { anyhow::bail!("TCP has no streams besides the session's") };
        let (send, recv) = connection.open_bi().await?;
        Ok((send, FrameReader::new(recv)))
    }

    /// Whether the server or the network ended it. Over TCP only its stream knows.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Quic(connection) if connection.close_reason().is_some())
    }

    pub fn close(&self) {
        if let Self::Quic(connection) = self {
            connection.close(0u32.into(), b"");
        }
    }
}

/// A receiving stream.
pub enum Receiving {
    Quic(RecvStream),
    Tls(ReadHalf<TlsStream<TcpStream>>),
}

impl Receiving {
    /// Hands some of what has arrived to the decoder. False at the end of the stream.
    pub fn poll_into(&mut self, cx: &mut Context<'_>, decoder: &mut FrameDecoder) -> Poll<io::Result<bool>> {
        match self {
            Self::Quic(stream) => {
                let mut chunks = [const { Bytes::new() }; CHUNKS_PER_READ];
                let Some(count) = ready!(pin!(stream.read_chunks(&mut chunks)).poll(cx))? else {
                    return Poll::Ready(Ok(false));
                };
                chunks[..count].iter().for_each(|chunk| decoder.push(chunk));
            }
            Self::Tls(stream) => return poll_tls(stream, cx, decoder),
        }
        Poll::Ready(Ok(true))
    }
}

/// Apart, so that QUIC does not pay for so much space on the stack.
#[inline(never)]
fn poll_tls(
    stream: &mut ReadHalf<TlsStream<TcpStream>>,
    cx: &mut Context<'_>,
    decoder: &mut FrameDecoder,
) -> Poll<io::Result<bool>> {
    let mut space = [MaybeUninit::uninit(); RECORD_BYTES];
    let mut record = ReadBuf::uninit(&mut space);
    ready!(Pin::new(stream).poll_read(cx, &mut record))?;
    decoder.push(record.filled());
    Poll::Ready(Ok(!record.filled().is_empty()))
}

impl From<RecvStream> for Receiving {
    fn from(stream: RecvStream) -> Self {
        Self::Quic(stream)
    }
}

impl From<ReadHalf<TlsStream<TcpStream>>> for Receiving {
    fn from(stream: ReadHalf<TlsStream<TcpStream>>) -> Self {
        Self::Tls(stream)
    }
}

/// Chunks that one read takes at most; each is what a packet carried.
const CHUNKS_PER_READ: usize = 32;
/// As much as a record of TLS holds.
const RECORD_BYTES: usize = 16 * 1024;
