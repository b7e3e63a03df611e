//! The slots: which one a deadline belongs in, and which one comes next.

use super::chain::{Chain, Entry, Spares};

/// Four levels of 256 slots, each slot of a level as long as the whole level below: 1 ms, 256 ms, 65.5 s, 4.7 h. Together they
/// reach to the end of the current *epoch*, the 49.7 days that deadlines with the same upper half are in.
///
/// A deadline is in the lowest level whose slots tell it from the present. So all entries of one deadline are in one slot, in
/// the order in which they came, and all of a lower level is due before all of a higher one.
pub struct Levels {
    slots: Box<[Chain]>,
    /// A bit a slot, so that empty ones are not walked through.
    occupied: [u64; SLOTS / WORD],
}

/// A slot that has entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occupied {
    /// Of all levels.
    pub slot: usize,
    /// The first millisecond that belongs to the slot.
    pub start: u64,
}

/// In a level.
const LEVEL_SLOTS: usize = 1 << LEVEL_BITS;
const LEVEL_BITS: u32 = 8;
const LEVELS: usize = 4;
/// In all.
const SLOTS: usize = LEVELS * LEVEL_SLOTS;
const WORD: usize = u64::BITS as usize;

/// The epoch that a time is in.
pub fn epoch(time: u64) -> u32 {
    (time >> (LEVELS as u32 * LEVEL_BITS)) as u32
}

impl Levels {
    pub fn new() -> Self {
        Self { slots: (0..SLOTS).map(|_| Chain::default()).collect(), occupied: [0; SLOTS / WORD] }
    }

    /// Adds an entry of the epoch of `present`, due then or later.
    pub fn insert(&mut self, present: u64, entry: Entry, spares: &mut Spares) {
        let different = present as u32 ^ entry.deadline_low;
        let level = (different | 1).ilog2() / LEVEL_BITS;
        let slot = level as usize * LEVEL_SLOTS + digit(entry.deadline_low.into(), level);
        self.slots[slot].push(entry, spares);
        self.occupied[slot / WORD] |= 1 << (slot % WORD);
    }

    /// What is due at `present` to the millisecond, as far as it was not taken before.
    pub fn take_present(&mut self, present: u64) -> Chain {
        self.take(digit(present, 0))
    }

    /// Empties a slot.
    pub fn take(&mut self, slot: usize) -> Chain {
        self.occupied[slot / WORD] &= !(1 << (slot % WORD));
        std::mem::take(&mut self.slots[slot])
    }

    /// Gives a slot that was just taken what is left of its entries.
    pub fn put(&mut self, slot: usize, chain: Chain) {
        if !chain.is_empty() {
            self.slots[slot] = chain;
            self.occupied[slot / WORD] |= 1 << (slot % WORD);
        }
    }

    /// Whether something is due at `present` to the millisecond.
    pub fn has_present(&self, present: u64) -> bool {
        !self.slots[digit(present, 0)].is_empty()
    }

    /// The first occupied slot after `present`, which no entry in the levels is due before.
    pub fn after(&self, present: u64) -> Option<Occupied> {
        (0..LEVELS as u32).find_map(|level| {
            let first = level as usize * LEVEL_SLOTS;
            let slot = self.occupied_in(first + digit(present, level) + 1, first + LEVEL_SLOTS)?;
            let shift = level * LEVEL_BITS;
            let upper = present >> shift >> LEVEL_BITS << LEVEL_BITS;
            Some(Occupied { slot, start: (upper | (slot - first) as u64) << shift })
        })
    }

    /// The first occupied slot from `slot` on, in the order of their numbers.
    pub fn occupied_from(&self, slot: usize) -> Option<usize> {
        self.occupied_in(slot, SLOTS)
    }

    /// The first occupied slot of a range that ends with a word.
    fn occupied_in(&self, from: usize, to: usize) -> Option<usize> {
        let (mut word, end) = (from / WORD, to / WORD);
        let mut kept = u64::MAX << (from % WORD);
        while word < end {
            let bits = self.occupied[word] & kept;
            if bits != 0 {
                return Some(word * WORD + bits.trailing_zeros() as usize);
            }
            kept = u64::MAX;
            word += 1;
        }
        None
    }
}

/// The slot of a time within a level.
fn digit(time: u64, level: u32) -> usize {
    (time >> (level * LEVEL_BITS)) as usize % LEVEL_SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(present: u64, deadlines: &[u32]) -> Vec<u64> {
        let (mut levels, mut spares, mut starts) = (Levels::new(), Spares::default(), Vec::new());
        deadlines
            .iter()
            .for_each(|&deadline_low| levels.insert(present, Entry { deadline_low, index: 0 }, &mut spares));
        while let Some(Occupied { slot, start }) = levels.after(present) {
            levels.take(slot);
            starts.push(start);
        }
        starts
    }

    #[test]
    fn a_slot_starts_no_later_than_what_is_in_it() {
        assert_eq!(starts(0, &[1, 255, 256, 0x1_0203, 0x102_0304]), [1, 255, 256, 0x1_0000, 0x100_0000]);
        assert_eq!(starts(0x12_34f0, &[0x12_34ff, 0x12_3500, 0x13_0000]), [0x12_34ff, 0x12_3500, 0x13_0000]);
        let present = 0x7_0000_00fe;
        assert_eq!(starts(present, &[0xff, 0x100, u32::MAX]), [0x7_0000_00ff, 0x7_0000_0100, 0x7_ff00_0000]);
    }

    #[test]
    fn what_is_due_at_present_does_not_come_after_it() {
        assert_eq!(starts(0x100, &[0x100]), [0; 0]);
        let (mut levels, mut spares) = (Levels::new(), Spares::default());
        levels.insert(0x100, Entry { deadline_low: 0x100, index: 0 }, &mut spares);
        assert!(levels.has_present(0x100) && !levels.take_present(0x100).is_empty() && !levels.has_present(0x100));
    }
}
