//! A store that takes no time, so that what is measured is everything around it.

use futures_util::{FutureExt, future::BoxFuture};
use godwit::{
    chat::LogEntry,
    store::{
        AckedPosition, Commit, CommitOutcome, CreateUserOutcome, Direction, DueTimer, InvitationId, LoadedConversation,
        LogStore, NewToken, PageLimit, Revoke, StoreError, StoredSummary, TimerChange, TimerId, TimerKey, TimerKind,
        TimerOutcome, TimerOwner, TimerRow, TimerStore, TokenHash, TokenRecord, UserRecord, UserStore,
    },
};
use godwit_proto::{ClientMsgId, ConversationId, DeviceId, Seq, UserId, VshardSet};
use std::{
    future::ready,
    ops::Range,
    sync::{Mutex, PoisonError},
};

/// Says of every change at once that it is durable, and keeps accounts only.
#[derive(Default)]
pub struct InstantStore {
    accounts: Mutex<Accounts>,
}

#[derive(Default)]
struct Accounts {
    users: Vec<UserRecord>,
    tokens: Vec<TokenRecord>,
}

impl InstantStore {
    fn with<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut Accounts) -> T,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        ready(Ok(read(&mut accounts))).boxed()
    }
}

impl LogStore for InstantStore {
    fn commit(&self, commits: Vec<Commit>) -> BoxFuture<'static, Vec<CommitOutcome>> {
        ready(vec![CommitOutcome::Durable; commits.len()]).boxed()
    }

    fn load(&self, _: ConversationId, _: usize) -> BoxFuture<'static, Result<Option<LoadedConversation>, StoreError>> {
        ready(Ok(None)).boxed()
    }

    fn read(
        &self,
        _: ConversationId,
        _: Seq,
        _: Direction,
        _: PageLimit,
    ) -> BoxFuture<'static, Result<Vec<LogEntry>, StoreError>> {
        ready(Ok(Vec::new())).boxed()
    }

    fn find_send(
        &self,
        _: ConversationId,
        _: UserId,
        _: ClientMsgId,
    ) -> BoxFuture<'static, Result<Option<LogEntry>, StoreError>> {
        ready(Ok(None)).boxed()
    }

    fn summaries(
        &self,
        wanted: Vec<(ConversationId, UserId)>,
    ) -> BoxFuture<'static, Result<Vec<Option<StoredSummary>>, StoreError>> {
        ready(Ok(vec![None; wanted.len()])).boxed()
    }

    fn conversations_of(
        &self,
        _: UserId,
        _: Option<ConversationId>,
        _: usize,
    ) -> BoxFuture<'static, Result<Vec<ConversationId>, StoreError>> {
        ready(Ok(Vec::new())).boxed()
    }
}

impl UserStore for InstantStore {
    fn create_user(
        &self,
        user: UserRecord,
        _: Option<InvitationId>,
    ) -> BoxFuture<'static, Result<CreateUserOutcome, StoreError>> {
        self.with(|accounts| {
            accounts.users.push(user);
            CreateUserOutcome::Created
        })
    }

    fn user_by_name(&self, name_key: String) -> BoxFuture<'static, Result<Option<UserRecord>, StoreError>> {
        self.with(|accounts| accounts.users.iter().find(|user| user.name_key == name_key).cloned())
    }

    fn users(&self, ids: Vec<UserId>) -> BoxFuture<'static, Result<Vec<UserRecord>, StoreError>> {
        self.with(|accounts| accounts.users.iter().filter(|user| ids.contains(&user.id)).cloned().collect())
    }

    fn put_token(&self, token: NewToken) -> BoxFuture<'static, Result<bool, StoreError>> {
        self.with(|accounts| {
            accounts.tokens.push(token.record);
            true
        })
    }

    fn token(&self, hash: TokenHash) -> BoxFuture<'static, Result<Option<TokenRecord>, StoreError>> {
        self.with(|accounts| accounts.tokens.iter().find(|token| token.hash == hash).cloned())
    }

    fn extend_token(&self, _: TokenHash, _: u64) -> BoxFuture<'static, Result<(), StoreError>> {
        ready(Ok(())).boxed()
    }

    fn revoke_tokens(&self, _: UserId, _: Revoke) -> BoxFuture<'static, Result<Vec<DeviceId>, StoreError>> {
        ready(Ok(Vec::new())).boxed()
    }

    fn put_acked(&self, _: Vec<AckedPosition>) -> BoxFuture<'static, Result<(), StoreError>> {
        ready(Ok(())).boxed()
    }

    fn acked(
        &self,
        _: UserId,
        _: DeviceId,
        conversations: Vec<ConversationId>,
    ) -> BoxFuture<'static, Result<Vec<Seq>, StoreError>> {
        ready(Ok(vec![Seq::ZERO; conversations.len()])).boxed()
    }
}

impl TimerStore for InstantStore {
    fn put_timers(&self, changes: Vec<TimerChange>) -> BoxFuture<'static, Vec<TimerOutcome>> {
        ready(vec![TimerOutcome::Durable; changes.len()]).boxed()
    }

    fn due_timers(
        &self,
        _: VshardSet,
        _: Range<u64>,
        _: Option<DueTimer>,
        _: usize,
    ) -> BoxFuture<'static, Result<Vec<DueTimer>, StoreError>> {
        ready(Ok(Vec::new())).boxed()
    }

    fn timers(&self, keys: Vec<TimerKey>) -> BoxFuture<'static, Result<Vec<Option<TimerRow>>, StoreError>> {
        ready(Ok(vec![None; keys.len()])).boxed()
    }

    fn timers_of(
        &self,
        _: TimerKind,
        _: TimerOwner,
        _: Option<(u64, TimerId)>,
        _: usize,
    ) -> BoxFuture<'static, Result<Vec<TimerRow>, StoreError>> {
        ready(Ok(Vec::new())).boxed()
    }

    fn count_timers(&self, _: TimerKind, _: TimerOwner) -> BoxFuture<'static, Result<u64, StoreError>> {
        ready(Ok(0)).boxed()
    }
}
