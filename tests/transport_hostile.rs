//! Clients that break the rules, do nothing, or do not read.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "support/transport.rs"]
mod support;

use godwit::transport::TransportOptions;
use godwit_proto::{
    codec,
    v1::{ClientFrame, ErrorCode, server_frame::Body},
};
use quinn::VarInt;
use std::time::{Duration, Instant};
use support::{Client, ClientSettings, Server, Sizes, Stream, client_config, eventually, heartbeat, push_back, within};

use tokio::time::timeout;

/// More than the four bytes a prefix may have, saying 4 GiB.
const FOUR_GIB: [u8; 5] = [0xff, 0xff, 0xff, 0xff, 0x0f];

fn impatient() -> TransportOptions {
    TransportOptions { authentication_timeout_ms: 300, ..Default::default() }
}

async fn assert_refused(stream: &mut Stream, code: ErrorCode) {
    match stream.read().await.expect("the stream ended without an error frame") {
        frame if frame.request_id == 0 => match frame.body {
            Some(Body::Error(error)) => assert_eq!(error.code(), code),
            other => panic!("{other:?}"),
        },
        frame => panic!("{frame:?}"),
    }
}

#[tokio::test]
async fn a_four_gigabyte_prefix_is_answered_with_an_error_and_a_close() {
    let server = Server::start(1, TransportOptions::default());
    let mut client = Client::connect(&server).await;
    client.session.send.write_all(&FOUR_GIB).await.unwrap();
    assert_refused(&mut client.session, ErrorCode::FrameTooLarge).await;
    assert_eq!(client.closed().await.0, 101);
    eventually("the session is closed", || server.seen(0).closed == 1).await;
    assert_eq!(server.seen(0).frames, 0);
    server.stop();
}

#[tokio::test]
async fn a_four_gigabyte_prefix_on_a_bulk_stream_is_answered_there() {
    let server = Server::start(1, TransportOptions::default());
    let client = Client::authenticated(&server).await;
    let mut bulk = Stream::open(&client.connection).await.unwrap();
    bulk.send.write_all(&FOUR_GIB).await.unwrap();
    assert_refused(&mut bulk, ErrorCode::FrameTooLarge).await;
    assert_eq!(client.closed().await.0, 101);
    server.stop();
}

#[tokio::test]
async fn a_client_with_another_protocol_name_is_refused_in_its_handshake() {
    let server = Server::start(1, TransportOptions::default());
    let settings = ClientSettings { alpn: b"h3", ..Default::default() };
    let error = within(Client::connect_with(&server, client_config(&server, settings))).await.err().unwrap();
    // TLS alert 120, no_application_protocol, as RFC 9001 carries it.
    assert!(
        matches!(&error, quinn::ConnectionError::ConnectionClosed(close) if u64::from(close.error_code) == 0x178),
        "{error:?}"
    );
    assert_eq!(server.seen(0).opened, 0);
    server.stop();
}

#[tokio::test]
async fn a_client_that_opens_no_stream_is_closed_at_the_deadline() {
    let server = Server::start(1, impatient());
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let config = client_config(&server, ClientSettings::default());
    let connection = endpoint.connect_with(config, server.address, "localhost").unwrap().await.unwrap();
    let closed = within(connection.closed()).await;
    assert!(
        matches!(closed, quinn::ConnectionError::ApplicationClosed(close) if close.error_code == VarInt::from_u32(209))
    );
    assert_eq!(server.seen(0).opened, 0);
    server.stop();
}

#[tokio::test]
async fn a_client_that_sends_half_a_frame_is_closed_at_the_deadline() {
    let server = Server::start(1, impatient());
    let mut client = Client::connect(&server).await;
    client.session.send.write_all(&[100, 1, 2, 3]).await.unwrap();
    assert_refused(&mut client.session, ErrorCode::AuthenticationTimeout).await;
    assert_eq!(client.closed().await.0, 209);
    eventually("the session is closed", || server.seen(0).closed == 1).await;
    server.stop();
}

#[tokio::test]
async fn a_client_that_talks_without_authenticating_is_closed_at_the_deadline_all_the_same() {
    let server = Server::start(1, impatient());
    let mut client = Client::connect(&server).await;
    let started = Instant::now();
    loop {
        client.session.write(&ClientFrame { request_id: 1, body: Some(heartbeat(1)) }).await;
        let frame = client.session.read().await.unwrap();
        if matches!(frame.body, Some(Body::Error(error)) if error.code() == ErrorCode::AuthenticationTimeout) {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "never closed");
    }
    assert_eq!(client.closed().await.0, 209);
    server.stop();
}

#[tokio::test]
async fn the_deadline_does_not_concern_a_client_that_has_authenticated() {
    let server = Server::start(1, impatient());
    let mut client = Client::authenticated(&server).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    client.request(heartbeat(1)).await;
    server.stop();
}

