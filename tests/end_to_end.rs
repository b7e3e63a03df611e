//! People who chat through the real client over real QUIC.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../client/examples/hello.rs"]
mod example;
#[path = "support/server.rs"]
mod server;

use godwit_client::{
    CatchUp, Client, ClientConfig, ConnectionState, ConversationId, Credentials, DeviceId, Event, Events, Logout,
    SendError, Seq, Trust,
    v1::{Direction, Entry, ErrorCode, entry::Content},
};
use server::TestServer;
use std::time::Duration;

/// Long enough for a busy machine; nothing is measured against it.
const PATIENCE: Duration = Duration::from_secs(30);

fn config(server: &TestServer, credentials: Credentials) -> ClientConfig {
    let trust = Trust::fingerprint_from_hex(&server.fingerprint()).unwrap();
    let mut config = ClientConfig::new(server.address().to_string(), trust, credentials);
    config.catch_up = CatchUp::FromStart;
    config.keep_alive = Some(Duration::from_millis(500));
    config
}

async fn register(server: &TestServer, name: &str) -> (Client, Events) {
    let credentials = Credentials::Register {
        username: name.into(),
        password: format!("password of {name}"),
        display_name: String::new(),
        invitation: String::new(),
    };
    Client::connect(config(server, credentials)).await.unwrap()
}

/// Another device of a user who exists.
async fn log_in(server: &TestServer, name: &str) -> (Client, Events) {
    let credentials = Credentials::Login { username: name.into(), password: format!("password of {name}") };
    let mut config = config(server, credentials);
    config.device_id = DeviceId([42; 16]);
    Client::connect(config).await.unwrap()
}

async fn next(events: &mut Events) -> Event {
    tokio::time::timeout(PATIENCE, events.next()).await.expect("nothing happens").expect("the client ended")
}

async fn next_entry(events: &mut Events) -> (ConversationId, Entry) {
    loop {
        if let Event::Entry { conversation, entry, .. } = next(events).await {
            return (conversation, entry);
        }
    }
}

fn text(entry: &Entry) -> &str {
    match &entry.content {
        Some(Content::Message(message)) => std::str::from_utf8(&message.body).unwrap(),
        other => panic!("no message: {other:?}"),
    }
}

async fn send(client: &Client, conversation: ConversationId, body: &str) -> Seq {
    let sending = client.send(conversation, body.to_owned()).await.unwrap();
    tokio::time::timeout(PATIENCE, sending).await.expect("no ack").unwrap().seq
}

async fn unread(client: &Client, conversation: ConversationId) -> u64 {
    let list = client.conversations(50, None).await.unwrap();
    let line = list.conversations.iter().find(|line| line.conversation_id[..] == conversation.as_bytes()[..]);
    line.map_or(0, |line| line.unread)
}

#[tokio::test]
async fn what_one_writes_the_other_reads_in_order() {
    let server = TestServer::start();
    let (alice, mut alice_events) = register(&server, "alice").await;
    let (bob, mut bob_events) = register(&server, "bob").await;
    let (chat, _) = alice.open_direct("BOB").await.unwrap();
    assert_eq!(bob.open_direct("Alice").await.unwrap().0, chat);
    for turn in 0..50 {
        let (speaker, line) = if turn % 3 == 0 { (&bob, "你好") } else { (&alice, "hello 👋🏽") };
        assert_eq!(send(speaker, chat, &format!("{turn} {line}")).await, Seq(turn + 1));
    }
    for events in [&mut alice_events, &mut bob_events] {
        for turn in 0..50 {
            let (conversation, entry) = next_entry(events).await;
            assert_eq!((conversation, entry.seq), (chat, turn + 1));
            assert!(text(&entry).starts_with(&format!("{turn} ")));
        }
    }
}

#[tokio::test]
async fn unread_counts_what_others_wrote_and_every_device_agrees() {
    let server = TestServer::start();
    let (alice, _alice_events) = register(&server, "alice").await;
    let (bob, _bob_events) = register(&server, "bob").await;
    let (bobs_phone, mut phone_events) = log_in(&server, "bob").await;
    let (chat, _) = alice.open_direct("bob").await.unwrap();
    for line in ["one", "two", "three"] {
        send(&alice, chat, line).await;
    }
    assert_eq!((unread(&alice, chat).await, unread(&bob, chat).await), (0, 3));
    let read = bob.mark_read(chat, Seq(2)).await.unwrap();
    assert_eq!((read.read_seq, read.unread), (2, 1));
    assert_eq!(unread(&bobs_phone, chat).await, 1);
    loop {
        if let Event::Read { conversation, read_seq, read_ordinal } = next(&mut phone_events).await {
            assert_eq!((conversation, read_seq, read_ordinal), (chat, Seq(2), 2));
            break;
        }
    }
    // It never moves back, and one's own message is never unread, on any device.
    assert_eq!(bob.mark_read(chat, Seq(1)).await.unwrap().read_seq, 2);
    send(&bob, chat, "four").await;
    assert_eq!((unread(&bob, chat).await, unread(&bobs_phone, chat).await, unread(&alice, chat).await), (0, 0, 1));
    let beyond = bob.mark_read(chat, Seq(9)).await.unwrap_err();
    assert_eq!(beyond.code(), Some(ErrorCode::SeqOutOfRange));
}

