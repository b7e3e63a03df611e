//! Writing members and details, which are committed, to the rows that others read. Without it nothing is lost, only every
//! mutation would carry all of them.

use super::{Log, pending::Meta, slot::Slot, writes::Pause};
use crate::store::scylla::tables::{LogTables, MemberCell, Mutation, Rows, Written};
use futures_util::future::select;
use godwit_proto::UserId;
use prost::Message;
use std::{pin::pin, sync::Arc};

/// Cells in one mutation.
const CELLS_MAX: usize = 256;

/// What one write settles.
struct Settling {
    mutation: Mutation,
    /// With the commit that made each.
    members: Vec<(UserId, u64)>,
    details_since: Option<u64>,
}

impl<T: LogTables> Log<T> {
    /// Has what is unsettled written after a while, or at once if it is much.
    pub(super) fn start_settling(&self, slot: &Arc<Slot>) {
        let mut inner = slot.lock();
        let Some(state) = &inner.state else { return };
        if state.members.len() > self.0.limits.pending_members_max {
            slot.settle_now.notify_one();
        }
        if state.is_settled() || std::mem::replace(&mut inner.is_settling, true) {
            return;
        }
        drop(inner);
        let (log, slot, working) = (self.clone(), slot.clone(), self.0.working.start());
        self.0.tables.spawn(Box::pin(async move {
            log.settle(&slot).await;
            drop((slot, working));
        }));
    }

    async fn settle(&self, slot: &Slot) {
        let mut pause = Pause::new();
        loop {
            {
                let after_a_while = self.0.tables.sleep(self.0.limits.settle_ms);
                let (now, closing) = (pin!(slot.settle_now.notified()), pin!(self.0.working.closing()));
                select(after_a_while, select(now, closing)).await;
            }
            // What is committed meanwhile waits for the next time.
            let until = slot.lock().state.as_ref().map_or(0, |state| state.version);
            while let Some(settling) = self.settling(slot, until) {
                if self.attempt(settling.mutation.clone()).await == Written::Done && self.0.fence.holds() {
                    settled(slot, &settling);
                    pause = Pause::new();
                } else if self.0.working.is_closing() {
                    break;
                } else {
                    pause.wait(&*self.0.tables).await;
                }
            }
            let mut inner = slot.lock();
            let is_over = self.0.working.is_closing() || self.0.fence.has_ended();
            if is_over || inner.state.as_ref().is_none_or(|state| state.is_settled()) {
                inner.is_settling = false;
                return;
            }
        }
    }

    /// What commits up to `until` left to be written; `None`: nothing, or nothing may be now. The timestamp is taken while the state cannot change, so
    /// that a newer state always has a newer one.
    fn settling(&self, slot: &Slot, until: u64) -> Option<Settling> {
        let mut inner = slot.lock();
        let state = inner.state.as_mut()?;
        let cells: Vec<_> = state.members.iter().filter(|(_, cell)| cell.since <= until).take(CELLS_MAX).collect();
        let details_since = state.details_since.filter(|since| *since <= until);
        if cells.is_empty() && details_since.is_none() {
            return None;
        }
        let timestamp_us = self.0.fence.timestamp().ok()?;
        let members =
            cells.iter().map(|(user, cell)| MemberCell { user: **user, member: cell.value.clone() }).collect();
        let meta = details_since.map(|_| Meta::new(&state.details, state.meta_raised).encode_to_vec().into());
        let since = cells.into_iter().map(|(user, cell)| (*user, cell.since)).collect();
        state.settles += 1;
        Some(Settling {
            members: since,
            details_since,
            mutation: Mutation {
                timestamp_us,
                rows: Rows::Conversation { conversation: slot.conversation, meta, members },
            },
        })
    }
}

/// What was written is no longer pending, unless it has changed since.
fn settled(slot: &Slot, settling: &Settling) {
    let mut inner = slot.lock();
    let Some(state) = &mut inner.state else { return };
    for (user, since) in &settling.members {
        if state.members.get(user).is_some_and(|cell| cell.since == *since) {
            state.members.remove(user);
        }
    }
    if state.details_since == settling.details_since {
        state.details_since = None;
    }
}
