//! Where rows of timers are: partitions of the indexes, and the bytes that rows are sorted by in them.

use crate::store::{
    DueTimer, TimerId, TimerKey, TimerKind, TimerOwner,
    rows::{DamagedRow, join},
    timer_keys::{self, DueTimerBytes, TimerKeyBytes},
};
use godwit_proto::{VSHARDS, Vshard};

/// What one bucket covers.
pub(super) const BUCKET_MS: u64 = 5 * 60 * 1_000;
/// Slices that the vshards are cut into.
pub(super) const SLICES: i16 = (VSHARDS / SLICE_VSHARDS) as i16;
const SLICE_VSHARDS: u16 = 64;

/// A partition of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub(super) index: Index,
    pub(super) bucket: i64,
}

/// A directory of buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Index {
    /// Of what is due in 64 vshards.
    Due(i16),
    /// Of an owner's timers of one kind, as [`timer_keys::timers`] names them.
    Of(OwnerBytes),
}

pub(super) type OwnerBytes = [u8; 18];

impl Index {
    pub(super) fn due(vshard: Vshard) -> Self {
        Self::Due((vshard.index() / SLICE_VSHARDS) as i16)
    }

    pub(super) fn of(kind: TimerKind, owner: TimerOwner) -> Self {
        Self::Of(timer_keys::timers(kind, owner))
    }
}

impl Place {
    /// Where a timer is among all that are due.
    pub(super) fn among_due(timer: DueTimer) -> Self {
        Self { index: Index::due(timer.key.owner.vshard()), bucket: bucket(timer.due_ms) }
    }

    /// Where a timer is among its owner's.
    pub(super) fn among_owners(timer: DueTimer) -> Self {
        let bucket = match timer.key.owner {
            TimerOwner::User(_) => THE_BUCKET,
            TimerOwner::Conversation(_) => bucket(timer.due_ms),
        };
        Self { index: Index::of(timer.key.kind, timer.key.owner), bucket }
    }

    /// Whether a directory has it. A user's timers are limited, and all in one.
    pub(super) fn is_listed(&self) -> bool {
        match self.index {
            Index::Due(_) => true,
            Index::Of(owner) => timer_keys::owner(&owner).is_ok_and(|(_, owner)| is_listed(owner)),
        }
    }

    /// What a timer's row is sorted by.
    pub(super) fn sort_key(&self, timer: DueTimer) -> Vec<u8> {
        match self.index {
            Index::Due(_) => timer_keys::due_timer(timer).to_vec(),
            Index::Of(_) => join::<8, 16, 24>(timer.due_ms.to_be_bytes(), timer.key.id.0).to_vec(),
        }
    }

    /// The timer of a row.
    pub(super) fn timer(&self, sort_key: &[u8]) -> Result<DueTimer, DamagedRow> {
        match self.index {
            Index::Due(_) => timer_keys::due_timer_key(sort_key),
            Index::Of(owner) => {
                let damaged = || DamagedRow("a timer of an owner of the wrong length".to_owned());
                let (due_ms, id) = sort_key.split_first_chunk().ok_or_else(damaged)?;
                let (kind, owner) = timer_keys::owner(&owner)?;
                let id = TimerId(id.try_into().map_err(|_| damaged())?);
                Ok(DueTimer { due_ms: u64::from_be_bytes(*due_ms), key: TimerKey { kind, owner, id } })
            }
        }
    }
}

/// Whether a directory has the buckets of an owner.
pub(super) fn is_listed(owner: TimerOwner) -> bool {
    matches!(owner, TimerOwner::Conversation(_))
}

/// The bucket of what is due then.
pub(super) fn bucket(due_ms: u64) -> i64 {
    (due_ms / BUCKET_MS).cast_signed()
}

/// The only one, where there is one.
pub(super) const THE_BUCKET: i64 = 0;

/// Before all rows of timers that are due then or later, and after all of those that are due earlier.
pub(super) fn from(due_ms: u64) -> Vec<u8> {
    due_ms.to_be_bytes().to_vec()
}

/// After all rows.
pub(super) fn end() -> Vec<u8> {
    vec![u8::MAX; size_of::<DueTimerBytes>() + 1]
}

/// The key of `timers`.
pub(super) fn timer(key: TimerKey) -> TimerKeyBytes {
    timer_keys::timer(key)
}
