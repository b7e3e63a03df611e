//! Who is online, as a server writes it to Redis and an operator reads it there: seen, gone, and back, whatever ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::large_futures, missing_docs)]

#[path = "support/process.rs"]
mod process;
mod redis_suite;
mod store_suite;

use data_encoding::HEXLOWER;
use godwit_client::{Client, ClientConfig, Credentials, DeviceId, Events, Trust, UserId};
use process::Process;
use redis::{Commands, Connection};
use redis_suite::{RUNTIME, Space, server::free_udp_port, until};
use rustix::process::Signal;
use std::{collections::BTreeMap, net::SocketAddr, path::Path, time::Duration};

const BEAT_MS: u64 = 200;

#[test]
fn sessions_are_in_redis_while_they_last() {
    let Some(space) = Space::new() else { return };
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let keys = [
        format!("listen=127.0.0.1:{}", free_udp_port()),
        format!("data_dir={}", data.display()),
        format!("summaries={}", space.url),
        format!("redis.prefix={}", space.prefix),
        format!("redis.beat_ms={BEAT_MS}"),
    ];
    let mut server = Process::start(&keys);
    let address = server.serves();
    let (phone, _phone_events) = connect(address, &data, 1, true);
    let user = phone.user_id();
    let (tablet, _tablet_events) = connect(address, &data, 2, false);
    let mut redis = space.connection();
    let mut seen = || live(&mut redis, &space.prefix, user);
    until("both devices are there", || seen() == [1, 2]);
    RUNTIME.block_on(tablet.shutdown());
    until("one of them has gone", || seen() == [1]);

    space.flush();
    until("it is there again after a flush", || seen() == [1]);

    server.signal(Signal::KILL);
    server.ended();
    until("nobody believes what a dead server has written", || seen().is_empty());
    let mut redis = space.connection();
    for key in space.keys() {
        assert!(redis.pttl::<_, i64>(&key).unwrap() > 0, "{} expires", String::from_utf8_lossy(&key));
    }

    let server = Process::start(&keys);
    server.serves();
    until("the device has come back to the next one", || live(&mut redis, &space.prefix, user) == [1]);
    until("the device knows", || phone.is_connected());
    server.stop();
    let left: Vec<_> = space.keys().into_iter().map(|key| String::from_utf8(key).unwrap()).collect();
    let of_sessions = |key: &&String| key.contains(":p:") || key.contains(":n:");
    assert_eq!(left.iter().find(of_sessions), None, "a server that stops takes its sessions with it");
}

/// Whose sessions of a user count, by the first byte of the device; read as docs/OPERATIONS.md says.
fn live(redis: &mut Connection, prefix: &str, user: UserId) -> Vec<u8> {
    let pattern = format!("{prefix}:*:p:{}", user.as_u64());
    let keys: Vec<String> = redis.scan_match(pattern).unwrap().map(Result::unwrap).collect();
    let Some(key) = keys.first() else { return Vec::new() };
    let sessions: BTreeMap<String, String> = redis.hgetall(key).unwrap();
    let mut counts = |place: &str| {
        let [node, incarnation, _] = place.split('|').collect::<Vec<_>>().try_into().unwrap();
        let said: Option<String> = redis.get(format!("{prefix}:n:{node}")).unwrap();
        said.is_some_and(|said| said.split(':').next() == Some(incarnation))
    };
    sessions
        .iter()
        .filter(|(_, place)| counts(place))
        .map(|(device, _)| HEXLOWER.decode(device.as_bytes()).unwrap()[0])
        .collect()
}

fn connect(address: SocketAddr, data: &Path, device: u8, registers: bool) -> (Client, Events) {
    let (username, password) = ("ada".to_owned(), "password of ada".to_owned());
    let credentials = match registers {
        true => Credentials::Register { username, password, display_name: String::new(), invitation: String::new() },
        false => Credentials::Login { username, password },
    };
    let fingerprint = std::fs::read_to_string(data.join("tls/fingerprint")).unwrap();
    let trust = Trust::fingerprint_from_hex(fingerprint.trim()).unwrap();
    let mut config = ClientConfig::new(address.to_string(), trust, credentials);
    config.device_id = DeviceId([device; 16]);
    // It finds out soon that a server was killed.
    config.keep_alive = Some(Duration::from_millis(300));
    RUNTIME.block_on(Client::connect(config)).unwrap()
}
