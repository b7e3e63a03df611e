//! The tables as a server's log uses them, with the faults that are put in.

use crate::{
    settings::Bug,
    simulated_cluster::{Cluster, ProcessId, Tables},
};
use bytes::Bytes;
use futures_util::{FutureExt, TryFutureExt, future::BoxFuture};
use godwit::store::{
    Direction, StoreError,
    scylla::tables::{LogHead, LogRow, LogState, LogTables, MemberCell, MembershipState, Mutation, Rows, Written},
};
use godwit_proto::{ConversationId, Seq, UserId};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

pub struct SimTables {
    tables: Tables,
    bug: Option<Bug>,
    /// What this server found.
    found: Arc<Mutex<BTreeMap<ConversationId, LogState>>>,
    cut: Arc<AtomicBool>,
}

/// How long somebody who is cut off waits for an answer.
const CUT_OFF_MS: u64 = 20;

impl SimTables {
    pub fn new(cluster: Cluster, process: ProcessId, bug: Option<Bug>, cut: Arc<AtomicBool>) -> Self {
        Self { tables: Tables { cluster, process }, bug, found: Arc::default(), cut }
    }

    pub fn cluster(&self) -> Cluster {
        self.tables.cluster.clone()
    }

    /// What was asked of the cluster, unless this server is cut off when it asks or when it is answered.
    fn through<T: Send + 'static>(
        &self,
        answered: BoxFuture<'static, T>,
        silence: impl FnOnce() -> T + Send + 'static,
    ) -> BoxFuture<'static, T> {
        let (cut, cluster) = (self.cut.clone(), self.cluster());
        async move {
            if !cut.load(Ordering::Relaxed) {
                let answer = answered.await;
                if !cut.load(Ordering::Relaxed) {
                    return answer;
                }
            }
            cluster.sleep(CUT_OFF_MS).await;
            silence()
        }
        .boxed()
    }

    fn read<T: Send + 'static>(
        &self,
        answered: BoxFuture<'static, Result<T, StoreError>>,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        self.through(answered, || Err(StoreError::Unavailable("a simulated fault".into())))
    }

    /// Whether this is what was found, under another epoch.
    fn is_seal(&self, mutation: &Mutation) -> bool {
        let Rows::Log { conversation, state: Some(state), .. } = &mutation.rows else { return false };
        let found = self.found.lock().unwrap();
        let is_again =
            |found: &LogState| found.epoch < state.epoch && LogState { epoch: state.epoch, ..found.clone() } == *state;
        found.get(conversation).is_some_and(is_again)
    }
}

impl LogTables for SimTables {
    fn write(&self, mutation: Mutation) -> BoxFuture<'static, Written> {
        if self.bug == Some(Bug::NoSeal) && self.is_seal(&mutation) {
            return std::future::ready(Written::Done).boxed();
        }
        let (written, bug) = (self.through(self.tables.write(mutation), || Written::Unknown), self.bug);
        async move {
            match written.await {
                Written::Unknown if bug == Some(Bug::GivenUpWrite) => Written::NotWritten(StoreError::Overloaded),
                written => written,
            }
        }
        .boxed()
    }

    fn log_head(
        &self,
        conversation: ConversationId,
        bucket: u64,
        limit: usize,
    ) -> BoxFuture<'static, Result<Option<LogHead>, StoreError>> {
        let (head, found) = (self.read(self.tables.log_head(conversation, bucket, limit)), self.found.clone());
        head.inspect_ok(move |head| {
            if let Some(head) = head {
                found.lock().unwrap().insert(conversation, head.state.clone());
            }
        })
        .boxed()
    }

    fn log_rows(
        &self,
        conversation: ConversationId,
        bucket: u64,
        seqs: (Seq, Seq),
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<LogRow>, StoreError>> {
        self.read(self.tables.log_rows(conversation, bucket, seqs, direction, limit))
    }

    fn meta(&self, conversation: ConversationId) -> BoxFuture<'static, Result<Option<Bytes>, StoreError>> {
        self.read(self.tables.meta(conversation))
    }

    fn members(&self, conversation: ConversationId) -> BoxFuture<'static, Result<Vec<MemberCell>, StoreError>> {
        self.read(self.tables.members(conversation))
    }

    fn member(
        &self,
        conversation: ConversationId,
        user: UserId,
    ) -> BoxFuture<'static, Result<Option<MemberCell>, StoreError>> {
        self.read(self.tables.member(conversation, user))
    }

    fn memberships(
        &self,
        user: UserId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<(ConversationId, MembershipState)>, StoreError>> {
        self.read(self.tables.memberships(user, after, limit))
    }

    fn sends(
        &self,
        conversation: ConversationId,
        bucket: u64,
    ) -> BoxFuture<'static, Result<Vec<(u8, Bytes)>, StoreError>> {
        self.read(self.tables.sends(conversation, bucket))
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.tables.spawn(task);
    }

    fn sleep(&self, ms: u64) -> BoxFuture<'static, ()> {
        self.tables.sleep(ms)
    }
}
