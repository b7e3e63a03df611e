//! How clients reach a server.

use super::{
    quic::QuicDialer,
    streams::{Streams, Transport},
    tcp::TcpDialer,
};
use godwit_client::Trust;
use godwit_proto::UserId;
use rustls::client::Resumption;
use std::net::SocketAddr;

/// Opens connections to one server.
pub enum Dialer {
    Quic(QuicDialer),
    Tcp(TcpDialer),
}

impl Dialer {
    /// To the server with this certificate. QUIC connections share `sockets` sockets; each of TCP has its own.
    pub fn new(transport: Transport, server: SocketAddr, fingerprint: &str, sockets: usize) -> anyhow::Result<Self> {
        let mut tls = Trust::fingerprint_from_hex(fingerprint)?.tls_config()?;
        // Every handshake is a full one, as after a restart of the server, and costs the same whoever went before.
        tls.resumption = Resumption::disabled();
        Ok(match transport {
            Transport::Quic => Self::Quic(QuicDialer::new(server, tls, sockets)?),
            Transport::Tcp => Self::Tcp(TcpDialer::new(server, tls)),
        })
    }

    /// Connects, as this user where that is known.
    pub async fn dial(&self, user: Option<UserId>) -> anyhow::Result<Streams> {
        match self {
            Self::Quic(dialer) => dialer.dial(user).await,
            Self::Tcp(dialer) => dialer.dial().await,
        }
    }

    /// Waits until the server was told of every connection that closed.
    pub async fn wait_idle(&self) {
        match self {
            Self::Quic(dialer) => dialer.wait_idle().await,
            // The kernel tells it.
            Self::Tcp(_) => {}
        }
    }
}
