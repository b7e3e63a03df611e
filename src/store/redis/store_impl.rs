//! [`Summarised`] as a store: lists from Redis, the rest passed on.

use super::Summarised;
use crate::{
    chat::LogEntry,
    store::{
        AckedPosition, Commit, CommitOutcome, CreateUserOutcome, Direction, DueTimer, InvitationId, LoadedConversation,
        LogStore, NewToken, PageLimit, Revoke, StoreError, StoredSummary, TimerChange, TimerId, TimerKey, TimerKind,
        TimerOutcome, TimerOwner, TimerRow, TimerStore, TokenHash, TokenRecord, UserRecord, UserStore,
    },
};
use futures_util::future::BoxFuture;
use godwit_proto::{ClientMsgId, ConversationId, DeviceId, Seq, UserId, VshardSet};
use std::ops::Range;

impl LogStore for Summarised {
    fn commit(&self, commits: Vec<Commit>) -> BoxFuture<'static, Vec<CommitOutcome>> {
        self.shared.commit(commits)
    }

    fn summaries(
        &self,
        wanted: Vec<(ConversationId, UserId)>,
    ) -> BoxFuture<'static, Result<Vec<Option<StoredSummary>>, StoreError>> {
        if !self.shared.link.is_up() {
            return self.shared.read_without(wanted.len(), self.shared.store.summaries(wanted));
        }
        let shared = self.shared.clone();
        self.on_runtime(async move { shared.summaries(wanted).await })
    }

    fn conversations_of(
        &self,
        user: UserId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<ConversationId>, StoreError>> {
        if !self.shared.link.is_up() {
            return self.shared.read_without(1, self.shared.store.conversations_of(user, after, limit));
        }
        let shared = self.shared.clone();
        self.on_runtime(async move { shared.conversations_of(user, after, limit).await })
    }

    fn load(
        &self,
        conversation: ConversationId,
        tail: usize,
    ) -> BoxFuture<'static, Result<Option<LoadedConversation>, StoreError>> {
        self.shared.store.load(conversation, tail)
    }

    fn read(
        &self,
        conversation: ConversationId,
        from: Seq,
        direction: Direction,
        limit: PageLimit,
    ) -> BoxFuture<'static, Result<Vec<LogEntry>, StoreError>> {
        self.shared.store.read(conversation, from, direction, limit)
    }

    fn find_send(
        &self,
        conversation: ConversationId,
        sender: UserId,
        client_msg_id: ClientMsgId,
    ) -> BoxFuture<'static, Result<Option<LogEntry>, StoreError>> {
        self.shared.store.find_send(conversation, sender, client_msg_id)
    }
}

impl UserStore for Summarised {
    fn create_user(
        &self,
        user: UserRecord,
        invitation: Option<InvitationId>,
    ) -> BoxFuture<'static, Result<CreateUserOutcome, StoreError>> {
        self.shared.store.create_user(user, invitation)
    }

    fn user_by_name(&self, name_key: String) -> BoxFuture<'static, Result<Option<UserRecord>, StoreError>> {
        self.shared.store.user_by_name(name_key)
    }

    fn users(&self, ids: Vec<UserId>) -> BoxFuture<'static, Result<Vec<UserRecord>, StoreError>> {
        self.shared.store.users(ids)
    }

    fn put_token(&self, token: NewToken) -> BoxFuture<'static, Result<bool, StoreError>> {
        self.shared.store.put_token(token)
    }

    fn token(&self, hash: TokenHash) -> BoxFuture<'static, Result<Option<TokenRecord>, StoreError>> {
        self.shared.store.token(hash)
    }

    fn extend_token(&self, hash: TokenHash, expires_ms: u64) -> BoxFuture<'static, Result<(), StoreError>> {
        self.shared.store.extend_token(hash, expires_ms)
    }

    fn revoke_tokens(&self, user: UserId, what: Revoke) -> BoxFuture<'static, Result<Vec<DeviceId>, StoreError>> {
        self.shared.store.revoke_tokens(user, what)
    }

    fn put_acked(&self, acked: Vec<AckedPosition>) -> BoxFuture<'static, Result<(), StoreError>> {
        self.shared.store.put_acked(acked)
    }

    fn acked(
        &self,
        user: UserId,
        device: DeviceId,
        conversations: Vec<ConversationId>,
    ) -> BoxFuture<'static, Result<Vec<Seq>, StoreError>> {
        self.shared.store.acked(user, device, conversations)
    }
}

impl TimerStore for Summarised {
    fn put_timers(&self, changes: Vec<TimerChange>) -> BoxFuture<'static, Vec<TimerOutcome>> {
        self.shared.store.put_timers(changes)
    }

    fn due_timers(
        &self,
        vshards: VshardSet,
        due_ms: Range<u64>,
        after: Option<DueTimer>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<DueTimer>, StoreError>> {
        self.shared.store.due_timers(vshards, due_ms, after, limit)
    }

    fn timers(&self, keys: Vec<TimerKey>) -> BoxFuture<'static, Result<Vec<Option<TimerRow>>, StoreError>> {
        self.shared.store.timers(keys)
    }

    fn timers_of(
        &self,
        kind: TimerKind,
        owner: TimerOwner,
        after: Option<(u64, TimerId)>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<TimerRow>, StoreError>> {
        self.shared.store.timers_of(kind, owner, after, limit)
    }

    fn count_timers(&self, kind: TimerKind, owner: TimerOwner) -> BoxFuture<'static, Result<u64, StoreError>> {
        self.shared.store.count_timers(kind, owner)
    }
}
