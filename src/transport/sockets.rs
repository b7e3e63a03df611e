//! The UDP sockets of a server: one for each core, all on one address.

use super::{options::TransportOptions, steering};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    net::{SocketAddr, UdpSocket},
};
use thiserror::Error;

/// Sockets that are ready for [`Transport::serve`](super::Transport::serve).
#[derive(Debug)]
pub struct Bound {
    /// In the order that steering knows them by: the first belongs to core 0. Closing one renumbers the others, so a core
    /// that dies must take the process with it.
    pub sockets: Vec<UdpSocket>,
    /// Where they listen, with the port that was picked if 0 was asked for.
    pub address: SocketAddr,
    /// How a datagram finds its socket.
    pub steering: Steering,
}

/// How datagrams are shared out among sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Steering {
    /// There is one socket because there is one core.
    NotNeeded,
    /// The kernel reads the core from the connection ID.
    Kernel,
    /// The kernel cannot, so there is one socket, and all sessions live on core 0.
    SingleEndpoint {
        /// Why, for the log.
        reason: String,
    },
}

/// Binds a socket for each of `cores`, or one where the platform cannot steer among several.
///
/// The first bind is exclusive, so that a second server on the same address is told so; without that it would silently
/// join this one's group and take part of its traffic. Only then is the address opened to this server's further sockets.
pub fn bind(address: SocketAddr, cores: u16, options: &TransportOptions) -> Result<Bound, BindError> {
    bind_with(address, cores, options, steering::attach)
}

fn bind_with(
    address: SocketAddr,
    cores: u16,
    options: &TransportOptions,
    attach: impl FnOnce(&UdpSocket, u16) -> io::Result<()>,
) -> Result<Bound, BindError> {
    assert!(cores > 0, "a server has at least one core");
    let failed = |source: io::Error| {
        if source.kind() == io::ErrorKind::AddrInUse {
            BindError::AddressInUse { address }
        } else {
            BindError::Io { address, source }
        }
    };
    let first = new_socket(address, options).and_then(|socket| socket.bind(&address.into()).map(|()| socket));
    let first = first.map_err(failed)?;
    let address = first.local_addr().map_err(failed)?.as_socket().unwrap_or(address);
    if cores == 1 {
        return Ok(Bound { sockets: vec![first.into()], address, steering: Steering::NotNeeded });
    }

    let sockets = if options.kernel_steering {
        join(first, address, cores, options, attach)
    } else {
        Err((first, "it is turned off by configuration".to_owned()))
    };
    Ok(match sockets {
        Ok(sockets) => Bound { sockets, address, steering: Steering::Kernel },
        Err((first, reason)) => {
            tracing::warn!(reason, "the kernel does not steer connections to cores: one endpoint serves them all");
            Bound { sockets: vec![first.into()], address, steering: Steering::SingleEndpoint { reason } }
        }
    })
}

/// Opens the first socket's address to the others and attaches the steering program; on any failure gives back the
/// first socket, alone again, and the reason.
fn join(
    first: Socket,
    address: SocketAddr,
    cores: u16,
    options: &TransportOptions,
    attach: impl FnOnce(&UdpSocket, u16) -> io::Result<()>,
) -> Result<Vec<UdpSocket>, (Socket, String)> {
    let mut others = Vec::new();
    let joined = set_reuse_port(&first).and_then(|()| {
        for _ in 1..cores {
            let socket = new_socket(address, options)?;
            set_reuse_port(&socket)?;
            socket.bind(&address.into())?;
            others.push(UdpSocket::from(socket));
        }
        let last = others.last().ok_or(io::ErrorKind::InvalidInput)?;
        attach(last, cores)
    });
    match joined {
        Ok(()) => Ok(std::iter::once(first.into()).chain(others).collect()),
        Err(error) => {
            drop(others);
            Err((first, error.to_string()))
        }
    }
}

fn new_socket(address: SocketAddr, options: &TransportOptions) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // [::] then serves IPv4 too. Where a system cannot, IPv6 alone is what it has.
        if let Err(error) = socket.set_only_v6(false) {
            tracing::debug!(%error, "the socket takes IPv6 only");
        }
    }
    socket.set_nonblocking(true)?;
    // The kernel caps these at its own limit without failing; where it fails, the default is slower, not wrong.
    for result in [
        socket.set_recv_buffer_size(options.socket_receive_bytes),
        socket.set_send_buffer_size(options.socket_send_bytes),
    ] {
        if let Err(error) = result {
            tracing::debug!(%error, "the socket keeps its default buffer size");
        }
    }
    Ok(socket)
}

