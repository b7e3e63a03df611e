//! The store of one server: the log on the cluster, the rest on the simulated disk.

use super::tables::SimTables;
use crate::{simulated_cluster::Cluster, store::SimStore};
use futures_util::{FutureExt, future::BoxFuture};
use godwit::{
    chat::LogEntry,
    store::{
        AckedPosition, Commit, CommitOutcome, CreateUserOutcome, Direction, DueTimer, InvitationId, LoadedConversation,
        LogStore, NewToken, PageLimit, Revoke, StoreError, StoredSummary, TimerChange, TimerId, TimerKey, TimerKind,
        TimerOutcome, TimerOwner, TimerRow, TimerStore, TokenHash, TokenRecord, UserRecord, UserStore,
        scylla::{
            fence::{Fence, Lapsed},
            log::{Log, LogLimits},
        },
    },
};
use godwit_proto::{ClientMsgId, ConversationId, DeviceId, Seq, UserId, VshardSet};
use std::{future::poll_fn, ops::Range, sync::Arc, task::Poll};

pub struct ClusterStore {
    log: Log<SimTables>,
    rest: Fenced,
}

/// The disk, as long as a lease holds.
#[derive(Clone)]
struct Fenced {
    disk: SimStore,
    fence: Fence,
    cluster: Cluster,
}

impl ClusterStore {
    pub fn new(tables: Arc<SimTables>, fence: Fence, disk: &SimStore, limits: LogLimits) -> Self {
        let rest = Fenced { disk: disk.clone(), fence: fence.clone(), cluster: tables.cluster() };
        Self { log: Log::new(tables, Arc::new(rest.clone()), fence, limits), rest }
    }

    pub fn log(&self) -> Log<SimTables> {
        self.log.clone()
    }
}

impl Fenced {
    /// What is answered past the fence is not believed, and what was not begun by then is not done.
    fn guard<T: Send + 'static>(
        &self,
        mut answered: BoxFuture<'static, Result<T, StoreError>>,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let fence = self.fence.clone();
        poll_fn(move |context| match fence.holds() {
            true => answered.as_mut().poll(context),
            false => Poll::Ready(Err(lapsed())),
        })
        .boxed()
    }
}

fn lapsed() -> StoreError {
    StoreError::Unavailable(Lapsed.to_string())
}

impl LogStore for ClusterStore {
    fn commit(&self, commits: Vec<Commit>) -> BoxFuture<'static, Vec<CommitOutcome>> {
        let mut inner = self.rest.disk.lock();
        commits.iter().for_each(|commit| inner.disk.asked.note(commit));
        drop(inner);
        self.log.commit(commits)
    }

    fn load(
        &self,
        conversation: ConversationId,
        tail: usize,
    ) -> BoxFuture<'static, Result<Option<LoadedConversation>, StoreError>> {
        self.log.load(conversation, tail)
    }

    fn read(
        &self,
        conversation: ConversationId,
        from: Seq,
        direction: Direction,
        limit: PageLimit,
    ) -> BoxFuture<'static, Result<Vec<LogEntry>, StoreError>> {
        self.log.read(conversation, from, direction, limit)
    }

    fn find_send(
        &self,
        conversation: ConversationId,
        sender: UserId,
        client_msg_id: ClientMsgId,
    ) -> BoxFuture<'static, Result<Option<LogEntry>, StoreError>> {
        self.log.find_send(conversation, sender, client_msg_id)
    }

    fn summaries(
        &self,
        wanted: Vec<(ConversationId, UserId)>,
    ) -> BoxFuture<'static, Result<Vec<Option<StoredSummary>>, StoreError>> {
        self.log.summaries(wanted)
    }

    fn conversations_of(
        &self,
        user: UserId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<ConversationId>, StoreError>> {
        self.log.conversations_of(user, after, limit)
    }
}

