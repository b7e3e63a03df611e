//! Changes of timers: what they replace is found out on the commit thread, so that whoever writes their rows, perhaps for
//! the second time after a crash, has to look for nothing.

use super::{error::RowError, keys, shared::Shared};
use crate::store::{StoreError, TimerChange, TimerKey, TimerOutcome, TimerRow};
use bytes::Bytes;
use foldhash::{HashMap, HashMapExt};
use prost::Message;

/// One change of a timer in a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TimerEdit {
    pub(super) change: TimerChange,
    /// When the timer was due before; `None` if there was none.
    pub(super) was_due_ms: Option<u64>,
}

impl TimerEdit {
    /// When the timer is due from now on; `None` if it is gone.
    pub(super) fn due_ms(&self) -> Option<u64> {
        due_ms(&self.change)
    }
}

/// The changes of timers of one turn.
pub(super) struct TimerTurn<'a> {
    shared: &'a Shared,
    edits: Vec<TimerEdit>,
    /// When the timers that the turn has seen will be due after it.
    due_ms: HashMap<TimerKey, Option<u64>>,
}

impl<'a> TimerTurn<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        Self { shared, edits: Vec::new(), due_ms: HashMap::new() }
    }

    /// Takes a change into the turn. The outcome holds once the turn is synced.
    pub(super) fn admit(&mut self, change: TimerChange) -> TimerOutcome {
        let key = change.key();
        let found = self.due_ms.get(&key).map_or_else(|| self.shared.timer_due_ms(key), |due_ms| Ok(*due_ms));
        let was_due_ms = match found {
            Ok(was_due_ms) => was_due_ms,
            Err(error) => return TimerOutcome::NotWritten(StoreError::from(error)),
        };
        self.due_ms.insert(key, due_ms(&change));
        if was_due_ms.is_some() || due_ms(&change).is_some() {
            self.edits.push(TimerEdit { change, was_due_ms });
        }
        TimerOutcome::Durable
    }

    /// Takes the changes that come with a commit into the turn, all of them or none.
    pub(super) fn admit_all(&mut self, changes: Vec<TimerChange>) -> Result<(), StoreError> {
        for change in &changes {
            let key = change.key();
            if !self.due_ms.contains_key(&key) {
                let due_ms = self.shared.timer_due_ms(key)?;
                self.due_ms.insert(key, due_ms);
            }
        }
        for change in changes {
            let outcome = self.admit(change);
            assert!(outcome == TimerOutcome::Durable, "a timer that was found is lost again");
        }
        Ok(())
    }

    /// What is to be written.
    pub(super) fn finish(self) -> Vec<TimerEdit> {
        self.edits
    }
}

impl Shared {
    /// When a timer is durably due.
    fn timer_due_ms(&self, key: TimerKey) -> Result<Option<u64>, RowError> {
        let key = keys::timer(key);
        // The overlay first: what has left it by then is in the rows.
        if let Some(pending) = self.overlay(|overlay| overlay.timers().find(&key).map(|row| row.map(|row| row.due_ms)))
        {
            return Ok(pending);
        }
        self.keyspaces.timers.get(key)?.map(|value| keys::number(&value)).transpose()
    }
}

/// About how many bytes a change takes in a record and in memory.
pub(super) fn timer_change_bytes(change: &TimerChange) -> usize {
    const FIXED: usize = 64;
    match change {
        TimerChange::Put(row) => FIXED + row.payload.len(),
        TimerChange::Remove(_) => FIXED,
    }
}

fn due_ms(change: &TimerChange) -> Option<u64> {
    match change {
        TimerChange::Put(row) => Some(row.due_ms),
        TimerChange::Remove(_) => None,
    }
}

/// A [`TimerEdit`] in a record.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TimerEditRow {
    /// As [`keys::timer`] makes it.
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    /// Absent in a removal.
    #[prost(uint64, optional, tag = "2")]
    due_ms: Option<u64>,
    #[prost(bytes = "bytes", tag = "3")]
    payload: Bytes,
    #[prost(uint64, optional, tag = "4")]
    was_due_ms: Option<u64>,
}

impl From<&TimerEdit> for TimerEditRow {
    fn from(edit: &TimerEdit) -> Self {
        let payload = match &edit.change {
            TimerChange::Put(row) => row.payload.clone(),
            TimerChange::Remove(_) => Bytes::new(),
        };
        let key = Bytes::copy_from_slice(&keys::timer(edit.change.key()));
        Self { key, due_ms: edit.due_ms(), payload, was_due_ms: edit.was_due_ms }
    }
}

impl TimerEditRow {
    pub(super) fn edit(self) -> Result<TimerEdit, RowError> {
        let key = keys::timer_key(&self.key)?;
        let change = match self.due_ms {
            Some(due_ms) => TimerChange::Put(TimerRow { key, due_ms, payload: self.payload }),
            None => TimerChange::Remove(key),
        };
        Ok(TimerEdit { change, was_due_ms: self.was_due_ms })
    }
}
