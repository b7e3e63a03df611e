//! The conversations in memory. Those that were not used for longest go first.

use super::slot::Slot;
use crate::telemetry::metric::STORE_CONVERSATIONS_CACHED;
use godwit_proto::{ConversationId, Vshard};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Slots by conversation.
pub(super) struct Slots {
    shards: Vec<Mutex<Shard>>,
    shard_max: usize,
}

#[derive(Default)]
struct Shard {
    slots: BTreeMap<ConversationId, (Arc<Slot>, u64)>,
    /// By when they were used last.
    by_use: BTreeMap<u64, ConversationId>,
    uses: u64,
    cached: Option<metrics::Gauge>,
}

const SHARDS: usize = 32;
/// How many are looked at for one that can go, when there is no room.
const LOOKED_AT_MAX: usize = 8;

impl Slots {
    pub(super) fn new(conversations_max: usize) -> Self {
        let shards = SHARDS.min(conversations_max.max(1));
        Self { shard_max: conversations_max.max(1) / shards, shards: (0..shards).map(|_| Mutex::default()).collect() }
    }

    /// The slot of a conversation. It is the only one as long as somebody holds it.
    pub(super) fn slot(&self, conversation: ConversationId) -> Arc<Slot> {
        let shard = usize::from(Vshard::of_conversation(conversation).index()) % self.shards.len();
        let mut shard = self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner);
        shard.slot(conversation, self.shard_max)
    }
}

impl Shard {
    fn slot(&mut self, conversation: ConversationId, max: usize) -> Arc<Slot> {
        self.uses += 1;
        let now = self.uses;
        if let Some((slot, used)) = self.slots.get_mut(&conversation) {
            self.by_use.remove(used);
            *used = now;
            self.by_use.insert(now, conversation);
            return slot.clone();
        }
        if self.slots.len() >= max {
            self.make_room(max);
        }
        let slot = Arc::new(Slot::new(conversation));
        self.slots.insert(conversation, (slot.clone(), now));
        self.by_use.insert(now, conversation);
        self.cached.get_or_insert_with(|| metrics::gauge!(STORE_CONVERSATIONS_CACHED)).increment(1);
        slot
    }

    /// Whoever has something waiting, on its way or unsettled has a task that holds the slot, and so it stays.
    fn make_room(&mut self, max: usize) {
        for _ in 0..LOOKED_AT_MAX {
            let Some((used, conversation)) = self.by_use.pop_first() else { return };
            let Some((slot, last_used)) = self.slots.get_mut(&conversation) else { continue };
            debug_assert_eq!(used, *last_used);
            if Arc::strong_count(slot) == 1 {
                self.slots.remove(&conversation);
                if let Some(cached) = &self.cached {
                    cached.decrement(1);
                }
                if self.slots.len() < max {
                    return;
                }
            } else {
                self.uses += 1;
                *last_used = self.uses;
                self.by_use.insert(self.uses, conversation);
            }
        }
    }
}
