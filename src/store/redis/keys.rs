//! How keys are called, and which slice they are in.
//!
//! `{tag}` in a key is what a cluster hashes: all keys of a slice are on one node, so that one script can write them. The
//! tags are chosen so that the slices are spread evenly over the nodes; numbers alone would leave some with twice as many.

use data_encoding::HEXLOWER;
use godwit_proto::{ConversationId, UserId, Vshard};

/// In how many parts the summaries are cut. What is lost in one costs the others nothing.
pub(super) const SLICES: usize = 256;

/// The hash slots of a Redis Cluster.
const SLOTS: u16 = 16_384;

/// What a change of one key is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Subject {
    /// What is true of a conversation, and the rows of its members.
    Conversation(ConversationId),
    /// The conversations of a user.
    List(UserId),
}

impl Subject {
    pub(super) fn slice(self) -> usize {
        let vshard = match self {
            Self::Conversation(conversation) => Vshard::of_conversation(conversation),
            Self::List(user) => Vshard::of_user(user),
        };
        usize::from(vshard.index()) % SLICES
    }
}

/// The names of keys.
pub(super) struct Keys {
    /// `prefix:{tag}` of each slice.
    slices: Vec<String>,
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), slices: tags().iter().map(|tag| format!("{prefix}:{{{tag}}}")).collect() }
    }

    /// Holds which writes of the slice are in Redis.
    pub(super) fn sentinel(&self, slice: usize) -> String {
        format!("{}:s", self.slices[slice])
    }

    pub(super) fn of(&self, subject: Subject) -> String {
        let slice = &self.slices[subject.slice()];
        match subject {
            Subject::Conversation(conversation) => {
                let mut key = String::with_capacity(slice.len() + 3 + 2 * conversation.as_bytes().len());
                key.push_str(slice);
                key.push_str(":c:");
                HEXLOWER.encode_append(conversation.as_bytes(), &mut key);
                key
            }
            Subject::List(user) => format!("{slice}:u:{}", user.as_u64()),
        }
    }
}

/// The sessions of users and the nodes that have them: not part of what a slice's sentinel says.
impl Keys {
    pub(super) fn sessions(&self, user: UserId) -> String {
        format!("{}:p:{}", self.slices[Subject::List(user).slice()], user.as_u64())
    }

    pub(super) fn node(&self, node: &str) -> String {
        format!("{}:n:{node}", self.prefix)
    }
}

/// One hash tag for each slice: the first number whose hash slot is in the slice's part of all slots.
fn tags() -> Vec<u32> {
    let mut tags: Vec<Option<u32>> = vec![None; SLICES];
    let mut missing = SLICES;
    for number in 0.. {
        let slot = crc16(number.to_string().as_bytes()) % SLOTS;
        let tag = &mut tags[usize::from(slot) * SLICES / usize::from(SLOTS)];
        if tag.is_none() {
            *tag = Some(number);
            missing -= 1;
            if missing == 0 {
                break;
            }
        }
    }
    tags.into_iter().flatten().collect()
}

/// CRC-16/XMODEM, as the Redis Cluster specification has it.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(
            crc ^ (u16::from(*byte) << 8),
            |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 },
        )
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_hash_is_the_one_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
    }

    #[test]
    fn slices_are_spread_evenly_over_the_slots() {
        let parts: BTreeSet<_> = tags().iter().map(|tag| crc16(tag.to_string().as_bytes()) % SLOTS / 64).collect();
        assert_eq!(parts.len(), SLICES);
    }

    #[test]
    fn keys_of_a_slice_have_its_tag() {
        let keys = Keys::new("p");
        let user = UserId::new(7).unwrap();
        let list = keys.of(Subject::List(user));
        let sentinel = keys.sentinel(Subject::List(user).slice());
        assert_eq!(list, format!("{}u:7", sentinel.strip_suffix('s').unwrap()));
        assert!(list.starts_with("p:{"));
    }
}
