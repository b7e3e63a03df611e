//! Takes the bytes of withdrawn messages out of the engine's files.
//!
//! A message that gave way to a marker is read no more, but what was written stays in files until the engine merges them or
//! drops them: in the journal and in tables, as part of a record and of a row. Under load that happens by itself before long;
//! a quiet server would keep them for ever. So when the oldest of them has stayed for as long as it may, all that can hold them
//! is written again: a new journal is begun, whatever is in memory becomes tables, for which the older journals go, and the
//! tables are merged.
//!
//! The engine begins a new journal only when the present one is full, so it is filled up. All of this runs on a thread of its
//! own, beside the commits and the write-behind.

use super::{
    error::RowError,
    journal, keys,
    keyspaces::Keyspaces,
    record::Record,
    shared::Shared,
    sync::{Fatal, spawn},
};
use fjall::Keyspace;
use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// When a round of it failed, the next one waits for so long.
const RETRY: Duration = Duration::from_secs(600);
/// How long the engine may take to write what is in memory as tables, or to drop a journal that it does not need.
const ENGINE_PATIENCE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// What a journal is filled up with, and how often: more than the 64 MB at which the engine ends one.
const FILLING_BYTES: usize = 1024 * 1024;
const FILLINGS_MAX: usize = 72;

/// The write-behind's part: knows what is to be done when, and remembers it across restarts.
pub(super) struct Tidy {
    /// The engine's directory.
    engine: PathBuf,
    stay_max: Duration,
    /// When the oldest withdrawn message that may still be in files was withdrawn: milliseconds since the epoch.
    since_ms: Option<u64>,
    running: Option<Running>,
    not_before: Instant,
}

struct Running {
    thread: JoinHandle<()>,
    done: Receiver<Result<(), RowError>>,
    stop: Arc<AtomicBool>,
    since_ms: u64,
}

impl Tidy {
    /// What is to be done is found out by [`load`](Self::load).
    pub(super) fn new(engine: PathBuf, stay_max: Duration) -> Self {
        Self { engine, stay_max, since_ms: None, running: None, not_before: Instant::now() }
    }

    /// Finds out what an earlier process left.
    pub(super) fn load(&mut self, keyspaces: &Keyspaces) -> Result<(), RowError> {
        self.since_ms = keyspaces.meta.get(keys::WITHDRAWN_SINCE)?.map(|value| keys::number(&value)).transpose()?;
        Ok(())
    }

    /// To be told before records become rows.
    pub(super) fn on_round(&mut self, keyspaces: &Keyspaces, records: &[Arc<Record>]) -> Result<(), RowError> {
        if self.since_ms.is_none() && records.iter().any(|record| record.rewrites()) {
            let now_ms = now_ms();
            // While a round runs, what it was begun for stays noted: if the process ends before it does, the next one begins it anew.
            if self.running.is_none() {
                keyspaces.meta.insert(keys::WITHDRAWN_SINCE, now_ms.to_be_bytes())?;
            }
            self.since_ms = Some(now_ms);
        }
        Ok(())
    }

    /// Whether it is time to [`start`](Self::start).
    pub(super) fn is_due(&self) -> bool {
        let due_ms =
            |since_ms: u64| since_ms.saturating_add(u64::try_from(self.stay_max.as_millis()).unwrap_or(u64::MAX));
        let now_ms = now_ms();
        // A clock that was set back does not prolong anything by more than that.
        let is_due = self.since_ms.is_some_and(|since_ms| due_ms(since_ms) <= now_ms || since_ms > now_ms);
        self.running.is_none() && is_due && Instant::now() >= self.not_before
    }

    /// Starts a round, when the records of all rows that are written are gone.
    pub(super) fn start(&mut self, shared: &Shared) -> io::Result<()> {
        let Some(since_ms) = self.since_ms.take() else { return Ok(()) };
        let needed = merged(&shared.keyspaces).map(Keyspace::disk_space).iter().sum();
        if !shared.disk.has_room_for(needed) {
            tracing::warn!(needed, "no room to merge what withdrawn messages left in the store's files");
            self.postpone(since_ms);
            return Ok(());
        }
        tracing::info!("taking what withdrawn messages left out of the store's files");
        let (tell, done) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let work = Work { keyspaces: shared.keyspaces.clone(), engine: self.engine.clone(), stop: stop.clone() };
        let fatal: Arc<Fatal> = shared.fatal.clone();
        let thread = spawn("store-tidy", fatal, move || drop(tell.send(work.run())))?;
        self.running = Some(Running { thread, done, stop, since_ms });
        Ok(())
    }

    /// Looks whether a round has ended.
    pub(super) fn look(&mut self, keyspaces: &Keyspaces) -> Result<(), RowError> {
        let Some(running) = self.running.take_if(|running| running.thread.is_finished()) else { return Ok(()) };
        match running.done.try_recv() {
            Ok(Ok(())) => match self.since_ms {
                // Others were withdrawn meanwhile.
                Some(since_ms) => keyspaces.meta.insert(keys::WITHDRAWN_SINCE, since_ms.to_be_bytes())?,
                None => keyspaces.meta.remove(keys::WITHDRAWN_SINCE)?,
            },
            Ok(Err(error)) => {
                tracing::warn!(%error, "cannot take what withdrawn messages left out of the store's files");
                self.postpone(running.since_ms);
            }
            // It was stopped, or panicked, which is fatal.
            Err(_) => self.postpone(running.since_ms),
        }
        Ok(())
    }

