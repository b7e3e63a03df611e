//! Deliveries through a link that drops and stalls: a real server, clients on the SDK, and one that does about
//! acknowledgements what it likes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::large_futures, missing_docs)]

#[path = "../../../tests/support/server.rs"]
mod server;

use super::Relay;
use crate::wire::{Dialer, FrameReader, Link, Login, Transport, godwit::encode_ack};
use bytes::BytesMut;
use godwit_client::{
    Backoff, CatchUp, Client, ClientConfig, ClientLimits, ConnectionState, ConversationId, Credentials, Event, Events,
    Trust,
};
use godwit_proto::v1::{ConversationPosition, ErrorCode, ServerFrame, server_frame::Body};
use prost::Message;
use server::TestServer;
use std::time::Duration;
use tokio::{
    io::AsyncWriteExt,
    time::{Instant, sleep, timeout},
};

const SOON: Duration = Duration::from_secs(60);
/// What the server waits for an acknowledgement, and what it adds at random at most.
const ACK_WAIT: Duration = Duration::from_millis(200);
const JITTER_MAX: Duration = Duration::from_millis(200);
/// Two waits of a session with a deadline that came up in between.
const RETRIED: Duration = Duration::from_millis(1_500);

fn start(attempts: u32) -> TestServer {
    TestServer::start_with(|config| {
        config.delivery.ack_wait_ms = ACK_WAIT.as_millis() as u64;
        config.delivery.max_ms = JITTER_MAX.as_millis() as u64;
        config.delivery.attempts = attempts;
    })
}

fn relay(server: &TestServer, spec: &str) -> Relay {
    Relay::start(server.address(), spec.parse().unwrap(), 7).unwrap()
}

async fn join(server: &TestServer, relay: &Relay, name: &str, acks_every: Duration) -> (Client, Events) {
    let credentials = Credentials::Register {
        username: name.into(),
        password: "correct horse battery".into(),
        display_name: String::new(),
        invitation: String::new(),
    };
    let trust = Trust::fingerprint_from_hex(&server.fingerprint()).unwrap();
    let config = ClientConfig {
        backoff: Backoff { base: Duration::from_millis(20), max: Duration::from_millis(200) },
        catch_up: CatchUp::FromStart,
        limits: ClientLimits { ack_delay: acks_every, ack_interval: acks_every, ..ClientLimits::default() },
        ..ClientConfig::new(relay.address().to_string(), trust, credentials)
    };
    timeout(SOON, Client::connect(config)).await.unwrap().unwrap()
}

/// Every entry of a conversation up to this one as the application sees it, and why connections were lost meanwhile.
async fn heard(events: &mut Events, of: ConversationId, last: u64) -> (Vec<u64>, Vec<String>) {
    let (mut seqs, mut losses) = (Vec::new(), Vec::new());
    while seqs.last().is_none_or(|seq| *seq < last) {
        match timeout(SOON, events.next()).await.expect("nothing more comes").expect("the client ended") {
            Event::Entry { conversation, entry, .. } if conversation == of => seqs.push(entry.seq),
            Event::State(ConnectionState::Reconnecting { reason, .. }) => losses.push(reason),
            _ => {}
        }
    }
    (seqs, losses)
}

/// Nothing more comes of a conversation for a while in which the server would push again.
async fn hears_nothing_more(events: &mut Events, of: ConversationId) {
    let until = Instant::now() + RETRIED;
    while let Ok(event) = tokio::time::timeout_at(until, events.next()).await {
        let repeated = matches!(&event, Some(Event::Entry { conversation, .. }) if *conversation == of);
        assert!(!repeated, "{event:?}");
    }
}

#[tokio::test]
async fn a_link_that_drops_and_stalls_and_acks_that_are_late_deliver_everything_once() {
    let server = start(100);
    let good = relay(&server, "delay=1ms");
    let bad = relay(&server, "loss=10%,delay=10ms,jitter=5ms");
    let soon = Duration::from_millis(25);
    let (alice, _alice_events) = join(&server, &good, "alice", soon).await;
    let (bob, mut bob_events) = join(&server, &bad, "bob", soon).await;
    let (carol, mut carol_events) = join(&server, &bad, "carol", 4 * ACK_WAIT).await;
    let group = alice.create_group("birds", &[bob.user_id(), carol.user_id()]).await.unwrap();
    let mut last = 1;
    for number in 0..60 {
        // For longer than several attempts take, and shorter than QUIC takes a connection for dead.
        bad.stall((20..40).contains(&number));
        last = timeout(SOON, alice.send(group, format!("{number}")).await.unwrap()).await.unwrap().unwrap().seq.0;
        sleep(Duration::from_millis(60)).await;
    }
    let everything = ((1..=last).collect::<Vec<_>>(), Vec::new());
    assert_eq!(heard(&mut bob_events, group, last).await, everything);
    assert_eq!(heard(&mut carol_events, group, last).await, everything);
    hears_nothing_more(&mut carol_events, group).await;
    assert!(bad.stats().up.lost > 0 && bad.stats().down.lost > 0);
}

