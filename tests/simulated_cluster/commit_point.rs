//! What a quorum has agreed on, for whoever holds a log to it from outside.

use super::replica::{Column, Partition, Replica};
use bytes::Bytes;
use godwit_proto::ConversationId;

/// Called with every commit point.
pub type Watch = Box<dyn FnMut(&CommitPoint<'_>) + Send>;

/// Static columns of a bucket of a log that are at a quorum and the newest anywhere: every read finds these.
pub struct CommitPoint<'a> {
    pub at_ms: u64,
    pub conversation: ConversationId,
    pub timestamp_us: i64,
    pub head: u64,
    pub epoch: u64,
    pub pending: Bytes,
    bucket: u64,
    replicas: &'a [Replica],
}

impl<'a> CommitPoint<'a> {
    pub fn of(at_ms: u64, partition: Partition, replicas: &'a [Replica]) -> Option<Self> {
        let Partition::Log(conversation, bucket) = partition else { return None };
        let head = |replica: &'a Replica| replica.cell(partition, Column::Head);
        let newest_us = replicas.iter().filter_map(head).map(|cell| cell.timestamp_us).max()?;
        let has_newest = |replica: &&'a Replica| head(replica).is_some_and(|cell| cell.timestamp_us == newest_us);
        let mut agreeing = replicas.iter().filter(has_newest);
        let (one, _) = (agreeing.next()?, agreeing.next()?);
        let value = |column| one.cell(partition, column).map(|cell| cell.value.clone());
        let number = |column| Some(u64::from_be_bytes(value(column)?.as_ref().try_into().ok()?));
        Some(Self {
            at_ms,
            conversation,
            timestamp_us: newest_us,
            head: number(Column::Head)?,
            epoch: number(Column::Epoch)?,
            pending: value(Column::Pending)?,
            bucket,
            replicas,
        })
    }

    /// The newest that any replica has of an entry's row; `None` if none has it. Only of the bucket of the head.
    pub fn entry(&self, seq: u64) -> Option<Bytes> {
        let place = Partition::Log(self.conversation, self.bucket);
        let cells = self.replicas.iter().filter_map(|replica| replica.cell(place, Column::Entry(seq)));
        cells.max_by_key(|cell| cell.timestamp_us).map(|cell| cell.value.clone())
    }
}
