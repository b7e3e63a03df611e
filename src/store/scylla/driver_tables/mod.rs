//! The tables of conversations on a cluster.

mod log_writes;
mod statements;

use super::{
    connection::Cql,
    error::OpenError,
    statement::WriteBatch,
    tables::{LogHead, LogRow, LogState, LogTables, MemberCell, MembershipState, Mutation, Rows, Written},
};
use crate::store::{Direction, StoreError};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use godwit_proto::{ConversationId, Seq, UserId};
use log_writes::LogWrites;
use statements::Statements;
use std::{sync::Arc, time::Duration};
use tokio::{runtime::Handle, sync::Semaphore};

/// How long a row stays that says that somebody has left, in seconds: longer than anything can be on its way that was written
/// before it, and would count again without it.
const LEFT_STAYS_S: i32 = 3 * 24 * 3600;
/// A row that stays.
const FOREVER: i32 = 0;

/// [`LogTables`] through the session that everything else goes through. Clones share it.
#[derive(Clone)]
pub struct DriverTables(Arc<Inner>);

struct Inner {
    cql: Arc<Cql>,
    statements: Statements,
    log_writes: LogWrites,
    runtime: Handle,
    /// Of the reads that may be on their way.
    reads: Semaphore,
}

impl DriverTables {
    /// Prepares what is said to the cluster. Work is done on `runtime`, whoever asks for it and wherever.
    pub async fn prepare(cql: Arc<Cql>, runtime: Handle, reads_in_flight_max: usize) -> Result<Self, OpenError> {
        let statements = Statements::prepare(&cql).await?;
        let reads = Semaphore::new(reads_in_flight_max);
        Ok(Self(Arc::new(Inner { cql, statements, log_writes: LogWrites::new(), runtime, reads })))
    }

    fn read<T: Send + 'static, F>(
        &self,
        work: impl FnOnce(Arc<Inner>) -> F + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let inner = self.0.clone();
        let task = self.0.runtime.spawn(async move {
            let shared = inner.clone();
            // Nobody closes it.
            let _permit = inner.reads.acquire().await;
            work(shared).await
        });
        Box::pin(async move {
            task.await.unwrap_or_else(|error| Err(StoreError::Unavailable(format!("the store has stopped: {error}"))))
        })
    }
}

impl LogTables for DriverTables {
    fn write(&self, mutation: Mutation) -> BoxFuture<'static, Written> {
        let inner = self.0.clone();
        let work = async move { inner.write(mutation).await };
        // What writes is a task of this runtime, unlike what reads, and need not wait for another one.
        if Handle::try_current().is_ok_and(|current| current.id() == self.0.runtime.id()) {
            return Box::pin(work);
        }
        let task = self.0.runtime.spawn(work);
        Box::pin(async move { task.await.unwrap_or(Written::Unknown) })
    }

    fn log_head(
        &self,
        conversation: ConversationId,
        bucket: u64,
        limit: usize,
    ) -> BoxFuture<'static, Result<Option<LogHead>, StoreError>> {
        type Columns = (Option<i64>, Option<i64>, Option<Bytes>, Option<i64>, Option<Bytes>);
        self.read(move |inner| async move {
            let values = (key(conversation), number(bucket), count(limit));
            let rows = inner.cql.rows::<Columns>(&inner.statements.log_head, values).await?;
            let mut state = None;
            let mut entries = Vec::with_capacity(rows.len());
            for (head, epoch, pending, seq, entry) in rows {
                if let (Some(head), Some(epoch), Some(pending)) = (head, epoch, pending) {
                    state = Some(LogState { head: Seq(unsigned(head)), epoch: unsigned(epoch), pending });
                }
                if let (Some(seq), Some(entry)) = (seq, entry) {
                    entries.push(LogRow { seq: Seq(unsigned(seq)), entry });
                }
            }
            Ok(state.map(|state| LogHead { state, rows: entries }))
        })
    }

    fn log_rows(
        &self,
        conversation: ConversationId,
        bucket: u64,
        (from, to): (Seq, Seq),
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<LogRow>, StoreError>> {
        self.read(move |inner| async move {
            let statement = match direction {
                Direction::Forward => &inner.statements.log_forward,
                Direction::Backward => &inner.statements.log_backward,
            };
            let values = (key(conversation), number(bucket), number(from.0), number(to.0), count(limit));
            let rows = inner.cql.rows::<(i64, Option<Bytes>)>(statement, values).await?.into_iter();
            let rows = rows.filter_map(|(seq, entry)| Some(LogRow { seq: Seq(unsigned(seq)), entry: entry? }));
            Ok(match direction {
                Direction::Forward => rows.collect(),
                Direction::Backward => rows.rev().collect(),
            })
        })
    }

    fn meta(&self, conversation: ConversationId) -> BoxFuture<'static, Result<Option<Bytes>, StoreError>> {
        self.read(move |inner| async move {
            let row = inner.cql.row::<(Option<Bytes>,)>(&inner.statements.meta, (key(conversation),)).await?;
            Ok(row.and_then(|(meta,)| meta))
        })
    }

    fn members(&self, conversation: ConversationId) -> BoxFuture<'static, Result<Vec<MemberCell>, StoreError>> {
        type Columns = (Option<i64>, Option<Bytes>);
        self.read(move |inner| async move {
            let rows = inner.cql.rows_paged::<Columns>(&inner.statements.members, (key(conversation),)).await?;
            let cell = |(user, member): Columns| {
                let user = UserId::new(user?.cast_unsigned()).ok()?;
                Some(MemberCell { user, member: member? })
            };
            Ok(rows.into_iter().filter_map(cell).collect())
        })
    }

    fn member(
        &self,
        conversation: ConversationId,
        user: UserId,
    ) -> BoxFuture<'static, Result<Option<MemberCell>, StoreError>> {
        self.read(move |inner| async move {
            let values = (key(conversation), user.as_u64().cast_signed());
            let row = inner.cql.row::<(Option<Bytes>,)>(&inner.statements.member, values).await?;
            Ok(row.and_then(|(member,)| member).map(|member| MemberCell { user, member }))
        })
    }

    fn memberships(
        &self,
        user: UserId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<(ConversationId, MembershipState)>, StoreError>> {
        self.read(move |inner| async move {
            // Nothing is less than no bytes.
            let after = after.map(key).unwrap_or_default();
            let values = (user.as_u64().cast_signed(), after, count(limit));
            let rows = inner.cql.rows::<(Bytes, Option<i8>)>(&inner.statements.memberships, values).await?;
            rows.iter()
                .map(|(conversation, state)| {
                    let conversation = ConversationId::from_slice(conversation)
                        .map_err(|error| StoreError::Unavailable(format!("a damaged row of memberships: {error}")))?;
                    Ok((conversation, membership_state(*state)))
                })
                .collect()
        })
    }

    fn sends(
        &self,
        conversation: ConversationId,
        bucket: u64,
    ) -> BoxFuture<'static, Result<Vec<(u8, Bytes)>, StoreError>> {
        self.read(move |inner| async move {
            let values = (key(conversation), number(bucket));
            let rows = inner.cql.rows::<(i8, Bytes)>(&inner.statements.sends, values).await?;
            Ok(rows.into_iter().map(|(segment, hashes)| (segment.cast_unsigned(), hashes)).collect())
        })
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.runtime.spawn(task);
    }

    fn sleep(&self, ms: u64) -> BoxFuture<'static, ()> {
        let _runtime = self.0.runtime.enter();
        Box::pin(tokio::time::sleep(Duration::from_millis(ms)))
    }
}

