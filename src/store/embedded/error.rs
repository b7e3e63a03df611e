//! What can go wrong with an embedded store.

use crate::store::{StoreError, rows::DamagedRow};
use std::{
    io,
    path::{Path, PathBuf},
};
use thiserror::Error;

/// Why a store could not be opened. Nothing is served; the directory keeps what it had.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process has it open. Stop that one, or choose another directory.
    #[error("another godwit process uses {}", .dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// A file or directory could not be made, read or written.
    #[error("cannot use {}: {source}", .path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A copy into it was begun and not completed.
    #[error(
        "a copy into {} is not complete. Begin it again: it goes on where it was; or delete the directory", .dir.display()
    )]
    CopyIncomplete {
        /// The store's directory.
        dir: PathBuf,
    },
    /// Everything was to be copied into a store that has something.
    #[error(
        "{} is a store already. If a copy into it was finished, it is ready: set `store` to it; else copy into a directory that \
         is not there yet", .dir.display()
    )]
    NotEmpty {
        /// The store's directory.
        dir: PathBuf,
    },
    /// Everything was to be copied among files that are not a store's.
    #[error(
        "{} has files that are not a store's. Copy into a directory that is empty or not there yet", .dir.display()
    )]
    Occupied {
        /// The directory.
        dir: PathBuf,
    },
    /// Commits that were acknowledged are not there any more: the disk lost or damaged a part of the journal.
    #[error(
        "{} has lost acknowledged commits: {expected} were durable, but only {found} are there. The disk lost or damaged a \
         part of the journal{}. Restore a backup; or, to go on with what is left, delete {} and start again",
        .dir.display(), kept_copy(.torn.as_deref()), .guard.display()
    )]
    CommitsMissing {
        /// The store's directory.
        dir: PathBuf,
        /// The file that remembers how many there were.
        guard: PathBuf,
        /// The newest commit that was durable.
        expected: u64,
        /// The newest commit that was found.
        found: u64,
        /// A copy of the journal as it was found, damage and all, for whoever can read it.
        torn: Option<PathBuf>,
    },
    /// What is there contradicts itself, or cannot be read.
    #[error("{} is damaged: {detail}. Restore a backup", .dir.display())]
    Damaged {
        /// The store's directory.
        dir: PathBuf,
        /// What was found.
        detail: String,
    },
    /// Written by a version of godwit that this one does not know.
    #[error("{} has store format {found}, and this version of godwit knows only {known}", .dir.display())]
    Format {
        /// The store's directory.
        dir: PathBuf,
        /// What is there.
        found: u64,
        /// What is understood.
        known: u64,
    },
    /// The storage engine refused.
    #[error("the storage engine cannot open {}: {source}", .dir.display())]
    Engine {
        /// The store's directory.
        dir: PathBuf,
        /// Its error.
        source: fjall::Error,
    },
}

fn kept_copy(torn: Option<&Path>) -> String {
    torn.map(|torn| format!(" (kept as {})", torn.display())).unwrap_or_default()
}

/// Why rows could not be read. Callers of the store see it as [`StoreError::Unavailable`].
#[derive(Debug, Error)]
pub(super) enum RowError {
    /// A write of the engine's own failed before, and it takes no more.
    #[error(
        "the storage engine gave up after a write of its own had failed, perhaps on a full disk; opening it again helps"
    )]
    Poisoned,
    /// The engine failed.
    #[error(transparent)]
    Engine(fjall::Error),
    /// A row is not what was written.
    #[error("damaged row: {0}")]
    Damaged(String),
}

impl From<fjall::Error> for RowError {
    fn from(error: fjall::Error) -> Self {
        match error {
            fjall::Error::Poisoned => Self::Poisoned,
            error => Self::Engine(error),
        }
    }
}

impl From<prost::DecodeError> for RowError {
    fn from(error: prost::DecodeError) -> Self {
        Self::Damaged(error.to_string())
    }
}

impl From<DamagedRow> for RowError {
    fn from(DamagedRow(what): DamagedRow) -> Self {
        Self::Damaged(what)
    }
}

impl From<RowError> for StoreError {
    fn from(error: RowError) -> Self {
        tracing::error!(%error, "a read from the store failed");
        Self::Unavailable(error.to_string())
    }
}
