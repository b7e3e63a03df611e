//! How much the log of conversations does, holds and waits for.

/// The limits of a [`Log`](super::Log).
#[derive(Debug, Clone)]
pub struct LogLimits {
    /// Entries that one mutation carries at most; never more than 64, which is what a takeover reads.
    pub batch_entries_max: usize,
    /// Bytes of entries that one mutation carries at most; one larger entry goes alone.
    pub batch_bytes_max: usize,
    /// Writes that wait for the database at once, over all conversations. More of them share its time; they do not add to it.
    pub writes_in_flight_max: usize,
    /// Conversations whose state is kept in memory, some 2 KiB each and their newest entries. Those in use stay beyond it.
    pub conversations_max: usize,
    /// How long a caller waits, in milliseconds, until it is told that the outcome is unknown.
    pub patience_ms: u64,
    /// Members that may wait in `pending`, where every mutation carries them; with more, they are written to their rows.
    pub pending_members_max: usize,
    /// After this many milliseconds members, details and the newest bucket are written to their rows, however few they are.
    pub settle_ms: u64,
    /// Commits that wait, over all conversations.
    pub queue_commits_max: usize,
    /// Bytes of commits that wait, over all conversations.
    pub queue_bytes_max: usize,
}

/// Entries that the mutation of a commit point carries at most. A takeover reads so many with the static columns, in one
/// query, whatever the limits of the owner before were: it must never grow.
pub(super) const MUTATION_ENTRIES_MAX: usize = 64;

impl Default for LogLimits {
    fn default() -> Self {
        Self {
            batch_entries_max: MUTATION_ENTRIES_MAX,
            batch_bytes_max: 32 * 1024,
            writes_in_flight_max: 256,
            conversations_max: 16_384,
            patience_ms: 5_000,
            pending_members_max: 32,
            settle_ms: 5_000,
            queue_commits_max: 65_536,
            queue_bytes_max: 64 * 1024 * 1024,
        }
    }
}
