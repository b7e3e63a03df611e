//! Reading timers: the indexes say where to look, the timers' own rows what is so.

use super::{
    Inner,
    lanes::Work,
    places::{self, Index, Place},
    rows::{AT_ONCE, PAGE_ROWS},
};
use crate::store::{
    DueTimer, StoreError, TimerId, TimerKey, TimerKind, TimerOwner, TimerRow, scylla::owned::at_once, timer_keys,
};
use futures_util::{StreamExt as _, stream};
use godwit_proto::{Vshard, VshardSet};
use std::{collections::BTreeSet, ops::Range};

/// Slices that are read at once.
const SLICES_AT_ONCE: usize = 8;
/// Buckets of one slice that are read at once.
const BUCKETS_AT_ONCE: usize = 8;
/// Timers of one slice that are read from the index at a time.
const FOUND_MAX: usize = 4_096;

/// What is wanted of all that is due.
struct Due<'a> {
    vshards: &'a VshardSet,
    due_ms: Range<u64>,
}

/// What the index of a slice names.
struct Found {
    timers: Vec<DueTimer>,
    /// Whether there may be more after the last one.
    more: bool,
}

impl Inner {
    /// A slice after the other, and within one ascending.
    pub(super) async fn due_timers(
        &self,
        vshards: &VshardSet,
        due_ms: Range<u64>,
        after: Option<DueTimer>,
        limit: usize,
    ) -> Result<Vec<DueTimer>, StoreError> {
        if due_ms.is_empty() || limit == 0 {
            return Ok(Vec::new());
        }
        let due = &Due { vshards, due_ms };
        let first = after.map(|after| Index::due(after.key.owner.vshard()));
        let slices: BTreeSet<_> = Vshard::all().filter(|vshard| vshards.contains(*vshard)).map(Index::due).collect();
        let slices = slices.into_iter().filter(|slice| first.is_none_or(|first| *slice >= first));
        let reads: Vec<_> = slices
            .map(|slice| {
                // Those before it are read to their end, those after it from their start.
                let after = after.filter(|_| first == Some(slice));
                async move { (slice, self.find_due(due, slice, after, limit).await) }
            })
            .collect();
        let mut reads = stream::iter(reads).buffered(SLICES_AT_ONCE);
        let mut timers = Vec::new();
        while let Some((slice, found)) = reads.next().await {
            let mut found = found?;
            loop {
                let mut named = &found.timers[..];
                while !named.is_empty() {
                    let (some, rest) = named.split_at(named.len().min(PAGE_ROWS).min(limit - timers.len()));
                    timers.extend(self.confirmed(some).await?);
                    if timers.len() >= limit {
                        // The rest, and the slices after it, are asked for with the last of these as `after`.
                        return Ok(timers);
                    }
                    named = rest;
                }
                match found.timers.last() {
                    Some(last) if found.more => found = self.find_due(due, slice, Some(*last), limit).await?,
                    _ => break,
                }
            }
        }
        Ok(timers)
    }

    /// What the index of a slice names after a timer.
    async fn find_due(
        &self,
        due: &Due<'_>,
        slice: Index,
        after: Option<DueTimer>,
        limit: usize,
    ) -> Result<Found, StoreError> {
        let limit = limit.min(FOUND_MAX);
        let after = after.filter(|after| after.due_ms >= due.due_ms.start);
        let start_ms = after.map_or(due.due_ms.start, |after| after.due_ms);
        let before = places::from(due.due_ms.end);
        let buckets = places::bucket(start_ms)..=places::bucket(due.due_ms.end - 1);
        let buckets = self.rows.buckets(slice, *buckets.start(), *buckets.end()).await?;
        let places: Vec<_> = buckets.into_iter().map(|bucket| Place { index: slice, bucket }).collect();
        let from = after.map_or_else(|| places::from(start_ms), |after| timer_keys::due_timer(after).to_vec());
        let mut timers = Vec::new();
        for places in places.chunks(BUCKETS_AT_ONCE) {
            let pages = places.iter().map(|place| self.rows.scan(*place, &from, &before, PAGE_ROWS));
            for (place, page) in places.iter().zip(at_once(BUCKETS_AT_ONCE, pages.collect()).await) {
                let mut page = page?;
                loop {
                    let wanted = page.iter().filter(|row| row.live).map(|row| row.timer);
                    timers.extend(wanted.filter(|timer| due.vshards.contains(timer.key.owner.vshard())));
                    if timers.len() >= limit {
                        timers.truncate(limit);
                        return Ok(Found { timers, more: true });
                    }
                    match page.last() {
                        Some(last) if page.len() == PAGE_ROWS => {
                            let from = place.sort_key(last.timer);
                            page = self.rows.scan(*place, &from, &before, PAGE_ROWS).await?;
                        }
                        _ => break,
                    }
                }
            }
        }
        Ok(Found { timers, more: false })
    }

