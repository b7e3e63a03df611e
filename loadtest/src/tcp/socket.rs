//! TCP sockets as both sides have them.

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::{io, net::SocketAddr};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// A listener whose connections send at once what they are given. Only inside a runtime.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // Accepted connections inherit it.
    set_congestion_control(&socket);
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// A connection that sends at once what it is given.
pub async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    set_congestion_control(&SockRef::from(&socket));
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// How connections avoid congestion, as the kernel calls it.
pub fn congestion_control() -> String {
    #[cfg(target_os = "linux")]
    if let Ok(socket) = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)) {
        set_congestion_control(&socket);
        if let Ok(name) = socket.tcp_congestion() {
            return String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned();
        }
    }
    "unknown".to_owned()
}

/// The one that quinn uses, so that the comparison is of transports and not of these. Where the system has none, or allows
/// it only to itself, its own choice stays; [`congestion_control`] says which it is.
fn set_congestion_control(socket: &Socket) {
    #[cfg(target_os = "linux")]
    if let Err(error) = socket.set_tcp_congestion(b"cubic") {
        tracing::debug!(%error, "this system does not allow CUBIC");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = socket;
}

/// A storm of clients that connect at once fits.
const BACKLOG: i32 = 4_096;
