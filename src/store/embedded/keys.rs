//! The keys of every keyspace. Numbers are big-endian, so that the order of keys is the order of things.

use super::error::RowError;
use crate::store::{DueTimer, InvitationId, TimerId, TimerKey, TimerKind, TimerOwner, TokenHash};
use godwit_proto::{ConversationId, DeviceId, Seq, UserId};

/// The key under which [`super::keyspaces::Keyspaces::meta`] keeps the newest record whose rows are written.
pub(super) const ROWS_UPTO: &[u8] = b"rows_upto";
/// The key under which it keeps when the oldest message was withdrawn that may still be in files; see [`super::tidy`].
pub(super) const WITHDRAWN_SINCE: &[u8] = b"withdrawn_since";
/// A key in any keyspace under which nothing is ever read.
pub(super) const FILLING: &[u8] = b"\0filling";
/// The key of the format's number.
pub(super) const FORMAT: &[u8] = b"format";

/// Tells a record's key from every other key in an engine journal, where [`super::journal_check`] looks for it.
pub(super) const RECORD_PREFIX: [u8; 8] = *b"\xffrecord\xff";

/// `prefix | number`
pub(super) fn record(number: u64) -> [u8; 16] {
    join(RECORD_PREFIX, number.to_be_bytes())
}

/// The number in a record's key; `None` for another key.
pub(super) fn record_number(key: &[u8]) -> Option<u64> {
    let number = key.strip_prefix(&RECORD_PREFIX)?;
    Some(u64::from_be_bytes(number.try_into().ok()?))
}

/// `conversation | first seq in the row`
pub(super) fn entry(conversation: ConversationId, first: Seq) -> [u8; 24] {
    join(*conversation.as_bytes(), first.0.to_be_bytes())
}

/// The first seq of a row of entries, or of hashes of sends, from its key.
pub(super) fn entry_first(key: &[u8]) -> Result<Seq, RowError> {
    let seq = key.get(16..).and_then(|seq| seq.try_into().ok()).ok_or_else(|| damaged("entry"))?;
    Ok(Seq(u64::from_be_bytes(seq)))
}

/// `conversation | user`
pub(super) fn member(conversation: ConversationId, user: UserId) -> [u8; 24] {
    join(*conversation.as_bytes(), user.as_u64().to_be_bytes())
}

/// `user | conversation`
pub(super) fn membership(user: UserId, conversation: ConversationId) -> [u8; 24] {
    join(user.as_u64().to_be_bytes(), *conversation.as_bytes())
}

/// The conversation in a membership's key.
pub(super) fn membership_conversation(key: &[u8]) -> Result<ConversationId, RowError> {
    let id = key.get(8..).ok_or_else(|| damaged("membership"))?;
    ConversationId::from_slice(id).map_err(|_| damaged("membership"))
}

/// `u | user`
pub(super) fn account(user: UserId) -> Vec<u8> {
    tagged(b'u', &user.as_u64().to_be_bytes())
}

/// `n | name key`
pub(super) fn name(name_key: &str) -> Vec<u8> {
    tagged(b'n', name_key.as_bytes())
}

/// `i | invitation`
pub(super) fn invitation(id: InvitationId) -> Vec<u8> {
    tagged(b'i', &id.0)
}

/// `t | hash`
pub(super) fn token(hash: TokenHash) -> Vec<u8> {
    tagged(b't', &hash.0)
}

/// `d | user | device`
pub(super) fn device(user: UserId, device: DeviceId) -> Vec<u8> {
    let mut key = devices(user);
    key.extend_from_slice(&device.0);
    key
}

/// `d | user`, where all of the user's devices start
pub(super) fn devices(user: UserId) -> Vec<u8> {
    tagged(b'd', &user.as_u64().to_be_bytes())
}

/// The device in a device's key.
pub(super) fn device_id(key: &[u8]) -> Result<DeviceId, RowError> {
    key.get(9..).and_then(|id| DeviceId::from_slice(id).ok()).ok_or_else(|| damaged("device"))
}

/// `user | device | conversation`
pub(super) fn acked(user: UserId, device: DeviceId, conversation: ConversationId) -> [u8; 40] {
    let place: [u8; 32] = join(device.0, *conversation.as_bytes());
    join(user.as_u64().to_be_bytes(), place)
}

