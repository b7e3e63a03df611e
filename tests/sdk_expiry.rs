//! Messages that disappear, and deliveries that end, as an application of the client SDK sees them on the real server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::large_futures, missing_docs)]

#[path = "support/server.rs"]
mod server;

use godwit_client::{
    CatchUp, Client, ClientConfig, Credentials, Event, Events, Expiry, SendError, SendOptions, Seq, Trust, Unread,
    v1::{Entry, ErrorCode, Message, entry::Content},
};
use server::TestServer;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

async fn soon<F: IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(SOON, future.into_future()).await.expect("took too long")
}

fn config(server: &TestServer, credentials: Credentials) -> ClientConfig {
    let trust = Trust::fingerprint_from_hex(&server.fingerprint()).unwrap();
    let config = ClientConfig::new(server.address().to_string(), trust, credentials);
    ClientConfig { catch_up: CatchUp::FromStart, ..config }
}

async fn register(server: &TestServer, username: &str) -> (Client, Events) {
    let credentials = Credentials::Register {
        username: username.into(),
        password: "correct horse battery".into(),
        display_name: String::new(),
        invitation: String::new(),
    };
    soon(Client::connect(config(server, credentials))).await.unwrap()
}

async fn log_in(server: &TestServer, username: &str) -> (Client, Events) {
    let credentials = Credentials::Login { username: username.into(), password: "correct horse battery".into() };
    soon(Client::connect(config(server, credentials))).await.unwrap()
}

/// Feeds what happens up to the entry with this seq, and returns that.
async fn entry(events: &mut Events, unread: &mut Unread, seq: u64) -> Entry {
    loop {
        match soon(events.next()).await.expect("the client ended") {
            Event::Summary(summary) => unread.on_summary(&summary),
            Event::Entry { entry, .. } => {
                unread.on_entry(&entry);
                if entry.seq == seq {
                    return entry;
                }
            }
            _ => {}
        }
    }
}

fn message(entry: &Entry) -> &Message {
    match &entry.content {
        Some(Content::Message(message)) => message,
        other => panic!("{other:?}"),
    }
}

fn expiring(after: Duration) -> SendOptions {
    SendOptions { expiry: Some(Expiry::AfterSent(after)), ..SendOptions::default() }
}

#[tokio::test]
async fn a_message_disappears_for_both_and_is_unread_no_more() {
    let server = TestServer::start();
    let (alice, mut alice_events) = register(&server, "alice").await;
    let (bob, mut bob_events) = register(&server, "bob").await;
    let (chat, _) = alice.open_direct("bob").await.unwrap();
    let (mut of_alice, mut of_bob) = (Unread::new(alice.user_id()), Unread::new(bob.user_id()));
    soon(alice.set_expiry(chat, Expiry::AfterSent(Duration::from_secs(3)))).await.unwrap();
    soon(alice.send(chat, "by default").await.unwrap()).await.unwrap();
    let for_long = expiring(Duration::from_secs(3600));
    soon(alice.send_with(chat, "for long", for_long).await.unwrap()).await.unwrap();
    let own = entry(&mut alice_events, &mut of_alice, 2).await;
    let pushed = entry(&mut bob_events, &mut of_bob, 2).await;
    assert_eq!(message(&own).expires_ms, own.sent_ms + 3000);
    assert_eq!(own, pushed, "what was built from the answer is what the server has");
    assert_eq!(entry(&mut alice_events, &mut of_alice, 3).await, entry(&mut bob_events, &mut of_bob, 3).await);
    assert_eq!(of_bob.count(), 2);
    for (events, unread) in [(&mut alice_events, &mut of_alice), (&mut bob_events, &mut of_bob)] {
        let note = entry(events, unread, 4).await;
        assert!(matches!(&note.content, Some(Content::Expired(expired)) if expired.seqs == [2]), "{note:?}");
    }
    assert_eq!((of_bob.count(), of_alice.count()), (1, 0));
    // It is late by what its reading took on the way.
    assert!(bob.server_time_ms().unwrap() > own.sent_ms + 2000);

    // A device that comes later is told the same.
    let (_again, mut events) = log_in(&server, "bob").await;
    let mut late = Unread::new(bob.user_id());
    let marker = entry(&mut events, &mut late, 2).await;
    assert!(matches!(marker.content, Some(Content::Withdrawn(_))), "{marker:?}");
    assert_eq!(late.count(), 1, "by the summary");
    entry(&mut events, &mut late, 4).await;
    assert_eq!(late.count(), 1);
    let list = soon(bob.conversations(0, None)).await.unwrap();
    let last = list.conversations[0].last_entry.as_ref().unwrap();
    assert_eq!((message(last).body.as_ref(), list.unread_total), (&b"for long"[..], 1));
}

