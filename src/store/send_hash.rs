//! Eight bytes that stand for who sent an entry under which id. One that matches is only a hint; the entry itself says whether
//! it is the one. They are stored, so they never change.

use godwit_proto::{ClientMsgId, UserId};
use xxhash_rust::xxh3::xxh3_64;

/// What stands for a send.
pub(in crate::store) fn hash(sender: UserId, id: ClientMsgId) -> u64 {
    let mut key = [0; 24];
    key[..8].copy_from_slice(&sender.as_u64().to_be_bytes());
    key[8..].copy_from_slice(&id.0);
    xxh3_64(&key)
}