#[tokio::test]
async fn a_client_that_never_reads_is_read_no_more_and_disturbs_nobody() {
    let sizes = Sizes { outbox_bytes_max: 64 * 1024, ..Default::default() };
    let server = Server::start_sized(1, TransportOptions::default(), sizes);
    let settings = ClientSettings { stream_receive_window_bytes: 4 * 1024, ..Default::default() };
    let mut greedy = Client::connect_with(&server, client_config(&server, settings)).await.unwrap();
    greedy.authenticate().await;

    // Asks for more and more, until flow control stops it, and reads nothing.
    for request_id in 1.. {
        assert!(request_id < 100_000, "the server reads on and on");
        let request = codec::frame(&ClientFrame { request_id, body: Some(push_back(0, 10, vec![7; 1_000])) });
        match timeout(Duration::from_millis(500), greedy.session.send.write_all(&request)).await {
            Ok(written) => written.unwrap(),
            Err(_) => break,
        }
    }
    let stalled = server.seen(0);
    assert!(stalled.pushes_refused > 0, "the outbox never filled");

    let mut other = Client::authenticated(&server).await;
    for round in 0..100 {
        within(other.request(heartbeat(round))).await;
    }
    let seen = server.seen(0);
    assert_eq!(seen.frames, stalled.frames + 101, "the server read from a client that does not read");
    assert_eq!(seen.drained, 0);

    // It reads at last: the replies to all that was read before, then the session goes on.
    for request_id in 1..=(stalled.frames as u64 - 1) {
        assert_eq!(greedy.session.read().await.unwrap().request_id, request_id);
    }
    server.kill();
}

#[tokio::test]
async fn a_client_that_reads_again_is_read_again() {
    let sizes = Sizes { outbox_bytes_max: 16 * 1024, ..Default::default() };
    let server = Server::start_sized(1, TransportOptions::default(), sizes);
    let settings = ClientSettings { stream_receive_window_bytes: 4 * 1024, ..Default::default() };
    let mut client = Client::connect_with(&server, client_config(&server, settings)).await.unwrap();
    client.authenticate().await;
    // Replies are a few bytes, so this takes thousands before the outbox is full.
    const REQUESTS: u64 = 20_000;
    let (mut send, mut reader) = (client.session.send, client.session.recv);
    let writer = tokio::spawn(async move {
        for request_id in 1..=REQUESTS {
            let frame = codec::frame(&ClientFrame { request_id, body: Some(heartbeat(u64::MAX)) });
            send.write_all(&frame).await.unwrap();
        }
        send
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let frames_before = server.seen(0).frames;
    assert!(frames_before < REQUESTS as usize, "the server read everything from a client that did not read");
    for request_id in 1..=REQUESTS {
        let reply = within(support::read_frame(&mut reader, &mut client.session.decoder)).await.unwrap();
        assert_eq!(reply.request_id, request_id);
    }
    writer.await.unwrap();
    assert!(server.seen(0).drained > 0, "the core was never told that the outbox drained");
    server.stop();
}

#[tokio::test]
async fn a_flood_of_frames_stays_within_the_inbox_of_the_core() {
    let sizes = Sizes { events_max: 16, ..Default::default() };
    let server = Server::start_sized(1, TransportOptions::default(), sizes);
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(Client::authenticated(&server).await);
    }
    let mut flood = Vec::new();
    for request_id in 1..=2_000 {
        flood.extend_from_slice(&codec::frame(&ClientFrame { request_id, body: Some(heartbeat(1)) }));
    }
    let mut writers = Vec::new();
    for client in clients {
        let flood = flood.clone();
        writers.push(tokio::spawn(async move {
            let Client { mut session, endpoint, connection, .. } = client;
            let (mut send, mut recv) = (session.send, session.recv);
            let write = async {
                send.write_all(&flood).await.unwrap();
            };
            let read = async {
                for request_id in 1..=2_000 {
                    let reply = support::read_frame(&mut recv, &mut session.decoder).await.unwrap();
                    assert_eq!(reply.request_id, request_id);
                }
            };
            tokio::join!(write, read);
            drop((endpoint, connection));
        }));
    }
    for writer in writers {
        within(writer).await.unwrap();
    }
    let seen = server.seen(0);
    assert!(seen.frames >= 16_000);
    assert!(seen.inbox_max <= 16 + 8, "the inbox held {} events", seen.inbox_max);
    server.stop();
}

#[tokio::test]
async fn beyond_the_limit_of_unauthenticated_connections_new_ones_are_refused() {
    let options = TransportOptions { handshakes_max: 2, retry_handshakes_min: 2, ..Default::default() };
    let server = Server::start(1, options);
    let mut first = Client::connect(&server).await;
    let _second = Client::connect(&server).await;
    let third = within(Client::connect_with(&server, client_config(&server, ClientSettings::default()))).await;
    assert!(
        matches!(&third, Err(quinn::ConnectionError::ConnectionClosed(close)) if u64::from(close.error_code) == 0x2),
        "{:?}",
        third.err()
    );
    first.authenticate().await;
    Client::authenticated(&server).await;
    server.stop();
}

#[tokio::test]
async fn random_bytes_on_the_port_are_ignored() {
    let server = Server::start(2, TransportOptions::default());
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for length in (0..1_400).step_by(3) {
        let bytes: Vec<u8> = (0..length).map(|_| rand::random()).collect();
        socket.send_to(&bytes, server.address).unwrap();
    }
    let mut client = Client::authenticated(&server).await;
    client.request(heartbeat(1)).await;
    server.stop();
}
