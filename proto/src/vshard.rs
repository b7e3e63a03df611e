//! Virtual shards: the fixed number of slots that users and conversations hash to.

use crate::{ConversationId, UserId};
use std::fmt;

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

    /// Every slot, ascending.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..VSHARDS).map(Self)
    }

    /// The slot number, 0..4096.
    pub const fn index(self) -> u16 {
        self.0
    }

    fn of_hash(hash: u64) -> Self {
        Self((hash % u64::from(VSHARDS)) as u16)
    }
}

/// Some of the slots, those of one core for example.
#[derive(Clone, PartialEq, Eq)]
pub struct VshardSet([u64; VSHARDS as usize / 64]);

impl VshardSet {
    /// Whether a slot is among them.
    pub const fn contains(&self, vshard: Vshard) -> bool {
        self.0[vshard.0 as usize / 64] >> (vshard.0 % 64) & 1 == 1
    }
}

impl FromIterator<Vshard> for VshardSet {
    fn from_iter<I: IntoIterator<Item = Vshard>>(vshards: I) -> Self {
        let mut set = Self([0; VSHARDS as usize / 64]);
        for Vshard(index) in vshards {
            set.0[usize::from(index) / 64] |= 1 << (index % 64);
        }
        set
    }
}

impl fmt::Debug for VshardSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let vshards = Vshard::all().filter(|vshard| self.contains(*vshard)).map(Vshard::index);
        f.debug_set().entries(vshards).finish()
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
    fn a_set_holds_exactly_the_slots_it_was_made_of() {
        let odd = |vshard: &Vshard| vshard.index() % 3 == 1;
        let set: VshardSet = Vshard::all().filter(odd).collect();
        assert!(Vshard::all().all(|vshard| set.contains(vshard) == odd(&vshard)));
        assert_eq!(Vshard::all().count(), usize::from(VSHARDS));
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