    /// Ends a round, which the next process begins anew. Waits for a merge that has begun.
    pub(super) fn close(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop.store(true, Ordering::Release);
            drop(running.thread.join());
        }
    }

    fn postpone(&mut self, since_ms: u64) {
        self.since_ms = Some(since_ms);
        self.not_before = Instant::now() + RETRY;
    }
}

/// The keyspaces whose tables hold what a user wrote.
fn merged(keyspaces: &Keyspaces) -> [&Keyspace; 3] {
    [&keyspaces.records, &keyspaces.entries, &keyspaces.timers_of]
}

/// One round, on its own thread.
struct Work {
    keyspaces: Keyspaces,
    engine: PathBuf,
    stop: Arc<AtomicBool>,
}

impl Work {
    fn run(&self) -> Result<(), RowError> {
        let last = journal::newest(&self.engine).map_err(fjall::Error::Io)?;
        self.begin_journal(last)?;
        self.drop_journals(last)?;
        for keyspace in merged(&self.keyspaces) {
            self.check_stop()?;
            keyspace.major_compact()?;
        }
        // The engine keeps the tables that were merged until it has written something else since.
        self.keyspaces.meta.remove(keys::FILLING)?;
        self.keyspaces.meta.remove(keys::FILLING)?;
        self.flush(&self.keyspaces.meta)
    }

    /// Writes until the journal is full and another is begun.
    fn begin_journal(&self, last: u64) -> Result<(), RowError> {
        for filling in 1..=FILLINGS_MAX {
            self.keyspaces.meta.insert(keys::FILLING, vec![b'.'; FILLING_BYTES])?;
            if filling % 4 == 0 {
                self.flush(&self.keyspaces.meta)?;
                if journal::newest(&self.engine).map_err(fjall::Error::Io)? > last {
                    return Ok(());
                }
            }
        }
        Err(slow("begin another journal"))
    }

    /// Writes tables of what only journals have, so that they go.
    fn drop_journals(&self, last: u64) -> Result<(), RowError> {
        for keyspace in self.keyspaces.all() {
            // Of a key that is never there, so that every keyspace is written as far as the journal went.
            keyspace.remove(keys::FILLING)?;
            self.flush(keyspace)?;
        }
        self.wait("drop its journals", || Ok(journal::oldest(&self.engine).map_err(fjall::Error::Io)? > last))
    }

    fn flush(&self, keyspace: &Keyspace) -> Result<(), RowError> {
        keyspace.rotate_memtable()?;
        self.wait("write a table", || Ok(keyspace.sealed_memtable_count() == 0))
    }

    fn wait(&self, what: &str, is_done: impl Fn() -> Result<bool, RowError>) -> Result<(), RowError> {
        let until = Instant::now() + ENGINE_PATIENCE;
        while !is_done()? {
            self.check_stop()?;
            if Instant::now() >= until {
                return Err(slow(what));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }

    fn check_stop(&self) -> Result<(), RowError> {
        if self.stop.load(Ordering::Acquire) { Err(slow("go on while the store closes")) } else { Ok(()) }
    }
}

fn slow(what: &str) -> RowError {
    RowError::Engine(fjall::Error::Io(io::Error::other(format!("the engine does not {what}"))))
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;
    use crate::{
        chat::LogEntry,
        store::{Commit, embedded::EmbeddedOptions},
    };
    use godwit_proto::{ClientMsgId, ConversationId, Seq, v1};

    fn noted(keyspaces: &Keyspaces) -> Option<u64> {
        keyspaces.meta.get(keys::WITHDRAWN_SINCE).unwrap().map(|value| keys::number(&value).unwrap())
    }

    /// A record in which an entry takes the place of another.
    fn withdrawal() -> [Arc<Record>; 1] {
        let client_msg_id = ClientMsgId([1; 16]).to_bytes();
        let entry = LogEntry::new(&v1::Entry { seq: 1, sender_id: 1, client_msg_id, ..v1::Entry::default() });
        let commit = Commit { rewritten: vec![entry], ..Commit::after(ConversationId::group([1; 16]), Seq(1)) };
        [Arc::new(Record::encode(1, vec![commit], Vec::new()).0)]
    }

    /// A round that ends as it is told.
    fn running(result: Result<(), RowError>) -> Running {
        let (tell, done) = mpsc::channel();
        tell.send(result).unwrap();
        let thread = std::thread::spawn(|| {});
        while !thread.is_finished() {
            std::thread::yield_now();
        }
        Running { thread, done, stop: Arc::new(AtomicBool::new(false)), since_ms: 5 }
    }

    #[test]
    fn what_a_round_was_begun_for_stays_noted_until_the_round_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let keyspaces = Keyspaces::open(dir.path(), &EmbeddedOptions::new(dir.path())).unwrap();
        keyspaces.meta.insert(keys::WITHDRAWN_SINCE, 5_u64.to_be_bytes()).unwrap();
        for (result, expected) in [(Err(RowError::Damaged("a test".into())), Some(5)), (Ok(()), None)] {
            let mut tidy = Tidy::new(dir.path().to_owned(), Duration::ZERO);
            tidy.running = Some(running(result));
            tidy.on_round(&keyspaces, &withdrawal()).unwrap();
            let later_ms = tidy.since_ms.unwrap();
            assert_eq!(noted(&keyspaces), Some(5), "a process that ends now leaves word of the older ones");
            tidy.look(&keyspaces).unwrap();
            assert_eq!((noted(&keyspaces), tidy.since_ms), (expected.or(Some(later_ms)), expected.or(Some(later_ms))));
        }
    }
}
