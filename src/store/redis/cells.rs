//! What is under way for which conversations and users.
//!
//! Subjects share a fixed number of cells, so that this takes the same memory whatever goes on. Two that share one cost each
//! other a read of the store now and then, and nothing else.

use super::keys::Subject;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// 24 bytes each.
const CELLS: usize = 32_768;

pub(super) struct Cells(Vec<Cell>);

/// One cell, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CellId(usize);

#[derive(Default)]
struct Cell {
    /// Grows whenever the store has changed, before that is answered.
    version: AtomicU64,
    /// The newest call whose changes were passed on.
    call: AtomicU64,
    /// Commits that were begun and whose changes are not dealt with.
    committing: AtomicU32,
    /// Changes that were answered, and that Redis may not have yet.
    behind: AtomicU32,
}

impl Cells {
    pub(super) fn new() -> Self {
        Self((0..CELLS).map(|_| Cell::default()).collect())
    }

    pub(super) fn of(subject: Subject) -> CellId {
        let hash = match subject {
            Subject::Conversation(conversation) => xxh3_64_with_seed(conversation.as_bytes(), 1),
            Subject::List(user) => xxh3_64_with_seed(&user.as_u64().to_be_bytes(), 2),
        };
        CellId(hash as usize % CELLS)
    }

    /// What a read of the store that begins now is at least as new as.
    pub(super) fn version(&self, cell: CellId) -> u64 {
        self.0[cell.0].version.load(SeqCst)
    }

    pub(super) fn is_behind(&self, cell: CellId) -> bool {
        self.0[cell.0].behind.load(SeqCst) > 0
    }

    pub(super) fn is_committing(&self, cell: CellId) -> bool {
        self.0[cell.0].committing.load(SeqCst) > 0
    }

    pub(super) fn commit_begins(&self, cell: CellId) {
        self.0[cell.0].committing.fetch_add(1, SeqCst);
    }

    /// The store has changed. Says whether this is the newest call that has changed anything here; if it is not, its changes
    /// are older than some that were passed on.
    pub(super) fn changed(&self, cell: CellId, call: u64) -> bool {
        let cell = &self.0[cell.0];
        cell.behind.fetch_add(1, SeqCst);
        cell.version.fetch_add(1, SeqCst);
        cell.call.fetch_max(call, SeqCst) <= call
    }

    /// What [`changed`](Self::changed) announced is in Redis, or nothing there is believed.
    pub(super) fn caught_up(&self, cell: CellId) {
        self.0[cell.0].behind.fetch_sub(1, SeqCst);
        self.commit_ends(cell);
    }

    /// A commit ends that changed nothing.
    pub(super) fn commit_ends(&self, cell: CellId) {
        self.0[cell.0].committing.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use godwit_proto::UserId;

    #[test]
    fn a_change_is_behind_until_it_is_caught_up_with() {
        let cells = Cells::new();
        let cell = Cells::of(Subject::List(UserId::new(1).unwrap()));
        let version = cells.version(cell);
        cells.commit_begins(cell);
        assert!(cells.is_committing(cell) && !cells.is_behind(cell));
        assert!(cells.changed(cell, 1));
        assert!(cells.is_behind(cell) && cells.version(cell) > version);
        cells.caught_up(cell);
        assert!(!cells.is_committing(cell) && !cells.is_behind(cell));
    }

    #[test]
    fn a_call_that_is_overtaken_knows_it() {
        let cells = Cells::new();
        let cell = Cells::of(Subject::List(UserId::new(1).unwrap()));
        assert!(cells.changed(cell, 2) && cells.changed(cell, 2));
        assert!(!cells.changed(cell, 1));
    }
}
