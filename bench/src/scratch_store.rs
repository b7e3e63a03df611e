//! The embedded store, in a directory that vanishes with it.

use crate::{append, runs_once};
use godwit::store::{
    CommitOutcome, LogStore,
    embedded::{Embedded, EmbeddedOptions},
};
use godwit_proto::ConversationId;
use std::{future::Future, path::Path, time::Duration};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Entries that one commit of [`ScratchStore::fill`] appends.
const FILL_ENTRIES: u64 = 500;

/// An open store. The field order matters: the store is closed before its directory goes.
pub struct ScratchStore {
    store: Embedded,
    waiting: Runtime,
    dir: TempDir,
}

impl ScratchStore {
    /// A new store below `parent`, which should be on a real disk: a sync of a file in memory costs nothing, and is all
    /// that it takes to see that a benchmark runs.
    pub fn open(parent: impl AsRef<Path>, set: impl FnOnce(&mut EmbeddedOptions)) -> Self {
        let memory = Path::new("/dev/shm");
        let parent = if runs_once() && memory.is_dir() { memory } else { parent.as_ref() };
        std::fs::create_dir_all(parent).unwrap();
        Self::open_in(tempfile::tempdir_in(parent).unwrap(), set)
    }

    /// Closes the store and opens it again with other options.
    pub fn reopen(self, set: impl FnOnce(&mut EmbeddedOptions)) -> Self {
        self.store.close();
        Self::open_in(self.dir, set)
    }

    fn open_in(dir: TempDir, set: impl FnOnce(&mut EmbeddedOptions)) -> Self {
        let mut options = EmbeddedOptions::new(dir.path());
        set(&mut options);
        let store = Embedded::open(options).unwrap();
        Self { store, waiting: tokio::runtime::Builder::new_current_thread().build().unwrap(), dir }
    }

    /// The store itself. Clones share it.
    pub fn store(&self) -> &Embedded {
        &self.store
    }

    /// Blocks until the store answers.
    pub fn wait<F: Future>(&self, answer: F) -> F::Output {
        self.waiting.block_on(answer)
    }

    /// Begins a conversation with this many entries, which come so fast that they share rows.
    pub fn fill(&self, conversation: ConversationId, entries: u64) {
        let mut first = 1;
        while first <= entries {
            let last = entries.min(first + FILL_ENTRIES - 1);
            let outcomes = self.wait(self.store.commit(vec![append(conversation, first..=last)]));
            assert_eq!(outcomes, [CommitOutcome::Durable]);
            first = last + 1;
        }
    }
}

/// For [`ScratchStore::open`]: what is committed stays in memory until there is very much of it.
pub fn keep_pending(options: &mut EmbeddedOptions) {
    options.behind_delay = Duration::from_secs(24 * 3_600);
}
