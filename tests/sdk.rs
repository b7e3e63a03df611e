//! The client SDK against the real server: what an application sees when people chat, lose their connection and come back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::large_futures, missing_docs)]

#[path = "support/server.rs"]
mod server;

use godwit_client::{
    Backoff, CatchUp, Client, ClientConfig, ConversationId, Credentials, Event, Events, Seq, Trust, UserId, v1,
    v1::entry::Content,
};
use server::TestServer;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

async fn soon<F: IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(SOON, future.into_future()).await.expect("took too long")
}

fn config(server: &TestServer, username: &str) -> ClientConfig {
    let credentials = Credentials::Register {
        username: username.into(),
        password: "correct horse battery".into(),
        display_name: String::new(),
        invitation: String::new(),
    };
    ClientConfig {
        backoff: Backoff { base: Duration::from_millis(20), max: Duration::from_millis(200) },
        catch_up: CatchUp::FromStart,
        ..ClientConfig::new(
            server.address().to_string(),
            Trust::fingerprint_from_hex(&server.fingerprint()).unwrap(),
            credentials,
        )
    }
}

async fn join(server: &TestServer, username: &str) -> (Client, Events) {
    soon(Client::connect(config(server, username))).await.unwrap()
}

/// The next entries of a conversation: seq and text, or nothing for other content.
async fn next_texts(events: &mut Events, of: ConversationId, count: usize) -> Vec<(u64, String)> {
    let mut texts = Vec::new();
    while texts.len() < count {
        if let Event::Entry { conversation, entry, .. } = soon(events.next()).await.expect("the client ended")
            && conversation == of
        {
            let text = match entry.content {
                Some(Content::Message(message)) => String::from_utf8(message.body.to_vec()).unwrap(),
                _ => String::new(),
            };
            texts.push((entry.seq, text));
        }
    }
    texts
}

#[tokio::test]
async fn two_people_chat_and_both_see_the_same_log() {
    let server = TestServer::start();
    let (alice, mut alice_events) = join(&server, "alice").await;
    let (bob, mut bob_events) = join(&server, "bob").await;
    let (chat, profile) = alice.open_direct("BOB").await.unwrap();
    assert_eq!(profile.username, "bob");
    let mut expected = Vec::new();
    for turn in 0..20u64 {
        let (who, text) = if turn % 3 == 0 { (&bob, format!("b{turn}")) } else { (&alice, format!("a{turn}")) };
        let sent = soon(soon(who.send(chat, text.clone())).await.unwrap()).await.unwrap();
        assert_eq!(sent.seq, Seq(turn + 1));
        expected.push((turn + 1, text));
    }
    assert_eq!(next_texts(&mut alice_events, chat, 20).await, expected);
    assert_eq!(next_texts(&mut bob_events, chat, 20).await, expected);

    let list = soon(bob.conversations(0, None)).await.unwrap();
    assert_eq!((list.conversations.len(), list.unread_total), (1, 1), "bob wrote last but one");
    let read = soon(bob.mark_read(chat, Seq(20))).await.unwrap();
    assert_eq!((read.read_seq, read.unread), (20, 0));
    assert!(soon(alice.heartbeat()).await.unwrap().server_time_ms > 0);
}

#[tokio::test]
async fn typing_is_told_in_datagrams_and_ends_with_the_message() {
    let server = TestServer::start();
    let (alice, mut alice_events) = join(&server, "alice").await;
    let (bob, mut bob_events) = join(&server, "bob").await;
    let (chat, _) = alice.open_direct("bob").await.unwrap();
    soon(soon(alice.send(chat, "hello")).await.unwrap()).await.unwrap();
    next_texts(&mut bob_events, chat, 1).await;
    bob.typing(chat);
    // A second one is too soon, and does nothing.
    bob.typing(chat);
    assert!(next_typing(&mut alice_events, chat, bob.user_id()).await);
    soon(soon(bob.send(chat, "hi")).await.unwrap()).await.unwrap();
    assert!(!next_typing(&mut alice_events, chat, bob.user_id()).await);
}

/// The next that is heard of somebody's typing.
async fn next_typing(events: &mut Events, of: ConversationId, who: UserId) -> bool {
    loop {
        if let Event::Typing { conversation, user, is_typing } = soon(events.next()).await.expect("the client ended") {
            assert_eq!((conversation, user), (of, who));
            return is_typing;
        }
    }
}

#[tokio::test]
async fn a_pipeline_of_messages_keeps_its_order() {
    let server = TestServer::start();
    let (alice, _alice_events) = join(&server, "alice").await;
    let (_bob, mut bob_events) = join(&server, "bob").await;
    let (chat, _) = alice.open_direct("bob").await.unwrap();
    let expected: Vec<_> = (1..=1000u64).map(|seq| (seq, format!("message {seq}"))).collect();
    let sender = tokio::spawn({
        let expected = expected.clone();
        async move {
            let mut sendings = Vec::new();
            for (_, text) in &expected {
                sendings.push(alice.send(chat, text.clone()).await.unwrap());
            }
            for (sending, (seq, _)) in sendings.into_iter().zip(&expected) {
                assert_eq!(sending.await.unwrap().seq, Seq(*seq));
            }
            alice
        }
    });
    assert_eq!(next_texts(&mut bob_events, chat, 1000).await, expected);
    soon(sender).await.unwrap();
}

