//! The UDP socket under a client, or under many.

use godwit_proto::{UserId, Vshard};
use quinn::{ConnectionId, Endpoint, EndpointConfig, TokioRuntime};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::Arc,
};

/// A UDP socket that any number of clients share.
///
/// A socket costs about 3 MB of receive buffer in this process, so a process with thousands of clients gives each a clone
/// of one of a few shared endpoints. Clones are the same socket; it closes when the last one and the last client are gone.
#[derive(Debug, Clone)]
pub struct SharedEndpoint {
    endpoint: Endpoint,
}

impl SharedEndpoint {
    /// Binds a socket; port 0 takes any. Inside a tokio runtime, which then drives it: give every client the endpoint of
    /// the runtime it runs on.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let endpoint = Endpoint::new(EndpointConfig::default(), None, bind_socket(address)?, Arc::new(TokioRuntime))?;
        Ok(Self { endpoint })
    }

    /// The address that it is bound to.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Moves every client of this endpoint to a new port, as a change of network would. Connections stay.
    pub fn rebind(&self) -> io::Result<()> {
        rebind(&self.endpoint)
    }

    /// Waits until the connections that were closed are forgotten, so that every server was told. Before a process ends.
    pub async fn wait_idle(&self) {
        self.endpoint.wait_idle().await;
    }

    pub(crate) fn quinn(&self) -> &Endpoint {
        &self.endpoint
    }
}

/// The first connection ID that a client chooses: the user's virtual shard in the first two bytes, so that the connection
/// starts on the core that owns the user; the rest, or everything when the user is not known, is random.
pub(crate) fn first_connection_id(user: Option<UserId>) -> ConnectionId {
    let mut bytes: [u8; CONNECTION_ID_BYTES] = rand::random();
    if let Some(user) = user {
        bytes[..2].copy_from_slice(&Vshard::of_user(user).index().to_be_bytes());
    }
    ConnectionId::new(&bytes)
}

/// Moves an endpoint to a new port of the same local address.
pub(crate) fn rebind(endpoint: &Endpoint) -> io::Result<()> {
    endpoint.rebind(bind_socket(SocketAddr::new(endpoint.local_addr()?.ip(), 0))?)
}

/// The longest that QUIC version 1 allows.
const CONNECTION_ID_BYTES: usize = 20;

/// What the kernel may hold for this process to read. Its own default drops packets when many clients share a socket; the
/// kernel may grant less.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;

fn bind_socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // IPv4 through it as well: a server's name may have addresses of both families.
        socket.set_only_v6(false)?;
    }
    // Some systems refuse what they will not grant. A small buffer costs speed, not correctness.
    let sized = socket
        .set_recv_buffer_size(SOCKET_BUFFER_BYTES)
        .and_then(|()| socket.set_send_buffer_size(SOCKET_BUFFER_BYTES));
    if let Err(error) = sized {
        tracing::debug!(%error, "the socket keeps its small buffers");
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    #[test]
    fn the_first_connection_id_names_the_users_shard_and_is_random_after_it() {
        let user = UserId::new(1).unwrap();
        let (a, b) = (first_connection_id(Some(user)), first_connection_id(Some(user)));
        assert_eq!(a.len(), 20);
        assert_eq!(a[..2], 0x5e5u16.to_be_bytes());
        assert_eq!(a[..2], b[..2]);
        assert_ne!(a[2..], b[2..]);
        assert_ne!(first_connection_id(None), first_connection_id(None));
    }
}
