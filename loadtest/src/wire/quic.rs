//! Many UDP sockets, and QUIC connections from them.

use super::{
    FrameReader,
    streams::{Connection, Streams},
};
use anyhow::Context;
use godwit_proto::{LANES, UserId, Vshard};
use quinn::{
    ClientConfig, ConnectionId, Endpoint, EndpointConfig, TokioRuntime, TransportConfig, VarInt,
    crypto::rustls::QuicClientConfig,
};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    cell::Cell,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

/// Opens connections to one server, from several sockets in turn: the kernel spreads a server's load over its sockets by
/// the address that it comes from, and merges datagrams that come from one.
pub struct QuicDialer {
    server: SocketAddr,
    crypto: Arc<QuicClientConfig>,
    transport: Arc<TransportConfig>,
    endpoints: Vec<Endpoint>,
    next: Cell<usize>,
}

impl QuicDialer {
    /// Binds `sockets` sockets in the current runtime. Each costs some 3 MB of memory.
    pub fn new(server: SocketAddr, tls: rustls::ClientConfig, sockets: usize) -> anyhow::Result<Self> {
        let endpoints = (0..sockets).map(|_| endpoint(server)).collect::<anyhow::Result<_>>()?;
        Ok(Self {
            server,
            crypto: Arc::new(QuicClientConfig::try_from(tls)?),
            transport: Arc::new(transport()?),
            endpoints,
            next: Cell::new(0),
        })
    }

    /// Connects and opens the session stream. Where the user is known, the connection starts on the user's own core.
    pub async fn dial(&self, user: Option<UserId>) -> anyhow::Result<Streams> {
        let mut config = ClientConfig::new(self.crypto.clone());
        config.transport_config(self.transport.clone());
        if let Some(user) = user {
            config.initial_dst_cid_provider(Arc::new(move || first_connection_id(user)));
        }
        let next = self.next.replace(self.next.get() + 1);
        let endpoint = &self.endpoints[next % self.endpoints.len()];
        let connecting = endpoint.connect_with(config, self.server, "localhost")?;
        let connection = connecting.await.with_context(|| format!("connecting to {}", self.server))?;
        let (send, recv) = connection.open_bi().await?;
        let (send, reader) = (Box::new(send), FrameReader::new(recv));
        Ok(Streams { connection: Connection::Quic(connection), send, reader })
    }

    /// Waits until the server was told of every connection that closed.
    pub async fn wait_idle(&self) {
        for endpoint in &self.endpoints {
            endpoint.wait_idle().await;
        }
    }
}

fn endpoint(server: SocketAddr) -> anyhow::Result<Endpoint> {
    let local: SocketAddr = match server {
        SocketAddr::V4(v4) if v4.ip().is_loopback() => (Ipv4Addr::LOCALHOST, 0).into(),
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    // The kernel may grant less, which costs lost packets under load and nothing else.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    socket.bind(&local.into()).context("binding a UDP socket")?;
    Ok(Endpoint::new(EndpointConfig::default(), None, UdpSocket::from(socket), Arc::new(TokioRuntime))?)
}

/// As the SDK has it, apart from the keep-alive: these clients all live on one machine.
fn transport() -> anyhow::Result<TransportConfig> {
    let mut transport = TransportConfig::default();
    godwit_quic::configure(&mut transport);
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(LANES))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES * (LANES + 2)))
        .max_idle_timeout(Some(Duration::from_secs(60).try_into()?))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .mtu_discovery_config(None);
    Ok(transport)
}

/// The user's virtual shard in the first two bytes, the rest random: what docs/PROTOCOL.md asks of a client.
fn first_connection_id(user: UserId) -> ConnectionId {
    let mut bytes: [u8; 20] = rand::random();
    bytes[..2].copy_from_slice(&Vshard::of_user(user).index().to_be_bytes());
    ConnectionId::new(&bytes)
}

const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;
const STREAM_WINDOW_BYTES: u32 = 128 * 1024;
/// A third of the server's idle timeout.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
