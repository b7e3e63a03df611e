//! Entries come in order and without gaps, and are acknowledged.

use crate::{
    next_seq,
    server::{Peer, Server, conversation, entries, soon},
};
use godwit_client::{
    CatchUp, ClientConfig, Event, Seq,
    v1::{ConversationSummary, ReadPush, ResyncRequiredPush, SyncResponse, client_frame, server_frame::Body},
};

#[tokio::test]
async fn pushed_entries_are_handed_over_and_acknowledged_cumulatively() {
    let server = Server::start();
    let (_client, mut events, mut peer) = server.connect(server.config()).await;
    let mut lane = peer.lane().await;
    lane.push(conversation(), entries(1..=2)).await;
    lane.push(conversation(), entries(3..=3)).await;
    for seq in 1..=3 {
        assert_eq!(next_seq(&mut events).await, seq);
    }
    assert_eq!(acknowledged_up_to(&mut peer, 3).await, conversation().to_bytes());
}

#[tokio::test]
async fn a_gap_is_filled_from_the_log() {
    let server = Server::start();
    let (_client, mut events, peer) = server.connect(server.config()).await;
    let mut lane = peer.lane().await;
    lane.push(conversation(), entries(1..=1)).await;
    lane.push(conversation(), entries(4..=4)).await;
    assert_eq!(next_seq(&mut events).await, 1);
    let asked = peer.answer_history(&entries(1..=4)).await;
    assert_eq!((asked.from_seq, asked.limit), (2, 2));
    for seq in 2..=4 {
        assert_eq!(next_seq(&mut events).await, seq);
    }
}

#[tokio::test]
async fn what_happened_while_the_client_was_away_is_caught_up_on() {
    let server = Server::start();
    let config = ClientConfig { known: vec![(conversation(), Seq(2))], ..server.config() };
    let client = tokio::spawn(godwit_client::Client::connect(config));
    let mut peer = server.accept().await;
    peer.log_in().await;
    let summary = summary(5);
    let sync = peer.answer_sync(SyncResponse { changed: vec![summary], ..SyncResponse::default() }).await;
    assert_eq!((sync.known[0].seq, sync.known_continues), (2, false));
    let asked = peer.answer_history(&entries(1..=5)).await;
    assert_eq!(asked.from_seq, 3);

    let (_client, mut events) = soon(client).await.unwrap().unwrap();
    let mut seen = Vec::new();
    loop {
        match soon(events.next()).await.unwrap() {
            Event::Entry { entry, live, .. } => seen.push((entry.seq, live)),
            Event::Synced => break,
            _ => {}
        }
    }
    assert_eq!(seen, [(3, false), (4, false), (5, false)]);
}

#[tokio::test]
async fn a_first_sync_from_the_newest_leaves_the_past_alone() {
    let server = Server::start();
    let client = tokio::spawn(godwit_client::Client::connect(server.config()));
    let mut peer = server.accept().await;
    peer.log_in().await;
    peer.answer_sync(SyncResponse { changed: vec![summary(40)], ..SyncResponse::default() }).await;
    let (_client, mut events) = soon(client).await.unwrap().unwrap();
    peer.lane().await.push(conversation(), entries(41..=41)).await;
    assert_eq!(next_seq(&mut events).await, 41);
}

#[tokio::test]
async fn a_first_sync_from_the_start_walks_all_pages() {
    let server = Server::start();
    let config = ClientConfig { catch_up: CatchUp::FromStart, ..server.config() };
    let client = tokio::spawn(godwit_client::Client::connect(config));
    let mut peer = server.accept().await;
    peer.log_in().await;
    let up_to = conversation().to_bytes();
    let first =
        SyncResponse { changed: vec![summary(450)], up_to: up_to.clone(), more: true, ..SyncResponse::default() };
    peer.answer_sync(first).await;
    let (_client, mut events) = soon(client).await.unwrap().unwrap();
    let log = entries(1..=450);
    let serve = tokio::spawn(async move {
        let mut walked = None;
        let mut asked = Vec::new();
        while asked.len() < 3 || walked.is_none() {
            let (mut stream, request) = peer.bulk().await;
            match request.body {
                Some(client_frame::Body::Sync(sync)) => {
                    walked = Some(sync.after);
                    stream.reply(request.request_id, Body::Sync(SyncResponse::default())).await;
                }
                Some(client_frame::Body::History(history)) => {
                    let from = history.from_seq;
                    asked.push(from);
                    let entries = log.iter().filter(|entry| entry.seq >= from).take(200).cloned().collect();
                    let page = godwit_client::v1::HistoryResponse {
                        entries,
                        first_seq: 1,
                        last_seq: 450,
                        ..Default::default()
                    };
                    stream.reply(request.request_id, Body::History(page)).await;
                }
                other => panic!("{other:?}"),
            }
        }
        (peer, walked, asked)
    });
    for seq in 1..=450 {
        assert_eq!(next_seq(&mut events).await, seq);
    }
    let (_peer, walked, asked) = soon(serve).await.unwrap();
    assert_eq!((walked, asked), (Some(up_to), vec![1, 201, 401]));
}

