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
        Consistency, Statement,
        batch::{Batch, BatchType},
        prepared::PreparedStatement,
    },
};
use std::{
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A session in a keyspace that has the tables already. Clones share it.
#[derive(Clone)]
pub struct BareCql {
    session: Arc<Session>,
    /// By how many entries they append; of one there is `newest`, which is no batch.
    appends: Arc<Vec<Batch>>,
    newest: PreparedStatement,
    page: PreparedStatement,
    count: PreparedStatement,
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
        let newest = session.prepare(STATE_ENTRY).await.unwrap();
        let entry = session.prepare(ENTRY).await.unwrap();
        let page = session.prepare(PAGE).await.unwrap();
        let count = session.prepare(COUNT).await.unwrap();
        let appends = (0..=ENTRIES_MAX).map(|entries| {
            let mut batch = Batch::new(BatchType::Unlogged);
            batch.append_statement(newest.clone());
            (1..entries).for_each(|_| batch.append_statement(entry.clone()));
            batch
        });
        let appends = Arc::new(appends.collect());
        Self { session: Arc::new(session), appends, newest, page, count }
    }

    /// Appends entries, at most `ENTRIES_MAX`, to the bucket of the first of them, in one batch with its static columns.
    pub async fn append(&self, conversation: ConversationId, first_seq: u64, entries: &[Bytes]) {
        let conversation = &conversation.to_bytes()[..];
        let first_seq = first_seq as i64;
        let (bucket, timestamp_us) = (first_seq >> BUCKET_BITS, now_us());
        let head = first_seq + entries.len() as i64 - 1;
        let (newest, others) = entries.split_last().unwrap();
        let newest = (conversation, bucket, head, 1, &PENDING[..], head, &newest[..], timestamp_us);
        if others.is_empty() {
            self.session.execute_unpaged(&self.newest, newest).await.unwrap();
            return;
        }
        let mut values = Vec::with_capacity(entries.len());
        values.push(Values::Newest(newest));
        for (seq, entry) in (first_seq..).zip(others) {
            values.push(Values::Entry((conversation, bucket, seq, entry, timestamp_us)));
        }
        self.session.batch(&self.appends[entries.len()], values).await.unwrap();
    }

    /// How many rows a log has in all its buckets, which are dense from the first on.
    pub async fn count(&self, conversation: ConversationId) -> u64 {
        let mut all = 0;
        for bucket in 0_i64.. {
            let values = (&conversation.to_bytes()[..], bucket);
            let rows = self.session.execute_unpaged(&self.count, values).await.unwrap().into_rows_result().unwrap();
            let (count,) = rows.single_row::<(i64,)>().unwrap();
            all += count as u64;
            if count < (1 << BUCKET_BITS) - i64::from(bucket == 0) {
                break;
            }
        }
        all
    }

    /// How many of the newest entries of a bucket there are.
    pub async fn newest(&self, conversation: ConversationId, bucket: i64, entries: i32) -> usize {
        let values = (&conversation.to_bytes()[..], bucket, entries);
        let rows = self.session.execute_unpaged(&self.page, values).await.unwrap().into_rows_result().unwrap();
        rows.rows::<(i64, &[u8])>()
            .unwrap()
            .map(Result::unwrap)
            .filter(|(seq, entry)| *seq > 0 && !entry.is_empty())
            .count()
    }

    /// When all is measured.
    pub async fn drop_keyspace(&self, keyspace: &str) {
        let mut drop = Statement::new(format!("DROP KEYSPACE {keyspace}"));
        // It takes a server a while to forget what it has just been given.
        drop.set_request_timeout(Some(Duration::from_secs(60)));
        self.session.query_unpaged(drop, ()).await.unwrap();
    }
}

type Newest<'a> = (&'a [u8], i64, i64, i64, &'a [u8], i64, &'a [u8], i64);

/// Of the statements of a batch.
enum Values<'a> {
    Newest(Newest<'a>),
    Entry((&'a [u8], i64, i64, &'a [u8], i64)),
}

impl SerializeRow for Values<'_> {
    fn serialize(
        &self,
        context: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        match self {
            Self::Newest(values) => values.serialize(context, writer),
            Self::Entry(values) => values.serialize(context, writer),
        }
    }

    fn is_empty(&self) -> bool {
        false
    }
}

fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64
}

/// What the store's `pending` is as long as.
const PENDING: [u8; 4] = [0; 4];
/// Entries of one batch.
pub const ENTRIES_MAX: usize = 64;
/// 4,096 entries a partition.
const BUCKET_BITS: u32 = 12;
const STATE_ENTRY: &str = "INSERT INTO log (conversation, bucket, head, epoch, pending, seq, entry) VALUES (?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?";
const ENTRY: &str = "INSERT INTO log (conversation, bucket, seq, entry) VALUES (?, ?, ?, ?) USING TIMESTAMP ?";
const PAGE: &str = "SELECT seq, entry FROM log WHERE conversation = ? AND bucket = ? ORDER BY seq DESC LIMIT ?";
const COUNT: &str = "SELECT COUNT(*) FROM log WHERE conversation = ? AND bucket = ?";
