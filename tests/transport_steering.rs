//! Which core a connection lands on, and that it stays there.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "support/transport.rs"]
mod support;

use godwit::transport::{Steering, TransportOptions};
use std::net::UdpSocket;
use support::{Client, ClientSettings, Server, client_config, heartbeat};

const CORES: u16 = 4;

async fn client_steered_to(server: &Server, steered: u16) -> Client {
    let settings = ClientSettings { steered: Some(steered), ..Default::default() };
    Client::connect_with(server, client_config(server, settings)).await.unwrap()
}

#[tokio::test]
async fn a_client_chooses_its_core_with_its_first_connection_id() {
    let server = Server::start(CORES, TransportOptions::default());
    assert_eq!(server.steering, Steering::Kernel);
    for steered in [0, 1, 2, 3, 4, 4_093, 65_535] {
        let mut client = client_steered_to(&server, steered).await;
        assert_eq!(client.core().await, u64::from(steered % CORES), "{steered}");
    }
    server.stop();
}

#[tokio::test]
async fn a_client_that_changes_its_port_keeps_its_connection_and_its_core() {
    let server = Server::start(CORES, TransportOptions::default());
    for core in 0..CORES {
        let mut client = client_steered_to(&server, core).await;
        client.authenticate().await;
        for round in 0..10 {
            client.endpoint.rebind(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
            client.request(heartbeat(round)).await;
            assert_eq!(client.core().await, u64::from(core));
        }
        assert_eq!(server.seen(core.into()).opened, 1);
        assert_eq!(server.seen(core.into()).closed, 0);
    }
    server.stop();
}

#[tokio::test]
async fn without_kernel_steering_one_endpoint_serves_everyone() {
    let server = Server::start(CORES, TransportOptions { kernel_steering: false, ..Default::default() });
    assert!(matches!(server.steering, Steering::SingleEndpoint { .. }));
    for steered in 0..CORES {
        let mut client = client_steered_to(&server, steered).await;
        assert_eq!(client.core().await, 0);
        client.endpoint.rebind(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        assert_eq!(client.core().await, 0);
    }
    server.stop();
}
