//! A store of accounts and timers.

use futures_util::future::BoxFuture;
use godwit::{
    chat::LogEntry,
    store::{
        AckedPosition, Commit, CommitOutcome, CreateUserOutcome, Direction, DueTimer, InvitationId, LoadedConversation,
        LogStore, NewToken, PageLimit, Revoke, StoreError, StoredSummary, TimerChange, TimerId, TimerKey, TimerKind,
        TimerOutcome, TimerOwner, TimerRow, TimerStore, TokenHash, TokenRecord, UserRecord, UserStore,
        scylla::{timers::Timers, users::Accounts},
    },
};
use godwit_proto::{ClientMsgId, ConversationId, DeviceId, Seq, UserId, VshardSet};
use std::ops::Range;

/// The two behind one front. Nothing here asks for the log.
#[derive(Clone)]
pub struct NoLog {
    pub accounts: Accounts,
    pub timers: Timers,
}

impl LogStore for NoLog {
    fn commit(&self, _: Vec<Commit>) -> BoxFuture<'static, Vec<CommitOutcome>> {
        panic!("not here")
    }

    fn load(&self, _: ConversationId, _: usize) -> BoxFuture<'static, Result<Option<LoadedConversation>, StoreError>> {
        panic!("not here")
    }

    fn read(
        &self,
        _: ConversationId,
        _: Seq,
        _: Direction,
        _: PageLimit,
    ) -> BoxFuture<'static, Result<Vec<LogEntry>, StoreError>> {
        panic!("not here")
    }

    fn find_send(
        &self,
        _: ConversationId,
        _: UserId,
        _: ClientMsgId,
    ) -> BoxFuture<'static, Result<Option<LogEntry>, StoreError>> {
        panic!("not here")
    }

    fn summaries(
        &self,
        _: Vec<(ConversationId, UserId)>,
    ) -> BoxFuture<'static, Result<Vec<Option<StoredSummary>>, StoreError>> {
        panic!("not here")
    }

    fn conversations_of(
        &self,
        _: UserId,
        _: Option<ConversationId>,
        _: usize,
    ) -> BoxFuture<'static, Result<Vec<ConversationId>, StoreError>> {
        panic!("not here")
    }
}

impl UserStore for NoLog {
    fn create_user(
        &self,
        user: UserRecord,
        invitation: Option<InvitationId>,
    ) -> BoxFuture<'static, Result<CreateUserOutcome, StoreError>> {
        self.accounts.create_user(user, invitation)
    }

    fn user_by_name(&self, name_key: String) -> BoxFuture<'static, Result<Option<UserRecord>, StoreError>> {
        self.accounts.user_by_name(name_key)
    }

    fn users(&self, ids: Vec<UserId>) -> BoxFuture<'static, Result<Vec<UserRecord>, StoreError>> {
        self.accounts.users(ids)
    }

    fn put_token(&self, token: NewToken) -> BoxFuture<'static, Result<bool, StoreError>> {
        self.accounts.put_token(token)
    }

    fn token(&self, hash: TokenHash) -> BoxFuture<'static, Result<Option<TokenRecord>, StoreError>> {
        self.accounts.token(hash)
    }

    fn extend_token(&self, hash: TokenHash, expires_ms: u64) -> BoxFuture<'static, Result<(), StoreError>> {
        self.accounts.extend_token(hash, expires_ms)
    }

    fn revoke_tokens(&self, user: UserId, what: Revoke) -> BoxFuture<'static, Result<Vec<DeviceId>, StoreError>> {
        self.accounts.revoke_tokens(user, what)
    }

    fn put_acked(&self, acked: Vec<AckedPosition>) -> BoxFuture<'static, Result<(), StoreError>> {
        self.accounts.put_acked(acked)
    }

    fn acked(
        &self,
        user: UserId,
        device: DeviceId,
        conversations: Vec<ConversationId>,
    ) -> BoxFuture<'static, Result<Vec<Seq>, StoreError>> {
        self.accounts.acked(user, device, conversations)
    }
}

impl TimerStore for NoLog {
    fn put_timers(&self, changes: Vec<TimerChange>) -> BoxFuture<'static, Vec<TimerOutcome>> {
        self.timers.put_timers(changes)
    }

    fn due_timers(
        &self,
        vshards: VshardSet,
        due_ms: Range<u64>,
        after: Option<DueTimer>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<DueTimer>, StoreError>> {
        self.timers.due_timers(vshards, due_ms, after, limit)
    }

    fn timers(&self, keys: Vec<TimerKey>) -> BoxFuture<'static, Result<Vec<Option<TimerRow>>, StoreError>> {
        self.timers.timers(keys)
    }

    fn timers_of(
        &self,
        kind: TimerKind,
        owner: TimerOwner,
        after: Option<(u64, TimerId)>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<TimerRow>, StoreError>> {
        self.timers.timers_of(kind, owner, after, limit)
    }

    fn count_timers(&self, kind: TimerKind, owner: TimerOwner) -> BoxFuture<'static, Result<u64, StoreError>> {
        self.timers.count_timers(kind, owner)
    }
}
