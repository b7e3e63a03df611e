//! Entries in the order in which they came, in blocks of contiguous memory that all chains of a wheel share.

/// What a slot knows of an entry. The upper half of its deadline is that of all entries in the slot.
#[derive(Debug, Clone, Copy, Default)]
pub struct Entry {
    /// The lower half of the deadline.
    pub deadline_low: u32,
    /// Where the payload is.
    pub index: u32,
}

/// Entries in the order in which they came.
///
/// A chain that grows has its newest block first, which is all that adding to it touches. [`in_order`](Self::in_order) turns
/// it round for reading.
#[derive(Default)]
pub struct Chain {
    head: Option<Box<Block>>,
}

/// 256 bytes.
pub struct Block {
    entries: [Entry; BLOCK_ENTRIES],
    len: u32,
    next: Option<Box<Block>>,
}

/// Blocks that no chain needs, kept for those that will.
#[derive(Default)]
pub struct Spares {
    blocks: Chain,
    len: usize,
    /// Blocks in chains, and how many there were at most since the peak was forgotten.
    used: usize,
    used_max: usize,
}

pub const BLOCK_ENTRIES: usize = 30;

/// Kept beside what was needed: a coarse slot that comes up takes a new block for each of so many finer ones.
const SPARES_MIN: usize = 256;

/// Blocks given back at once: a turn of a core must not stand still for a burst that is long over.
const BLOCKS_BACK_MAX: usize = 512;

impl Chain {
    pub fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    /// To a chain that was not turned round.
    #[inline]
    pub fn push(&mut self, entry: Entry, spares: &mut Spares) {
        match &mut self.head {
            Some(block) if (block.len as usize) < BLOCK_ENTRIES => {
                block.entries[block.len as usize] = entry;
                block.len += 1;
            }
            _ => self.push_block(entry, spares),
        }
    }

    #[cold]
    fn push_block(&mut self, entry: Entry, spares: &mut Spares) {
        let mut block = spares.take();
        block.entries[0] = entry;
        block.len = 1;
        self.put(block);
    }

    /// The oldest block first.
    pub fn in_order(mut self) -> Self {
        let mut turned = Self::default();
        while let Some(block) = self.pop() {
            turned.put(block);
        }
        turned
    }

    /// Takes the first block: the oldest of a chain in order.
    pub fn pop(&mut self) -> Option<Box<Block>> {
        let mut block = self.head.take()?;
        self.head = block.next.take();
        Some(block)
    }

    /// Puts a block in front.
    pub fn put(&mut self, mut block: Box<Block>) {
        block.next = self.head.take();
        self.head = Some(block);
    }
}

impl Drop for Chain {
    /// One by one: blocks that drop each other would exhaust the stack.
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}

impl Block {
    pub fn entries(&self) -> &[Entry] {
        &self.entries[..self.len as usize]
    }
}

impl Spares {
    fn take(&mut self) -> Box<Block> {
        self.used += 1;
        self.used_max = self.used_max.max(self.used);
        match self.blocks.pop() {
            Some(block) => {
                self.len -= 1;
                block
            }
            None => Box::new(Block { entries: [Entry::default(); BLOCK_ENTRIES], len: 0, next: None }),
        }
    }

    /// Takes back a block that no chain needs any more.
    pub fn put(&mut self, block: Box<Block>) {
        self.blocks.put(block);
        self.len += 1;
        self.used -= 1;
    }

    /// Gives back blocks that nobody has used since [`forget_peak`](Self::forget_peak); whether those were all.
    pub fn give_back(&mut self) -> bool {
        let kept = self.used_max + self.used_max / 4 + SPARES_MIN;
        let spare = (self.used + self.len).saturating_sub(kept).min(self.len);
        for _ in 0..spare.min(BLOCKS_BACK_MAX) {
            drop(self.blocks.pop());
            self.len -= 1;
        }
        spare <= BLOCKS_BACK_MAX
    }

    /// From now on, only what is used from now on counts as used.
    pub fn forget_peak(&mut self) {
        self.used_max = self.used;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indexes(chain: Chain) -> Vec<u32> {
        let (mut chain, mut found) = (chain.in_order(), Vec::new());
        while let Some(block) = chain.pop() {
            found.extend(block.entries().iter().map(|entry| entry.index));
        }
        found
    }

    #[test]
    fn a_block_is_256_bytes() {
        assert_eq!(size_of::<Block>(), 256);
    }

    #[test]
    fn entries_come_out_as_they_went_in() {
        let (mut chain, mut spares) = (Chain::default(), Spares::default());
        (0..100).for_each(|index| chain.push(Entry { deadline_low: 0, index }, &mut spares));
        assert_eq!(indexes(chain), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_long_chain_is_dropped_without_a_deep_stack() {
        let (mut chain, mut spares) = (Chain::default(), Spares::default());
        (0..10_000_000).for_each(|index| chain.push(Entry { deadline_low: 0, index }, &mut spares));
    }

    #[test]
    fn blocks_that_a_burst_needed_are_given_back() {
        let (mut chain, mut spares) = (Chain::default(), Spares::default());
        let blocks = 3 * BLOCKS_BACK_MAX;
        (0..(blocks * BLOCK_ENTRIES) as u32)
            .for_each(|index| chain.push(Entry { deadline_low: 0, index }, &mut spares));
        while let Some(block) = chain.pop() {
            spares.put(block);
        }
        assert!(spares.give_back(), "the burst was a moment ago");
        assert_eq!(spares.len, blocks);
        spares.forget_peak();
        let mut calls = 1;
        while !spares.give_back() {
            calls += 1;
        }
        assert_eq!((spares.len, calls), (SPARES_MIN, 3));
    }
}
