//! The store in one directory, for one process: no server to install.
//!
//! One thread makes things durable. It takes everything that waits and writes it as one *record* with one sync
//! (`commit_thread`); then the record lies in the `overlay`, where readers see it, and is written *behind* as rows by
//! conversation and timer, in large unsynced batches (`behind`, `round`). A record is removed once its rows are durable, and what
//! a crash leaves lies in the overlay again when the store is opened (`recovery`). A record a turn costs a fraction of a row a
//! message, and rows sorted by conversation are what reads want.
//!
//! An entry may give way to another one of its seq (`rewrite`), and what it said is taken out of the files some time later (`tidy`).
//!
//! Underneath is `fjall`, whose known fault (damage in its journal reads as its end) is covered by numbered records and a
//! small file beside it (`guard`), and by a look at the journals before the engine sees them (`journal`).

mod acked;
mod behind;
mod commit_thread;
mod copying;
mod disk_space;
mod error;
mod guard;
mod heads;
mod inventory;
mod journal;
mod keys;
mod keyspaces;
mod log_reads;
mod metric_names;
mod options;
mod overlay;
mod queue;
mod readers;
mod record;
mod recovery;
mod rewrite;
mod round;
mod rows;
mod sends;
mod shared;
mod store_impl;
mod sync;
mod tidy;
mod timer_overlay;
mod timer_reads;
mod timer_round;
mod timers;
mod turn;
mod users;
mod watchdog;

pub use error::OpenError;
pub use options::{DiskProbe, EmbeddedOptions, OnFatal};

use acked::Acked;
use behind::WriteBehind;
use commit_thread::{CommitThread, Write};
use guard::Guard;
use keyspaces::Keyspaces;
use queue::{Queue, Weight};
use readers::Readers;
use recovery::{Expected, Recovered};
use shared::Shared;
use std::{
    fs::{DirBuilder, File, TryLockError},
    io,
    os::unix::fs::DirBuilderExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};
use sync::{Fatal, lock, spawn};
use tidy::Tidy;

/// An open store. Clones share it; the last one to go closes it.
#[derive(Clone)]
pub struct Embedded {
    inner: Arc<Inner>,
}

struct Inner {
    writes: Arc<Queue<Write>>,
    readers: Readers,
    acked: Arc<Acked>,
    fatal: Arc<Fatal>,
    /// Taken by whoever closes. The threads own the engine: with them it goes, and the directory's lock after it.
    running: Mutex<Option<Running>>,
}

struct Running {
    shared: Arc<Shared>,
    committing: JoinHandle<()>,
    behind: JoinHandle<()>,
    watching: JoinHandle<()>,
    reading: Vec<JoinHandle<()>>,
    lock: File,
    dir: PathBuf,
}

impl Embedded {
    /// Opens the store in a directory, which is made if it is not there. Blocks: it may have to read back a journal.
    // By value: whoever opens a store is done with its options.
    #[allow(clippy::needless_pass_by_value)]
    pub fn open(options: EmbeddedOptions) -> Result<Self, OpenError> {
        let dir = options.dir.as_path();
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Io { path, source }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(at(dir))?;
        let guard_path = guard::path(dir);
        if options.receives_copy {
            copying::refuse_others(dir, guard_path.exists())?;
        }
        let lock = lock_dir(dir)?;
        copying::check(dir, options.receives_copy, guard_path.exists())?;
        let (guard, expected) = Guard::open(&guard_path, dir)?;
        let engine = dir.join("db");
        match expected {
            _ if engine.exists() => {}
            None => create_engine(&engine, &options)?,
            Some(expected) => {
                let dir = dir.to_owned();
                return Err(OpenError::CommitsMissing { dir, guard: guard_path, expected, found: 0, torn: None });
            }
        }
        let torn = journal::check(&engine, dir)?;
        let keyspaces = open_engine(&engine, &options)?;
        let expected = Expected { number: expected.unwrap_or(0), guard: &guard_path, torn: torn.as_deref() };
        let recovered = recovery::recover(&keyspaces, &expected, dir)?;
        if let Some(torn) = torn {
            // Only what was never acknowledged is in it.
            std::fs::remove_file(&torn).map_err(at(&torn))?;
        }
        if recovered.newest() > 0 {
            guard.write(recovered.newest()).map_err(at(&guard_path))?;
        }
        guard.sync().map_err(at(&guard_path))?;
        // The names of the files have to last as much as their contents, and the directory's own name too; but whoever may
        // not read the directory's parent has had it made by somebody else.
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(at(dir))?;
        if let Some(parent) = std::fs::canonicalize(dir).map_err(at(dir))?.parent()
            && let Ok(parent) = File::open(parent)
        {
            parent.sync_all().map_err(at(dir))?;
        }
        Self::start(keyspaces, guard, recovered, lock, &options).map_err(at(dir))
    }

