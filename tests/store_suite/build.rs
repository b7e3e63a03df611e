//! Building what goes into a store.

use bytes::Bytes;
use godwit::{
    chat::{LogEntry, Member, MemberChange, Position, Role},
    store::{
        Commit, ConversationDetails, TimerId, TimerKey, TimerKind, TimerOwner, TimerRow, TokenHash, TokenRecord,
        UserRecord,
    },
};
use godwit_proto::{
    ClientMsgId, ConversationId, DeviceId, Seq, UserId,
    v1::{self, WithdrawnReason},
};

pub fn user(n: u64) -> UserId {
    UserId::new(n).unwrap()
}

pub fn group(n: u8) -> ConversationId {
    ConversationId::group([n; 16])
}

pub fn device(n: u8) -> DeviceId {
    DeviceId([n; 16])
}

/// The id of the `n`th message of anyone.
pub fn msg(n: u64) -> ClientMsgId {
    let mut id = [7; 16];
    id[..8].copy_from_slice(&n.to_be_bytes());
    ClientMsgId(id)
}

/// Entry `seq`, sent by user 1, whose body has a size.
pub fn sized_entry(seq: u64, body_bytes: usize) -> LogEntry {
    LogEntry::new(&v1::Entry {
        seq,
        ordinal: seq,
        sender_id: 1,
        sent_ms: 1_000 + seq,
        client_msg_id: msg(seq).to_bytes(),
        content: Some(v1::entry::Content::Message(v1::Message {
            body: Bytes::from(vec![b'a' + (seq % 26) as u8; body_bytes]),
            ..v1::Message::default()
        })),
    })
}

pub fn entry(seq: u64) -> LogEntry {
    sized_entry(seq, 20)
}

pub fn entries(seqs: std::ops::RangeInclusive<u64>) -> Vec<LogEntry> {
    seqs.map(entry).collect()
}

/// What takes the place of entry `seq` when it is withdrawn.
pub fn marker(seq: u64) -> LogEntry {
    entry(seq).withdrawn(WithdrawnReason::Expired)
}

pub fn nothing(conversation: ConversationId, after: u64) -> Commit {
    Commit::after(conversation, Seq(after))
}

/// Adds these entries after the one before the first of them.
pub fn append(conversation: ConversationId, seqs: std::ops::RangeInclusive<u64>) -> Commit {
    let entries = entries(seqs.clone());
    Commit { entries, ..nothing(conversation, seqs.start() - 1) }
}

/// A commit that puts other entries in the place of older ones, and nothing else.
pub fn rewrite(conversation: ConversationId, after: u64, rewritten: Vec<LogEntry>) -> Commit {
    Commit { rewritten, ..nothing(conversation, after) }
}

/// A commit that changes members alone.
pub fn change(conversation: ConversationId, after: u64, members: Vec<MemberChange>) -> Commit {
    Commit { members, ..nothing(conversation, after) }
}

pub fn member(n: u64) -> Member {
    Member::new(user(n), Role::Member, Position::START)
}

pub fn put(n: u64) -> MemberChange {
    MemberChange::Put(member(n))
}

pub fn take(n: u64) -> MemberChange {
    MemberChange::Remove(user(n))
}

pub fn titled(title: &str) -> ConversationDetails {
    ConversationDetails { title: title.to_owned(), ..ConversationDetails::default() }
}

pub fn account(id: u64, name: &str) -> UserRecord {
    UserRecord {
        id: user(id),
        username: name.to_owned(),
        name_key: name.to_lowercase(),
        display_name: format!("{name} of somewhere"),
        password_hash: "$argon2id$".to_owned(),
        created_ms: 5,
    }
}

/// Token `hash` of device `n` of a user.
pub fn token(hash: u8, of: u64, n: u8, expires_ms: u64) -> TokenRecord {
    TokenRecord {
        hash: TokenHash([hash; 32]),
        user: user(of),
        device: device(n),
        device_name: format!("phone {n}"),
        expires_ms,
    }
}

/// The kind of the timers in these tests.
pub const REMINDER: TimerKind = TimerKind(100);

pub fn owner(n: u64) -> TimerOwner {
    TimerOwner::User(user(n))
}

/// Timer `id` of a user, whose payload says when it is due.
pub fn timer(of: u64, id: u64, due_ms: u64) -> TimerRow {
    let key = TimerKey { kind: REMINDER, owner: owner(of), id: TimerId(msg(id).0) };
    TimerRow { key, due_ms, payload: Bytes::from(format!("timer {id} at {due_ms}")) }
}