#[cfg(unix)]
fn set_reuse_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

#[cfg(not(unix))]
fn set_reuse_port(_socket: &Socket) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Why a server has no sockets.
#[derive(Debug, Error)]
pub enum BindError {
    /// Another process listens there. Stop it, or choose another address.
    #[error("{address} is in use: is another server running?")]
    AddressInUse {
        /// What was asked for.
        address: SocketAddr,
    },
    /// The system refused for another reason.
    #[error("cannot listen on {address}: {source}")]
    Io {
        /// What was asked for.
        address: SocketAddr,
        /// What failed.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::{Duration, Instant};

    const LOOPBACK: &str = "127.0.0.1:0";

    fn bind_loopback(cores: u16) -> Bound {
        bind(LOOPBACK.parse().unwrap(), cores, &TransportOptions::default()).unwrap()
    }

    /// Which socket the next datagram arrives on.
    fn receiver(bound: &Bound) -> usize {
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            for (index, socket) in bound.sockets.iter().enumerate() {
                if socket.recv_from(&mut [0; 64]).is_ok() {
                    return index;
                }
            }
            std::thread::yield_now();
        }
        panic!("no socket received the datagram");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_datagram_goes_to_the_socket_that_its_connection_id_names_whoever_sends_it() {
        for cores in 2..=5 {
            let bound = bind_loopback(cores);
            assert_eq!(bound.steering, Steering::Kernel);
            assert_eq!(bound.sockets.len(), usize::from(cores));
            for steered in [0u16, 1, 2, 3, 4, 255, 256, 40_000, 65_535] {
                let [high, low] = steered.to_be_bytes();
                let short = [0x40, high, low, 9, 9, 9, 9, 9, 9, 9];
                let long = [0xc0, 0, 0, 0, 1, 8, high, low, 9, 9, 9, 9, 9, 9];
                for datagram in [&short[..], &long[..]] {
                    // A new source port each time: the address must not matter.
                    let sender = UdpSocket::bind(LOOPBACK).unwrap();
                    sender.send_to(datagram, bound.address).unwrap();
                    assert_eq!(receiver(&bound), usize::from(steered % cores), "{steered} of {cores}");
                }
            }
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn steering_works_for_both_families_of_a_dual_stack_address() {
        let Ok(bound) = bind("[::]:0".parse().unwrap(), 3, &TransportOptions::default()) else {
            eprintln!("this machine has no IPv6");
            return;
        };
        for (from, to) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1")] {
            for steered in 0..6 {
                let sender = UdpSocket::bind(from).unwrap();
                sender.send_to(&[0x40, 0, steered, 0], (to, bound.address.port())).unwrap();
                assert_eq!(receiver(&bound), usize::from(steered % 3));
            }
        }
    }

    #[test]
    fn a_second_server_on_the_same_address_is_told_so() {
        for cores in [1, 4] {
            let bound = bind_loopback(cores);
            for second in [1, 4] {
                let error = bind(bound.address, second, &TransportOptions::default()).unwrap_err();
                assert!(matches!(error, BindError::AddressInUse { .. }), "{error}");
            }
        }
    }

    #[test]
    fn a_port_is_free_again_when_its_sockets_are_closed() {
        let bound = bind_loopback(4);
        let address = bound.address;
        drop(bound);
        assert_eq!(bind(address, 4, &TransportOptions::default()).unwrap().address, address);
    }

    #[test]
    fn one_core_needs_no_steering() {
        assert_eq!(bind_loopback(1).steering, Steering::NotNeeded);
    }

    #[test]
    fn a_kernel_that_cannot_steer_leaves_one_working_socket_and_a_reason() {
        let refuse = |_: &UdpSocket, _| Err(io::Error::from(io::ErrorKind::PermissionDenied));
        let bound = bind_with(LOOPBACK.parse().unwrap(), 4, &TransportOptions::default(), refuse).unwrap();
        assert_eq!(bound.steering, Steering::SingleEndpoint { reason: "permission denied".to_owned() });
        assert_eq!(bound.sockets.len(), 1);
        for steered in 0..8 {
            let sender = UdpSocket::bind(LOOPBACK).unwrap();
            sender.send_to(&[0x40, 0, steered, 0], bound.address).unwrap();
            assert_eq!(receiver(&bound), 0);
        }
    }
}
