//! What the benchmarks share: frames as clients write them, a store that is durable at once, and a core on top of it.
//!
//! `cargo bench -p godwit-bench` measures; `cargo test -p godwit-bench --benches` runs everything once.

// A benchmark that cannot be set up has nothing to measure.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod core_bench;
mod instant_store;

pub use core_bench::CoreBench;
pub use instant_store::InstantStore;

use bytes::Bytes;
use godwit::chat::{LogEntry, MessageBody, NewMessage};
use godwit_proto::{ClientMsgId, ConversationId, UserId, v1};

/// The body of a typical message.
pub const BODY_BYTES: usize = 128;

/// When everything happens: 2023-11-14, in milliseconds since the epoch.
pub const NOW_MS: u64 = 1_700_000_000_000;

/// A user.
pub fn user(raw: u64) -> UserId {
    UserId::new(raw).unwrap()
}

/// A different id for every number.
pub fn msg(number: u64) -> ClientMsgId {
    let mut id = [0x5a; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    ClientMsgId(id)
}

/// What a client writes when its user says something for the first time.
pub fn send_frame(conversation: ConversationId, number: u64) -> v1::ClientFrame {
    let request = v1::SendRequest {
        conversation_id: conversation.to_bytes(),
        client_msg_id: msg(number).to_bytes(),
        body: Bytes::from_static(&[b'x'; BODY_BYTES]),
        content_type: String::new(),
        first_attempt: true,
        after_client_msg_id: Bytes::new(),
    };
    v1::ClientFrame { request_id: number, body: Some(v1::client_frame::Body::Send(request)) }
}

/// The same, as the rules of chat get it.
pub fn new_message(number: u64) -> NewMessage {
    let body = Bytes::from_static(&[b'x'; BODY_BYTES]);
    let content = MessageBody { body, content_type: String::new() };
    NewMessage { client_msg_id: msg(number), content, first_attempt: true, after: None }
}

/// An entry with a typical message.
pub fn entry(seq: u64) -> v1::Entry {
    let message = v1::Message { body: Bytes::from_static(&[b'x'; BODY_BYTES]), content_type: String::new() };
    v1::Entry {
        seq,
        ordinal: seq,
        sender_id: 1,
        sent_ms: NOW_MS,
        client_msg_id: msg(seq).to_bytes(),
        content: Some(v1::entry::Content::Message(message)),
    }
}

/// The push of one entry.
pub fn push_frame(conversation: ConversationId, entry: &LogEntry) -> v1::ServerFrame {
    let push = v1::EntriesPush { conversation_id: conversation.to_bytes(), entries: vec![entry.to_proto()] };
    v1::ServerFrame { request_id: 0, body: Some(v1::server_frame::Body::Entries(push)) }
}