#[tokio::test]
async fn a_group_reaches_everybody_and_ends_for_who_leaves() {
    let server = TestServer::start();
    let (alice, mut alice_events) = join(&server, "alice").await;
    let (bob, mut bob_events) = join(&server, "bob").await;
    let (carol, mut carol_events) = join(&server, "carol").await;
    let group = soon(alice.create_group("birds", &[bob.user_id()])).await.unwrap();
    soon(soon(alice.send(group, "one")).await.unwrap()).await.unwrap();
    soon(alice.add_members(group, &[carol.user_id()])).await.unwrap();
    soon(soon(carol.send(group, "two")).await.unwrap()).await.unwrap();
    let members = soon(bob.list_members(group)).await.unwrap();
    assert_eq!(members.len(), 3);

    let all = [(1, ""), (2, "one"), (3, ""), (4, "two")].map(|(seq, text)| (seq, text.to_owned()));
    assert_eq!(next_texts(&mut alice_events, group, 4).await, all);
    assert_eq!(next_texts(&mut bob_events, group, 4).await, all);
    let first = next_texts(&mut carol_events, group, 1).await[0].0;
    let rest = next_texts(&mut carol_events, group, 4 - first as usize).await;
    assert_eq!(rest.last().unwrap(), &(4, "two".to_owned()));

    soon(bob.leave(group)).await.unwrap();
    while soon(bob_events.next()).await.unwrap() != (Event::Removed { conversation: group }) {}
    assert!(soon(soon(bob.send(group, "late")).await.unwrap()).await.is_err());
    assert_eq!(next_texts(&mut alice_events, group, 1).await[0].0, 5);
    soon(alice.remove_member(group, carol.user_id())).await.unwrap();
    while soon(carol_events.next()).await.unwrap() != (Event::Removed { conversation: group }) {}
}

#[tokio::test]
async fn a_second_device_catches_up_and_then_hears_everything() {
    let server = TestServer::start();
    let (alice, _alice_events) = join(&server, "alice").await;
    let (notes, _) = alice.open_direct("alice").await.unwrap();
    let expected: Vec<_> = (1..=450u64).map(|seq| (seq, format!("note {seq}"))).collect();
    for (_, text) in &expected {
        soon(alice.send(notes, text.clone())).await.unwrap();
    }
    let last = soon(soon(alice.send(notes, "note 451")).await.unwrap()).await.unwrap();
    assert_eq!(last.seq, Seq(451));

    let credentials = Credentials::Login { username: "Alice".into(), password: "correct horse battery".into() };
    let (second, mut events) =
        soon(Client::connect(ClientConfig { credentials, ..config(&server, "alice") })).await.unwrap();
    assert_eq!(next_texts(&mut events, notes, 450).await, expected);
    assert_eq!(next_texts(&mut events, notes, 1).await, [(451, "note 451".to_owned())]);
    while soon(events.next()).await.unwrap() != Event::Synced {}
    soon(soon(alice.send(notes, "note 452")).await.unwrap()).await.unwrap();
    assert_eq!(next_texts(&mut events, notes, 1).await, [(452, "note 452".to_owned())]);

    let page = soon(second.history(notes, Seq(0), v1::Direction::Backward, 2)).await.unwrap();
    assert_eq!(page.entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [451, 452]);
}

#[tokio::test]
async fn a_token_logs_in_again_and_logging_out_ends_it() {
    let server = TestServer::start();
    let first = config(&server, "alice");
    let (alice, _events) = soon(Client::connect(first.clone())).await.unwrap();
    let token = alice.token();
    soon(alice.shutdown()).await;
    let resumed = ClientConfig { credentials: Credentials::Token { token }, ..first };
    let (alice, mut events) = soon(Client::connect(resumed.clone())).await.unwrap();
    assert_eq!(alice.username(), "alice");
    soon(alice.logout(godwit_client::Logout::ThisDevice)).await.unwrap();
    while soon(events.next()).await.is_some() {}
    let error = soon(Client::connect(resumed)).await.unwrap_err();
    assert_eq!(error.code(), Some(v1::ErrorCode::InvalidToken), "{error}");
}

#[tokio::test]
async fn a_restart_of_the_server_loses_nothing_doubles_nothing_and_reorders_nothing() {
    let mut server = TestServer::start();
    let (alice, mut alice_events) = join(&server, "alice").await;
    let (_bob, mut bob_events) = join(&server, "bob").await;
    let (chat, _) = alice.open_direct("bob").await.unwrap();
    const COUNT: u64 = 2_000;
    let sender = tokio::spawn({
        let alice = alice.clone();
        async move {
            let mut sendings = Vec::new();
            for index in 1..=COUNT {
                sendings.push(alice.send(chat, format!("message {index}")).await.unwrap());
            }
            for sending in sendings {
                sending.await.unwrap();
            }
        }
    });
    let restarts = tokio::task::spawn_blocking(move || {
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(150));
            server.restart();
        }
        server
    });
    let expected: Vec<_> = (1..=COUNT).map(|seq| (seq, format!("message {seq}"))).collect();
    let (of_alice, of_bob) = tokio::join!(
        next_texts(&mut alice_events, chat, COUNT as usize),
        next_texts(&mut bob_events, chat, COUNT as usize)
    );
    assert!(of_alice == expected && of_bob == expected);
    soon(sender).await.unwrap();
    let server = soon(restarts).await.unwrap();
    drop(server);
}