#[tokio::test]
async fn a_client_that_never_acknowledges_is_sent_away_comes_back_and_hears_nothing_twice() {
    let server = start(1);
    let link = relay(&server, "loss=2%,delay=2ms");
    let (alice, _alice_events) = join(&server, &link, "alice", Duration::from_millis(25)).await;
    let (bob, mut bob_events) = join(&server, &link, "bob", Duration::from_secs(3_600)).await;
    let (chat, _) = alice.open_direct("bob").await.unwrap();
    let (mut seqs, mut losses) = (Vec::new(), Vec::new());
    for seq in 1..=3 {
        timeout(SOON, alice.send(chat, "hi").await.unwrap()).await.unwrap().unwrap();
        let (more, lost) = heard(&mut bob_events, chat, seq).await;
        seqs.extend(more);
        losses.extend(lost);
        sleep(RETRIED).await;
    }
    assert_eq!(seqs, [1, 2, 3]);
    assert!(losses.iter().any(|reason| reason.contains("not acknowledged")), "{losses:?}");
    hears_nothing_more(&mut bob_events, chat).await;
    drop((alice, bob));
}

/// A client that says what it is told to say.
struct Bare {
    link: Link,
    lane: FrameReader,
    conversation: ConversationId,
}

impl Bare {
    async fn ack(&mut self, seqs: &[u64]) {
        let mut out = BytesMut::new();
        for &seq in seqs {
            encode_ack(vec![ConversationPosition { conversation_id: self.conversation.to_bytes(), seq }], &mut out);
        }
        self.link.send.write_all(&out).await.unwrap();
        self.link.send.flush().await.unwrap();
    }

    /// The entries that it is pushed until nothing came for as long as the server takes to push again.
    async fn pushed(&mut self) -> Vec<u64> {
        let mut seqs = Vec::new();
        while let Ok(frame) = timeout(RETRIED, self.lane.next()).await {
            let Ok(frame) = frame else { break };
            if let Some(Body::Entries(push)) = ServerFrame::decode(frame).unwrap().body {
                seqs.extend(push.entries.into_iter().map(|entry| entry.seq));
            }
        }
        seqs
    }
}

/// Alice on a good link, and a bare client that she has written to so often.
async fn bare(server: &TestServer, relay: &Relay, messages: u64) -> Bare {
    let (alice, _alice_events) = join(server, relay, "alice", Duration::from_millis(25)).await;
    let dialer = Dialer::new(Transport::Quic, relay.address(), &server.fingerprint(), 1).unwrap();
    let login = Login::Register { username: "bare".into(), password: "correct horse battery".into() };
    let link = Link::log_in(&dialer, &login, 1).await.unwrap();
    let (conversation, _) = alice.open_direct("bare").await.unwrap();
    for _ in 0..messages {
        timeout(SOON, alice.send(conversation, "hi").await.unwrap()).await.unwrap().unwrap();
    }
    let lane = timeout(SOON, link.connection.accept_lane()).await.unwrap().unwrap();
    Bare { link, lane, conversation }
}

#[tokio::test]
async fn acknowledging_twice_and_out_of_order_ends_the_retries_and_what_was_never_sent_does_not() {
    let server = start(100);
    let link = relay(&server, "loss=5%,delay=5ms");
    let mut bare = bare(&server, &link, 5).await;
    // Nothing but what cannot be meant: all five come again, in order.
    bare.ack(&[9, u64::MAX, 0]).await;
    sleep(RETRIED).await;
    bare.ack(&[3, 1, 3, 2]).await;
    sleep(RETRIED).await;
    bare.ack(&[5, 4, 5]).await;
    let pushed = bare.pushed().await;
    assert_eq!(pushed[..10], [1, 2, 3, 4, 5, 1, 2, 3, 4, 5]);
    assert!(pushed.windows(2).all(|two| two[1] == two[0] + 1 || two[1] == 1 || two[1] == 4), "{pushed:?}");
    assert_eq!(pushed[pushed.len() - 2..], [4, 5]);
    assert!(bare.pushed().await.is_empty(), "all is acknowledged");
}

#[tokio::test]
async fn a_client_that_never_acknowledges_is_told_why_it_is_sent_away() {
    let server = start(2);
    let link = relay(&server, "delay=1ms");
    let mut bare = bare(&server, &link, 1).await;
    assert_eq!(bare.pushed().await, [1, 1, 1]);
    let said = loop {
        let frame = timeout(SOON, bare.link.reader.next()).await.unwrap().unwrap();
        if let Some(Body::Error(error)) = ServerFrame::decode(frame).unwrap().body {
            break error;
        }
    };
    assert_eq!(said.code(), ErrorCode::DeliveryTimeout);
}
