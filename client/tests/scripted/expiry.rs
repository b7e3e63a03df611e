//! Messages disappear, and their deliveries end.

use crate::server::{ME, Peer, Server, conversation, entries, entry, limits, soon};
use godwit_client::{
    Event, Events, Expiry, SendError, SendOptions, Seq,
    v1::{self, Entry, ErrorCode, ExpiryStart, Message, client_frame, entry::Content, server_frame::Body},
};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The next entry, past other events.
async fn next_entry(events: &mut Events) -> Entry {
    loop {
        if let Event::Entry { entry, .. } = soon(events.next()).await.expect("the client ended") {
            return entry;
        }
    }
}

async fn next_message(events: &mut Events) -> Message {
    match next_entry(events).await.content {
        Some(Content::Message(message)) => message,
        other => panic!("{other:?}"),
    }
}

fn with(seq: u64, content: Content) -> Entry {
    Entry { content: Some(content), ..entry(seq) }
}

fn expiring(seq: u64, expires_ms: u64) -> Entry {
    with(seq, Content::Message(Message { body: "secret".into(), expires_ms, ..Message::default() }))
}

fn default_of(after_ms: u64) -> Option<v1::Expiry> {
    Some(v1::Expiry { after_ms, start: ExpiryStart::Sent.into() })
}

fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// Answers the heartbeat that the client is made to send with this time.
async fn tell_time(client: &godwit_client::Client, peer: &mut Peer, server_time_ms: u64) {
    let asking = tokio::spawn({
        let client = client.clone();
        async move { client.heartbeat().await }
    });
    loop {
        let frame = peer.session.next().await;
        if let Some(client_frame::Body::Heartbeat(asked)) = frame.body {
            let client_time_ms = asked.client_time_ms;
            let reply = v1::HeartbeatResponse { client_time_ms, server_time_ms };
            peer.session.reply(frame.request_id, Body::Heartbeat(reply)).await;
            break;
        }
    }
    soon(asking).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_message_says_when_it_expires_and_its_entry_says_so_too() {
    let server = Server::start();
    let (client, mut events, mut peer) = server.connect(server.config()).await;
    let sends: [(Option<Expiry>, Option<u64>); 4] = [
        (Some(Expiry::AfterSent(Duration::from_secs(60))), None),
        (Some(Expiry::AfterRead(Duration::from_secs(60))), Some(5_000)),
        (Some(Expiry::Never), None),
        (None, None),
    ];
    for (expiry, deliver_by_ms) in sends {
        let options = SendOptions { expiry, deliver_by_ms, ..SendOptions::default() };
        client.send_with(conversation(), "x", options).await.unwrap();
    }
    let mut asked = Vec::new();
    for seq in 1..=4 {
        let (id, send) = peer.next_send().await;
        asked.push((send.expiry.map(Expiry::from), send.deliver_by_ms));
        peer.accept_send(id, seq).await;
    }
    assert_eq!(asked, sends.map(|(expiry, deliver_by_ms)| (expiry, deliver_by_ms.unwrap_or(0))));
    let mut told = Vec::new();
    while told.len() < 4 {
        let message = next_message(&mut events).await;
        told.push((message.expires_ms, message.expires_after_read_ms, message.deliver_by_ms));
    }
    assert_eq!(told, [(61_001, 0, 0), (0, 60_000, 5_000), (0, 0, 0), (0, 0, 0)]);
}

#[tokio::test]
async fn a_message_that_comes_too_late_for_its_delivery_fails_for_good() {
    let server = Server::start();
    let (client, _events, mut peer) = server.connect(server.config()).await;
    let options = SendOptions { deliver_by_ms: Some(1), ..SendOptions::default() };
    let sending = client.send_with(conversation(), "x", options).await.unwrap();
    let (id, _) = peer.next_send().await;
    peer.refuse(id, ErrorCode::DeadlinePassed, 0).await;
    let error = soon(sending).await.unwrap_err();
    assert!(matches!(&error, SendError::Refused(refusal) if refusal.code == ErrorCode::DeadlinePassed), "{error}");
}

#[tokio::test]
async fn an_expiry_that_the_server_does_not_know_or_take_is_refused_here() {
    let server = Server::start();
    let (client, peer) = tokio::join!(soon(godwit_client::Client::connect(server.config())), async {
        let mut peer = server.accept().await;
        peer.greet_with(v1::Limits { expiry_after_ms_max: 0, ..limits() }).await;
        let login = peer.session.next().await;
        peer.session.reply(login.request_id, crate::server::authenticated()).await;
        peer
    });
    let ((client, _events), _peer) = (client.unwrap(), peer);
    let expiry = Expiry::AfterSent(Duration::from_millis(1));
    for options in [
        SendOptions { expiry: Some(expiry), ..SendOptions::default() },
        SendOptions { deliver_by_ms: Some(u64::MAX), ..SendOptions::default() },
    ] {
        let error = client.send_with(conversation(), "x", options).await.unwrap_err();
        assert!(matches!(&error, SendError::Refused(refusal) if refusal.code == ErrorCode::InvalidArgument), "{error}");
    }
    assert_eq!(client.set_expiry(conversation(), expiry).await.unwrap_err().code(), Some(ErrorCode::InvalidArgument));
}

#[tokio::test]
async fn an_own_message_expires_as_the_conversation_says() {
    let server = Server::start();
    let (client, mut events, mut peer) = server.connect(server.config()).await;
    let setting = tokio::spawn({
        let client = client.clone();
        async move { client.set_expiry(conversation(), Expiry::AfterSent(Duration::from_secs(1))).await }
    });
    let frame = peer.session.next().await;
    let Some(client_frame::Body::SetExpiry(set)) = frame.body else { panic!("{frame:?}") };
    assert_eq!((set.conversation_id, set.expiry), (conversation().to_bytes(), default_of(1000)));
    assert_eq!(set.client_msg_id.len(), 16);
    peer.session.reply(frame.request_id, Body::SetExpiry(v1::SetExpiryResponse { seq: 1 })).await;
    soon(setting).await.unwrap().unwrap();
    client.send(conversation(), "x").await.unwrap();
    let (id, _) = peer.next_send().await;
    peer.accept_send(id, 2).await;
    // The one who asked gets no push: the entry comes from the log, and before the message.
    let changed = with(1, Content::ExpiryChanged(v1::ExpiryChanged { expiry: default_of(1000) }));
    peer.answer_history(&[Entry { sender_id: ME, ..changed }]).await;
    assert_eq!(next_entry(&mut events).await.seq, 1);
    assert_eq!(next_message(&mut events).await.expires_ms, 1002 + 1000);
}

#[tokio::test]
async fn what_becomes_of_messages_is_told_by_entries_in_their_order() {
    let server = Server::start();
    let (_client, mut events, peer) = server.connect(server.config()).await;
    let mut lane = peer.lane().await;
    lane.push(conversation(), entries(1..=2)).await;
    let notes = vec![
        with(3, Content::Expired(v1::Expired { seqs: vec![1] })),
        with(4, Content::Undelivered(v1::Undelivered { seq: 2, member_ids: vec![ME] })),
        with(5, Content::ExpiryChanged(v1::ExpiryChanged { expiry: default_of(50) })),
    ];
    lane.push(conversation(), notes.clone()).await;
    for entry in entries(1..=2).into_iter().chain(notes) {
        assert_eq!(next_entry(&mut events).await, entry);
    }
}

#[tokio::test]
async fn a_message_is_not_handed_over_after_its_time_though_the_servers_word_is_still_to_come() {
    let server = Server::start();
    let (client, mut events, mut peer) = server.connect(server.config()).await;
    let mut lane = peer.lane().await;
    let now_ms = wall_ms();
    assert_eq!(client.server_time_ms(), None, "the greeting told no time");
    tell_time(&client, &mut peer, now_ms).await;
    assert!((now_ms..now_ms + 60_000).contains(&client.server_time_ms().unwrap()));
    lane.push(
        conversation(),
        vec![expiring(1, now_ms), expiring(2, now_ms + 3_600_000), expiring(3, now_ms + 7_200_000)],
    )
    .await;
    let gone = next_entry(&mut events).await;
    assert!(matches!(&gone.content, Some(Content::Withdrawn(_))), "{gone:?}");
    assert_eq!((gone.seq, gone.ordinal, gone.client_msg_id), (1, 1, entry(1).client_msg_id));
    assert_eq!(next_message(&mut events).await.body, "secret");
    // The third one waits for the application, and its time comes meanwhile.
    tell_time(&client, &mut peer, now_ms + 7_200_000).await;
    let gone = next_entry(&mut events).await;
    assert!(matches!(&gone.content, Some(Content::Withdrawn(_))), "{gone:?}");
    let asking = tokio::spawn(async move { client.history(conversation(), Seq(1), v1::Direction::Forward, 2).await });
    peer.answer_history(&[expiring(1, 0), expiring(2, now_ms + 3_600_000)]).await;
    let page = soon(asking).await.unwrap().unwrap().entries;
    assert!(matches!(page[0].content, Some(Content::Message(_))), "it never expires");
    assert!(matches!(page[1].content, Some(Content::Withdrawn(_))));
}
