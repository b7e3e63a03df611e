//! What clients notice of a server that was killed and started again.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "support/transport.rs"]
mod support;

use godwit::transport::TransportOptions;
use quinn::ConnectionError;
use std::time::{Duration, Instant};
use support::{Client, ClientSettings, Server, Sizes, client_config, heartbeat, within};

const CORES: u16 = 3;

#[tokio::test]
async fn a_client_learns_with_its_next_packet_that_the_server_was_restarted() {
    let server = Server::start(CORES, TransportOptions::default());
    let mut clients = Vec::new();
    for core in 0..CORES {
        let settings = ClientSettings { steered: Some(core), ..Default::default() };
        let mut client = Client::connect_with(&server, client_config(&server, settings)).await.unwrap();
        client.authenticate().await;
        client.request(heartbeat(1)).await;
        clients.push(client);
    }
    let (directory, address) = (server.directory.clone(), server.address);
    let kept = server.kill();
    let restarted = Server::start_in(directory, address, CORES, TransportOptions::default(), Sizes::default());
    for client in &mut clients {
        let started = Instant::now();
        // Fails if a late ACK, or a probe, was the next packet.
        let _ = client.session.send.write_all(&[1, 2, 3]).await;
        let closed = within(client.connection.closed()).await;
        assert_eq!(closed, ConnectionError::Reset);
        // On an idle machine it takes a few milliseconds.
        assert!(started.elapsed() < Duration::from_secs(3), "it took {:?}", started.elapsed());
    }
    restarted.stop();
    drop(kept);
}

#[tokio::test]
async fn a_client_of_another_server_is_not_reset() {
    let server = Server::start(CORES, TransportOptions::default());
    let mut client = Client::authenticated(&server).await;
    let address = server.address;
    let kept = server.kill();
    // Another data directory: another secret.
    let other = tempfile::tempdir().unwrap();
    let stranger =
        Server::start_in(other.path().to_owned(), address, CORES, TransportOptions::default(), Sizes::default());
    client.session.send.write_all(&[0; 100]).await.unwrap();
    let closed = tokio::time::timeout(Duration::from_secs(2), client.connection.closed()).await;
    assert!(closed.is_err(), "{closed:?}");
    stranger.stop();
    drop(kept);
}
