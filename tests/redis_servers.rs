//! Real servers of Redis: killed, as a cluster, and wrong ones.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod redis_suite;
mod store_suite;

use godwit::store::{
    SessionPlace,
    redis::{Epoch, OpenError, RedisOptions, Summarised},
};
use redis_suite::{
    RUNTIME, Space,
    chat::Chat,
    embedded, open,
    server::{Server, cluster},
    settle, until,
};
use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
    time::Duration,
};
use store_suite::build::{device, user};

fn space(url: &str) -> Space {
    Space { url: url.to_owned(), prefix: "test".to_owned() }
}

#[test]
fn lists_stay_right_while_redis_is_killed_again_and_again() {
    let Some(mut server) = Server::start(&[]) else { return };
    // Not a `Space` that cleans up: the server takes everything with it.
    let options = std::mem::ManuallyDrop::new(space(&server.url())).options();
    let chat = Chat::new(8, |truth| open(truth, options, 1));
    chat.warm();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0;
            while !stop.load(SeqCst) {
                n += 1;
                chat.send(n % 4);
            }
        });
        for _ in 0..5 {
            server.restart();
            until("it is used again", || chat.lists.is_up() && still(&chat) > 0);
        }
        stop.store(true, SeqCst);
    });
    settle(&chat.lists);
    chat.check();
    chat.warm();
}

#[test]
fn a_redis_that_was_killed_knows_who_is_online_again() {
    let Some(mut server) = Server::start(&[]) else { return };
    let mut options = std::mem::ManuallyDrop::new(space(&server.url())).options();
    options.beat = Duration::from_millis(100);
    let (store, _dir) = embedded();
    let lists = open(store, options, 1);
    let sink = lists.sessions("here");
    let online = |n| {
        let sessions = RUNTIME.block_on(lists.sessions_of(user(n))).unwrap_or_default();
        sessions.len() == 1
    };
    (1..=1_000).for_each(|n| sink.online(user(n), device(1), SessionPlace { core: 0, session: n }));
    until("all are there", || online(1) && online(1_000));
    server.kill();
    sink.offline(user(1), device(1));
    sink.online(user(2_000), device(1), SessionPlace { core: 0, session: 2_000 });
    until("it is missed", || !lists.is_up());
    server.restart();
    until("those are there who are online now", || (2..=1_000).all(online) && online(2_000));
    assert!(!online(1));
}

/// How much of the list of what nobody writes to comes from Redis.
fn still(chat: &Chat) -> u64 {
    let before = chat.lists.counts().from_redis;
    let quiet = &chat.groups[4..];
    let of = user(1);
    assert_eq!(redis_suite::chat::lines(&chat.lists, of, quiet), redis_suite::chat::lines(&*chat.truth, of, quiet));
    chat.lists.counts().from_redis - before
}

#[test]
fn a_cluster_of_three_holds_a_list_and_answers_it_in_two_round_trips() {
    let Some(nodes) = cluster() else { return };
    let options = RedisOptions {
        response_timeout: Duration::from_secs(2),
        ..RedisOptions::from_url(&format!(
            "redis://127.0.0.1:{},127.0.0.1:{},127.0.0.1:{}",
            nodes[0].port, nodes[1].port, nodes[2].port
        ))
        .unwrap()
    };
    let chat = Chat::new(100, |truth| open(truth, options, 1));
    chat.warm();
    let round_trips = chat.lists.counts().round_trips;
    assert_eq!(chat.check(), chat.all());
    assert_eq!(chat.lists.counts().round_trips - round_trips, 4);
    (0..100).for_each(|n| chat.send(n));
    settle(&chat.lists);
    assert_eq!(chat.check(), chat.all());
    for node in &nodes {
        let mut connection = redis::Client::open(node.url()).unwrap().get_connection().unwrap();
        let keys: usize = redis::cmd("DBSIZE").query(&mut connection).unwrap();
        assert!(keys > 20, "each node has its share");
        let _: () = redis::cmd("FLUSHALL").query(&mut connection).unwrap();
        chat.check();
    }
    chat.warm();
}

#[test]
fn one_node_of_a_cluster_is_enough_to_find_the_others() {
    let Some(nodes) = cluster() else { return };
    let chat = Chat::new(20, |truth| open(truth, RedisOptions::from_url(&nodes[1].url()).unwrap(), 1));
    chat.warm();
}

fn refused(options: RedisOptions) -> OpenError {
    let (store, _dir) = embedded();
    let opened = RUNTIME.block_on(Summarised::open(store, options, Epoch::Sole(1), RUNTIME.handle().clone()));
    opened.err().expect("it must be refused")
}

#[test]
fn what_is_wrong_with_the_named_redis_is_said_at_the_start() {
    let Some(server) = Server::start(&["--requirepass", "secret"]) else { return };
    let at = |url: &str| RedisOptions::from_url(url).unwrap();
    let plain = at(&server.url());
    assert!(matches!(refused(plain.clone()), OpenError::Refused(_)));
    let wrong = RedisOptions { password: Some("wrong".to_owned()), ..plain.clone() };
    assert!(matches!(refused(wrong), OpenError::Refused(_)));
    let nobody = RedisOptions { user: Some("nobody".to_owned()), password: Some("secret".to_owned()), ..plain.clone() };
    assert!(matches!(refused(nobody), OpenError::Refused(_)));
    let right = RedisOptions { password: Some("secret".to_owned()), ..plain };
    let chat = Chat::new(1, |truth| open(truth, right.clone(), 1));
    assert!(chat.lists.is_up());
    let far = RedisOptions { database: 99, ..right.clone() };
    assert!(matches!(refused(far), OpenError::Options(_)));
    let mut admin = redis::Client::open(server.url().replace("://", "://:secret@")).unwrap().get_connection().unwrap();
    let rights = ["on", ">other", "+@all", "~elsewhere:*"];
    let _: () = redis::cmd("ACL").arg("SETUSER").arg("guest").arg(&rights).query(&mut admin).unwrap();
    let guest = RedisOptions { user: Some("guest".to_owned()), password: Some("other".to_owned()), ..right.clone() };
    assert!(matches!(refused(guest), OpenError::Refused(_)));
    let several = RedisOptions { nodes: vec![right.nodes[0].clone(), right.nodes[0].clone()], ..right };
    assert!(matches!(refused(several), OpenError::NoCluster));
    assert!(matches!(refused(at("redis://no-such-host.invalid")), OpenError::Name(_)));
}

#[test]
fn what_is_no_redis_is_told_from_one_that_is_away() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let _ = connection.read(&mut [0; 100]);
            let _ = connection.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let error = refused(RedisOptions::from_url(&url).unwrap());
    assert!(matches!(error, OpenError::NotRedis(_)), "{error:?}");
}
