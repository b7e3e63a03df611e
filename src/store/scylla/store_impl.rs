//! [`Scylla`] as a store: every call goes to the part that answers it.

use super::store::Scylla;
use crate::{
    chat::LogEntry,
    store::{
        AckedPosition, Commit, CommitOutcome, CreateUserOutcome, Direction, DueTimer, Inventory, InvitationId, Listed,
        LoadedConversation, LogStore, NewToken, Page, PageLimit, Revoke, StoreError, StoredSummary, TimerChange,
        TimerId, TimerKey, TimerKind, TimerOutcome, TimerOwner, TimerRow, TimerStore, TokenHash, TokenRecord,
        UserRecord, UserStore,
    },
};
use futures_util::future::BoxFuture;
use godwit_proto::{ClientMsgId, ConversationId, DeviceId, Seq, UserId, VshardSet};
use std::ops::Range;

impl LogStore for Scylla {
    fn commit(&self, commits: Vec<Commit>) -> BoxFuture<'static, Vec<CommitOutcome>> {
        self.0.log.commit(commits)
    }

    fn load(
        &self,
        conversation: ConversationId,
        tail: usize,
    ) -> BoxFuture<'static, Result<Option<LoadedConversation>, StoreError>> {
        self.0.log.load(conversation, tail)
    }

    fn read(
        &self,
        conversation: ConversationId,
        from: Seq,
        direction: Direction,
        limit: PageLimit,
    ) -> BoxFuture<'static, Result<Vec<LogEntry>, StoreError>> {
        self.0.log.read(conversation, from, direction, limit)
    }

    fn find_send(
        &self,
        conversation: ConversationId,
        sender: UserId,
        client_msg_id: ClientMsgId,
    ) -> BoxFuture<'static, Result<Option<LogEntry>, StoreError>> {
        self.0.log.find_send(conversation, sender, client_msg_id)
    }

    fn summaries(
        &self,
        wanted: Vec<(ConversationId, UserId)>,
    ) -> BoxFuture<'static, Result<Vec<Option<StoredSummary>>, StoreError>> {
        self.0.log.summaries(wanted)
    }

    fn conversations_of(
        &self,
        user: UserId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<ConversationId>, StoreError>> {
        self.0.log.conversations_of(user, after, limit)
    }
}

impl UserStore for Scylla {
    fn create_user(
        &self,
        user: UserRecord,
        invitation: Option<InvitationId>,
    ) -> BoxFuture<'static, Result<CreateUserOutcome, StoreError>> {
        self.0.accounts.create_user(user, invitation)
    }

    fn user_by_name(&self, name_key: String) -> BoxFuture<'static, Result<Option<UserRecord>, StoreError>> {
        self.0.accounts.user_by_name(name_key)
    }

    fn users(&self, ids: Vec<UserId>) -> BoxFuture<'static, Result<Vec<UserRecord>, StoreError>> {
        self.0.accounts.users(ids)
    }

    fn put_token(&self, token: NewToken) -> BoxFuture<'static, Result<bool, StoreError>> {
        self.0.accounts.put_token(token)
    }

    fn token(&self, hash: TokenHash) -> BoxFuture<'static, Result<Option<TokenRecord>, StoreError>> {
        self.0.accounts.token(hash)
    }

    fn extend_token(&self, hash: TokenHash, expires_ms: u64) -> BoxFuture<'static, Result<(), StoreError>> {
        self.0.accounts.extend_token(hash, expires_ms)
    }

    fn revoke_tokens(&self, user: UserId, what: Revoke) -> BoxFuture<'static, Result<Vec<DeviceId>, StoreError>> {
        self.0.accounts.revoke_tokens(user, what)
    }

    fn put_acked(&self, acked: Vec<AckedPosition>) -> BoxFuture<'static, Result<(), StoreError>> {
        self.0.accounts.put_acked(acked)
    }

    fn acked(
        &self,
        user: UserId,
        device: DeviceId,
        conversations: Vec<ConversationId>,
    ) -> BoxFuture<'static, Result<Vec<Seq>, StoreError>> {
        self.0.accounts.acked(user, device, conversations)
    }
}

impl TimerStore for Scylla {
    fn put_timers(&self, changes: Vec<TimerChange>) -> BoxFuture<'static, Vec<TimerOutcome>> {
        // They keep their order with those that come with commits.
        self.0.log.put_timers(changes)
    }

    fn due_timers(
        &self,
        vshards: VshardSet,
        due_ms: Range<u64>,
        after: Option<DueTimer>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<DueTimer>, StoreError>> {
        self.0.timers.due_timers(vshards, due_ms, after, limit)
    }

    fn timers(&self, keys: Vec<TimerKey>) -> BoxFuture<'static, Result<Vec<Option<TimerRow>>, StoreError>> {
        self.0.timers.timers(keys)
    }

    fn timers_of(
        &self,
        kind: TimerKind,
        owner: TimerOwner,
        after: Option<(u64, TimerId)>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<TimerRow>, StoreError>> {
        self.0.timers.timers_of(kind, owner, after, limit)
    }

    fn count_timers(&self, kind: TimerKind, owner: TimerOwner) -> BoxFuture<'static, Result<u64, StoreError>> {
        self.0.timers.count_timers(kind, owner)
    }
}

impl Inventory for Scylla {
    fn accounts(&self, page: Page) -> BoxFuture<'static, Result<Listed<UserRecord>, StoreError>> {
        self.0.lists.accounts(page)
    }

    fn invitations(&self, page: Page) -> BoxFuture<'static, Result<Listed<(InvitationId, UserId)>, StoreError>> {
        self.0.lists.invitations(page)
    }

    fn tokens(&self, page: Page) -> BoxFuture<'static, Result<Listed<TokenRecord>, StoreError>> {
        self.0.lists.tokens(page)
    }

    fn conversations(&self, page: Page) -> BoxFuture<'static, Result<Listed<ConversationId>, StoreError>> {
        self.0.lists.conversations(page)
    }

    fn acked_positions(&self, page: Page) -> BoxFuture<'static, Result<Listed<AckedPosition>, StoreError>> {
        let (accounts, lists) = (self.0.accounts.clone(), self.0.lists.clone());
        Box::pin(async move {
            if page.after.is_none() {
                accounts.settle().await?;
            }
            lists.acked_positions(page).await
        })
    }
}
