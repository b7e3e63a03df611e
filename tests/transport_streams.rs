//! Session stream, lanes and bulk streams of clients that behave.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "support/transport.rs"]
mod support;

use godwit::transport::TransportOptions;
use godwit_proto::{
    codec::{self, FrameDecoder},
    v1::{ClientFrame, LogoutRequest, ServerFrame, client_frame, entry, server_frame::Body},
};
use quinn::{ReadError, RecvStream, VarInt};
use std::time::Duration;
use support::{Client, ClientSettings, Server, Sizes, Stream, client_config, heartbeat, push_back, read_frame, within};
use tokio::time::timeout;

struct Lane {
    recv: RecvStream,
    decoder: FrameDecoder,
}

impl Lane {
    /// The next lane that the server opens, and its number.
    async fn accept(client: &Client) -> (u32, Self) {
        let recv = within(client.connection.accept_uni()).await.unwrap();
        let mut lane = Self { recv, decoder: FrameDecoder::new() };
        match lane.next().await.body {
            Some(Body::LaneOpened(opened)) => (opened.lane, lane),
            other => panic!("a lane starts with {other:?}"),
        }
    }

    async fn next(&mut self) -> ServerFrame {
        within(read_frame(&mut self.recv, &mut self.decoder)).await.expect("the lane ended")
    }

    async fn next_seq(&mut self) -> u64 {
        match self.next().await.body {
            Some(Body::Entries(push)) => {
                assert!(matches!(push.entries[0].content, Some(entry::Content::Message(_))));
                push.entries[0].seq
            }
            other => panic!("{other:?}"),
        }
    }
}

