//! An allocator that counts, for what a part keeps and what its hot path allocates.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

/// The system's allocator, with a count for each thread. A program that wants to know makes it its global allocator.
///
/// What another thread frees is not missing from the count of the one that allocated it, so only what stays on one thread
/// can be told.
pub struct Counted;

/// What the present thread asked a [`Counted`] allocator for so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allocated {
    /// Bytes that it has now, as asked for: an allocator may round them up.
    pub bytes: i64,
    /// How often it asked for memory, or for more of it.
    pub times: u64,
}

thread_local! {
    // Neither needs to be made or dropped, which might allocate.
    static BYTES: Cell<i64> = const { Cell::new(0) };
    static TIMES: Cell<u64> = const { Cell::new(0) };
}

impl Allocated {
    /// So far, on this thread. All zero unless the program's allocator is [`Counted`].
    pub fn now() -> Self {
        Self { bytes: BYTES.get(), times: TIMES.get() }
    }

    /// Since then, on the same thread.
    pub fn since(self, earlier: Self) -> Self {
        Self { bytes: self.bytes - earlier.bytes, times: self.times - earlier.times }
    }
}

fn count(bytes: i64, times: u64) {
    BYTES.set(BYTES.get() + bytes);
    TIMES.set(TIMES.get() + times);
}

// SAFETY: every call goes to the system's allocator with the arguments as they are; counting neither allocates nor unwinds
// (a sum of bytes that exist stays below 2^63).
#[allow(unsafe_code, reason = "there is no safe way to be a global allocator")]
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64, 1);
        // SAFETY: the caller's promises are the ones that are asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64, 1);
        // SAFETY: the caller's promises are the ones that are asked for.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count(bytes as i64 - layout.size() as i64, 1);
        // SAFETY: the caller's promises are the ones that are asked for.
        unsafe { System.realloc(memory, layout, bytes) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-(layout.size() as i64), 0);
        // SAFETY: the caller's promises are the ones that are asked for.
        unsafe { System.dealloc(memory, layout) }
    }
}