#[tokio::test]
async fn the_sender_learns_who_was_away_when_a_delivery_ended() {
    let server = TestServer::start();
    let (alice, mut alice_events) = register(&server, "alice").await;
    let (bob, mut bob_events) = register(&server, "bob").await;
    let (carol, _carol_events) = register(&server, "carol").await;
    let group = soon(alice.create_group("trip", &[bob.user_id(), carol.user_id()])).await.unwrap();
    let (mut of_alice, mut of_bob) = (Unread::new(alice.user_id()), Unread::new(bob.user_id()));
    entry(&mut bob_events, &mut of_bob, 1).await;
    soon(carol.shutdown()).await;
    let deliver_by_ms = alice.server_time_ms().unwrap() + 3000;
    let in_time = SendOptions { deliver_by_ms: Some(deliver_by_ms), ..SendOptions::default() };
    soon(alice.send_with(group, "leaving now", in_time).await.unwrap()).await.unwrap();
    assert_eq!(message(&entry(&mut bob_events, &mut of_bob, 2).await).deliver_by_ms, deliver_by_ms);
    for (events, unread) in [(&mut alice_events, &mut of_alice), (&mut bob_events, &mut of_bob)] {
        let note = entry(events, unread, 3).await;
        let Some(Content::Undelivered(missed)) = note.content else { panic!("{note:?}") };
        assert_eq!((missed.seq, missed.member_ids), (2, vec![carol.user_id().as_u64()]));
    }
    assert_eq!(of_bob.count(), 1, "bob has it");
    let (carol, mut carol_events) = log_in(&server, "carol").await;
    let mut of_carol = Unread::new(carol.user_id());
    let marker = entry(&mut carol_events, &mut of_carol, 2).await;
    assert!(matches!(marker.content, Some(Content::Withdrawn(_))), "{marker:?}");
    entry(&mut carol_events, &mut of_carol, 3).await;
    assert_eq!(of_carol.count(), 0);

    let too_late = SendOptions { deliver_by_ms: Some(deliver_by_ms), ..SendOptions::default() };
    let refused = soon(alice.send_with(group, "leaving now", too_late).await.unwrap()).await.unwrap_err();
    assert!(matches!(&refused, SendError::Refused(why) if why.code == ErrorCode::DeadlinePassed), "{refused}");
}

#[tokio::test]
async fn counted_from_reading_a_message_disappears_after_the_other_one_has_read_it() {
    let server = TestServer::start();
    let (alice, mut alice_events) = register(&server, "alice").await;
    let (bob, mut bob_events) = register(&server, "bob").await;
    let (chat, _) = alice.open_direct("bob").await.unwrap();
    let (mut of_alice, mut of_bob) = (Unread::new(alice.user_id()), Unread::new(bob.user_id()));
    let expiry = Some(Expiry::AfterRead(Duration::from_secs(1)));
    let options = SendOptions { expiry, ..SendOptions::default() };
    soon(alice.send_with(chat, "for your eyes", options).await.unwrap()).await.unwrap();
    let own = entry(&mut alice_events, &mut of_alice, 1).await;
    assert_eq!((message(&own).expires_ms, message(&own).expires_after_read_ms), (0, 1000));
    assert_eq!(entry(&mut bob_events, &mut of_bob, 1).await, own);
    soon(bob.mark_read(chat, Seq(1))).await.unwrap();
    let note = entry(&mut alice_events, &mut of_alice, 2).await;
    assert!(matches!(&note.content, Some(Content::Expired(expired)) if expired.seqs == [1]), "{note:?}");
}