impl UserStore for ClusterStore {
    fn create_user(
        &self,
        user: UserRecord,
        invitation: Option<InvitationId>,
    ) -> BoxFuture<'static, Result<CreateUserOutcome, StoreError>> {
        self.rest.guard(self.rest.disk.create_user(user, invitation))
    }

    fn user_by_name(&self, name_key: String) -> BoxFuture<'static, Result<Option<UserRecord>, StoreError>> {
        self.rest.guard(self.rest.disk.user_by_name(name_key))
    }

    fn users(&self, ids: Vec<UserId>) -> BoxFuture<'static, Result<Vec<UserRecord>, StoreError>> {
        self.rest.guard(self.rest.disk.users(ids))
    }

    fn put_token(&self, token: NewToken) -> BoxFuture<'static, Result<bool, StoreError>> {
        self.rest.guard(self.rest.disk.put_token(token))
    }

    fn token(&self, hash: TokenHash) -> BoxFuture<'static, Result<Option<TokenRecord>, StoreError>> {
        self.rest.guard(self.rest.disk.token(hash))
    }

    fn extend_token(&self, hash: TokenHash, expires_ms: u64) -> BoxFuture<'static, Result<(), StoreError>> {
        self.rest.guard(self.rest.disk.extend_token(hash, expires_ms))
    }

    fn revoke_tokens(&self, user: UserId, what: Revoke) -> BoxFuture<'static, Result<Vec<DeviceId>, StoreError>> {
        self.rest.guard(self.rest.disk.revoke_tokens(user, what))
    }

    fn put_acked(&self, acked: Vec<AckedPosition>) -> BoxFuture<'static, Result<(), StoreError>> {
        self.rest.guard(self.rest.disk.put_acked(acked))
    }

    fn acked(
        &self,
        user: UserId,
        device: DeviceId,
        conversations: Vec<ConversationId>,
    ) -> BoxFuture<'static, Result<Vec<Seq>, StoreError>> {
        self.rest.guard(self.rest.disk.acked(user, device, conversations))
    }
}

impl TimerStore for ClusterStore {
    fn put_timers(&self, changes: Vec<TimerChange>) -> BoxFuture<'static, Vec<TimerOutcome>> {
        self.log.put_timers(changes)
    }

    fn due_timers(
        &self,
        vshards: VshardSet,
        due_ms: Range<u64>,
        after: Option<DueTimer>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<DueTimer>, StoreError>> {
        self.rest.due_timers(vshards, due_ms, after, limit)
    }

    fn timers(&self, keys: Vec<TimerKey>) -> BoxFuture<'static, Result<Vec<Option<TimerRow>>, StoreError>> {
        self.rest.timers(keys)
    }

    fn timers_of(
        &self,
        kind: TimerKind,
        owner: TimerOwner,
        after: Option<(u64, TimerId)>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<TimerRow>, StoreError>> {
        self.rest.timers_of(kind, owner, after, limit)
    }

    fn count_timers(&self, kind: TimerKind, owner: TimerOwner) -> BoxFuture<'static, Result<u64, StoreError>> {
        self.rest.count_timers(kind, owner)
    }
}

impl TimerStore for Fenced {
    fn put_timers(&self, changes: Vec<TimerChange>) -> BoxFuture<'static, Vec<TimerOutcome>> {
        let count = changes.len();
        if !self.fence.holds() {
            return std::future::ready(vec![TimerOutcome::NotWritten(lapsed()); count]).boxed();
        }
        let (mut outcomes, fence, cluster) = (self.disk.put_timers(changes), self.fence.clone(), self.cluster.clone());
        async move {
            // The disk wakes nobody.
            loop {
                let answered = (&mut outcomes).now_or_never();
                if !fence.holds() {
                    return vec![TimerOutcome::Unknown; count];
                }
                match answered {
                    Some(outcomes) => return outcomes,
                    None => cluster.sleep(1).await,
                }
            }
        }
        .boxed()
    }

    fn due_timers(
        &self,
        vshards: VshardSet,
        due_ms: Range<u64>,
        after: Option<DueTimer>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<DueTimer>, StoreError>> {
        self.guard(self.disk.due_timers(vshards, due_ms, after, limit))
    }

    fn timers(&self, keys: Vec<TimerKey>) -> BoxFuture<'static, Result<Vec<Option<TimerRow>>, StoreError>> {
        self.guard(self.disk.timers(keys))
    }

    fn timers_of(
        &self,
        kind: TimerKind,
        owner: TimerOwner,
        after: Option<(u64, TimerId)>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<TimerRow>, StoreError>> {
        self.guard(self.disk.timers_of(kind, owner, after, limit))
    }

    fn count_timers(&self, kind: TimerKind, owner: TimerOwner) -> BoxFuture<'static, Result<u64, StoreError>> {
        self.guard(self.disk.count_timers(kind, owner))
    }
}
