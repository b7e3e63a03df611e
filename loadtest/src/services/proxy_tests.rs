#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
use super::*;
use crate::services::frame::OPTIONS;
use std::net::{IpAddr, Ipv4Addr};
use tokio::sync::mpsc;

/// A proxy in front of a database that answers every request with a result, after it has told the test.
async fn proxied() -> (CqlProxy, SocketAddr, mpsc::UnboundedReceiver<u8>) {
    let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    let database = TcpListener::bind(any).await.unwrap();
    let address = database.local_addr().unwrap();
    let (done, seen) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((connection, _)) = database.accept().await {
            tokio::spawn(answer(connection, done.clone()));
        }
    });
    let listener = TcpListener::bind(any).await.unwrap();
    let front = listener.local_addr().unwrap();
    (CqlProxy::over(listener, address, 1), front, seen)
}

async fn answer(connection: TcpStream, done: mpsc::UnboundedSender<u8>) {
    let (from, mut to) = connection.into_split();
    let mut from = BufReader::new(from);
    while let Ok(Some(request)) = Frame::read(&mut from).await {
        let stream = request.as_bytes()[3];
        done.send(stream).unwrap();
        // The client may be gone.
        let _ = to.write_all(&[0x84, 0, 0, stream, RESULT, 0, 0, 0, 0]).await;
    }
}

async fn ask(client: &mut TcpStream, stream: u8) {
    client.write_all(&[4, 0, 0, stream, OPTIONS, 0, 0, 0, 0]).await.unwrap();
}

/// The stream of the next answer; `None` when the connection ended.
async fn answered(client: &mut TcpStream) -> Option<u8> {
    Frame::read(client).await.ok().flatten().map(|frame| frame.as_bytes()[3])
}

/// A connection that has been used.
async fn connected(front: SocketAddr, seen: &mut mpsc::UnboundedReceiver<u8>) -> TcpStream {
    let mut client = TcpStream::connect(front).await.unwrap();
    ask(&mut client, 0).await;
    assert_eq!((seen.recv().await, answered(&mut client).await), (Some(0), Some(0)));
    client
}

#[tokio::test]
async fn a_lost_reply_is_one_to_a_request_that_was_done_and_the_next_one_arrives() {
    let (proxy, front, mut seen) = proxied().await;
    let mut client = connected(front, &mut seen).await;
    proxy.turn(Weather::LoseReplies { chance: 1.0 });
    ask(&mut client, 1).await;
    assert_eq!(seen.recv().await, Some(1));
    while proxy.hits() == 0 {
        tokio::task::yield_now().await;
    }
    proxy.turn(Weather::Clear);
    ask(&mut client, 2).await;
    assert_eq!(answered(&mut client).await, Some(2));
}

#[tokio::test]
async fn a_cut_comes_after_the_request_was_done_and_spares_who_connects_anew() {
    let (proxy, front, mut seen) = proxied().await;
    let mut client = connected(front, &mut seen).await;
    proxy.turn(Weather::CutReplies);
    ask(&mut client, 1).await;
    assert_eq!((seen.recv().await, answered(&mut client).await), (Some(1), None));
    connected(front, &mut seen).await;
}

#[tokio::test]
async fn held_replies_come_in_order_when_it_is_over() {
    let (proxy, front, mut seen) = proxied().await;
    let mut client = connected(front, &mut seen).await;
    proxy.turn(Weather::HoldReplies);
    for stream in 1..=3 {
        ask(&mut client, stream).await;
        assert_eq!(seen.recv().await, Some(stream));
    }
    while proxy.hits() == 0 {
        tokio::task::yield_now().await;
    }
    proxy.turn(Weather::Clear);
    for stream in 1..=3 {
        assert_eq!(answered(&mut client).await, Some(stream));
    }
}

#[tokio::test]
async fn held_requests_arrive_though_whoever_sent_them_is_gone_and_another_has_come() {
    let (proxy, front, mut seen) = proxied().await;
    let mut client = connected(front, &mut seen).await;
    proxy.turn(Weather::HoldRequests);
    ask(&mut client, 1).await;
    ask(&mut client, 2).await;
    while proxy.hits() == 0 {
        tokio::task::yield_now().await;
    }
    drop(client);
    connected(front, &mut seen).await;
    proxy.turn(Weather::Clear);
    assert_eq!((seen.recv().await, seen.recv().await), (Some(1), Some(2)));
}
