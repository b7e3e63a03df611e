#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use super::*;
use crate::{
    link::{Tunnel, namespace::tests::is_inside},
    tcp::{self, relay, tls::Identity},
};
use std::net::Ipv4Addr;

fn load(connections: u32, groups: u32, rate_per_second: f64) -> Load {
    Load {
        connections,
        groups,
        rate_per_second,
        warm_up: Duration::from_millis(100),
        steady: Duration::from_millis(900),
        drain_max: Duration::from_secs(60),
        sizes: FrameSizes::new(150, 20, 170).unwrap(),
    }
}

/// Runs the load against a relay on `listen`, to which clients connect as `reach` says.
async fn run_against_relay(listen: SocketAddr, reach: impl Fn(SocketAddr) -> SocketAddr, load: Load) -> Outcome {
    let identity = Identity::generate().unwrap();
    let listener = tcp::listen(listen).unwrap();
    let address = reach(listener.local_addr().unwrap());
    let clients = tls::client_config(identity.certificate()).unwrap();
    tokio::select! {
        _ = relay::run(listener, identity.server_config().unwrap(), load.sizes) => unreachable!("it runs until it is dropped"),
        outcome = run(address, clients, &load) => outcome.unwrap(),
    }
}

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

#[tokio::test]
async fn nothing_is_lost_doubled_or_disordered() {
    let outcome = run_against_relay(loopback(), |address| address, load(10, 3, 2_000.0)).await;
    assert!(outcome.is_complete(), "{outcome:?}");
    assert_eq!((outcome.offered, outcome.acked), (2_000, 2_000));
    // The first group has four members, the others three: 800 sends to three others and 1,200 to two.
    assert_eq!(outcome.delivered, 800 * 3 + 1_200 * 2);
    // The first of ten tenths is warm-up: 200 sends, 80 of them in the first group.
    assert_eq!(outcome.ack_latency_us.len(), 1_800);
    assert_eq!(outcome.latency_us.len(), outcome.delivered - (80 * 3 + 120 * 2));
}

#[tokio::test]
async fn a_group_of_one_has_nobody_to_push_to() {
    let outcome = run_against_relay(loopback(), |address| address, load(2, 2, 100.0)).await;
    assert!(outcome.is_complete(), "{outcome:?}");
    assert_eq!((outcome.acked, outcome.delivered), (100, 0));
}

#[tokio::test]
async fn through_a_lossy_tunnel_everything_arrives_and_what_was_lost_takes_longer() {
    if !is_inside(module_path!(), "through_a_lossy_tunnel_everything_arrives_and_what_was_lost_takes_longer") {
        return;
    }
    let tunnel = Tunnel::start("loss=2%,delay=10ms".parse().unwrap(), 1).unwrap();
    let outcome = run_against_relay((Tunnel::SERVER, 0).into(), Tunnel::address_for, load(8, 4, 1_000.0)).await;
    assert!(outcome.is_complete(), "{outcome:?}");
    assert!(tunnel.stats().up.lost > 0, "{:?}", tunnel.stats());
    // Up and down once each; a segment that is sent again takes another round trip at least.
    assert!(outcome.latency_us.min() >= 20_000 && outcome.latency_us.max() >= 40_000, "{outcome:?}");
}

#[tokio::test]
async fn without_a_relay_there_is_an_error_and_no_wait() {
    let free = tcp::listen(loopback()).unwrap().local_addr().unwrap();
    let identity = Identity::generate().unwrap();
    let clients = tls::client_config(identity.certificate()).unwrap();
    assert!(run(free, clients, &load(2, 1, 1.0)).await.is_err());
}

#[tokio::test]
async fn a_relay_with_another_certificate_is_not_trusted() {
    let (ours, other) = (Identity::generate().unwrap(), Identity::generate().unwrap());
    let listener = tcp::listen(loopback()).unwrap();
    let address = listener.local_addr().unwrap();
    let load = load(1, 1, 1.0);
    tokio::select! {
        _ = relay::run(listener, other.server_config().unwrap(), load.sizes) => unreachable!("it runs until it is dropped"),
        outcome = run(address, tls::client_config(ours.certificate()).unwrap(), &load) => {
            assert!(format!("{:#}", outcome.unwrap_err()).contains("certificate"));
        }
    }
}