#[tokio::test]
async fn a_server_that_left_pushes_out_is_asked_what_changed() {
    let server = Server::start();
    let (_client, mut events, mut peer) = server.connect(server.config()).await;
    let mut lane = peer.lane().await;
    lane.push(conversation(), entries(1..=1)).await;
    assert_eq!(next_seq(&mut events).await, 1);
    peer.session.reply(0, Body::ResyncRequired(ResyncRequiredPush {})).await;
    let sync = peer.answer_sync(SyncResponse { changed: vec![summary(3)], ..SyncResponse::default() }).await;
    assert_eq!(sync.known[0].seq, 1);
    peer.answer_history(&entries(1..=3)).await;
    assert_eq!((next_seq(&mut events).await, next_seq(&mut events).await), (2, 3));
}

#[tokio::test]
async fn an_application_that_does_not_look_makes_the_client_stop_reading_and_loses_nothing() {
    let server = Server::start();
    let mut config = server.config();
    config.limits.events_max = 4;
    config.limits.stream_window_bytes = 16 * 1024;
    let (_client, mut events, peer) = server.connect(config).await;
    let mut lane = peer.lane().await;
    const COUNT: u64 = 5_000;
    let mut pusher = tokio::spawn(async move {
        for seq in 1..=COUNT {
            lane.push(conversation(), entries(seq..=seq)).await;
        }
        lane
    });
    // The pusher cannot get through: only the windows and the queues take anything.
    assert!(tokio::time::timeout(std::time::Duration::from_millis(300), &mut pusher).await.is_err());
    for seq in 1..=COUNT {
        assert_eq!(next_seq(&mut events).await, seq);
    }
    soon(pusher).await.unwrap();
}

#[tokio::test]
async fn reading_on_another_device_is_told() {
    let server = Server::start();
    let (_client, mut events, peer) = server.connect(server.config()).await;
    let mut lane = peer.lane().await;
    lane.push(conversation(), entries(1..=3)).await;
    let conversation_id = conversation().to_bytes();
    lane.write(Body::Read(ReadPush { conversation_id, read_seq: 2, read_ordinal: 2 })).await;
    loop {
        if let Event::Read { read_seq, .. } = soon(events.next()).await.unwrap() {
            assert_eq!(read_seq, Seq(2));
            break;
        }
    }
}

#[tokio::test]
async fn being_removed_while_away_is_told() {
    let server = Server::start();
    let config = ClientConfig { known: vec![(conversation(), Seq(2))], ..server.config() };
    let client = tokio::spawn(godwit_client::Client::connect(config));
    let mut peer = server.accept().await;
    peer.log_in().await;
    let removed = vec![conversation().to_bytes()];
    peer.answer_sync(SyncResponse { removed, ..SyncResponse::default() }).await;
    let (_client, mut events) = soon(client).await.unwrap().unwrap();
    loop {
        if let Event::Removed { conversation: removed } = soon(events.next()).await.unwrap() {
            assert_eq!(removed, conversation());
            break;
        }
    }
}

fn summary(last_seq: u64) -> ConversationSummary {
    let conversation_id = conversation().to_bytes();
    ConversationSummary { conversation_id, first_seq: 1, last_seq, last_ordinal: last_seq, ..Default::default() }
}

/// Reads acknowledgements until one reaches `seq`.
async fn acknowledged_up_to(peer: &mut Peer, seq: u64) -> bytes::Bytes {
    loop {
        let frame = peer.session.next().await;
        let Some(client_frame::Body::Ack(ack)) = frame.body else { panic!("{frame:?}") };
        assert_eq!(frame.request_id, 0, "an acknowledgement wants no answer");
        assert!(ack.positions[0].seq <= seq);
        if ack.positions[0].seq == seq {
            return ack.positions[0].conversation_id.clone();
        }
    }
}
