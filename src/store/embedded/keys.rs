//! The keys of every keyspace. Numbers are big-endian, so that the order of keys is the order of things.

use super::error::RowError;
pub(super) use crate::store::timer_keys::{
    DueTimerBytes, TimerKeyBytes, due_timer, due_timer_key, timer, timer_key, timer_of_owner, timer_of_owner_key,
    timers,
};
use crate::store::{InvitationId, TokenHash, rows::join};
use godwit_proto::{ConversationId, DeviceId, Seq, UserId};

/// The key under which [`super::keyspaces::Keyspaces::meta`] keeps the newest record whose rows are written.
pub(super) const ROWS_UPTO: &[u8] = b"rows_upto";
/// The key under which it keeps when the oldest message was withdrawn that may still be in files; see [`super::tidy`].
pub(super) const WITHDRAWN_SINCE: &[u8] = b"withdrawn_since";
/// A key in any keyspace under which nothing is ever read.
pub(super) const FILLING: &[u8] = b"\0filling";
/// The key of the format's number.
pub(super) const FORMAT: &[u8] = b"format";

/// What the keys of accounts by id start with.
pub(super) const ACCOUNTS: &[u8] = b"u";
/// What the keys of used invitations start with.
pub(super) const INVITATIONS: &[u8] = b"i";
/// What the keys of tokens by hash start with.
pub(super) const TOKENS: &[u8] = b"t";

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

/// A value that is one number.
pub(super) fn number(value: &[u8]) -> Result<u64, RowError> {
    value.try_into().map(u64::from_be_bytes).map_err(|_| damaged("number"))
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
