#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use super::*;
use quinn_udp::{Transmit, UdpSocketState};
use std::{collections::HashSet, net::UdpSocket as Socket};

const PATIENCE: Duration = Duration::from_secs(30);

fn socket() -> Socket {
    let socket = Socket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn relay(server: &Socket, spec: &str) -> Relay {
    Relay::start(server.local_addr().unwrap(), spec.parse().unwrap(), 1).unwrap()
}

fn receive(socket: &Socket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    let (length, from) = socket.recv_from(&mut buffer).unwrap();
    buffer.truncate(length);
    (buffer, from)
}

/// Waits until the relay has decided about so many datagrams of a way.
fn wait_until_decided(relay: &Relay, count: u64, way: impl Fn(&LinkStats) -> super::super::stats::WayStats) {
    let decided = |stats: &LinkStats| {
        let way = way(stats);
        way.datagrams + way.lost + way.overflowed
    };
    let started = Instant::now();
    while decided(&relay.stats()) < count {
        assert!(started.elapsed() < PATIENCE, "{:?}", relay.stats());
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn each_client_has_an_address_of_its_own_and_gets_its_own_answers() {
    let server = socket();
    let relay = relay(&server, "delay=1ms");
    let clients = [socket(), socket(), socket()];
    let mut seen = HashSet::new();
    for (index, client) in clients.iter().enumerate() {
        client.send_to(&[index as u8], relay.address()).unwrap();
        let (question, from) = receive(&server);
        seen.insert(from);
        server.send_to(&[question[0], 99], from).unwrap();
    }
    assert_eq!(seen.len(), clients.len());
    for (index, client) in clients.iter().enumerate() {
        assert_eq!(receive(client), (vec![index as u8, 99], relay.address()));
    }
    wait_until_decided(&relay, 3, |stats| stats.down);
    let stats = relay.stats();
    assert_eq!((stats.flows, stats.up.datagrams, stats.up.bytes), (3, 3, 3 * 29));
    assert_eq!((stats.down.datagrams, stats.down.bytes, stats.overrun), (3, 3 * 30, 0));
}

#[test]
fn a_round_trip_takes_the_delay_of_both_ways_and_keeps_the_order() {
    let server = socket();
    let relay = relay(&server, "delay=15ms,jitter=5ms");
    let client = socket();
    let sent_at = Instant::now();
    (0..100u8).for_each(|number| _ = client.send_to(&[number], relay.address()).unwrap());
    for number in 0..100 {
        let (question, from) = receive(&server);
        assert_eq!(question, [number]);
        server.send_to(&question, from).unwrap();
    }
    assert!(sent_at.elapsed() >= Duration::from_millis(15));
    for number in 0..100 {
        assert_eq!(receive(&client).0, [number]);
    }
    assert!(sent_at.elapsed() >= Duration::from_millis(30));
}

#[test]
fn a_lossy_link_loses_about_what_it_should_and_delivers_the_rest() {
    let server = socket();
    let relay = relay(&server, "loss=20%");
    let client = socket();
    let mut delivered = 0;
    // In portions, so that no buffer of a socket is ever full.
    for portion in 1..=20 {
        (0..100).for_each(|_| _ = client.send_to(&[0; 100], relay.address()).unwrap());
        wait_until_decided(&relay, portion * 100, |stats| stats.up);
        let passed = relay.stats().up.datagrams;
        (delivered..passed).for_each(|_| _ = receive(&server));
        delivered = passed;
    }
    let stats = relay.stats();
    assert!((300..=500).contains(&stats.up.lost), "{stats:?}");
    assert_eq!(delivered + stats.up.lost, 2_000);
}

#[test]
fn datagrams_sent_as_one_with_segmentation_arrive_each_for_itself() {
    let server = socket();
    let relay = relay(&server, "delay=1ms");
    let client = socket();
    let state = UdpSocketState::new((&client).into()).unwrap();
    let segments = state.max_gso_segments().min(10);
    assert!(segments > 1, "this kernel does not segment: there is nothing to see");
    let mut contents: Vec<u8> = (0..segments).flat_map(|index| [index as u8; 1_200]).collect();
    contents.truncate(contents.len() - 700);
    let (destination, segment_size) = (relay.address(), Some(1_200));
    let transmit = Transmit { destination, ecn: None, contents: &contents, segment_size, src_ip: None };
    state.send((&client).into(), &transmit).unwrap();

    for index in 0..segments {
        let length = if index + 1 == segments { 500 } else { 1_200 };
        assert_eq!(receive(&server).0, vec![index as u8; length]);
    }
    // And the other way, to a client that does not put together again what the kernel took apart, as quinn's sockets do.
    let client = socket();
    client.send_to(b"hello", relay.address()).unwrap();
    let (_, destination) = receive(&server);
    let state = UdpSocketState::new((&server).into()).unwrap();
    state.send((&server).into(), &Transmit { destination, ..transmit }).unwrap();
    let lengths: Vec<_> = (0..segments).map(|_| receive(&client).0.len()).collect();
    assert!(lengths[..segments - 1].iter().all(|length| *length == 1_200) && lengths[segments - 1] == 500);
}

#[test]
fn a_bottleneck_drops_what_its_queue_does_not_hold() {
    let server = socket();
    // 1,000 bytes with headers take 8 ms; 50 of them are 400 ms of work for a queue of 40 ms.
    let relay = relay(&server, "rate=1mbit,queue=40ms");
    let client = socket();
    (0..50).for_each(|_| _ = client.send_to(&[0; 972], relay.address()).unwrap());
    wait_until_decided(&relay, 50, |stats| stats.up);
    let stats = relay.stats();
    assert!(stats.up.overflowed > 0 && stats.up.datagrams >= 5, "{stats:?}");
}

#[test]
fn a_server_that_is_gone_is_no_end_of_the_link() {
    let server = socket();
    let relay = relay(&server, "loss=0%");
    let address = server.local_addr().unwrap();
    let client = socket();
    drop(server);
    (0..10).for_each(|_| _ = client.send_to(b"anyone?", relay.address()).unwrap());
    wait_until_decided(&relay, 1, |stats| stats.up);
    let server = Socket::bind(address).unwrap();
    server.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let started = Instant::now();
    let mut buffer = [0; 100];
    while server.recv(&mut buffer).is_err() {
        assert!(started.elapsed() < PATIENCE, "{:?}", relay.stats());
        client.send_to(b"anyone?", relay.address()).unwrap();
    }
}
