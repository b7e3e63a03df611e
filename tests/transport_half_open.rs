//! Handshakes that are started and never finished. One test, because it measures the process it runs in.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "support/counters.rs"]
mod counters;
#[path = "support/transport.rs"]
mod support;

use counters::Counters;
use godwit::{telemetry::metric::HANDSHAKES, transport::TransportOptions};
use quinn::Endpoint;
use std::{
    collections::HashMap,
    net::UdpSocket,
    time::{Duration, Instant},
};
use support::{Client, ClientSettings, Server, client_config, eventually, heartbeat, within};

const CORES: u16 = 2;
/// First packets without the right protection: anybody can send them without computing anything.
const GARBAGE: usize = 10_000;
/// Genuine first flights, each with a connection ID of its own, whose sender never answers.
const HALF_OPEN: usize = 10_000;
const HANDSHAKE_TIMEOUT_MS: u32 = 3_000;
const RETRY_HANDSHAKES_MIN: usize = 64;

#[tokio::test]
async fn thousands_of_half_open_handshakes_cost_bounded_memory_and_keep_nobody_out() {
    let counters = Counters::install();
    let options = TransportOptions {
        retry_handshakes_min: RETRY_HANDSHAKES_MIN,
        handshake_timeout_ms: HANDSHAKE_TIMEOUT_MS,
        ..Default::default()
    };
    let server = Server::start(CORES, options);
    let mut early = Client::authenticated(&server).await;
    let flights = first_flights(&server, HALF_OPEN).await;
    let resident_before = resident_bytes();

    let attacker = UdpSocket::bind("127.0.0.1:0").unwrap();
    attacker.set_nonblocking(true).unwrap();
    let started = Instant::now();
    for (index, datagram) in flights.iter().enumerate() {
        attacker.send_to(datagram, server.address).unwrap();
        for _ in 0..GARBAGE / HALF_OPEN {
            attacker.send_to(&garbage_initial(), server.address).unwrap();
        }
        // Whatever the server answers must not pile up in the attacker's socket buffer.
        while attacker.recv(&mut [0; 2_048]).is_ok() {}
        // Slow enough for the sockets: what they drop tests nothing.
        if index % 8 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if index == HALF_OPEN / 2 {
            // In the middle of it: one who is connected talks on, one who is not gets in by way of a retry.
            within(early.request(heartbeat(1))).await;
            within(async { Client::authenticated(&server).await.request(heartbeat(2)).await }).await;
        }
    }
    let outcome = |outcome| counters.get(HANDSHAKES, outcome);
    let flood = started.elapsed();
    // Three quarters of the garbage are dropped unseen, because its header makes no sense once its protection is off.
    let dealt_with = (HALF_OPEN + GARBAGE / 4) as u64;
    eventually("the flood is dealt with", || outcome("retried") + outcome("failed") > dealt_with * 3 / 4).await;
    let grown = resident_bytes().saturating_sub(resident_before);
    assert!(grown < 16 << 20, "the server grew by {} KB", grown >> 10);
    eventually("what was kept times out", || outcome("timed_out") >= RETRY_HANDSHAKES_MIN as u64 / 2).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    // Places come free after each timeout; until then everyone unproven is told to retry.
    let rounds = 1 + flood.as_millis() as u64 / u64::from(HANDSHAKE_TIMEOUT_MS);
    assert!(outcome("timed_out") <= rounds * RETRY_HANDSHAKES_MIN as u64, "too many were kept: {counters:?}");
    within(async { Client::authenticated(&server).await.request(heartbeat(3)).await }).await;
    within(early.request(heartbeat(4))).await;
    assert_eq!(outcome("refused"), 0);
    server.stop();
}

/// What clients would send first, caught on the way.
async fn first_flights(server: &Server, count: usize) -> Vec<Vec<u8>> {
    let trap = UdpSocket::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let settings = ClientSettings { classic_key_exchange: true, ..Default::default() };
    let config = client_config(server, settings);
    let mut flights: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
    while flights.len() < count {
        let connect = || endpoint.connect_with(config.clone(), trap.local_addr().unwrap(), "localhost").unwrap();
        let connecting: Vec<_> = (0..32).map(|_| connect()).collect();
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mut datagram = [0; 2_048];
        while let Ok(length) = trap.recv(&mut datagram) {
            // Later packets of the same connection, its close for one, are not what is wanted.
            let connection_id = &datagram[6..6 + usize::from(datagram[5])];
            flights.entry(connection_id.to_vec()).or_insert_with(|| datagram[..length].to_vec());
        }
        drop(connecting);
    }
    flights.into_values().collect()
}

/// The header of an Initial packet of QUIC version 1 with a random connection ID, and noise.
fn garbage_initial() -> Vec<u8> {
    let mut packet = vec![0xc3, 0, 0, 0, 1, 8];
    packet.extend(rand::random::<[u8; 8]>());
    // No source connection ID, no token, then the length of the rest as a two-byte varint.
    packet.extend([0, 0]);
    let rest = 1_200 - packet.len() - 2;
    packet.extend((0x4000 | rest as u16).to_be_bytes());
    packet.extend((0..rest).map(|index| index as u8));
    packet
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}
