//! The engine's database and its keyspaces.

use super::{error::RowError, keys, options::EmbeddedOptions};
use fjall::{CompressionType, Database, Iter, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Slice, Snapshot};
use std::{ops::RangeBounds, path::Path};

/// Written with every message: large enough that a merge is rare, small enough that a flush is short.
const HOT_MEMTABLE_BYTES: u64 = 16 * 1024 * 1024;
/// Written seldom: small, so that they do not keep old journals alive.
const COLD_MEMTABLE_BYTES: u64 = 4 * 1024 * 1024;

/// One keyspace per kind of row; `keys` has their keys, `rows` their values.
#[derive(Clone)]
pub(super) struct Keyspaces {
    pub(super) db: Database,
    /// What turns made durable and is not certainly in rows yet.
    pub(super) records: Keyspace,
    pub(super) entries: Keyspace,
    /// What finds an entry by the id that its sender gave it, forever; see [`super::sends`].
    pub(super) sends: Keyspace,
    pub(super) conversations: Keyspace,
    pub(super) members: Keyspace,
    /// The conversations of a user, by key alone.
    pub(super) memberships: Keyspace,
    /// Users by id, by name, and the invitations that were used.
    pub(super) accounts: Keyspace,
    /// Tokens by hash, and the token of each device.
    pub(super) tokens: Keyspace,
    pub(super) acked: Keyspace,
    /// When a timer is due, by its key.
    pub(super) timers: Keyspace,
    /// The payloads of an owner's timers, by when they are due.
    pub(super) timers_of: Keyspace,
    /// All timers by when they are due, by key alone.
    pub(super) timers_due: Keyspace,
    pub(super) meta: Keyspace,
}

impl Keyspaces {
    pub(super) fn open(path: &Path, options: &EmbeddedOptions) -> fjall::Result<Self> {
        // With a single worker a long merge would keep a full memtable from being flushed, and commits waiting for it.
        // With two or more, one does not merge but passes requests for merges on, again and again while all others are
        // merging; a flush makes as many requests as there are workers. Two workers burned a fifth of all CPU that way.
        const WORKERS: usize = 4;
        let db = Database::builder(path)
            .cache_size(options.cache_bytes)
            // On open, the engine compresses again what it finds compressed, to compare checksums: another version of the
            // compressor would make every journal look damaged.
            .journal_compression(CompressionType::None)
            .max_journaling_size(options.journal_bytes_max.max(64 * 1024 * 1024))
            .worker_threads(WORKERS)
            .open()?;
        let hot = |name| db.keyspace(name, || memtable(HOT_MEMTABLE_BYTES));
        let cold = |name| db.keyspace(name, || memtable(COLD_MEMTABLE_BYTES));
        Ok(Self {
            records: hot("records")?,
            entries: hot("entries")?,
            sends: hot("sends")?,
            conversations: hot("conversations")?,
            members: hot("members")?,
            memberships: cold("memberships")?,
            accounts: cold("accounts")?,
            tokens: cold("tokens")?,
            acked: cold("acked")?,
            timers: cold("timers")?,
            timers_of: cold("timers_of")?,
            timers_due: cold("timers_due")?,
            meta: cold("meta")?,
            db,
        })
    }

    pub(super) fn all(&self) -> [&Keyspace; 13] {
        let Self { db: _, records, entries, sends, conversations, members, memberships, accounts, .. } = self;
        let Self { tokens, acked, timers, timers_of, timers_due, meta, .. } = self;
        [
            records,
            entries,
            sends,
            conversations,
            members,
            memberships,
            accounts,
            tokens,
            acked,
            timers,
            timers_of,
            timers_due,
            meta,
        ]
    }

    /// The newest record whose rows are written.
    pub(super) fn rows_upto(&self) -> Result<u64, RowError> {
        self.meta.get(keys::ROWS_UPTO)?.map_or(Ok(0), |value| keys::number(&value))
    }

    pub(super) fn persist(&self) -> fjall::Result<()> {
        self.db.persist(PersistMode::SyncData)
    }
}

fn memtable(bytes: u64) -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default().max_memtable_size(bytes)
}

/// Rows as they were at one moment.
pub(super) struct Rows<'a> {
    pub(super) keyspaces: &'a Keyspaces,
    pub(super) snapshot: Snapshot,
}

impl Rows<'_> {
    pub(super) fn find(&self, keyspace: &Keyspace, key: &[u8]) -> Result<Option<Slice>, RowError> {
        Ok(self.snapshot.get(keyspace, key)?)
    }

    pub(super) fn range<K: AsRef<[u8]>>(&self, keyspace: &Keyspace, range: impl RangeBounds<K>) -> Iter {
        self.snapshot.range(keyspace, range)
    }

    pub(super) fn prefix(&self, keyspace: &Keyspace, prefix: &[u8]) -> Iter {
        self.snapshot.prefix(keyspace, prefix)
    }

    pub(super) fn has(&self, keyspace: &Keyspace, key: &[u8]) -> Result<bool, RowError> {
        Ok(self.snapshot.contains_key(keyspace, key)?)
    }
}
