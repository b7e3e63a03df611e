//! Reading timers: the overlay's part and the rows' part, taken at one moment and put together.

use super::{error::RowError, keys, keyspaces::Rows, shared::Shared, timer_overlay::DueBounds};
use crate::store::{DueTimer, TimerId, TimerKey, TimerKind, TimerOwner, TimerRow};
use bytes::Bytes;
use godwit_proto::VshardSet;
use std::{
    collections::BTreeMap,
    ops::{Bound, Range},
};

impl Shared {
    /// Where timers were removed not long ago, the engine walks over what it has not merged away yet: up to some 100,000
    /// keys and a fraction of a second, however many ever fired. It only meets them between the bounds.
    pub(super) fn due_timers(
        &self,
        vshards: &VshardSet,
        due_ms: Range<u64>,
        after: Option<DueTimer>,
        limit: usize,
    ) -> Result<Vec<DueTimer>, RowError> {
        let Some(bounds) = due_bounds(due_ms, after) else { return Ok(Vec::new()) };
        let (pending, rows) = self.view(|overlay| overlay.timers().due(&bounds, vshards, limit));
        let mut pending = pending.into_iter().peekable();
        let mut due = Vec::new();
        for row in rows.range(&rows.keyspaces.timers_due, bounds) {
            let key = row.key()?;
            while let Some((earlier, is_there)) = pending.next_if(|(pending, _)| pending.as_slice() < &*key) {
                due.extend(is_there.then(|| keys::due_timer_key(&earlier)).transpose()?);
            }
            if due.len() >= limit {
                break;
            }
            let timer = keys::due_timer_key(&key)?;
            let changed = pending.next_if(|(pending, _)| pending.as_slice() == &*key);
            if changed.is_none_or(|(_, is_there)| is_there) && vshards.contains(timer.key.owner.vshard()) {
                due.push(timer);
            }
        }
        for (later, is_there) in pending {
            due.extend(is_there.then(|| keys::due_timer_key(&later)).transpose()?);
        }
        due.truncate(limit);
        Ok(due)
    }

    pub(super) fn timers(&self, wanted: &[TimerKey]) -> Result<Vec<Option<TimerRow>>, RowError> {
        let (pending, rows) = self.view(|overlay| {
            let find = |key: &TimerKey| overlay.timers().find(&keys::timer(*key)).map(Option::<&TimerRow>::cloned);
            wanted.iter().map(find).collect::<Vec<_>>()
        });
        let found = wanted.iter().zip(pending);
        found.map(|(key, pending)| pending.map_or_else(|| rows.timer(*key), Ok)).collect()
    }

    pub(super) fn timers_of(
        &self,
        kind: TimerKind,
        owner: TimerOwner,
        after: Option<(u64, TimerId)>,
        limit: usize,
    ) -> Result<Vec<TimerRow>, RowError> {
        let (changed, rows) = self.view(|overlay| overlay.timers().of(kind, owner));
        let place = |row: &TimerRow| (row.due_ms, row.key.id);
        let pending = changed.values().flatten().filter(|row| after.is_none_or(|after| place(row) > after));
        let mut pending: BTreeMap<_, _> = pending.map(|row| (place(row), row.clone())).collect();
        let mut found = Vec::new();
        for row in rows.timers_of(kind, owner, after) {
            let (key, payload) = row.into_inner()?;
            let (due_ms, id) = keys::timer_of_owner_key(&key)?;
            while let Some(earlier) = pending.first_entry().filter(|first| *first.key() < (due_ms, id)) {
                found.push(earlier.remove());
            }
            if found.len() >= limit {
                break;
            }
            let key = TimerKey { kind, owner, id };
            if !changed.contains_key(&keys::timer(key)) {
                found.push(TimerRow { key, due_ms, payload: Bytes::copy_from_slice(&payload) });
            }
        }
        found.extend(pending.into_values());
        found.truncate(limit);
        Ok(found)
    }

    pub(super) fn count_timers(&self, kind: TimerKind, owner: TimerOwner) -> Result<u64, RowError> {
        let (changed, rows) = self.view(|overlay| overlay.timers().of(kind, owner));
        let mut count = changed.values().flatten().count() as u64;
        for row in rows.prefix(&rows.keyspaces.timers, &keys::timers(kind, owner)) {
            let key = row.key()?;
            count += u64::from(!changed.contains_key(&*key));
        }
        Ok(count)
    }
}

impl Rows<'_> {
    fn timer(&self, key: TimerKey) -> Result<Option<TimerRow>, RowError> {
        let Some(due_ms) = self.find(&self.keyspaces.timers, &keys::timer(key))? else { return Ok(None) };
        let due_ms = keys::number(&due_ms)?;
        let payload = self.find(&self.keyspaces.timers_of, &keys::timer_of_owner(DueTimer { due_ms, key }))?;
        let payload = payload.ok_or_else(|| RowError::Damaged(format!("{key:?} has no payload")))?;
        Ok(Some(TimerRow { key, due_ms, payload: Bytes::copy_from_slice(&payload) }))
    }

    /// Rows of an owner's payloads, ascending.
    fn timers_of(&self, kind: TimerKind, owner: TimerOwner, after: Option<(u64, TimerId)>) -> fjall::Iter {
        let place = |due_ms, id| keys::timer_of_owner(DueTimer { due_ms, key: TimerKey { kind, owner, id } });
        let start = match after {
            Some((due_ms, id)) => Bound::Excluded(place(due_ms, id)),
            None => Bound::Included(place(0, TimerId([0; 16]))),
        };
        self.range(&self.keyspaces.timers_of, (start, Bound::Included(place(u64::MAX, TimerId([u8::MAX; 16])))))
    }
}

/// The keys of what is due in a stretch of time, after a timer; `None` if there can be none.
fn due_bounds(due_ms: Range<u64>, after: Option<DueTimer>) -> Option<DueBounds> {
    let start = match after {
        Some(after) if after.due_ms >= due_ms.start => Bound::Excluded(keys::due_timer(after).to_vec()),
        _ => Bound::Included(due_ms.start.to_be_bytes().to_vec()),
    };
    let (Bound::Included(first) | Bound::Excluded(first)) = &start else { return None };
    let end = due_ms.end.to_be_bytes().to_vec();
    (*first < end).then(|| (start.clone(), Bound::Excluded(end)))
}