/// `kind | owner | id`, where the owner has 17 bytes: what it is, and its id. Sorts as [`TimerKey`] does.
pub(super) type TimerKeyBytes = [u8; 34];

/// `when it is due | kind | owner | id`, which sorts as [`DueTimer`] does; or `kind | owner | when it is due | id`.
pub(super) type DueTimerBytes = [u8; 42];

pub(super) fn timer(key: TimerKey) -> TimerKeyBytes {
    join(timers(key.kind, key.owner), key.id.0)
}

/// `kind | owner`, where all timers of the owner start
pub(super) fn timers(kind: TimerKind, owner: TimerOwner) -> [u8; 18] {
    let (tag, id) = match owner {
        TimerOwner::User(user) => (OWNED_BY_USER, join(user.as_u64().to_be_bytes(), [0; 8])),
        TimerOwner::Conversation(conversation) => (OWNED_BY_CONVERSATION, *conversation.as_bytes()),
    };
    join([kind.0, tag], id)
}

/// `when it is due | kind | owner | id`
pub(super) fn due_timer(due: DueTimer) -> DueTimerBytes {
    join(due.due_ms.to_be_bytes(), timer(due.key))
}

/// `kind | owner | when it is due | id`
pub(super) fn timer_of_owner(due: DueTimer) -> DueTimerBytes {
    let since: [u8; 24] = join(due.due_ms.to_be_bytes(), due.key.id.0);
    join(timers(due.key.kind, due.key.owner), since)
}

/// The timer that a key of [`timer`] names.
pub(super) fn timer_key(key: &[u8]) -> Result<TimerKey, RowError> {
    let key: &TimerKeyBytes = key.try_into().map_err(|_| damaged("timer"))?;
    let [kind, tag, rest @ ..] = key;
    let (owner, id) = rest.split_at(16);
    let owner = match *tag {
        OWNED_BY_USER => UserId::new(number(&owner[..8])?).ok().map(TimerOwner::User),
        OWNED_BY_CONVERSATION => ConversationId::from_slice(owner).ok().map(TimerOwner::Conversation),
        _ => None,
    };
    let owner = owner.ok_or_else(|| RowError::Damaged("a timer of nobody".to_owned()))?;
    let id = id.try_into().map(TimerId).map_err(|_| damaged("timer"))?;
    Ok(TimerKey { kind: TimerKind(*kind), owner, id })
}

/// The timer that a key of [`due_timer`] names.
pub(super) fn due_timer_key(key: &[u8]) -> Result<DueTimer, RowError> {
    let (due_ms, key) = key.split_at_checked(8).ok_or_else(|| damaged("due timer"))?;
    Ok(DueTimer { due_ms: number(due_ms)?, key: timer_key(key)? })
}

/// When a timer is due and what it is called, from a key of [`timer_of_owner`].
pub(super) fn timer_of_owner_key(key: &[u8]) -> Result<(u64, TimerId), RowError> {
    let key: &DueTimerBytes = key.try_into().map_err(|_| damaged("timer of an owner"))?;
    let (due_ms, id) = key[18..].split_at(8);
    Ok((number(due_ms)?, id.try_into().map(TimerId).map_err(|_| damaged("timer of an owner"))?))
}

const OWNED_BY_USER: u8 = 1;
const OWNED_BY_CONVERSATION: u8 = 2;

/// A value that is one number.
pub(super) fn number(value: &[u8]) -> Result<u64, RowError> {
    value.try_into().map(u64::from_be_bytes).map_err(|_| damaged("number"))
}

fn join<const A: usize, const B: usize, const AB: usize>(first: [u8; A], second: [u8; B]) -> [u8; AB] {
    const { assert!(A + B == AB) };
    let mut key = [0; AB];
    key[..A].copy_from_slice(&first);
    key[A..].copy_from_slice(&second);
    key
}

fn tagged(tag: u8, id: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + id.len());
    key.push(tag);
    key.extend_from_slice(id);
    key
}

fn damaged(what: &str) -> RowError {
    RowError::Damaged(format!("{what} of the wrong length"))
}
