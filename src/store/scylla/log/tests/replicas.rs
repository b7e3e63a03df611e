//! Three replicas of cells with timestamps, read and written at a quorum; nothing repairs them. What becomes of a write is
//! decided by whoever tests.

use super::world::World;
use crate::store::{
    Direction, StoreError,
    scylla::tables::{LogHead, LogRow, LogState, LogTables, MemberCell, MembershipState, Mutation, Rows, Written},
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use godwit_proto::{ConversationId, Seq, UserId};
use std::{
    collections::BTreeMap,
    future::ready,
    ops::RangeInclusive,
    sync::{Arc, Mutex},
};

/// What becomes of one attempt of a write.
#[derive(Debug, Clone)]
pub(super) struct Fate {
    /// Replicas that have it at once.
    pub(super) now: Vec<usize>,
    /// Replicas that get it when somebody calls [`Replicas::deliver`].
    pub(super) late: Vec<usize>,
    pub(super) answer: Written,
    /// Milliseconds until the answer.
    pub(super) after_ms: u64,
}

impl Fate {
    pub(super) fn done() -> Self {
        Self { now: vec![0, 1, 2], late: vec![], answer: Written::Done, after_ms: 0 }
    }

    pub(super) fn unknown(now: &[usize], late: &[usize]) -> Self {
        Self { now: now.to_vec(), late: late.to_vec(), answer: Written::Unknown, after_ms: 0 }
    }

    pub(super) fn refused() -> Self {
        let error = StoreError::Unavailable("not tried".to_owned());
        Self { now: vec![], late: vec![], answer: Written::NotWritten(error), after_ms: 0 }
    }
}

type Plan = Box<dyn FnMut(&Mutation) -> Fate + Send>;

pub(super) struct Replicas {
    world: Arc<World>,
    inner: Mutex<Inner>,
}

struct Inner {
    replicas: [BTreeMap<Key, (i64, Value)>; 3],
    late: Vec<(usize, Mutation)>,
    plan: Plan,
    /// The pair that answers the next read.
    pair: Box<dyn FnMut() -> [usize; 2] + Send>,
    attempts: Vec<Mutation>,
    reads: usize,
    read_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    State(ConversationId, u64),
    Row(ConversationId, u64, u64),
    Meta(ConversationId),
    Member(ConversationId, UserId),
    Membership(UserId, ConversationId),
    Sends(ConversationId, u64, u8),
}

#[derive(Debug, Clone)]
enum Value {
    State(LogState),
    Bytes(Bytes),
    Membership(MembershipState),
}

impl Replicas {
    pub(super) fn new(world: &Arc<World>) -> Arc<Self> {
        let inner = Inner {
            replicas: Default::default(),
            late: vec![],
            plan: Box::new(|_| Fate::done()),
            pair: Box::new(|| [0, 1]),
            attempts: vec![],
            reads: 0,
            read_ms: 0,
        };
        Arc::new(Self { world: world.clone(), inner: Mutex::new(inner) })
    }

    /// Decides about all writes from now on.
    pub(super) fn plan(&self, plan: impl FnMut(&Mutation) -> Fate + Send + 'static) {
        self.inner.lock().unwrap().plan = Box::new(plan);
    }

    /// Decides about the next commit points and the mutations that seal one, in order; the others are done.
    pub(super) fn commit_points(&self, fates: impl IntoIterator<Item = Fate>) {
        let mut fates: std::collections::VecDeque<_> = fates.into_iter().collect();
        self.plan(move |mutation| match is_commit_point(mutation) {
            true => fates.pop_front().unwrap_or_else(Fate::done),
            false => Fate::done(),
        });
    }

    pub(super) fn read_from(&self, pair: [usize; 2]) {
        self.inner.lock().unwrap().pair = Box::new(move || pair);
    }

    pub(super) fn read_from_any(&self, pair: impl FnMut() -> [usize; 2] + Send + 'static) {
        self.inner.lock().unwrap().pair = Box::new(pair);
    }

    /// What is late arrives.
    pub(super) fn deliver(&self) {
        let mut inner = self.inner.lock().unwrap();
        for (replica, mutation) in std::mem::take(&mut inner.late) {
            apply(&mut inner.replicas[replica], &mutation);
        }
    }

    /// All attempts of writes since the last time.
    pub(super) fn attempts(&self) -> Vec<Mutation> {
        std::mem::take(&mut self.inner.lock().unwrap().attempts)
    }

    /// How long pages take from now on.
    pub(super) fn slow_reads(&self, ms: u64) {
        self.inner.lock().unwrap().read_ms = ms;
    }

    /// Reads since the last time.
    pub(super) fn reads(&self) -> usize {
        std::mem::take(&mut self.inner.lock().unwrap().reads)
    }

    fn merged(&self, keys: RangeInclusive<Key>) -> BTreeMap<Key, Value> {
        let mut inner = self.inner.lock().unwrap();
        inner.reads += 1;
        let pair = (inner.pair)();
        inner.merged(pair, keys)
    }

    fn bytes(&self, key: Key) -> Option<Bytes> {
        match self.merged(key..=key).remove(&key)? {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }
}

impl Inner {
    fn merged(&self, pair: [usize; 2], keys: RangeInclusive<Key>) -> BTreeMap<Key, Value> {
        let mut merged: BTreeMap<Key, (i64, Value)> = BTreeMap::new();
        for replica in pair {
            for (key, (timestamp, value)) in self.replicas[replica].range(keys.clone()) {
                if merged.get(key).is_none_or(|there| there.0 < *timestamp) {
                    merged.insert(*key, (*timestamp, value.clone()));
                }
            }
        }
        merged.into_iter().map(|(key, (_, value))| (key, value)).collect()
    }
}

/// Whether static columns of the log are written that say of something that it is there.
pub(super) fn is_commit_point(mutation: &Mutation) -> bool {
    matches!(&mutation.rows, Rows::Log { state: Some(state), .. } if !state.pending.is_empty())
}

fn apply(replica: &mut BTreeMap<Key, (i64, Value)>, mutation: &Mutation) {
    let mut put = |key, value| {
        let there = replica.get(&key).map_or(i64::MIN, |(timestamp, _)| *timestamp);
        if mutation.timestamp_us >= there {
            replica.insert(key, (mutation.timestamp_us, value));
        }
    };
    match mutation.rows.clone() {
        Rows::Log { conversation, bucket, state, entries } => {
            state.into_iter().for_each(|state| put(Key::State(conversation, bucket), Value::State(state)));
            for row in entries {
                assert_eq!(row.seq.0 >> 12, bucket, "{row:?}");
                put(Key::Row(conversation, bucket, row.seq.0), Value::Bytes(row.entry));
            }
        }
        Rows::Conversation { conversation, meta, members } => {
            meta.into_iter().for_each(|meta| put(Key::Meta(conversation), Value::Bytes(meta)));
            members.into_iter().for_each(|row| put(Key::Member(conversation, row.user), Value::Bytes(row.member)));
        }
        Rows::Membership { user, conversation, state } => {
            put(Key::Membership(user, conversation), Value::Membership(state));
        }
        Rows::Sends { conversation, bucket, segment, hashes } => {
            put(Key::Sends(conversation, bucket, segment), Value::Bytes(hashes));
        }
    }
}

fn user(raw: u64) -> UserId {
    UserId::new(raw).unwrap()
}

fn conversation(byte: u8) -> ConversationId {
    if byte == 0 { ConversationId::direct(user(1), user(1)) } else { ConversationId::group([byte; 16]) }
}

impl LogTables for Replicas {
    fn write(&self, mutation: Mutation) -> BoxFuture<'static, Written> {
        let mut inner = self.inner.lock().unwrap();
        let fate = (inner.plan)(&mutation);
        fate.now.iter().for_each(|replica| apply(&mut inner.replicas[*replica], &mutation));
        inner.late.extend(fate.late.iter().map(|replica| (*replica, mutation.clone())));
        inner.attempts.push(mutation);
        if fate.after_ms == 0 {
            return Box::pin(ready(fate.answer));
        }
        let sleep = self.world.sleep(fate.after_ms);
        Box::pin(async move {
            sleep.await;
            fate.answer
        })
    }

    fn log_head(
        &self,
        conversation: ConversationId,
        bucket: u64,
        limit: usize,
    ) -> BoxFuture<'static, Result<Option<LogHead>, StoreError>> {
        // One look, so that both come from the same replicas.
        let cells = {
            let mut inner = self.inner.lock().unwrap();
            inner.reads += 1;
            let pair = (inner.pair)();
            let state = inner.merged(pair, Key::State(conversation, bucket)..=Key::State(conversation, bucket));
            let rows = inner.merged(pair, rows(conversation, bucket, (Seq::ZERO, Seq(u64::MAX))));
            state.into_iter().chain(rows).collect::<Vec<_>>()
        };
        let mut head = None;
        let mut found = Vec::new();
        for (key, value) in cells {
            match (key, value) {
                (Key::State(..), Value::State(state)) => head = Some(state),
                (Key::Row(_, _, seq), Value::Bytes(entry)) => found.push(LogRow { seq: Seq(seq), entry }),
                _ => {}
            }
        }
        found.reverse();
        found.truncate(limit);
        Box::pin(ready(Ok(head.map(|state| LogHead { state, rows: found }))))
    }

    fn log_rows(
        &self,
        conversation: ConversationId,
        bucket: u64,
        seqs: (Seq, Seq),
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<LogRow>, StoreError>> {
        let found =
            self.merged(rows(conversation, bucket, seqs)).into_iter().filter_map(|(key, value)| match (key, value) {
                (Key::Row(_, _, seq), Value::Bytes(entry)) => Some(LogRow { seq: Seq(seq), entry }),
                _ => None,
            });
        let mut found: Vec<_> = found.collect();
        match direction {
            Direction::Forward => found.truncate(limit),
            Direction::Backward => drop(found.drain(..found.len().saturating_sub(limit))),
        }
        let sleep = self.world.sleep(self.inner.lock().unwrap().read_ms);
        Box::pin(async move {
            sleep.await;
            Ok(found)
        })
    }

    fn meta(&self, conversation: ConversationId) -> BoxFuture<'static, Result<Option<Bytes>, StoreError>> {
        Box::pin(ready(Ok(self.bytes(Key::Meta(conversation)))))
    }

    fn members(&self, conversation: ConversationId) -> BoxFuture<'static, Result<Vec<MemberCell>, StoreError>> {
        let keys = Key::Member(conversation, user(1))..=Key::Member(conversation, UserId::MAX);
        let found = self.merged(keys).into_iter().filter_map(|(key, value)| match (key, value) {
            (Key::Member(_, user), Value::Bytes(member)) => Some(MemberCell { user, member }),
            _ => None,
        });
        Box::pin(ready(Ok(found.collect())))
    }

    fn member(
        &self,
        conversation: ConversationId,
        user: UserId,
    ) -> BoxFuture<'static, Result<Option<MemberCell>, StoreError>> {
        let member = self.bytes(Key::Member(conversation, user));
        Box::pin(ready(Ok(member.map(|member| MemberCell { user, member }))))
    }

    fn memberships(
        &self,
        user: UserId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<(ConversationId, MembershipState)>, StoreError>> {
        let keys = Key::Membership(user, conversation(0))..=Key::Membership(user, conversation(0xff));
        let found = self.merged(keys).into_iter().filter_map(|(key, value)| match (key, value) {
            (Key::Membership(_, conversation), Value::Membership(state)) => Some((conversation, state)),
            _ => None,
        });
        let later = found.filter(|(conversation, _)| after.is_none_or(|after| *conversation > after));
        Box::pin(ready(Ok(later.take(limit).collect())))
    }

    fn sends(
        &self,
        conversation: ConversationId,
        bucket: u64,
    ) -> BoxFuture<'static, Result<Vec<(u8, Bytes)>, StoreError>> {
        let keys = Key::Sends(conversation, bucket, 0)..=Key::Sends(conversation, bucket, 255);
        let found = self.merged(keys).into_iter().filter_map(|(key, value)| match (key, value) {
            (Key::Sends(_, _, segment), Value::Bytes(hashes)) => Some((segment, hashes)),
            _ => None,
        });
        Box::pin(ready(Ok(found.collect())))
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.world.spawn(task);
    }

    fn sleep(&self, ms: u64) -> BoxFuture<'static, ()> {
        Box::pin(self.world.sleep(ms))
    }
}

fn rows(conversation: ConversationId, bucket: u64, seqs: (Seq, Seq)) -> RangeInclusive<Key> {
    Key::Row(conversation, bucket, seqs.0.0)..=Key::Row(conversation, bucket, seqs.1.0)
}
