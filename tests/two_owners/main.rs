//! Two servers that both believe to own a keyspace: one stands still for longer than its lease while people write to it, another
//! one takes over, and the first goes on. What anybody was told stays true.
//!
//! `GODWIT_TWO_OWNER_SEEDS` says how many times, each with other moments and lengths.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod person;
#[path = "../support/process.rs"]
mod process;
#[path = "../support/raw_client.rs"]
mod raw_client;
mod seen;
#[path = "../support/cql.rs"]
mod support;

use bytes::Bytes;
use godwit_proto::{
    ConversationId, UserId,
    v1::{CreateGroupRequest, client_frame::Body as Request, server_frame::Body},
};
use person::Person;
use process::Process;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use raw_client::RawClient;
use rustix::process::Signal;
use seen::Seen;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use support::Keyspace;
use tokio::time::sleep;

/// Short, for every round waits for it, and yet longer than a database on a busy machine takes to answer.
const LEASE_MS: u64 = 2_000;

/// Rounds of an ordinary run.
const SEEDS: u64 = 2;

#[test]
fn an_owner_that_stood_still_and_goes_on_changes_nothing_of_what_its_successor_says() {
    let Some(keyspace) = Keyspace::new() else { return };
    let seeds = std::env::var("GODWIT_TWO_OWNER_SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap());
    let keys = [
        format!("store=scylla://{}/{}", support::nodes().unwrap().join(","), keyspace.name),
        format!("scylla.lease_ms={LEASE_MS}"),
    ];
    support::run(async {
        let mut first = Process::start(&keys);
        let mut address = first.serves();
        for seed in 0..seeds {
            println!("seed {seed}");
            (first, address) = round(seed, &keys, first, address).await;
        }
        first.stop();
    });
}

/// From one server to the one after its successor.
async fn round(seed: u64, keys: &[String], mut first: Process, address: SocketAddr) -> (Process, SocketAddr) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut some_ms = |ms: std::ops::Range<u64>| Duration::from_millis(random.random_range(ms));
    let second = Process::start(keys);
    second.waits();
    let seen = Arc::new(Seen::default());
    let (people, chats) = meet(seed, address, &seen).await;
    let talks: Vec<_> =
        people.iter().map(|person| tokio::spawn(person.clone().talk_to("the first", address, 1))).collect();
    seen.an_ack_by("the first").await;
    sleep(some_ms(0..1_300)).await;

    first.signal(Signal::STOP);
    let next_address = second.serves();
    let more = people.iter().map(|person| tokio::spawn(person.clone().talk_to("the second", next_address, 2)));
    let more: Vec<_> = more.collect();
    sleep(some_ms(0..1_000)).await;
    first.signal(Signal::CONT);
    let status = first.ended();
    let errors = first.errors();
    assert_eq!(status.code(), Some(1), "{errors}");
    assert!(errors.contains("lease"), "it says why it ended: {errors}");
    seen.an_ack_by("the second").await;
    sleep(some_ms(200..500)).await;
    people.iter().for_each(|person| person.says_no_more());
    for talk in talks.into_iter().chain(more) {
        talk.await.unwrap();
    }
    assert!(people.iter().all(|person| person.is_done()), "something was never acknowledged");

    let third = Process::start(keys);
    third.waits();
    let mut logs = Vec::new();
    for &chat in &chats {
        logs.push(people[0].reads("the second", next_address, chat).await);
    }
    second.stop();
    let last_address = third.serves();
    for (&chat, log) in chats.iter().zip(&logs) {
        // From the database, with nothing in memory.
        assert_eq!(&people[0].reads("the third", last_address, chat).await, log, "{chat:?}");
        seen.check(chat, log);
    }
    let (by_first, by_second) = (seen.acked_by("the first"), seen.acked_by("the second"));
    println!("  {by_first} messages acknowledged by the first, {by_second} by the second");
    (third, last_address)
}

/// Makes accounts, and the chats that the first of them is in.
async fn meet(seed: u64, address: SocketAddr, seen: &Arc<Seen>) -> (Vec<Arc<Person>>, Vec<ConversationId>) {
    let mut people = Vec::new();
    for name in ["ada", "bob", "cem"] {
        people.push(Person::register(address, format!("{name}{seed}"), seen.clone()).await);
    }
    let ids: Vec<UserId> = people.iter().map(|person| UserId::new(person.id()).unwrap()).collect();
    let direct = [ConversationId::direct(ids[0], ids[1]), ConversationId::direct(ids[0], ids[2])];
    let (mut client, owner) = RawClient::new_user(address, &format!("dan{seed}")).await;
    let create = CreateGroupRequest {
        client_msg_id: Bytes::copy_from_slice(&[7; 16]),
        title: "all".into(),
        member_ids: ids.iter().map(|id| id.as_u64()).collect(),
    };
    let group = match client.request(Request::CreateGroup(create)).await {
        Body::CreateGroup(created) => ConversationId::from_slice(&created.conversation_id).unwrap(),
        other => panic!("{} makes no group: {other:?}", owner.username),
    };
    people[0].writes_in(vec![group, direct[0], direct[1]]);
    people[1].writes_in(vec![group, direct[0]]);
    people[2].writes_in(vec![group, direct[1]]);
    (people.into_iter().map(Arc::new).collect(), vec![group, direct[0], direct[1]])
}
