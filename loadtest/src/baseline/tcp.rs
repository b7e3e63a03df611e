//! The same relay over TLS and TCP: what Godwit is compared with on a network that loses packets.

use super::{
    Options, announce,
    groups::{Groups, Outgoing},
};
use crate::{
    tcp::{self, Identity},
    wire::FrameReader,
};
use anyhow::Context;
use bytes::BytesMut;
use std::{future::poll_fn, io, rc::Rc, task::Poll, time::Duration};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::spawn_local,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, TlsStream};

/// Serves for ever.
pub async fn serve(options: &Options, groups: Rc<Groups>) -> anyhow::Result<()> {
    let identity = Identity::generate_in(&options.data_dir)?;
    let listener = tcp::listen(options.listen).with_context(|| format!("listening on {}", options.listen))?;
    announce(listener.local_addr()?, &identity.fingerprint);
    accept(listener, &TlsAcceptor::from(identity.config), groups).await
}

async fn accept(listener: TcpListener, acceptor: &TlsAcceptor, groups: Rc<Groups>) -> anyhow::Result<()> {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (groups, acceptor) = (groups.clone(), acceptor.clone());
                spawn_local(async move {
                    if let Err(error) = on_connection(&groups, stream, &acceptor).await {
                        tracing::debug!(%peer, %error, "a connection ended");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                // Out of file descriptors, most likely: asking again at once would only burn the CPU that is measured.
                sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

async fn on_connection(groups: &Groups, stream: TcpStream, acceptor: &TlsAcceptor) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let stream = timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await??;
    let (recv, send) = tokio::io::split(TlsStream::from(stream));
    let own = Rc::new(Outgoing::default());
    let writing = spawn_local(write(send, own.clone()));
    let mut reader = FrameReader::new(recv);
    let ended = poll_fn(|cx| match reader.poll_frames(cx, |frame| _ = groups.on_frame(&frame, &own)) {
        Ok(()) => Poll::Pending,
        Err(end) => Poll::Ready(end),
    });
    let end = ended.await;
    groups.leave(&own);
    writing.abort();
    Err(end.into())
}

async fn write(mut stream: impl AsyncWrite + Unpin, own: Rc<Outgoing>) -> io::Result<()> {
    let mut leaving = BytesMut::new();
    loop {
        // In one piece, or each frame would become a record of TLS.
        own.take().await.iter().for_each(|frame| leaving.extend_from_slice(frame));
        stream.write_all(&leaving).await?;
        stream.flush().await?;
        leaving.clear();
    }
}

const HANDSHAKE_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;
    use crate::wire::{BareFrame, Dialer, FrameSizes, Link, Transport};
    use std::net::{Ipv4Addr, SocketAddr};

    const SIZES: FrameSizes = FrameSizes { send_bytes: 60_000, ack_bytes: 22, push_bytes: 60_000 };

    /// Has clients that trust the certificate `trusted`, or else the relay's, speak to a relay.
    async fn with_relay(trusted: Option<String>, clients: impl AsyncFnOnce(Dialer)) {
        let directory = tempfile::tempdir().unwrap();
        let identity = Identity::generate_in(directory.path()).unwrap();
        let listener = tcp::listen((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let (address, acceptor) = (listener.local_addr().unwrap(), TlsAcceptor::from(identity.config));
        let dialer = dialer(address, &trusted.unwrap_or(identity.fingerprint));
        let both = async {
            tokio::select! {
                _ = accept(listener, &acceptor, Rc::new(Groups::new(SIZES))) => unreachable!("it accepts for ever"),
                () = clients(dialer) => {}
            }
        };
        tokio::task::LocalSet::new().run_until(both).await;
    }

    fn dialer(address: SocketAddr, fingerprint: &str) -> Dialer {
        Dialer::new(Transport::Tcp, address, fingerprint, 1).unwrap()
    }

    #[tokio::test]
    async fn many_records_reach_the_others_of_a_group_whole() {
        with_relay(None, async |dialer| {
            let mut sender = Link::join(&dialer, &[3], SIZES).await.unwrap();
            let mut member = Link::join(&dialer, &[3], SIZES).await.unwrap();
            let (body, mut out) = (vec![0x42; 40_000], BytesMut::new());
            (1..=5).for_each(|number| BareFrame::Send { group: 3, number, body: &body }.encode(SIZES, &mut out));
            let send = async {
                sender.send.write_all(&out).await.unwrap();
                sender.send.flush().await.unwrap();
                for number in 1..=5 {
                    let frame = sender.reader.next().await.unwrap();
                    assert_eq!(BareFrame::decode(&frame), Some(BareFrame::Ack { number }));
                }
            };
            let hear = async {
                for _ in 1..=5 {
                    let frame = member.reader.next().await.unwrap();
                    assert_eq!(BareFrame::decode(&frame), Some(BareFrame::Push { group: 3, body: &body }));
                }
            };
            tokio::join!(send, hear);
        })
        .await;
    }

    #[tokio::test]
    async fn a_relay_with_another_certificate_is_not_trusted() {
        let directory = tempfile::tempdir().unwrap();
        let other = Identity::generate_in(directory.path()).unwrap().fingerprint;
        with_relay(Some(other), async |dialer| assert!(Link::join(&dialer, &[1], SIZES).await.is_err())).await;
    }

    #[tokio::test]
    async fn without_a_relay_there_is_an_error_and_no_wait() {
        let free = tcp::listen((Ipv4Addr::LOCALHOST, 0).into()).unwrap().local_addr().unwrap();
        assert!(Link::join(&dialer(free, &"00".repeat(32)), &[1], SIZES).await.is_err());
    }
}
