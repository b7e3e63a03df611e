//! What an embedded store is opened with.

use super::disk_space;
use std::{io, path::Path, path::PathBuf, sync::Arc, time::Duration};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Where the store lives, and every limit it keeps.
///
/// `EmbeddedOptions::new(dir)` is right for a machine with a gigabyte of memory to spare.
#[derive(Clone)]
pub struct EmbeddedOptions {
    /// The directory. Created with mode 0700 if it is not there; one process at a time uses it.
    pub dir: PathBuf,
    /// Everything is to be copied into it: it must be new, or have been begun to be copied into before. Nobody else opens it
    /// until [`super::Embedded::copy_complete`] was called.
    pub receives_copy: bool,
    /// Memory for blocks that were read from disk.
    pub cache_bytes: u64,
    /// Room that must stay free on the disk. Below it, writes are refused as full, and the write-behind rests. It has to
    /// hold what the engine moves around by itself: about the size of two journals and one merge.
    pub disk_reserve_bytes: u64,
    /// How old the last look at the free space may be.
    pub disk_probe_interval: Duration,
    /// Says how many bytes are free where the store lives.
    pub disk_probe: DiskProbe,
    /// Commits that wait for the commit thread. One call may bring more if the queue is empty.
    pub queue_commits_max: usize,
    /// Bytes that wait for the commit thread.
    pub queue_bytes_max: usize,
    /// Commits that share one sync. More of them cost less each, and keep the first waiting longer.
    pub turn_commits_max: usize,
    /// Bytes that share one sync.
    pub turn_bytes_max: usize,
    /// Bytes of records that are not rows yet: memory, and the work of the next open. Commits wait when it is reached.
    pub behind_bytes_max: usize,
    /// Rows that are written behind together. The more, the more entries of a conversation share a row.
    pub behind_rows_max: usize,
    /// Rows in one batch of the write-behind. Larger batches cost less a row, and hold up a commit for longer.
    pub behind_batch_rows_max: usize,
    /// How long a record may stay alone before it is written as rows in a batch that is not full.
    pub behind_delay: Duration,
    /// Conversations whose newest seq the commit thread remembers: 24 bytes each, twice.
    pub heads_max: usize,
    /// Threads that read.
    pub readers: usize,
    /// Reads that wait for a reader.
    pub reads_max: usize,
    /// Acked positions that are not rows yet.
    pub acked_pending_max: usize,
    /// Engine journals on disk, which is also what an open has to read. At least 64 MiB.
    pub journal_bytes_max: u64,
    /// How long what a withdrawn message left may stay in files before it is taken out, which writes all messages again. A
    /// busy store gets rid of it earlier.
    pub withdrawn_stay_max: Duration,
    /// How long a write may take before the store counts as stuck, which is fatal. Far above what a slow disk does.
    pub stall_max: Duration,
    /// Called once when the state of the disk is unknown: a failed sync, a write that does not
    /// end, or a store thread that panicked. It should end
    /// the process; opening the store again finds out what is there. If it returns, every call is answered as unavailable.
    pub on_fatal: OnFatal,
}

/// Says how many bytes are free on the disk that holds a directory.
pub type DiskProbe = Arc<dyn Fn(&Path) -> io::Result<u64> + Send + Sync>;

/// Ends the process, given the reason.
pub type OnFatal = Arc<dyn Fn(&str) + Send + Sync>;

impl EmbeddedOptions {
    /// The defaults, in this directory.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            receives_copy: false,
            cache_bytes: 64 * MIB as u64,
            disk_reserve_bytes: 256 * MIB as u64,
            disk_probe_interval: Duration::from_millis(50),
            disk_probe: Arc::new(disk_space::free_bytes),
            queue_commits_max: 32 * KIB,
            queue_bytes_max: 32 * MIB,
            turn_commits_max: 2 * KIB,
            turn_bytes_max: 4 * MIB,
            behind_bytes_max: 64 * MIB,
            behind_rows_max: 32 * KIB,
            behind_batch_rows_max: KIB,
            behind_delay: Duration::from_millis(250),
            heads_max: 128 * KIB,
            readers: 2,
            reads_max: 8 * KIB,
            acked_pending_max: 256 * KIB,
            journal_bytes_max: 256 * MIB as u64,
            withdrawn_stay_max: Duration::from_secs(24 * 3600),
            stall_max: Duration::from_secs(60),
            on_fatal: Arc::new(abort),
        }
    }
}

impl std::fmt::Debug for EmbeddedOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedOptions").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// Nothing may run on after a failed sync: not even an orderly exit, which would write more to a disk in an unknown state.
fn abort(reason: &str) {
    tracing::error!(reason, "the store cannot go on, and ends the process");
    std::process::abort();
}