    /// An owner's timers, by when they are due and then by id.
    pub(super) async fn timers_of(
        &self,
        kind: TimerKind,
        owner: TimerOwner,
        after: Option<(u64, TimerId)>,
        limit: usize,
    ) -> Result<Vec<TimerRow>, StoreError> {
        let after = after.map(|(due_ms, id)| DueTimer { due_ms, key: TimerKey { kind, owner, id } });
        let mut named = Named::new(self, kind, owner, after).await?;
        let mut timers = Vec::new();
        while timers.len() < limit {
            let Some(page) = named.next(PAGE_ROWS.min(limit - timers.len())).await? else { break };
            let rows = self.rows.timers(page.iter().map(|timer| timer.key).collect()).await?;
            for (named, row) in page.into_iter().zip(rows) {
                match row {
                    Some(row) if row.due_ms == named.due_ms => timers.push(row),
                    _ => self.settle(named),
                }
            }
        }
        Ok(timers)
    }

    pub(super) async fn count(&self, kind: TimerKind, owner: TimerOwner) -> Result<u64, StoreError> {
        let mut named = Named::new(self, kind, owner, None).await?;
        let mut count = 0;
        while let Some(page) = named.next(PAGE_ROWS).await? {
            count += self.confirmed(&page).await?.len() as u64;
        }
        Ok(count)
    }

    /// Those of these that are there and due then. The index is put right about the others.
    pub(super) async fn confirmed(&self, named: &[DueTimer]) -> Result<Vec<DueTimer>, StoreError> {
        let (there, stale) = self.told_apart(named).await?;
        stale.into_iter().for_each(|timer| self.settle(timer));
        Ok(there)
    }

    /// Those that are there and due then, and the others.
    pub(super) async fn told_apart(&self, named: &[DueTimer]) -> Result<(Vec<DueTimer>, Vec<DueTimer>), StoreError> {
        let due_ms = at_once(AT_ONCE, named.iter().map(|timer| self.rows.due_ms(timer.key)).collect()).await;
        let (mut there, mut stale) = (Vec::new(), Vec::new());
        for (timer, due_ms) in named.iter().zip(due_ms) {
            let is_there = due_ms? == Some(timer.due_ms);
            if is_there { &mut there } else { &mut stale }.push(*timer);
        }
        Ok((there, stale))
    }

    /// Somebody is just changing it, or a crash has left it. When there is no room for that now, another reader meets it again.
    fn settle(&self, timer: DueTimer) {
        self.lanes.push(vec![Work::Settle(timer)]).ok();
    }
}

/// What the index of an owner names, page by page.
struct Named<'a> {
    inner: &'a Inner,
    places: std::vec::IntoIter<Place>,
    /// Where it reads on.
    at: Option<(Place, Vec<u8>)>,
    after: Option<DueTimer>,
}

impl<'a> Named<'a> {
    async fn new(
        inner: &'a Inner,
        kind: TimerKind,
        owner: TimerOwner,
        after: Option<DueTimer>,
    ) -> Result<Self, StoreError> {
        let index = Index::of(kind, owner);
        let buckets = if places::is_listed(owner) {
            let first = after.map_or(0, |after| places::bucket(after.due_ms));
            inner.rows.buckets(index, first, i64::MAX).await?
        } else {
            vec![places::THE_BUCKET]
        };
        let places: Vec<_> = buckets.into_iter().map(|bucket| Place { index, bucket }).collect();
        let mut named = Self { inner, places: places.into_iter(), at: None, after };
        named.go_on();
        Ok(named)
    }

    /// At least one, ascending; `None`: there are no more.
    async fn next(&mut self, limit: usize) -> Result<Option<Vec<DueTimer>>, StoreError> {
        while let Some((place, from)) = &self.at {
            let page = self.inner.rows.scan(*place, from, &places::end(), limit).await?;
            if page.is_empty() && from.is_empty() {
                self.inner.sweep_empty(*place).await?;
            }
            match page.last() {
                Some(last) if page.len() == limit => self.at = Some((*place, place.sort_key(last.timer))),
                _ => self.go_on(),
            }
            let named: Vec<_> = page.into_iter().filter(|row| row.live).map(|row| row.timer).collect();
            if !named.is_empty() {
                return Ok(Some(named));
            }
        }
        Ok(None)
    }

    fn go_on(&mut self) {
        let next = self.places.next();
        self.at = next.map(|place| {
            let from = self.after.map_or_else(Vec::new, |after| place.sort_key(after));
            (place, from)
        });
    }
}
