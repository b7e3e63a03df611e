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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::{
        TimerId, TimerKind, TimerOwner,
        embedded::{EmbeddedOptions, record::Record, round::Round},
    };
    use fjall::Keyspace;
    use godwit_proto::UserId;
    use std::{ops::RangeInclusive, sync::Arc};

    const NONE: RangeInclusive<u64> = RangeInclusive::new(1, 0);

    fn key(id: u8) -> TimerKey {
        let owner = TimerOwner::User(UserId::new(1).unwrap());
        TimerKey { kind: TimerKind(1), owner, id: TimerId([id; 16]) }
    }

    /// A record of changes: which timer, when it was due, and when it is.
    fn record(number: u64, changes: &[(u8, Option<u64>, Option<u64>)]) -> Arc<Record> {
        let change = |id, due_ms: Option<u64>| match due_ms {
            Some(due_ms) => TimerChange::Put(TimerRow { key: key(id), due_ms, payload: vec![id, due_ms as u8].into() }),
            None => TimerChange::Remove(key(id)),
        };
        let edit = |&(id, was_due_ms, due_ms)| TimerEdit { change: change(id, due_ms), was_due_ms };
        Arc::new(Record::encode(number, Vec::new(), changes.iter().map(edit).collect()).0)
    }

    type Row = (Vec<u8>, Vec<u8>);

    fn rows(keyspaces: &Keyspaces) -> [Vec<Row>; 3] {
        let all = |keyspace: &Keyspace| {
            let row = |row: fjall::Guard| row.into_inner().map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap();
            keyspace.iter().map(row).collect()
        };
        keyspaces_of_timers(keyspaces).map(all)
    }

    fn keyspaces_of_timers(keyspaces: &Keyspaces) -> [&Keyspace; 3] {
        [&keyspaces.timers, &keyspaces.timers_of, &keyspaces.timers_due]
    }

    fn open(dir: &tempfile::TempDir) -> Keyspaces {
        Keyspaces::open(dir.path(), &EmbeddedOptions::new(dir.path())).unwrap()
    }

    fn write(keyspaces: &Keyspaces, records: &[Arc<Record>], replay: bool) {
        Round::new(records).write(keyspaces, NONE, replay, 1, OwnedWriteBatch::commit).unwrap();
    }

    #[test]
    fn a_replay_puts_right_whatever_a_crash_left_of_the_rows_of_timers() {
        let records = [
            record(1, &[(1, None, Some(10)), (2, None, Some(20)), (3, None, Some(30))]),
            record(2, &[(1, Some(10), Some(11)), (2, Some(20), None), (4, None, Some(40))]),
            record(3, &[(1, Some(11), Some(12)), (4, Some(40), None), (3, Some(30), Some(30))]),
        ];
        let dir = tempfile::tempdir().unwrap();
        let expected = open(&dir);
        write(&expected, &records, false);
        let expected = rows(&expected);
        assert_eq!(expected.each_ref().map(Vec::len), [2, 2, 2]);
        // The machine dies. Of each keyspace, the engine kept the rows as they were after another record.
        let after: Vec<_> = (0..records.len())
            .map(|last| {
                let dir = tempfile::tempdir().unwrap();
                let keyspaces = open(&dir);
                records[..=last].iter().for_each(|record| write(&keyspaces, std::slice::from_ref(record), false));
                rows(&keyspaces)
            })
            .collect();
        let dir = tempfile::tempdir().unwrap();
        let left = open(&dir);
        for kept in 0..27 {
            let stages = [kept % 3, kept / 3 % 3, kept / 9];
            for (index, (keyspace, stage)) in keyspaces_of_timers(&left).into_iter().zip(stages).enumerate() {
                keyspace.clear().unwrap();
                for (key, value) in after[stage][index].clone() {
                    keyspace.insert(key, value).unwrap();
                }
            }
            write(&left, &records[1..], true);
            assert_eq!(rows(&left), expected, "{stages:?}");
        }
    }

    #[test]
    fn a_timer_that_comes_and_goes_within_a_round_has_no_rows() {
        let dir = tempfile::tempdir().unwrap();
        let keyspaces = open(&dir);
        let records = [record(1, &[(1, None, Some(10))]), record(2, &[(1, Some(10), Some(11)), (1, Some(11), None)])];
        let mut rows_written = 0;
        let count = |batch: OwnedWriteBatch| {
            rows_written += batch.len();
            Ok(())
        };
        Round::new(&records).write(&keyspaces, NONE, false, 1_000, count).unwrap();
        assert_eq!(rows_written, 1, "how far the rows have come, and no more");
    }
}