fn client_frame(request_id: u64) -> ClientFrame {
    ClientFrame { request_id, body: Some(heartbeat(request_id)) }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_and_share_packets() {
    let server = Server::start(1, TransportOptions::default());
    let mut client = Client::authenticated(&server).await;
    let mut requests = Vec::new();
    for request_id in 1..=200 {
        requests.extend_from_slice(&codec::frame(&client_frame(request_id)));
    }
    let datagrams_before = client.connection.stats().udp_rx.datagrams;
    client.session.send.write_all(&requests).await.unwrap();
    for request_id in 1..=200 {
        assert_eq!(client.session.read().await.unwrap().request_id, request_id);
    }
    let datagrams = client.connection.stats().udp_rx.datagrams - datagrams_before;
    assert!(datagrams <= 40, "200 replies took {datagrams} datagrams");
    server.stop();
}

#[tokio::test]
async fn a_lane_opens_when_first_used_and_keeps_the_order_of_its_pushes() {
    let server = Server::start(1, TransportOptions::default());
    let mut client = Client::authenticated(&server).await;
    client.request(push_back(2, 100, vec![7; 50])).await;
    let (number, mut lane) = Lane::accept(&client).await;
    assert_eq!(number, 2);
    for seq in 1..=100 {
        assert_eq!(lane.next_seq().await, seq);
    }
    client.request(push_back(2, 1, vec![7; 50])).await;
    assert_eq!(lane.next_seq().await, 1);
    let another = timeout(Duration::from_millis(100), client.connection.accept_uni()).await;
    assert!(another.is_err(), "a lane was opened twice, or without need");
    server.stop();
}

#[tokio::test]
async fn a_lane_that_is_not_read_holds_up_neither_the_session_stream_nor_other_lanes() {
    let server = Server::start(1, TransportOptions::default());
    let settings = ClientSettings { stream_receive_window_bytes: 4 * 1024, ..Default::default() };
    let mut client = Client::connect_with(&server, client_config(&server, settings)).await.unwrap();
    client.authenticate().await;
    client.request(push_back(0, 100, vec![7; 1_000])).await;
    let (number, mut unread) = Lane::accept(&client).await;
    assert_eq!(number, 0);

    client.request(push_back(1, 100, vec![8; 1_000])).await;
    let (number, mut read) = Lane::accept(&client).await;
    assert_eq!(number, 1);
    for seq in 1..=100 {
        assert_eq!(read.next_seq().await, seq);
        client.request(heartbeat(seq)).await;
    }
    for seq in 1..=100 {
        assert_eq!(unread.next_seq().await, seq);
    }
    server.stop();
}

#[tokio::test]
async fn pushes_wait_for_a_client_that_allows_fewer_streams_than_there_are_lanes() {
    let server = Server::start(1, TransportOptions::default());
    let settings = ClientSettings { uni_streams: 1, ..Default::default() };
    let mut client = Client::connect_with(&server, client_config(&server, settings)).await.unwrap();
    client.authenticate().await;
    for lane in 0..3 {
        client.request(push_back(lane, 1, vec![7])).await;
    }
    let (number, mut lane) = Lane::accept(&client).await;
    assert_eq!((number, lane.next_seq().await), (0, 1));
    client.request(heartbeat(1)).await;
    client.connection.set_max_concurrent_uni_streams(VarInt::from_u32(4));
    for expected in 1..3 {
        let (number, mut lane) = Lane::accept(&client).await;
        assert_eq!((number, lane.next_seq().await), (expected, 1));
    }
    server.stop();
}

#[tokio::test]
async fn a_lane_that_the_client_stops_does_not_fill_the_outbox() {
    let sizes = Sizes { outbox_bytes_max: 64 * 1024, ..Default::default() };
    let server = Server::start_sized(1, TransportOptions::default(), sizes);
    let mut client = Client::authenticated(&server).await;
    client.request(push_back(0, 1, vec![7])).await;
    let (_, mut lane) = Lane::accept(&client).await;
    lane.recv.stop(VarInt::from_u32(0)).unwrap();
    for round in 0..50 {
        client.request(push_back(0, 10, vec![7; 1_000])).await;
        client.request(heartbeat(round)).await;
    }
    client.request(push_back(1, 1, vec![7])).await;
    let (number, mut lane) = Lane::accept(&client).await;
    assert_eq!((number, lane.next_seq().await), (1, 1));
    server.stop();
}

#[tokio::test]
async fn bulk_streams_are_answered_each_on_its_own_and_end_when_the_client_ends_them() {
    let server = Server::start(1, TransportOptions::default());
    let client = Client::authenticated(&server).await;
    let mut streams = Vec::new();
    for _ in 0..4 {
        streams.push(Stream::open(&client.connection).await.unwrap());
    }
    for (index, stream) in streams.iter_mut().enumerate() {
        for request in 0..20 {
            stream.write(&client_frame(100 * index as u64 + request + 1)).await;
        }
        stream.send.finish().unwrap();
    }
    for (index, stream) in streams.iter_mut().enumerate().rev() {
        for request in 0..20 {
            assert_eq!(stream.read().await.unwrap().request_id, 100 * index as u64 + request + 1);
        }
        assert_eq!(stream.read().await, None);
    }
    server.stop();
}

#[tokio::test]
async fn a_fifth_bulk_stream_waits_until_one_ends() {
    let server = Server::start(1, TransportOptions::default());
    let client = Client::authenticated(&server).await;
    let mut streams = Vec::new();
    for request_id in 1..=4 {
        let mut stream = Stream::open(&client.connection).await.unwrap();
        stream.write(&client_frame(request_id)).await;
        assert_eq!(stream.read().await.unwrap().request_id, request_id);
        streams.push(stream);
    }
    let fifth = timeout(Duration::from_millis(200), Stream::open(&client.connection)).await;
    assert!(fifth.is_err(), "a fifth bulk stream was opened");

    let mut first = streams.remove(0);
    first.send.finish().unwrap();
    assert_eq!(first.read().await, None);
    let mut fifth = within(Stream::open(&client.connection)).await.unwrap();
    fifth.write(&client_frame(5)).await;
    assert_eq!(fifth.read().await.unwrap().request_id, 5);
    server.stop();
}

#[tokio::test]
async fn before_authentication_there_is_the_session_stream_only() {
    let server = Server::start(1, TransportOptions::default());
    let mut client = Client::connect(&server).await;
    client.core().await;
    let second = timeout(Duration::from_millis(200), Stream::open(&client.connection)).await;
    assert!(second.is_err(), "a second stream was opened before authentication");
    client.authenticate().await;
    within(Stream::open(&client.connection)).await.unwrap();
    server.stop();
}

#[tokio::test]
async fn a_bulk_stream_that_breaks_off_inside_a_frame_is_reset_and_nothing_else() {
    let server = Server::start(1, TransportOptions::default());
    let mut client = Client::authenticated(&server).await;
    let mut stream = Stream::open(&client.connection).await.unwrap();
    stream.send.write_all(&[100, 1, 2, 3]).await.unwrap();
    stream.send.finish().unwrap();
    let read = within(stream.recv.read_chunk(1, true)).await;
    assert!(matches!(read, Err(ReadError::Reset(_))), "{read:?}");
    client.request(heartbeat(1)).await;
    server.stop();
}

#[tokio::test]
async fn a_client_that_finishes_its_session_stream_gets_its_replies_and_an_orderly_end() {
    let server = Server::start(1, TransportOptions::default());
    let mut client = Client::authenticated(&server).await;
    for request_id in 1..=50 {
        client.session.write(&client_frame(request_id)).await;
    }
    client.session.send.finish().unwrap();
    for request_id in 1..=50 {
        assert_eq!(client.session.read().await.unwrap().request_id, request_id);
    }
    assert_eq!(client.session.read().await, None);
    assert_eq!(client.closed().await.0, 0);
    server.stop();
}

#[tokio::test]
async fn what_was_answered_before_a_close_arrives_before_it() {
    let server = Server::start(1, TransportOptions::default());
    let mut client = Client::authenticated(&server).await;
    let mut frames = Vec::new();
    for request_id in 1..=100 {
        frames.extend_from_slice(&codec::frame(&client_frame(request_id)));
    }
    let logout = client_frame::Body::Logout(LogoutRequest::default());
    frames.extend_from_slice(&codec::frame(&ClientFrame { request_id: 0, body: Some(logout) }));
    client.session.send.write_all(&frames).await.unwrap();
    for request_id in 1..=100 {
        assert_eq!(client.session.read().await.unwrap().request_id, request_id);
    }
    assert_eq!(client.session.read().await, None);
    assert_eq!(client.closed().await, (210, "logged out".to_owned()));
    server.stop();
}

#[tokio::test]
async fn the_session_of_a_client_that_falls_silent_ends_with_the_idle_timeout() {
    let server = Server::start(1, TransportOptions { idle_timeout_ms: 1_000, ..Default::default() });
    let client = Client::authenticated(&server).await;
    assert_eq!(server.seen(0).closed, 0);
    support::eventually("the session is closed", || server.seen(0).closed == 1).await;
    drop(client);
    server.stop();
}

#[tokio::test]
async fn a_stopping_server_says_so_to_its_clients_and_takes_no_new_ones() {
    let server = Server::start(2, TransportOptions { drain_timeout_ms: 2_000, ..Default::default() });
    let client = Client::authenticated(&server).await;
    let config = client_config(&server, ClientSettings::default());
    // Has no session that the core could close.
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let silent = endpoint.connect_with(config, server.address, "localhost").unwrap().await.unwrap();
    let stopped = std::thread::spawn(|| server.stop());
    assert_eq!(client.closed().await.0, 403);
    let closed = within(silent.closed()).await;
    assert!(
        matches!(closed, quinn::ConnectionError::ApplicationClosed(close) if close.error_code == VarInt::from_u32(403))
    );
    stopped.join().unwrap();
}

#[tokio::test]
async fn a_session_too_many_is_turned_away_as_overload() {
    let server = Server::start_sized(1, TransportOptions::default(), Sizes { sessions_max: 1, ..Default::default() });
    let mut first = Client::authenticated(&server).await;
    let mut second = Client::connect(&server).await;
    // The session stream exists for the server once there is something on it.
    let _ = second.session.send.write_all(&codec::frame(&client_frame(1))).await;
    assert_eq!(second.closed().await.0, 400);
    first.request(heartbeat(1)).await;
    first.connection.close(VarInt::from_u32(0), b"");
    support::eventually("the first session ends", || server.seen(0).closed == 1).await;
    Client::authenticated(&server).await;
    server.stop();
}
