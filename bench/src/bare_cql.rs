//! The driver alone, with the statements of the log and nothing around them: what a store on a CQL server is compared with.

use bytes::Bytes;
use godwit_proto::ConversationId;
use scylla::{
    client::{PoolSize, execution_profile::ExecutionProfile, session::Session, session_builder::SessionBuilder},
    serialize::{
        SerializationError,
        row::{RowSerializationContext, SerializeRow},
        writers::RowWriter,
    },
    statement::{
        Consistency,
        batch::{Batch, BatchType},
        prepared::PreparedStatement,
    },
};
use std::{num::NonZeroUsize, time::Duration};

/// A session in a keyspace that has the tables already.
pub struct BareCql {
    session: Session,
    state: PreparedStatement,
    entry: PreparedStatement,
    newest: PreparedStatement,
}

impl BareCql {
    /// With as many connections, the same consistency and the same time-out as a store has.
    pub async fn connect(node: &str, keyspace: &str, connections: NonZeroUsize) -> Self {
        let profile = ExecutionProfile::builder()
            .consistency(Consistency::LocalQuorum)
            .request_timeout(Some(Duration::from_secs(3)))
            .build();
        let session = SessionBuilder::new()
            .known_node(node)
            .pool_size(PoolSize::PerHost(connections))
            .default_execution_profile_handle(profile.into_handle())
            .use_keyspace(keyspace, false)
            .build()
            .await
            .unwrap();
        let state = session.prepare(STATE).await.unwrap();
        let entry = session.prepare(ENTRY).await.unwrap();
        let newest = session.prepare(NEWEST).await.unwrap();
        Self { session, state, entry, newest }
    }

    /// Appends entries to the bucket of the first of them, in one batch with its static columns.
    pub async fn append(&self, conversation: ConversationId, first_seq: u64, entries: &[Bytes]) {
        let conversation = &conversation.to_bytes()[..];
        let mut batch = Batch::new(BatchType::Unlogged);
        batch.append_statement(self.state.clone());
        entries.iter().for_each(|_| batch.append_statement(self.entry.clone()));
        let first_seq = first_seq as i64;
        let (bucket, timestamp_us) = (first_seq >> BUCKET_BITS, first_seq);
        let head = first_seq + entries.len() as i64 - 1;
        let mut values = Vec::with_capacity(1 + entries.len());
        values.push(Values::State((conversation, bucket, head, 1, &[], timestamp_us)));
        for (seq, entry) in (first_seq..).zip(entries) {
            values.push(Values::Entry((conversation, bucket, seq, entry, timestamp_us)));
        }
        self.session.batch(&batch, values).await.unwrap();
    }

    /// How many of the newest entries of a bucket there are.
    pub async fn newest(&self, conversation: ConversationId, bucket: i64, entries: i32) -> usize {
        let values = (&conversation.to_bytes()[..], bucket, entries);
        let rows = self.session.execute_unpaged(&self.newest, values).await.unwrap().into_rows_result().unwrap();
        rows.rows::<(i64, &[u8])>()
            .unwrap()
            .map(Result::unwrap)
            .filter(|(seq, entry)| *seq > 0 && !entry.is_empty())
            .count()
    }

    /// When all is measured.
    pub async fn drop_keyspace(&self, keyspace: &str) {
        self.session.query_unpaged(format!("DROP KEYSPACE {keyspace}"), ()).await.unwrap();
    }
}

/// Of the statements of a batch.
enum Values<'a> {
    State((&'a [u8], i64, i64, i64, &'a [u8], i64)),
    Entry((&'a [u8], i64, i64, &'a [u8], i64)),
}

impl SerializeRow for Values<'_> {
    fn serialize(
        &self,
        context: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        match self {
            Self::State(values) => values.serialize(context, writer),
            Self::Entry(values) => values.serialize(context, writer),
        }
    }

    fn is_empty(&self) -> bool {
        false
    }
}

/// 4,096 entries a partition.
const BUCKET_BITS: u32 = 12;
const STATE: &str =
    "INSERT INTO log (conversation, bucket, head, epoch, pending) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?";
const ENTRY: &str = "INSERT INTO log (conversation, bucket, seq, entry) VALUES (?, ?, ?, ?) USING TIMESTAMP ?";
const NEWEST: &str = "SELECT seq, entry FROM log WHERE conversation = ? AND bucket = ? ORDER BY seq DESC LIMIT ?";
