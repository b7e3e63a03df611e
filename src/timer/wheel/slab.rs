//! Where payloads wait, by number, for as long as a slot of the wheel has that number.

use super::chain;
use std::mem;

/// Names one entry of one wheel.
///
/// The number of its place, which is used again, and a number of its own, so that the handle of an entry that fired or was
/// cancelled finds nothing. Those are used again after 4 billion inserts: do not keep a handle for weeks that did its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimerHandle {
    pub(super) index: u32,
    generation: u32,
}

/// Payloads by index, in pages, so that growing moves nothing and a page that nobody uses can be given back.
pub struct Slab<T> {
    /// Without entries once given back.
    pages: Vec<Box<[Entry<T>]>>,
    uses: Vec<PageUse>,
    /// The pages that have memory and a free entry. The last one is filled first.
    room: Vec<u32>,
    /// The pages without memory.
    vacant: Vec<u32>,
    /// Of the next entry.
    generation: u32,
    /// Entries that are not free, and how many that were at most since the peak was forgotten.
    used: usize,
    used_max: usize,
}

/// 8 bytes beside the payload: the discriminant lies beside the generation.
enum Entry<T> {
    Free {
        /// In this page.
        next: u32,
    },
    Waiting {
        generation: u32,
        payload: T,
    },
    /// A slot still has its index, which must not become that of another entry before the slot lets go of it.
    Cancelled,
}

struct PageUse {
    /// The first free entry, or [`FULL`].
    free: u32,
    used: u32,
}

/// 16 KiB with payloads of 8 bytes.
const PAGE_ENTRIES: usize = 1 << PAGE_BITS;
const PAGE_BITS: u32 = 10;

const FULL: u32 = u32::MAX;

/// A block is looked at as a whole.
const _: () = assert!(chain::BLOCK_ENTRIES <= u32::BITS as usize);

/// Pages given back at once: a turn of a core must not stand still for a burst that is long over.
const PAGES_BACK_MAX: usize = 16;

impl<T> Slab<T> {
    pub fn new() -> Self {
        Self {
            pages: Vec::new(),
            uses: Vec::new(),
            room: Vec::new(),
            vacant: Vec::new(),
            generation: 0,
            used: 0,
            used_max: 0,
        }
    }

    pub fn insert(&mut self, payload: T) -> TimerHandle {
        let page = self.room.last().copied().unwrap_or_else(|| self.add_page());
        let PageUse { free, used } = &mut self.uses[page as usize];
        let entry = &mut self.pages[page as usize][*free as usize];
        let Entry::Free { next } = *entry else { unreachable!("the list of free entries has only those") };
        let handle = TimerHandle { index: page << PAGE_BITS | *free, generation: self.generation };
        *entry = Entry::Waiting { generation: self.generation, payload };
        self.generation = self.generation.wrapping_add(1);
        *free = next;
        *used += 1;
        if next == FULL {
            self.room.pop();
        }
        self.used += 1;
        self.used_max = self.used_max.max(self.used);
        handle
    }

    /// Takes the payload of an entry that waits. Its index stays taken until [`release`](Self::release).
    pub fn cancel(&mut self, handle: TimerHandle) -> Option<T> {
        let (page, at) = split(handle.index);
        let entry = self.pages.get_mut(page)?.get_mut(at)?;
        match entry {
            Entry::Waiting { generation, .. } if *generation == handle.generation => {
                match mem::replace(entry, Entry::Cancelled) {
                    Entry::Waiting { payload, .. } => Some(payload),
                    Entry::Free { .. } | Entry::Cancelled => None,
                }
            }
            _ => None,
        }
    }

    /// Not so of one that was cancelled.
    pub fn is_waiting(&self, index: u32) -> bool {
        let (page, at) = split(index);
        matches!(self.pages[page][at], Entry::Waiting { .. })
    }

    /// Which of up to 32 entries wait: a bit each, the lowest for the first.
    ///
    /// They lie anywhere in memory. Looking at all of them before anything is decided about one lets the processor fetch
    /// them at the same time, which makes expiry and sweeping twice as fast.
    pub fn waiting(&self, entries: &[chain::Entry]) -> u32 {
        let bits = entries.iter().zip(0..).map(|(entry, at)| u32::from(self.is_waiting(entry.index)) << at);
        bits.fold(0, |all, bit| all | bit)
    }

