//! The log of the store on ScyllaDB as a store, on a simulated cluster in which nothing goes wrong. Accounts and timers are the
//! model's.

use crate::{
    rng::Rng,
    simulated_cluster::{Cluster, Faults, MachineClock, ProcessId, Tables, driven},
    store_suite::{Harness, model_store::ModelStore},
};
use futures_util::future::BoxFuture;
use godwit::{
    chat::LogEntry,
    store::{
        AckedPosition, Commit, CommitOutcome, CreateUserOutcome, Direction, DueTimer, InvitationId, LoadedConversation,
        LogStore, NewToken, PageLimit, Revoke, StoreError, StoredSummary, TimerChange, TimerId, TimerKey, TimerKind,
        TimerOutcome, TimerOwner, TimerRow, TimerStore, TokenHash, TokenRecord, UserRecord, UserStore,
        scylla::{
            fence::Fence,
            log::{Log, LogLimits},
        },
    },
};
use godwit_proto::{ClientMsgId, ConversationId, DeviceId, Seq, UserId, VSHARDS, VshardSet};
use std::{cell::Cell, ops::Range, sync::Arc, time::Duration};

/// Longer than any test.
const LEASE: Duration = Duration::from_secs(1_000_000);

pub struct ClusterHarness {
    cluster: Cluster,
    rest: ModelStore,
    limits: LogLimits,
    taken_over: bool,
    owners: Cell<u64>,
}

impl ClusterHarness {
    /// What was written is read by the same owner, or by the next one.
    pub fn new(limits: LogLimits, taken_over: bool) -> Self {
        let cluster = Cluster::new(Faults::NONE, Rng::new(1));
        Self { cluster, rest: ModelStore::default(), limits, taken_over, owners: Cell::new(0) }
    }
}

impl Harness for ClusterHarness {
    type Store = OnCluster;

    fn open(&self) -> OnCluster {
        self.owners.set(self.owners.get() + 1);
        let (tables, epoch) = (self.cluster.start(), self.owners.get());
        let clock = Arc::new(MachineClock { cluster: self.cluster.clone(), ahead_us: 0 });
        // The first timestamp of each is above the last of the one before.
        let floor_us = i64::MAX / 2 + epoch as i64 * 1_000_000_000;
        let fence = Fence::new(clock, vec![epoch; usize::from(VSHARDS)], floor_us);
        fence.renewed(Duration::ZERO, LEASE, floor_us + 999_999_999);
        OnCluster {
            cluster: self.cluster.clone(),
            process: tables.process,
            log: Log::new(tables, Arc::new(self.rest.clone()), fence, self.limits.clone()),
            rest: self.rest.clone(),
        }
    }

    fn between(&self, store: OnCluster) -> OnCluster {
        if !self.taken_over {
            return store;
        }
        self.cluster.kill(store.process);
        drop(store);
        self.open()
    }
}

pub struct OnCluster {
    cluster: Cluster,
    process: ProcessId,
    log: Log<Tables>,
    rest: ModelStore,
}

impl OnCluster {
    fn driven<T: Send + 'static>(&self, future: BoxFuture<'static, T>) -> BoxFuture<'static, T> {
        driven(&self.cluster, future)
    }
}

impl LogStore for OnCluster {
    fn commit(&self, commits: Vec<Commit>) -> BoxFuture<'static, Vec<CommitOutcome>> {
        self.driven(self.log.commit(commits))
    }

    fn load(
        &self,
        conversation: ConversationId,
        tail: usize,
    ) -> BoxFuture<'static, Result<Option<LoadedConversation>, StoreError>> {
        self.driven(self.log.load(conversation, tail))
    }

    fn read(
        &self,
        conversation: ConversationId,
        from: Seq,
        direction: Direction,
        limit: PageLimit,
    ) -> BoxFuture<'static, Result<Vec<LogEntry>, StoreError>> {
        self.driven(self.log.read(conversation, from, direction, limit))
    }

    fn find_send(
        &self,
        conversation: ConversationId,
        sender: UserId,
        client_msg_id: ClientMsgId,
    ) -> BoxFuture<'static, Result<Option<LogEntry>, StoreError>> {
        self.driven(self.log.find_send(conversation, sender, client_msg_id))
    }

    fn summaries(
        &self,
        wanted: Vec<(ConversationId, UserId)>,
    ) -> BoxFuture<'static, Result<Vec<Option<StoredSummary>>, StoreError>> {
        self.driven(self.log.summaries(wanted))
    }

    fn conversations_of(
        &self,
        user: UserId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<ConversationId>, StoreError>> {
        self.driven(self.log.conversations_of(user, after, limit))
    }
}

impl UserStore for OnCluster {
    fn create_user(
        &self,
        user: UserRecord,
        invitation: Option<InvitationId>,
    ) -> BoxFuture<'static, Result<CreateUserOutcome, StoreError>> {
        self.rest.create_user(user, invitation)
    }

    fn user_by_name(&self, name_key: String) -> BoxFuture<'static, Result<Option<UserRecord>, StoreError>> {
        self.rest.user_by_name(name_key)
    }

    fn users(&self, ids: Vec<UserId>) -> BoxFuture<'static, Result<Vec<UserRecord>, StoreError>> {
        self.rest.users(ids)
    }

    fn put_token(&self, token: NewToken) -> BoxFuture<'static, Result<bool, StoreError>> {
        self.rest.put_token(token)
    }

    fn token(&self, hash: TokenHash) -> BoxFuture<'static, Result<Option<TokenRecord>, StoreError>> {
        self.rest.token(hash)
    }

    fn extend_token(&self, hash: TokenHash, expires_ms: u64) -> BoxFuture<'static, Result<(), StoreError>> {
        self.rest.extend_token(hash, expires_ms)
    }

    fn revoke_tokens(&self, user: UserId, what: Revoke) -> BoxFuture<'static, Result<Vec<DeviceId>, StoreError>> {
        self.rest.revoke_tokens(user, what)
    }

    fn put_acked(&self, acked: Vec<AckedPosition>) -> BoxFuture<'static, Result<(), StoreError>> {
        self.rest.put_acked(acked)
    }

    fn acked(
        &self,
        user: UserId,
        device: DeviceId,
        conversations: Vec<ConversationId>,
    ) -> BoxFuture<'static, Result<Vec<Seq>, StoreError>> {
        self.rest.acked(user, device, conversations)
    }
}

impl TimerStore for OnCluster {
    fn put_timers(&self, changes: Vec<TimerChange>) -> BoxFuture<'static, Vec<TimerOutcome>> {
        self.driven(self.log.put_timers(changes))
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
