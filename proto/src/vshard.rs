//! Virtual shards: the fixed number of slots that users and conversations hash to.

use crate::{ConversationId, UserId};

/// How many virtual shards there are. Never changes: rows in the store and connection IDs are made from it.
pub const VSHARDS: u16 = 4096;

/// One of [`VSHARDS`] slots. Everything that hashes to one slot is owned by one core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vshard(u16);

impl Vshard {
    /// The slot of a user.
    pub fn of_user(user: UserId) -> Self {
        Self::of_hash(mix(user.as_u64()))
    }

    /// The slot of a conversation.
    pub fn of_conversation(conversation: ConversationId) -> Self {
        let both = u128::from_be_bytes(*conversation.as_bytes());
        Self::of_hash(mix(mix((both >> 64) as u64) ^ both as u64))
    }

    /// The slot number, 0..4096.
    pub const fn index(self) -> u16 {
        self.0
    }

    fn of_hash(hash: u64) -> Self {
        Self((hash % u64::from(VSHARDS)) as u16)
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, 2014): every input bit changes every output bit.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_never_change() {
        // Stored rows and other implementations depend on these values.
        assert_eq!(Vshard::of_user(UserId::new(1).unwrap()).index(), 0x5e5);
        let direct = ConversationId::direct(UserId::new(1).unwrap(), UserId::new(2).unwrap());
        assert_eq!(Vshard::of_conversation(direct).index(), 0xeeb);
    }

    #[test]
    fn neighbouring_users_spread_over_the_slots() {
        let mut seen = [0u32; VSHARDS as usize];
        for raw in 1..=40_960 {
            seen[usize::from(Vshard::of_user(UserId::new(raw).unwrap()).index())] += 1;
        }
        assert!(seen.iter().all(|&count| count > 0 && count < 40));
    }
}
