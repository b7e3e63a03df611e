//! A client that does not read costs a bounded amount of memory, and nobody else anything.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "support/raw_client.rs"]
mod raw_client;
#[path = "support/server.rs"]
mod server;

use bytes::Bytes;
use godwit_proto::{
    ConversationId, UserId,
    codec::FrameDecoder,
    v1::{self, client_frame::Body as Request, server_frame::Body},
};
use quinn::{TransportConfig, VarInt};
use raw_client::{RawClient, next_frame, send};
use server::TestServer;

const BODY_BYTES: usize = 30_000;
/// 6 MB: many times what an outbox and the windows hold.
const MESSAGES: u8 = 200;

#[tokio::test]
async fn a_client_that_never_reads_is_told_to_sync_again_and_the_others_go_on() {
    let server = TestServer::start();
    // Its windows take 64 KB and no more while it does not read.
    let mut transport = TransportConfig::default();
    transport.receive_window(VarInt::from_u32(64 * 1024)).stream_receive_window(VarInt::from_u32(64 * 1024));
    let mut sleeper = RawClient::connect_with(server.address(), transport).await;
    sleeper.hello(1).await;
    let sleeping = UserId::new(sleeper.register("sleeper").await.user_id).unwrap();
    let (mut writer, user) = RawClient::new_user(server.address(), "writer").await;
    let chat = ConversationId::direct(UserId::new(user.user_id).unwrap(), sleeping);

    let before = resident_bytes();
    for number in 0..MESSAGES {
        let reply = writer.request(send(chat.as_bytes(), number, vec![number; BODY_BYTES])).await;
        assert!(matches!(reply, Body::Send(sent) if sent.seq == u64::from(number) + 1), "{reply:?}");
    }
    // Server and clients share this process: the log itself is held for a while, the unread pushes are not.
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more for {} bytes of messages", usize::from(MESSAGES) * BODY_BYTES);

    // It wakes up: what was queued arrives in order from the first message on, then it is told that there is more.
    let mut lane = sleeper.connection.accept_uni().await.unwrap();
    let mut decoder = FrameDecoder::new();
    let opened = next_frame(&mut lane, &mut decoder).await.unwrap();
    assert!(matches!(opened.body, Some(Body::LaneOpened(_))));
    let reading = tokio::spawn(async move {
        let mut seqs = Vec::new();
        while let Some(frame) = next_frame(&mut lane, &mut decoder).await {
            if let Some(Body::Entries(push)) = frame.body {
                seqs.extend(push.entries.iter().map(|entry| entry.seq));
                if seqs.last() == Some(&(u64::from(MESSAGES) + 1)) {
                    break;
                }
            }
        }
        seqs
    });
    let told = sleeper.next().await.unwrap();
    assert!(matches!(told.body, Some(Body::ResyncRequired(_))), "{told:?}");

    // From here on it is live again, and the log has what it missed.
    writer.request(send(chat.as_bytes(), MESSAGES, "are you awake?")).await;
    let pushed = reading.await.unwrap();
    let held = pushed.len() as u64 - 1;
    assert!(held < u64::from(MESSAGES), "nothing was left out");
    assert_eq!(pushed[..pushed.len() - 1], (1..=held).collect::<Vec<_>>());
    let mut next = held + 1;
    while next <= u64::from(MESSAGES) {
        let request = v1::HistoryRequest {
            conversation_id: Bytes::copy_from_slice(chat.as_bytes()),
            from_seq: next,
            direction: v1::Direction::Forward.into(),
            limit: 0,
        };
        let Body::History(page) = sleeper.bulk(Request::History(request)).await else { panic!("no page") };
        for entry in page.entries {
            assert_eq!(entry.seq, next);
            next += 1;
        }
    }
}

/// This process's resident memory.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = status.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}
