//! What devices acknowledged. Written behind: losing the newest in a crash costs a second delivery, no more.
//!
//! A row's timestamp is its seq. So it never moves back, whoever writes it and whenever that arrives, and it needs no lease.

use super::statements::Statements;
use crate::{
    store::{
        AckedPosition, StoreError,
        rows::DamagedRow,
        scylla::{
            owned::{Owned, at_once, unavailable},
            statement::WriteBatch,
        },
    },
    telemetry::metric,
};
use godwit_proto::{ConversationId, DeviceId, Seq, UserId};
use std::{
    collections::{BTreeMap, HashMap, btree_map},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

/// How long a position is only in memory, about.
const BEHIND: Duration = Duration::from_secs(1);
/// Positions that are taken up at once.
const ROUND_POSITIONS_MAX: usize = 4_096;
/// Positions of one device in one batch.
const BATCH_POSITIONS_MAX: usize = 128;
/// Batches on their way at once.
const BATCHES_AT_ONCE: usize = 16;
/// Conversations that one query asks about.
const ASKED_AT_ONCE: usize = 100;

/// Positions, those included that are not rows yet.
pub(super) struct Acked {
    owned: Owned,
    statements: Arc<Statements>,
    /// In the order of devices, so that a batch is a stretch of it.
    pending: Mutex<BTreeMap<Place, Seq>>,
    pending_max: usize,
    /// So that one round is not half of another.
    writing: tokio::sync::Mutex<()>,
}

type Place = (UserId, DeviceId, ConversationId);

impl Acked {
    pub(super) fn open(owned: Owned, statements: Arc<Statements>, pending_max: usize) -> Arc<Self> {
        let runtime = owned.runtime().clone();
        let (pending, writing) = (Mutex::default(), tokio::sync::Mutex::default());
        let acked = Arc::new(Self { owned, statements, pending, pending_max, writing });
        runtime.spawn(write_behind(Arc::downgrade(&acked)));
        acked
    }

    /// Notes positions, all or none.
    pub(super) fn put(&self, acked: &[AckedPosition]) -> Result<(), StoreError> {
        let mut pending = self.lock();
        if pending.len() + acked.len() > self.pending_max {
            metrics::counter!(metric::STORE_REFUSED, metric::REASON => "overloaded").increment(1);
            return Err(StoreError::Overloaded);
        }
        for position in acked.iter().filter(|position| position.seq > Seq::ZERO) {
            let seq = pending.entry((position.user, position.device, position.conversation)).or_default();
            *seq = position.seq.max(*seq);
        }
        Ok(())
    }

    pub(super) async fn read(
        &self,
        user: UserId,
        device: DeviceId,
        conversations: &[ConversationId],
    ) -> Result<Vec<Seq>, StoreError> {
        // Pending first, then rows: a position on its way from one to the other is seen in at least one of them.
        let pending: Vec<_> = {
            let pending = self.lock();
            conversations.iter().map(|id| pending.get(&(user, device, *id)).copied().unwrap_or_default()).collect()
        };
        let mut rows = HashMap::new();
        for asked in conversations.chunks(ASKED_AT_ONCE) {
            let asked: Vec<&[u8]> = asked.iter().map(|id| id.as_bytes().as_slice()).collect();
            let values = (user.as_u64().cast_signed(), device.0, asked);
            let found: Vec<(Vec<u8>, i64)> = self.owned.rows(&self.statements.acked, values).await?;
            for (conversation, seq) in found {
                let id = ConversationId::from_slice(&conversation).map_err(|error| DamagedRow(error.to_string()))?;
                rows.insert(id, Seq(seq.cast_unsigned()));
            }
        }
        let positions = conversations.iter().zip(pending);
        Ok(positions.map(|(id, pending)| pending.max(rows.get(id).copied().unwrap_or_default())).collect())
    }

    /// Writes what is pending. What cannot be written stays.
    pub(super) async fn write(&self) -> Result<(), StoreError> {
        let _one = self.writing.lock().await;
        let mut outcome = Ok(());
        let mut after = Bound::Unbounded;
        loop {
            let round: Vec<_> = {
                let pending = self.lock();
                metrics::gauge!(metric::STORE_ACKED_BEHIND).set(pending.len() as f64);
                let round = pending.range((after, Bound::Unbounded)).take(ROUND_POSITIONS_MAX);
                round.map(|(place, seq)| (*place, *seq)).collect()
            };
            let Some((last, _)) = round.last() else { return outcome };
            after = Bound::Excluded(*last);
            let of_devices = round.chunk_by(|one, next| (one.0.0, one.0.1) == (next.0.0, next.0.1));
            let batches = of_devices.flat_map(|of_device| of_device.chunks(BATCH_POSITIONS_MAX));
            let written = at_once(BATCHES_AT_ONCE, batches.map(|batch| self.write_batch(batch)).collect()).await;
            outcome = written.into_iter().fold(outcome, Result::and);
        }
    }

    /// Positions of one device.
    async fn write_batch(&self, positions: &[(Place, Seq)]) -> Result<(), StoreError> {
        let mut rows = WriteBatch::new("put_acked");
        for &((user, device, conversation), seq) in positions {
            let (user, seq) = (user.as_u64().cast_signed(), seq.as_u64().cast_signed());
            rows.push(&self.statements.put_acked, (user, device.0, conversation.as_bytes().to_vec(), seq, seq));
        }
        self.owned.batch(rows).await.map_err(unavailable)?;
        let mut pending = self.lock();
        for (place, seq) in positions {
            if let btree_map::Entry::Occupied(slot) = pending.entry(*place)
                && slot.get() == seq
            {
                slot.remove();
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Place, Seq>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For as long as somebody holds the store.
async fn write_behind(acked: Weak<Acked>) {
    loop {
        tokio::time::sleep(BEHIND).await;
        let Some(acked) = acked.upgrade() else { return };
        if let Err(error) = acked.write().await {
            tracing::warn!(%error, "acked positions cannot be written, and stay in memory");
        }
    }
}
