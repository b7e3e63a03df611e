//! What the benchmarks share: frames as clients write them, stores to put a core on, and a core that is driven by hand.
//!
//! `cargo bench` measures; `cargo test -p godwit-bench --benches` runs everything once.

// A benchmark that cannot be set up has nothing to measure.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bare_cql;
mod bare_redis;
mod core_bench;
mod counted;
mod instant_store;
mod scratch_store;

pub use bare_cql::BareCql;
pub use bare_redis::BareRedis;
pub use core_bench::CoreBench;
pub use counted::{Allocated, Counted};
pub use instant_store::InstantStore;
pub use scratch_store::{ScratchStore, keep_pending};

use bytes::Bytes;
use godwit::chat::{LogEntry, MessageBody, NewMessage, SentBy};
use godwit_proto::{ClientMsgId, ConversationId, Seq, UserId, v1};
use prost::Message;
use std::ops::RangeInclusive;

/// The body of a typical message.
pub const BODY_BYTES: usize = 128;

/// The largest body that [`body`] makes.
pub const BODY_BYTES_MAX: usize = 16 * 1024;

/// When everything happens: 2023-11-14, in milliseconds since the epoch.
pub const NOW_MS: u64 = 1_700_000_000_000;

/// Whether everything is to run once, to see that it works, as `cargo test` asks. Only `cargo bench` says `--bench`.
pub fn runs_once() -> bool {
    let said = |option| std::env::args().any(|argument| argument == option);
    said("--test") || !said("--bench")
}

/// How much to set up for a measurement with `count` of something: little when it runs once, in a debug build perhaps.
pub fn scaled(count: u64) -> u64 {
    if runs_once() { count.min(50) } else { count }
}

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

/// What somebody says, without memory of its own.
pub fn body(bytes: usize) -> Bytes {
    static TEXT: [u8; BODY_BYTES_MAX] = [b'x'; BODY_BYTES_MAX];
    Bytes::from_static(&TEXT[..bytes])
}

/// What a client writes when its user says something for the first time.
pub fn send_frame(conversation: ConversationId, number: u64) -> v1::ClientFrame {
    sized_send_frame(conversation, number, BODY_BYTES)
}

/// The same with a body of another size.
pub fn sized_send_frame(conversation: ConversationId, number: u64, body_bytes: usize) -> v1::ClientFrame {
    let request = v1::SendRequest {
        conversation_id: conversation.to_bytes(),
        client_msg_id: msg(number).to_bytes(),
        body: body(body_bytes),
        content_type: String::new(),
        first_attempt: true,
        after_client_msg_id: Bytes::new(),
        ..v1::SendRequest::default()
    };
    v1::ClientFrame { request_id: number, body: Some(v1::client_frame::Body::Send(request)) }
}

/// A request without a length prefix, as the codec hands it to a core.
pub fn request(request_id: u64, body: v1::client_frame::Body) -> Bytes {
    v1::ClientFrame { request_id, body: Some(body) }.encode_to_vec().into()
}

/// A message as the rules of chat get it.
pub fn new_message(number: u64) -> NewMessage {
    let content = MessageBody { body: body(BODY_BYTES), content_type: String::new() };
    NewMessage {
        client_msg_id: msg(number),
        content,
        first_attempt: true,
        after: None,
        by: SentBy::Hand,
        expiry: None,
        deliver_by_ms: 0,
    }
}

/// An entry with a typical message.
pub fn entry(seq: u64) -> v1::Entry {
    sized_entry(seq, BODY_BYTES)
}

/// The same with a body of another size.
pub fn sized_entry(seq: u64, body_bytes: usize) -> v1::Entry {
    let message = v1::Message { body: body(body_bytes), content_type: String::new(), ..v1::Message::default() };
    v1::Entry {
        seq,
        ordinal: seq,
        sender_id: 1,
        sent_ms: NOW_MS,
        client_msg_id: msg(seq).to_bytes(),
        content: Some(v1::entry::Content::Message(message)),
    }
}

/// A change of a log that appends entries with typical messages.
pub fn append(conversation: ConversationId, seqs: RangeInclusive<u64>) -> godwit::store::Commit {
    let after = Seq(seqs.start() - 1);
    let entries = seqs.map(|seq| LogEntry::new(&entry(seq))).collect();
    godwit::store::Commit { entries, ..godwit::store::Commit::after(conversation, after) }
}

/// The push of one entry.
pub fn push_frame(conversation: ConversationId, entry: &LogEntry) -> v1::ServerFrame {
    let push = v1::EntriesPush { conversation_id: conversation.to_bytes(), entries: vec![entry.to_proto()] };
    v1::ServerFrame { request_id: 0, body: Some(v1::server_frame::Body::Entries(push)) }
}
