//! Finding what a send became, however far back. Hashes only help; what is missing is made again from the rows.

use super::{
    Log,
    state::{SEGMENT_ENTRIES, Segment, segment_of},
};
use crate::{
    chat::LogEntry,
    store::{
        Direction, PageLimit, StoreError,
        scylla::tables::{BUCKET_ENTRIES, LogTables, Rows, bucket_of},
        send_hash,
    },
};
use bytes::Bytes;
use godwit_proto::{ClientMsgId, ConversationId, Seq, UserId};
use std::collections::BTreeMap;

const HASH_BYTES: usize = 8;

impl<T: LogTables> Log<T> {
    /// The entry that a sender sent under this id.
    pub(super) async fn find_sent(
        &self,
        conversation: ConversationId,
        sender: UserId,
        id: ClientMsgId,
    ) -> Result<Option<LogEntry>, StoreError> {
        let slot = self.0.slots.slot(conversation);
        let (head, rewritten) = self.with_state(&slot, true, |state| (state.head, state.rewritten.clone())).await?;
        let wanted = send_hash::hash(sender, id).to_be_bytes();
        let mut known = BTreeMap::new();
        let mut end = head;
        while end > Seq::ZERO {
            let bucket = bucket_of(end);
            let first = Seq(end.0 - end.0 % SEGMENT_ENTRIES);
            if end == head || end.0 % BUCKET_ENTRIES == BUCKET_ENTRIES - 1 {
                known = self.0.tables.sends(conversation, bucket).await?.into_iter().collect();
            }
            let hashes = match known.remove(&segment_of(end)) {
                Some(hashes) if hashes.len() == SEGMENT_ENTRIES as usize * HASH_BYTES => hashes,
                _ => self.make_hashes(conversation, head, first, end).await?,
            };
            for (index, _) in hashes.chunks_exact(HASH_BYTES).enumerate().filter(|(_, hash)| **hash == wanted) {
                let seq = Seq(first.0 + index as u64);
                // What takes its place keeps sender and id.
                if seq > Seq::ZERO && seq <= head {
                    let entry = self.entry(conversation, seq, &rewritten).await?;
                    if entry.sender == sender && entry.client_msg_id == id {
                        return Ok(Some(entry));
                    }
                }
            }
            end = Seq(first.0.saturating_sub(1));
        }
        Ok(None)
    }

    /// Makes the hashes of a segment from its rows, and has them written if they are complete.
    async fn make_hashes(
        &self,
        conversation: ConversationId,
        head: Seq,
        first: Seq,
        end: Seq,
    ) -> Result<Bytes, StoreError> {
        // There is no entry 0, but its place is kept.
        let mut hashes = if first == Seq::ZERO { vec![0] } else { Vec::new() };
        let from = first.max(Seq::FIRST);
        let limit = PageLimit { entries: (end.0 + 1 - from.0) as usize, bytes: usize::MAX };
        let entries = self.rows(conversation, head, &BTreeMap::new(), from, Direction::Forward, limit).await?;
        hashes.extend(entries.iter().map(|entry| send_hash::hash(entry.sender, entry.client_msg_id)));
        let is_complete = hashes.len() as u64 == SEGMENT_ENTRIES;
        let segment = Segment::new(end, &hashes);
        let hashes = segment.hashes.clone();
        if is_complete {
            self.write_segment(conversation, segment);
        }
        Ok(hashes)
    }

    /// Writes complete hashes, once: when that fails they are made again when they are needed.
    pub(super) fn write_segment(&self, conversation: ConversationId, segment: Segment) {
        let log = self.clone();
        let Segment { bucket, segment, hashes } = segment;
        self.0.tables.spawn(Box::pin(async move {
            let _ = log.write_once(Rows::Sends { conversation, bucket, segment, hashes }).await;
        }));
    }
}
