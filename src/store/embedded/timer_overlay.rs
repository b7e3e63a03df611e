//! Changes of timers that are durable as records and not yet rows, by the same keys as the rows.

use super::{
    keys::{self, DueTimerBytes, TimerKeyBytes},
    overlay::Numbered,
    timers::TimerEdit,
};
use crate::store::{DueTimer, TimerChange, TimerKind, TimerOwner, TimerRow};
use godwit_proto::VshardSet;
use std::{
    collections::{BTreeMap, btree_map},
    ops::Bound,
};

/// The last word on each timer that changed.
#[derive(Default)]
pub(super) struct PendingTimers {
    /// `None` for a timer that was taken out.
    rows: BTreeMap<TimerKeyBytes, Numbered<Option<TimerRow>>>,
    /// Whether there is a timer under this key now. What lies in rows under keys that are not here still holds.
    due: BTreeMap<DueTimerBytes, Numbered<bool>>,
}

/// A stretch of time in keys of [`keys::due_timer`]. Not empty.
pub(super) type DueBounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// A key of [`keys::due_timer`], and whether the timer is there.
pub(super) type PendingDue = (DueTimerBytes, bool);

impl PendingTimers {
    pub(super) fn publish(&mut self, number: u64, edit: &TimerEdit) {
        let key = edit.change.key();
        if let Some(due_ms) = edit.was_due_ms {
            self.due.insert(keys::due_timer(DueTimer { due_ms, key }), Numbered { number, value: false });
        }
        let row = match &edit.change {
            TimerChange::Put(row) => {
                self.due.insert(keys::due_timer(row.due()), Numbered { number, value: true });
                Some(row.clone())
            }
            TimerChange::Remove(_) => None,
        };
        self.rows.insert(keys::timer(key), Numbered { number, value: row });
    }

    /// The rows of record `number` are written.
    pub(super) fn forget(&mut self, number: u64, edit: &TimerEdit) {
        let key = edit.change.key();
        forget_up_to(number, self.rows.entry(keys::timer(key)));
        for due_ms in [edit.was_due_ms, edit.due_ms()].into_iter().flatten() {
            forget_up_to(number, self.due.entry(keys::due_timer(DueTimer { due_ms, key })));
        }
    }

    /// `Some(None)` for a timer that was taken out.
    pub(super) fn find(&self, key: &TimerKeyBytes) -> Option<Option<&TimerRow>> {
        self.rows.get(key).map(|row| row.value.as_ref())
    }

    /// What changed among an owner's timers; `None` for one that was taken out.
    pub(super) fn of(&self, kind: TimerKind, owner: TimerOwner) -> BTreeMap<TimerKeyBytes, Option<TimerRow>> {
        let prefix = keys::timers(kind, owner);
        let rows = self.rows.range::<[u8], _>((Bound::Included(prefix.as_slice()), Bound::Unbounded));
        let rows = rows.take_while(|(key, _)| key.starts_with(&prefix));
        rows.map(|(key, row)| (*key, row.value.clone())).collect()
    }

    /// What changed among the timers of a stretch of time, ascending, up to the `limit`th one that is there.
    pub(super) fn due(&self, (start, end): &DueBounds, vshards: &VshardSet, limit: usize) -> Vec<PendingDue> {
        let bounds = (start.as_ref().map(Vec::as_slice), end.as_ref().map(Vec::as_slice));
        let mut there = 0;
        let mut changed = Vec::new();
        for (key, due) in self.due.range::<[u8], _>(bounds) {
            if there == limit {
                break;
            }
            // A key that was made here names a timer.
            if keys::due_timer_key(key).is_ok_and(|due| vshards.contains(due.key.owner.vshard())) {
                there += usize::from(due.value);
                changed.push((*key, due.value));
            }
        }
        changed
    }
}

fn forget_up_to<K: Ord, T>(number: u64, entry: btree_map::Entry<'_, K, Numbered<T>>) {
    if let btree_map::Entry::Occupied(entry) = entry
        && entry.get().number <= number
    {
        entry.remove();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::{TimerId, TimerKey};
    use godwit_proto::{UserId, Vshard};

    #[test]
    fn what_was_written_as_rows_leaves_and_what_came_after_stays() {
        let owner = TimerOwner::User(UserId::new(1).unwrap());
        let key = TimerKey { kind: TimerKind(1), owner, id: TimerId([5; 16]) };
        let put = |due_ms, was_due_ms| {
            let row = TimerRow { key, due_ms, payload: bytes::Bytes::new() };
            TimerEdit { change: TimerChange::Put(row), was_due_ms }
        };
        let edits =
            [put(10, None), put(20, Some(10)), TimerEdit { change: TimerChange::Remove(key), was_due_ms: Some(20) }];
        let mut pending = PendingTimers::default();
        for (number, edit) in (1..).zip(&edits) {
            pending.publish(number, edit);
        }
        let due = |pending: &PendingTimers| {
            let all = (Bound::Unbounded, Bound::Unbounded);
            let due = pending.due(&all, &Vshard::all().collect(), 9);
            due.iter().map(|(key, there)| (keys::due_timer_key(key).unwrap().due_ms, *there)).collect::<Vec<_>>()
        };
        assert_eq!(due(&pending), [(10, false), (20, false)]);
        // Its row is due at 10 now, which the second change hides.
        pending.forget(1, &edits[0]);
        assert_eq!(due(&pending), [(10, false), (20, false)]);
        pending.forget(2, &edits[1]);
        assert_eq!(due(&pending), [(20, false)]);
        assert_eq!(pending.find(&keys::timer(key)), Some(None));
        pending.forget(3, &edits[2]);
        assert_eq!(due(&pending), []);
        assert_eq!(pending.find(&keys::timer(key)), None);
    }
}