impl Inner {
    async fn write(&self, Mutation { timestamp_us, rows }: Mutation) -> Written {
        let statements = &self.statements;
        let batch = match rows {
            Rows::Log { conversation, bucket, state, entries } => {
                let (partition, columns) = ((conversation, bucket), (state, entries));
                return self.log_writes.write(&self.cql, statements, partition, columns, timestamp_us).await;
            }
            Rows::Conversation { conversation, meta, members } => {
                conversation_batch(statements, conversation, meta, members, timestamp_us)
            }
            Rows::Membership { user, conversation, state } => {
                let ttl = if state == MembershipState::Left { LEFT_STAYS_S } else { FOREVER };
                let user = user.as_u64().cast_signed();
                let values = (user, key(conversation), membership_column(state), timestamp_us, ttl);
                let mut batch = WriteBatch::new("membership_write");
                batch.push(&statements.membership_put, values);
                batch
            }
            Rows::Sends { conversation, bucket, segment, hashes } => {
                let values = (key(conversation), number(bucket), segment.cast_signed(), hashes, timestamp_us);
                let mut batch = WriteBatch::new("sends_write");
                batch.push(&statements.sends_put, values);
                batch
            }
        };
        self.cql.batch(&batch).await
    }
}

fn conversation_batch(
    statements: &Statements,
    conversation: ConversationId,
    meta: Option<Bytes>,
    members: Vec<MemberCell>,
    timestamp_us: i64,
) -> WriteBatch {
    let conversation = key(conversation);
    let mut batch = WriteBatch::new("conversation_write");
    if let Some(meta) = meta {
        batch.push(&statements.meta_put, (conversation.clone(), meta, timestamp_us));
    }
    for MemberCell { user, member } in members {
        let ttl = if member.is_empty() { LEFT_STAYS_S } else { FOREVER };
        let values = (conversation.clone(), user.as_u64().cast_signed(), member, timestamp_us, ttl);
        batch.push(&statements.member_put, values);
    }
    batch
}

fn membership_column(state: MembershipState) -> i8 {
    match state {
        MembershipState::Member => 1,
        MembershipState::Unsure => 2,
        MembershipState::Left => 3,
    }
}

/// What cannot be understood is asked of the conversation.
fn membership_state(column: Option<i8>) -> MembershipState {
    match column {
        Some(1) => MembershipState::Member,
        Some(3) => MembershipState::Left,
        _ => MembershipState::Unsure,
    }
}

fn key(conversation: ConversationId) -> Bytes {
    Bytes::copy_from_slice(conversation.as_bytes())
}

/// Seqs, buckets and epochs count from one; none comes near the end of the column.
fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(column: i64) -> u64 {
    u64::try_from(column).unwrap_or(0)
}

fn count(limit: usize) -> i32 {
    i32::try_from(limit).unwrap_or(i32::MAX)
}