#[tokio::test]
async fn a_second_device_sees_what_the_first_one_sends() {
    let server = TestServer::start();
    let (first, _) = register(&server, "alice").await;
    let (_second, mut events) = log_in(&server, "alice").await;
    let (notes, _) = first.open_direct("alice").await.unwrap();
    send(&first, notes, "remember the milk").await;
    let (conversation, entry) = next_entry(&mut events).await;
    assert_eq!((conversation, text(&entry)), (notes, "remember the milk"));
    assert_eq!(unread(&first, notes).await, 0);
}

#[tokio::test]
async fn a_group_takes_members_in_and_lets_them_go() {
    let server = TestServer::start();
    let (owner, _owner_events) = register(&server, "owner").await;
    let (anna, mut anna_events) = register(&server, "anna").await;
    let (bela, mut bela_events) = register(&server, "bela").await;
    let group = owner.create_group("Birds", &[anna.user_id()]).await.unwrap();
    send(&owner, group, "before bela").await;
    let refused = anna.add_members(group, &[bela.user_id()]).await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::Forbidden));
    owner.add_members(group, &[bela.user_id()]).await.unwrap();
    send(&anna, group, "welcome").await;

    // Bela reads from the moment of joining on.
    let (conversation, joined) = next_entry(&mut bela_events).await;
    assert_eq!((conversation, joined.seq), (group, 3));
    assert!(matches!(joined.content, Some(Content::MembersAdded(_))));
    assert_eq!(text(&next_entry(&mut bela_events).await.1), "welcome");
    assert_eq!(unread(&bela, group).await, 1);
    let page = bela.history(group, Seq(1), Direction::Forward, 50).await.unwrap();
    assert_eq!((page.first_seq, page.entries.len()), (3, 2));

    // The removed one is told, and hears nothing after that.
    owner.remove_member(group, bela.user_id()).await.unwrap();
    let (_, removal) = next_entry(&mut bela_events).await;
    assert!(
        matches!(removal.content, Some(Content::MemberRemoved(ref removed)) if removed.member_id == bela.user_id().as_u64())
    );
    match bela.send(group, "still here?").await.unwrap().await {
        Err(SendError::Refused(refusal)) => assert_eq!(refusal.code, ErrorCode::NotAMember),
        other => panic!("not refused: {other:?}"),
    }
    let refused = bela.history(group, Seq(1), Direction::Forward, 50).await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::NotAMember));

    // The owner leaves, and the group is Anna's.
    owner.leave(group).await.unwrap();
    send(&anna, group, "mine now").await;
    anna.add_members(group, &[bela.user_id()]).await.unwrap();
    let members = anna.list_members(group).await.unwrap();
    let mut ids: Vec<u64> = members.iter().map(|member| member.user_id).collect();
    let mut expected = vec![anna.user_id().as_u64(), bela.user_id().as_u64()];
    ids.sort_unstable();
    expected.sort_unstable();
    assert_eq!(ids, expected);

    let mut seen = Vec::new();
    while seen.len() < 7 {
        let (_, entry) = next_entry(&mut anna_events).await;
        seen.push(entry.seq);
    }
    assert_eq!(seen, (1..=7).collect::<Vec<u64>>());
}

#[tokio::test]
async fn history_pages_meet_without_gap_or_overlap() {
    let server = TestServer::start_with(|config| config.limits.history_entries_max = 7);
    let (alice, _events) = register(&server, "alice").await;
    let (notes, _) = alice.open_direct("alice").await.unwrap();
    let mut last = None;
    for number in 1..=40 {
        last = Some(alice.send(notes, format!("note {number}")).await.unwrap());
    }
    last.unwrap().await.unwrap();
    let (mut forward, mut backward) = (Vec::new(), Vec::new());
    let mut from = Seq(1);
    loop {
        let page = alice.history(notes, from, Direction::Forward, 7).await.unwrap();
        forward.extend(page.entries.iter().map(|entry| entry.seq));
        if !page.more {
            break;
        }
        from = Seq(page.entries.last().unwrap().seq + 1);
    }
    let mut from = Seq(0);
    loop {
        let page = alice.history(notes, from, Direction::Backward, 7).await.unwrap();
        backward.splice(0..0, page.entries.iter().map(|entry| entry.seq));
        if !page.more {
            break;
        }
        from = Seq(page.entries[0].seq - 1);
    }
    assert_eq!(forward, (1..=40).collect::<Vec<u64>>());
    assert_eq!(backward, forward);
}

