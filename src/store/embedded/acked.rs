//! What devices acknowledged. Written behind: losing the newest in a crash costs a second delivery, no more.

use super::{error::RowError, keys, keyspaces::Keyspaces, metric_names, sync::lock};
use crate::store::{AckedPosition, StoreError};
use godwit_proto::{ConversationId, DeviceId, Seq, UserId};
use std::{
    collections::{BTreeMap, btree_map},
    sync::Mutex,
};

/// Positions in one engine batch.
const BATCH_POSITIONS_MAX: usize = 1024;

/// Positions that are not rows yet.
pub(super) struct Acked {
    /// Ordered as the rows are, so that a batch of them is sorted.
    pending: Mutex<BTreeMap<Place, Seq>>,
    pending_max: usize,
}

type Place = (UserId, DeviceId, ConversationId);

impl Acked {
    pub(super) fn new(pending_max: usize) -> Self {
        Self { pending: Mutex::default(), pending_max }
    }

    /// Notes positions, all or none.
    pub(super) fn put(&self, acked: &[AckedPosition]) -> Result<(), StoreError> {
        let mut pending = lock(&self.pending);
        if pending.len() + acked.len() > self.pending_max {
            metric_names::refused("overloaded");
            return Err(StoreError::Overloaded);
        }
        for position in acked {
            let seq = pending.entry((position.user, position.device, position.conversation)).or_default();
            *seq = position.seq.max(*seq);
        }
        Ok(())
    }

    pub(super) fn read(
        &self,
        keyspaces: &Keyspaces,
        user: UserId,
        device: DeviceId,
        conversations: &[ConversationId],
    ) -> Result<Vec<Seq>, RowError> {
        // Pending first, then rows: a position on its way from one to the other is seen in at least one of them.
        let pending: Vec<_> = {
            let pending = lock(&self.pending);
            conversations.iter().map(|id| pending.get(&(user, device, *id)).copied().unwrap_or_default()).collect()
        };
        let positions = conversations.iter().zip(pending);
        positions.map(|(id, pending)| Ok(pending.max(row(keyspaces, (user, device, *id))?))).collect()
    }

    /// Writes what is pending as rows, not durably.
    pub(super) fn write(&self, keyspaces: &Keyspaces) -> Result<(), RowError> {
        loop {
            let positions: Vec<_> =
                lock(&self.pending).iter().take(BATCH_POSITIONS_MAX).map(|(place, seq)| (*place, *seq)).collect();
            if positions.is_empty() {
                return Ok(());
            }
            let mut batch = keyspaces.db.batch();
            for &((user, device, conversation), seq) in &positions {
                // Only this thread writes these rows, so that none can move backwards in between.
                if seq > row(keyspaces, (user, device, conversation))? {
                    let key = keys::acked(user, device, conversation);
                    batch.insert(&keyspaces.acked, key, seq.0.to_be_bytes());
                }
            }
            batch.commit()?;
            let mut pending = lock(&self.pending);
            for (place, seq) in positions {
                if let btree_map::Entry::Occupied(slot) = pending.entry(place)
                    && *slot.get() == seq
                {
                    slot.remove();
                }
            }
        }
    }
}

fn row(keyspaces: &Keyspaces, (user, device, conversation): Place) -> Result<Seq, RowError> {
    let value = keyspaces.acked.get(keys::acked(user, device, conversation))?;
    value.map_or(Ok(Seq::ZERO), |value| Ok(Seq(keys::number(&value)?)))
}
