//! The rows of timers that some records changed.

use super::{
    keys::{self, TimerKeyBytes},
    keyspaces::Keyspaces,
    timers::TimerEdit,
};
use crate::store::{DueTimer, TimerChange, TimerKey, TimerRow};
use fjall::OwnedWriteBatch;
use std::collections::BTreeMap;

/// How many rows a timer has.
pub(super) const ROWS_OF_TIMER: usize = 3;

/// What becomes of one timer in a round.
pub(super) struct ChangedTimer<'a> {
    key: TimerKey,
    /// When it was due before the round; `None` if it was not there.
    was_due_ms: Option<u64>,
    /// When it was due in between. Only a round that was interrupted can have left rows of that.
    meanwhile_due_ms: Vec<u64>,
    /// `None` if it is gone.
    row: Option<&'a TimerRow>,
}

/// Regroups changes by timer, in the order of their rows.
pub(super) fn changed<'a>(edits: impl Iterator<Item = &'a TimerEdit>) -> BTreeMap<TimerKeyBytes, ChangedTimer<'a>> {
    let mut changed = BTreeMap::new();
    for edit in edits {
        let key = edit.change.key();
        let timer = changed.entry(keys::timer(key)).or_insert_with(|| ChangedTimer {
            key,
            was_due_ms: edit.was_due_ms,
            meanwhile_due_ms: Vec::new(),
            row: None,
        });
        timer.meanwhile_due_ms.extend(timer.row.map(|row| row.due_ms));
        timer.row = match &edit.change {
            TimerChange::Put(row) => Some(row),
            TimerChange::Remove(_) => None,
        };
    }
    changed
}

impl ChangedTimer<'_> {
    /// Adds the rows to a batch. They follow from the records alone, so that writing them again after a crash puts right
    /// whatever it left. `replay`: it may have left some.
    pub(super) fn rows(&self, keyspaces: &Keyspaces, replay: bool, batch: &mut OwnedWriteBatch) {
        let meanwhile = if replay { self.meanwhile_due_ms.as_slice() } else { &[] };
        let is_due_ms = self.row.map(|row| row.due_ms);
        for &due_ms in self.was_due_ms.iter().chain(meanwhile).filter(|due_ms| Some(**due_ms) != is_due_ms) {
            let stale = DueTimer { due_ms, key: self.key };
            batch.remove(&keyspaces.timers_of, keys::timer_of_owner(stale));
            batch.remove(&keyspaces.timers_due, keys::due_timer(stale));
        }
        if let Some(row) = self.row {
            batch.insert(&keyspaces.timers, keys::timer(row.key), row.due_ms.to_be_bytes());
            batch.insert(&keyspaces.timers_of, keys::timer_of_owner(row.due()), row.payload.as_ref());
            batch.insert(&keyspaces.timers_due, keys::due_timer(row.due()), [0_u8; 0]);
        } else if self.was_due_ms.is_some() || replay {
            // One that came and went within the round never had rows: most short timers cost none.
            batch.remove(&keyspaces.timers, keys::timer(self.key));
        }
    }
}
