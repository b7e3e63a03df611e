#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use super::{super::namespace::tests::is_inside, *};
use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
};

const PATIENCE: Duration = Duration::from_secs(60);

fn tunnel(spec: &str) -> Tunnel {
    Tunnel::start(spec.parse().unwrap(), 1).unwrap()
}

/// Sends bytes over a TCP connection through the tunnel and reads them on the other side.
fn carry(bytes: &[u8]) -> Vec<u8> {
    let listener = TcpListener::bind((Tunnel::SERVER, 0)).unwrap();
    let address = Tunnel::address_for(listener.local_addr().unwrap());
    thread::scope(|scope| {
        scope.spawn(|| TcpStream::connect(address).unwrap().write_all(bytes).unwrap());
        let (mut stream, peer) = listener.accept().unwrap();
        assert_eq!(peer.ip(), Tunnel::FAR);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut arrived = Vec::new();
        stream.read_to_end(&mut arrived).unwrap();
        arrived
    })
}

fn retransmitted_segments() -> u64 {
    let table = fs::read_to_string("/proc/self/net/snmp").unwrap();
    let mut rows = table.lines().filter(|line| line.starts_with("Tcp:")).map(|line| line.split_whitespace());
    let column = rows.next().unwrap().position(|name| name == "RetransSegs").unwrap();
    rows.next().unwrap().nth(column).unwrap().parse().unwrap()
}

#[test]
fn tcp_repairs_what_a_lossy_tunnel_takes() {
    if !is_inside(module_path!(), "tcp_repairs_what_a_lossy_tunnel_takes") {
        return;
    }
    let tunnel = tunnel("loss=3%,delay=1ms");
    let bytes: Vec<u8> = (0..1_000_000u32).map(|index| (index % 251) as u8).collect();
    assert!(carry(&bytes) == bytes);
    let stats = tunnel.stats();
    assert!(stats.up.lost > 0 && retransmitted_segments() > 0, "{stats:?}");
    assert!(stats.up.datagrams > 600, "a million bytes in packets of at most 1,500: {stats:?}");
    assert!(stats.up.bytes > 1_000_000 && stats.down.datagrams > 0, "{stats:?}");
    assert_eq!((stats.flows, stats.overrun), (1, 0), "{stats:?}");
}

#[test]
fn udp_takes_the_delay_of_each_way() {
    if !is_inside(module_path!(), "udp_takes_the_delay_of_each_way") {
        return;
    }
    let tunnel = tunnel("delay=10ms");
    let server = UdpSocket::bind((Tunnel::SERVER, 0)).unwrap();
    let client = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();

    let sent_at = Instant::now();
    let address = Tunnel::address_for(server.local_addr().unwrap());
    client.send_to(b"ping", address).unwrap();
    let mut buffer = [0; 100];
    let (length, peer) = server.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], peer.port()), (&b"ping"[..], client.local_addr().unwrap().port()));
    assert!(sent_at.elapsed() >= Duration::from_millis(10));
    server.send_to(b"pong!", peer).unwrap();
    assert_eq!(client.recv_from(&mut buffer).unwrap(), (5, address));
    assert!(sent_at.elapsed() >= Duration::from_millis(20));

    let stats = tunnel.stats();
    assert_eq!((stats.flows, stats.up.bytes), (1, 32), "{stats:?}");
}

#[test]
fn a_tunnel_is_refused_outside_of_a_namespace() {
    if !namespace::inside() {
        let refused = Tunnel::start(LinkSpec::default(), 1).err().unwrap();
        assert!(refused.to_string().contains("namespace"), "{refused}");
    }
}

#[test]
fn both_ways_of_a_connection_have_the_same_ports() {
    let mut packet = [0u8; 40];
    packet[0] = 0x46; // One word of options, so that the ports are not where they usually are.
    packet[9] = TCP;
    packet[12..20].copy_from_slice(&[10, 9, 0, 1, 10, 9, 0, 2]);
    packet[24..28].copy_from_slice(&[0x1f, 0x90, 0xc0, 0x00]);
    let (ports, from) = Ports::of(&packet).unwrap();
    assert_eq!((ports, from), (Ports { protocol: TCP, lower: 8080, higher: 49152 }, 8080));

    exchange_addresses(&mut packet);
    assert_eq!(packet[12..20], [10, 9, 0, 2, 10, 9, 0, 1]);
    packet[24..28].copy_from_slice(&[0xc0, 0x00, 0x1f, 0x90]);
    assert_eq!(Ports::of(&packet), Some((ports, 49152)));

    packet[7] = 1;
    assert_eq!(Ports::of(&packet).unwrap().1, 0, "a later fragment has no ports");
    assert_eq!(Ports::of(&packet[..19]), None);
    packet[0] = 0x60;
    assert_eq!(Ports::of(&packet), None, "IPv6");
}
