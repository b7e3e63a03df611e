//! The 16 bytes that name a conversation, and what can be read from them.

use crate::UserId;
use bytes::Bytes;
use std::fmt;
use thiserror::Error;

/// A conversation.
///
/// The id of a direct conversation is its two users' ids, the smaller first, each as 8 bytes big-endian. Whoever writes
/// first therefore names the same conversation, and who may take part can be read off without a look-up. A user may
/// talk to themself. A group's id has its top bit set and 127 bits of a hash after it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConversationId([u8; 16]);

/// What kind of conversation an id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConversationKind {
    /// Between these two, the smaller id first; they are the same for notes to oneself.
    Direct(UserId, UserId),
    /// Any number of members, kept in the store.
    Group,
}

impl ConversationId {
    /// The direct conversation between two users.
    pub fn direct(a: UserId, b: UserId) -> Self {
        let (low, high) = if a <= b { (a, b) } else { (b, a) };
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&low.as_u64().to_be_bytes());
        bytes[8..].copy_from_slice(&high.as_u64().to_be_bytes());
        Self(bytes)
    }

    /// A group, from 16 bytes of a hash or of randomness whose top bit is overwritten.
    pub fn group(mut random: [u8; 16]) -> Self {
        random[0] |= 0x80;
        Self(random)
    }

    /// Checks that these bytes name a group, or two valid users in ascending order.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, InvalidConversationId> {
        let bytes: [u8; 16] = bytes.try_into().map_err(|_| InvalidConversationId)?;
        let id = Self(bytes);
        if !id.is_group() {
            let (low, high) = id.halves();
            if low > high || UserId::new(low).is_err() || UserId::new(high).is_err() {
                return Err(InvalidConversationId);
            }
        }
        Ok(id)
    }

    /// What the id says by itself.
    pub fn kind(&self) -> ConversationKind {
        let (low, high) = self.halves();
        match (self.is_group(), UserId::new(low), UserId::new(high)) {
            (false, Ok(low), Ok(high)) => ConversationKind::Direct(low, high),
            _ => ConversationKind::Group,
        }
    }

    /// The other user of a direct conversation that `user` takes part in; `user` again for notes to oneself.
    pub fn peer_of(&self, user: UserId) -> Option<UserId> {
        match self.kind() {
            ConversationKind::Direct(low, high) if low == user => Some(high),
            ConversationKind::Direct(low, high) if high == user => Some(low),
            _ => None,
        }
    }

    /// The raw bytes, whose order is the order of conversations everywhere.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// A copy for a protobuf field.
    pub fn to_bytes(self) -> Bytes {
        Bytes::copy_from_slice(&self.0)
    }

    fn is_group(&self) -> bool {
        self.0[0] & 0x80 != 0
    }

    fn halves(&self) -> (u64, u64) {
        let both = u128::from_be_bytes(self.0);
        ((both >> 64) as u64, both as u64)
    }
}

impl fmt::Debug for ConversationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind() {
            ConversationKind::Direct(low, high) => write!(f, "direct:{:x}+{:x}", low.as_u64(), high.as_u64()),
            ConversationKind::Group => write!(f, "group:{:032x}", u128::from_be_bytes(self.0)),
        }
    }
}

/// Bytes that name no conversation. The peer's error: answer it with `INVALID_ARGUMENT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("conversation_id is 16 bytes: two user ids in ascending order, or a group's id")]
pub struct InvalidConversationId;

#[cfg(test)]
mod tests {
    use super::*;

    fn user(raw: u64) -> UserId {
        UserId::new(raw).unwrap()
    }

    #[test]
    fn a_direct_conversation_is_the_same_whoever_writes_first() {
        assert_eq!(ConversationId::direct(user(7), user(3)), ConversationId::direct(user(3), user(7)));
        assert_eq!(ConversationId::direct(user(7), user(3)).kind(), ConversationKind::Direct(user(3), user(7)));
    }

    #[test]
    fn a_group_never_looks_like_a_direct_conversation() {
        let group = ConversationId::group([0x01; 16]);
        assert_eq!(group.kind(), ConversationKind::Group);
        assert_eq!(ConversationId::from_slice(group.as_bytes()), Ok(group));
    }

    #[test]
    fn descending_or_zero_users_are_no_conversation() {
        let mut bytes = *ConversationId::direct(user(3), user(7)).as_bytes();
        bytes.rotate_left(8);
        assert_eq!(ConversationId::from_slice(&bytes), Err(InvalidConversationId));
        assert_eq!(ConversationId::from_slice(&[0; 16]), Err(InvalidConversationId));
        assert_eq!(ConversationId::from_slice(&[1; 15]), Err(InvalidConversationId));
    }

    #[test]
    fn the_peer_is_the_other_one() {
        let id = ConversationId::direct(user(3), user(7));
        assert_eq!(id.peer_of(user(3)), Some(user(7)));
        assert_eq!(id.peer_of(user(7)), Some(user(3)));
        assert_eq!(id.peer_of(user(5)), None);
        assert_eq!(ConversationId::direct(user(3), user(3)).peer_of(user(3)), Some(user(3)));
    }
}
