//! The tables of a cluster as one process sees them.

use super::{
    Cluster, ProcessId,
    replica::{Cell, Cells, Column, Partition, Query},
};
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use godwit::store::{
    Direction, StoreError,
    scylla::tables::{LogHead, LogRow, LogState, LogTables, MemberCell, MembershipState, Mutation, Written},
};
use godwit_proto::{ConversationId, Seq, UserId};
use std::ops::RangeInclusive;

pub struct Tables {
    pub cluster: Cluster,
    pub process: ProcessId,
}

impl Tables {
    /// As a driver does: nothing is sent before somebody waits for the answer.
    fn read<T: Send>(
        &self,
        query: Query,
        work: impl FnOnce(Cells) -> T + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let cluster = self.cluster.clone();
        async move {
            let answered = cluster.lock().read(query);
            Ok(work(answered.await.expect("every read is answered")?))
        }
        .boxed()
    }
}

impl LogTables for Tables {
    fn write(&self, mutation: Mutation) -> BoxFuture<'static, Written> {
        let cluster = self.cluster.clone();
        async move {
            let held_ms = cluster.lock().held_ms();
            if held_ms > 0 {
                cluster.sleep(held_ms).await;
            }
            let answered = cluster.lock().write(&mutation);
            answered.await.expect("every write is answered")
        }
        .boxed()
    }

    fn log_head(
        &self,
        conversation: ConversationId,
        bucket: u64,
        limit: usize,
    ) -> BoxFuture<'static, Result<Option<LogHead>, StoreError>> {
        let rows = Column::Entry(0)..=Column::Entry(u64::MAX);
        let query =
            Query { partition: Partition::Log(conversation, bucket), statics: true, rows, backward: true, limit };
        self.read(query, |cells| {
            let value = |column| cells.get(&column).map(|cell| cell.value.clone());
            let state = LogState {
                head: Seq(number(&value(Column::Head)?)),
                epoch: number(&value(Column::Epoch)?),
                pending: value(Column::Pending)?,
            };
            Some(LogHead { state, rows: log_rows(cells).into_iter().rev().collect() })
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
        let query = Query {
            partition: Partition::Log(conversation, bucket),
            statics: false,
            rows: Column::Entry(from.0)..=Column::Entry(to.0),
            backward: direction == Direction::Backward,
            limit,
        };
        self.read(query, log_rows)
    }

    fn meta(&self, conversation: ConversationId) -> BoxFuture<'static, Result<Option<Bytes>, StoreError>> {
        let query = Query { statics: true, limit: 0, ..members(conversation, 0..=u64::MAX) };
        self.read(query, |cells| cells.get(&Column::Meta).map(|cell| cell.value.clone()))
    }

    fn members(&self, conversation: ConversationId) -> BoxFuture<'static, Result<Vec<MemberCell>, StoreError>> {
        self.read(members(conversation, 0..=u64::MAX), member_cells)
    }

    fn member(
        &self,
        conversation: ConversationId,
        user: UserId,
    ) -> BoxFuture<'static, Result<Option<MemberCell>, StoreError>> {
        self.read(members(conversation, user.as_u64()..=user.as_u64()), |cells| member_cells(cells).pop())
    }

    fn memberships(
        &self,
        user: UserId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<(ConversationId, MembershipState)>, StoreError>> {
        let from = after.map_or(0, |after| u128::from_be_bytes(*after.as_bytes()) + 1);
        let query = Query {
            partition: Partition::Memberships(user),
            statics: false,
            rows: Column::Membership(from)..=Column::Membership(u128::MAX),
            backward: false,
            limit,
        };
        self.read(query, |cells| {
            let row = |(column, cell): (Column, Cell)| match column {
                Column::Membership(id) => Some((ConversationId::from_slice(&id.to_be_bytes()).unwrap(), state(&cell))),
                _ => None,
            };
            cells.into_iter().filter_map(row).collect()
        })
    }

    fn sends(
        &self,
        conversation: ConversationId,
        bucket: u64,
    ) -> BoxFuture<'static, Result<Vec<(u8, Bytes)>, StoreError>> {
        let query = Query {
            partition: Partition::Sends(conversation, bucket),
            statics: false,
            rows: Column::Hashes(0)..=Column::Hashes(u8::MAX),
            backward: false,
            limit: usize::MAX,
        };
        self.read(query, |cells| {
            let segment = |(column, cell): (Column, Cell)| match column {
                Column::Hashes(segment) => Some((segment, cell.value)),
                _ => None,
            };
            cells.into_iter().filter_map(segment).collect()
        })
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.cluster.spawn(self.process, task);
    }

    fn sleep(&self, ms: u64) -> BoxFuture<'static, ()> {
        self.cluster.sleep(ms)
    }
}

fn members(conversation: ConversationId, users: RangeInclusive<u64>) -> Query {
    Query {
        partition: Partition::Conversation(conversation),
        statics: false,
        rows: Column::Member(*users.start())..=Column::Member(*users.end()),
        backward: false,
        limit: usize::MAX,
    }
}

fn member_cells(cells: Cells) -> Vec<MemberCell> {
    let row = |(column, cell): (Column, Cell)| match column {
        Column::Member(user) => Some(MemberCell { user: UserId::new(user).unwrap(), member: cell.value }),
        _ => None,
    };
    cells.into_iter().filter_map(row).collect()
}

fn log_rows(cells: Cells) -> Vec<LogRow> {
    let row = |(column, cell): (Column, Cell)| match column {
        Column::Entry(seq) => Some(LogRow { seq: Seq(seq), entry: cell.value }),
        _ => None,
    };
    cells.into_iter().filter_map(row).collect()
}

fn state(cell: &Cell) -> MembershipState {
    let states = [MembershipState::Member, MembershipState::Unsure, MembershipState::Left];
    states[usize::from(cell.value[0])]
}

fn number(value: &Bytes) -> u64 {
    u64::from_be_bytes(value.as_ref().try_into().unwrap())
}