    /// Lets go of an index, for good. The payload, unless it was cancelled.
    pub fn release(&mut self, index: u32) -> Option<T> {
        let (page, at) = split(index);
        let PageUse { free, used } = &mut self.uses[page];
        if *free == FULL {
            self.room.push(page as u32);
        }
        let entry = mem::replace(&mut self.pages[page][at], Entry::Free { next: *free });
        *free = at as u32;
        *used -= 1;
        self.used -= 1;
        match entry {
            Entry::Waiting { payload, .. } => Some(payload),
            Entry::Cancelled => None,
            Entry::Free { .. } => unreachable!("an index is released once"),
        }
    }

    /// Gives back pages that nobody has used since [`forget_peak`](Self::forget_peak); whether those were all.
    pub fn give_back(&mut self) -> bool {
        let kept = (self.used_max + self.used_max / 4).div_ceil(PAGE_ENTRIES).max(1);
        let spare = (self.pages.len() - self.vacant.len()).saturating_sub(kept);
        let mut left = spare.min(PAGES_BACK_MAX);
        if left == 0 {
            return true;
        }
        let Self { pages, uses, room, vacant, .. } = self;
        room.retain(|&page| {
            let unused = left > 0 && uses[page as usize].used == 0;
            if unused {
                left -= 1;
                pages[page as usize] = Box::default();
                vacant.push(page);
            }
            !unused
        });
        // Some are left to be given back, but no page is unused.
        spare <= PAGES_BACK_MAX || left > 0
    }

    /// From now on, only what is used from now on counts as used.
    pub fn forget_peak(&mut self) {
        self.used_max = self.used;
    }

    fn add_page(&mut self) -> u32 {
        let free = |at| Entry::Free { next: if at + 1 == PAGE_ENTRIES as u32 { FULL } else { at + 1 } };
        let entries = (0..PAGE_ENTRIES as u32).map(free).collect();
        let page = if let Some(page) = self.vacant.pop() {
            self.pages[page as usize] = entries;
            self.uses[page as usize] = PageUse { free: 0, used: 0 };
            page
        } else {
            assert!(self.pages.len() < 1 << (u32::BITS - PAGE_BITS), "a wheel has at most 4 billion entries");
            self.pages.push(entries);
            self.uses.push(PageUse { free: 0, used: 0 });
            self.pages.len() as u32 - 1
        };
        self.room.push(page);
        page
    }
}

fn split(index: u32) -> (usize, usize) {
    ((index >> PAGE_BITS) as usize, index as usize & (PAGE_ENTRIES - 1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    #[test]
    fn an_entry_takes_8_bytes_more_than_its_payload() {
        assert_eq!(size_of::<Entry<u64>>(), 16);
        assert_eq!(size_of::<Entry<[u32; 3]>>(), 20);
        assert_eq!(size_of::<Entry<(u64, u64)>>(), 24);
    }

    #[test]
    fn an_index_that_was_cancelled_is_not_used_again_before_it_is_released() {
        let mut slab = Slab::new();
        let first = slab.insert('a');
        assert_eq!(slab.cancel(first), Some('a'));
        let second = slab.insert('b');
        assert_ne!(second.index, first.index);
        assert_eq!(slab.release(first.index), None);
        let third = slab.insert('c');
        assert_eq!(third.index, first.index);
        assert_eq!((slab.cancel(first), slab.cancel(third)), (None, Some('c')));
    }

    #[test]
    fn pages_that_a_burst_needed_are_given_back_and_its_handles_stay_dead() {
        let mut slab = Slab::new();
        let pages = 3 * PAGES_BACK_MAX;
        let handles: Vec<_> = (0..pages * PAGE_ENTRIES).map(|n| slab.insert(n)).collect();
        handles.iter().for_each(|handle| assert!(slab.release(handle.index).is_some()));

        assert!(slab.give_back(), "the burst was a moment ago");
        assert_eq!(slab.vacant.len(), 0);
        slab.forget_peak();
        let mut calls = 1;
        while !slab.give_back() {
            calls += 1;
        }
        assert_eq!((slab.vacant.len(), calls), (pages - 1, 3));

        handles.iter().for_each(|handle| assert_eq!(slab.cancel(*handle), None));
        (0..pages * PAGE_ENTRIES).for_each(|n| _ = slab.insert(n));
        handles.iter().for_each(|handle| assert_eq!(slab.cancel(*handle), None));
        assert_eq!((slab.pages.len(), slab.vacant.len()), (pages, 0));
    }
}