#[tokio::test]
async fn a_client_that_changes_its_port_keeps_its_connection_in_mid_conversation() {
    let server = TestServer::start_with(|config| config.cores = 4);
    let (alice, mut alice_events) = register(&server, "alice").await;
    let (bob, mut bob_events) = register(&server, "bob").await;
    let (chat, _) = alice.open_direct("bob").await.unwrap();
    for round in 0..5 {
        send(&alice, chat, "from the old port").await;
        alice.rebind().unwrap();
        send(&alice, chat, "from the new port").await;
        send(&bob, chat, "I hear you").await;
        for events in [&mut alice_events, &mut bob_events] {
            for step in 1..=3 {
                loop {
                    match next(events).await {
                        Event::Entry { entry, .. } => {
                            assert_eq!(entry.seq, round * 3 + step);
                            break;
                        }
                        Event::State(
                            state @ (ConnectionState::Reconnecting { .. } | ConnectionState::Closed { .. }),
                        ) => {
                            panic!("the connection was lost: {state:?}");
                        }
                        _ => {}
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_restart_loses_nothing_and_the_clients_find_their_way_back() {
    let mut server = TestServer::start();
    let (alice, _alice_events) = register(&server, "alice").await;
    let (_bob, mut bob_events) = register(&server, "bob").await;
    let (chat, _) = alice.open_direct("bob").await.unwrap();
    for round in 0..3 {
        send(&alice, chat, &format!("{round} before")).await;
        server.restart();
        send(&alice, chat, &format!("{round} after")).await;
    }
    for seq in 1..=6 {
        assert_eq!(next_entry(&mut bob_events).await.1.seq, seq);
    }
}

#[tokio::test]
async fn a_scheduled_message_is_sent_once_with_its_author_away_and_the_server_restarted() {
    let mut server = TestServer::start();
    let (alice, _alice_events) = register(&server, "alice").await;
    let (_bob, mut bob_events) = register(&server, "bob").await;
    let (chat, _) = alice.open_direct("bob").await.unwrap();
    let soon_ms = alice.heartbeat().await.unwrap().server_time_ms + 1_500;
    for line in ["one", "two"] {
        alice.schedule(chat, line, soon_ms).await.unwrap();
    }
    alice.logout(Logout::ThisDevice).await.unwrap();
    server.restart();
    let mut seen = Vec::new();
    for seq in 1..=2 {
        let (_, entry) = next_entry(&mut bob_events).await;
        assert!(entry.seq == seq && entry.sent_ms >= soon_ms, "{entry:?} was due at {soon_ms}");
        assert!(matches!(&entry.content, Some(Content::Message(message)) if message.scheduled));
        seen.push(text(&entry).to_owned());
    }
    seen.sort_unstable();
    assert_eq!(seen, ["one", "two"]);

    let (alice, _alice_events) = log_in(&server, "alice").await;
    assert_eq!(alice.history(chat, Seq(1), Direction::Forward, 10).await.unwrap().entries.len(), 2);
    assert_eq!(unread(&alice, chat).await, 0);
}

#[tokio::test]
async fn the_same_device_has_one_session_and_a_logout_everywhere_ends_all() {
    let server = TestServer::start();
    let (_alice, mut alice_events) = register(&server, "alice").await;
    let (_phone, mut phone_events) = log_in(&server, "alice").await;
    let (again, mut again_events) = log_in(&server, "alice").await;
    let closed = |event: &Event| match event {
        Event::State(ConnectionState::Closed { code, .. }) => Some(*code),
        _ => None,
    };
    loop {
        let event = next(&mut phone_events).await;
        if let Some(code) = closed(&event) {
            assert_eq!(code, Some(ErrorCode::SessionEnded));
            break;
        }
    }
    // Of the two devices that are left, one logs both out.
    again.logout(Logout::AllDevices).await.unwrap();
    for events in [&mut alice_events, &mut again_events] {
        while closed(&next(events).await).is_none() {}
    }
}

#[tokio::test]
async fn the_example_in_the_documentation_of_the_client_runs() {
    let server = TestServer::start();
    let address = server.address().to_string();
    example::hello(&address, &server.fingerprint()).await.unwrap();
    // It is used as a program too.
    let _: fn() -> _ = example::main;
}