    fn start(
        keyspaces: Keyspaces,
        guard: Guard,
        recovered: Recovered,
        lock: File,
        options: &EmbeddedOptions,
    ) -> io::Result<Self> {
        let fatal = Arc::new(Fatal::new(options.on_fatal.clone()));
        let acked = Arc::new(Acked::new(options.acked_pending_max));
        let (newest, removed_upto) = (recovered.newest(), recovered.removed_upto);
        let shared = Arc::new(Shared::new(keyspaces, guard, recovered, acked.clone(), fatal.clone(), options));
        let writes = Arc::new(Queue::new(Weight { items: options.queue_commits_max, bytes: options.queue_bytes_max }));
        let turn_max = Weight { items: options.turn_commits_max, bytes: options.turn_bytes_max };
        let commit = CommitThread::new(shared.clone(), writes.clone(), turn_max, options.heads_max, newest);
        let behind = WriteBehind::new(
            shared.clone(),
            removed_upto,
            Tidy::new(options.dir.join("db"), options.withdrawn_stay_max),
        );
        let (readers, reading) = Readers::start(options.readers, options.reads_max, &shared, &fatal)?;
        let running = Running {
            committing: spawn("store-commit", fatal.clone(), move || commit.run())?,
            behind: spawn("store-behind", fatal.clone(), move || behind.run())?,
            watching: {
                let (shared, fatal) = (shared.clone(), fatal.clone());
                spawn("store-watch", fatal.clone(), move || shared.watchdog.run(&fatal))?
            },
            reading,
            shared,
            lock,
            dir: options.dir.clone(),
        };
        let running = Mutex::new(Some(running));
        Ok(Self { inner: Arc::new(Inner { writes, readers, acked, fatal, running }) })
    }

    /// Waits until everything that was answered is in rows that are durable: before a copy of the directory is made, say.
    /// Blocks. Fails when the disk is full or the store is closed.
    pub fn settle(&self) -> Result<(), crate::store::StoreError> {
        let shared = lock(&self.inner.running).as_ref().map(|running| running.shared.clone());
        shared.ok_or_else(readers::closed)?.settle()
    }

    /// All that was to be copied into it is there: from now on it opens like any other.
    pub fn copy_complete(&self) -> io::Result<()> {
        match &*lock(&self.inner.running) {
            Some(running) => copying::complete(&running.dir),
            None => Err(io::Error::other("the store is closed")),
        }
    }

    /// Answers what waits, writes everything behind, ends the threads and gives the directory free. Blocks. Calls that come
    /// later are answered as unavailable.
    pub fn close(&self) {
        self.inner.close();
    }
}

impl Inner {
    fn close(&self) {
        let Some(running) = lock(&self.running).take() else { return };
        self.writes.close();
        self.readers.close();
        // A panic in a thread was reported by the thread.
        drop(running.committing.join());
        for reading in running.reading {
            drop(reading.join());
        }
        // Only now is there nothing more to come.
        running.shared.close();
        drop(running.behind.join());
        running.shared.watchdog.close();
        drop(running.watching.join());
        drop(running.shared);
        drop(running.lock);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedded").field("failed", &self.inner.fatal.has_failed()).finish_non_exhaustive()
    }
}

/// The file that is locked while a process has the directory.
const LOCK: &str = "lock";

/// Takes the directory for this process. The lock goes with the file, also when the process is killed.
fn lock_dir(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join(LOCK);
    let failed = |source| OpenError::Io { path: path.clone(), source };
    let file = File::options().write(true).create(true).truncate(false).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Makes the engine's directory whole before it gets its name, so that a crash in between leaves none.
fn create_engine(engine: &Path, options: &EmbeddedOptions) -> Result<(), OpenError> {
    let new = engine.with_extension("new");
    let failed = |source| OpenError::Io { path: new.clone(), source };
    if new.exists() {
        std::fs::remove_dir_all(&new).map_err(failed)?;
    }
    recovery::format(&open_engine(&new, options)?)
        .map_err(|source| OpenError::Engine { dir: options.dir.clone(), source })?;
    std::fs::rename(&new, engine).map_err(failed)
}

fn open_engine(engine: &Path, options: &EmbeddedOptions) -> Result<Keyspaces, OpenError> {
    // The engine asserts where it could report that files do not fit together.
    match catch_unwind(AssertUnwindSafe(|| Keyspaces::open(engine, options))) {
        Ok(opened) => opened.map_err(|source| OpenError::Engine { dir: options.dir.clone(), source }),
        Err(_) => {
            Err(OpenError::Damaged { dir: options.dir.clone(), detail: "the storage engine panicked on it".to_owned() })
        }
    }
}
