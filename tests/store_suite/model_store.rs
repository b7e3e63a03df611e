//! The model as a store: what the other stores are compared with passes the same suite.

use super::model::Model;
use futures_util::{FutureExt, future::BoxFuture};
use godwit::{
    chat::LogEntry,
    store::{
        AckedPosition, Commit, CommitOutcome, CreateUserOutcome, Direction, DueTimer, InvitationId, LoadedConversation,
        LogStore, NewToken, PageLimit, Revoke, StoreError, StoredSummary, TIMER_PAYLOAD_BYTES_MAX, TimerChange,
        TimerId, TimerKey, TimerKind, TimerOutcome, TimerOwner, TimerRow, TimerStore, TokenHash, TokenRecord,
        UserRecord, UserStore,
    },
};
use godwit_proto::{ClientMsgId, ConversationId, DeviceId, Seq, UserId, VshardSet};
use std::{
    future::ready,
    ops::Range,
    sync::{Arc, Mutex},
};

/// Clones share one model. Everything is done when it is asked for.
#[derive(Clone, Default)]
pub struct ModelStore(Arc<Mutex<Model>>);

impl ModelStore {
    fn done<T: Send + 'static>(&self, work: impl FnOnce(&mut Model) -> T) -> BoxFuture<'static, T> {
        ready(work(&mut self.0.lock().unwrap())).boxed()
    }

    fn read_by<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Model) -> T,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        self.done(|model| Ok(work(model)))
    }
}

impl LogStore for ModelStore {
    fn commit(&self, commits: Vec<Commit>) -> BoxFuture<'static, Vec<CommitOutcome>> {
        self.done(|model| commits.iter().map(|commit| model.commit(commit)).collect())
    }

    fn load(
        &self,
        conversation: ConversationId,
        tail: usize,
    ) -> BoxFuture<'static, Result<Option<LoadedConversation>, StoreError>> {
        self.read_by(|model| model.load(conversation, tail))
    }

    fn read(
        &self,
        conversation: ConversationId,
        from: Seq,
        direction: Direction,
        limit: PageLimit,
    ) -> BoxFuture<'static, Result<Vec<LogEntry>, StoreError>> {
        self.read_by(|model| model.read(conversation, from, direction, limit))
    }

    fn find_send(
        &self,
        conversation: ConversationId,
        sender: UserId,
        client_msg_id: ClientMsgId,
    ) -> BoxFuture<'static, Result<Option<LogEntry>, StoreError>> {
        self.read_by(|model| model.find_send(conversation, sender, client_msg_id))
    }

    fn summaries(
        &self,
        wanted: Vec<(ConversationId, UserId)>,
    ) -> BoxFuture<'static, Result<Vec<Option<StoredSummary>>, StoreError>> {
        self.read_by(|model| wanted.into_iter().map(|(id, user)| model.summary(id, user)).collect())
    }

    fn conversations_of(
        &self,
        user: UserId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<ConversationId>, StoreError>> {
        self.read_by(|model| model.conversations_of(user, after, limit))
    }
}

impl UserStore for ModelStore {
    fn create_user(
        &self,
        user: UserRecord,
        invitation: Option<InvitationId>,
    ) -> BoxFuture<'static, Result<CreateUserOutcome, StoreError>> {
        self.read_by(|model| model.create_user(&user, invitation))
    }

    fn user_by_name(&self, name_key: String) -> BoxFuture<'static, Result<Option<UserRecord>, StoreError>> {
        self.read_by(|model| model.users().iter().find(|user| user.name_key == name_key).cloned())
    }

    fn users(&self, ids: Vec<UserId>) -> BoxFuture<'static, Result<Vec<UserRecord>, StoreError>> {
        let find = |model: &Model, id| model.users().iter().find(|user| user.id == id).cloned();
        self.read_by(|model| ids.into_iter().filter_map(|id| find(model, id)).collect())
    }

    fn put_token(&self, token: NewToken) -> BoxFuture<'static, Result<bool, StoreError>> {
        self.read_by(|model| model.put_token(&token))
    }

    fn token(&self, hash: TokenHash) -> BoxFuture<'static, Result<Option<TokenRecord>, StoreError>> {
        self.read_by(|model| model.token(hash))
    }

    fn extend_token(&self, hash: TokenHash, expires_ms: u64) -> BoxFuture<'static, Result<(), StoreError>> {
        self.read_by(|model| model.extend_token(hash, expires_ms))
    }

    fn revoke_tokens(&self, user: UserId, what: Revoke) -> BoxFuture<'static, Result<Vec<DeviceId>, StoreError>> {
        self.read_by(|model| model.revoke_tokens(user, what))
    }

    fn put_acked(&self, acked: Vec<AckedPosition>) -> BoxFuture<'static, Result<(), StoreError>> {
        self.read_by(|model| model.put_acked(&acked))
    }

    fn acked(
        &self,
        user: UserId,
        device: DeviceId,
        conversations: Vec<ConversationId>,
    ) -> BoxFuture<'static, Result<Vec<Seq>, StoreError>> {
        self.read_by(|model| conversations.into_iter().map(|id| model.acked(user, device, id)).collect())
    }
}

impl TimerStore for ModelStore {
    fn put_timers(&self, changes: Vec<TimerChange>) -> BoxFuture<'static, Vec<TimerOutcome>> {
        let bytes = |change: &TimerChange| match change {
            TimerChange::Put(row) => row.payload.len(),
            TimerChange::Remove(_) => 0,
        };
        assert!(changes.iter().all(|change| bytes(change) <= TIMER_PAYLOAD_BYTES_MAX));
        self.done(|model| {
            changes.iter().for_each(|change| model.put_timer(change));
            vec![TimerOutcome::Durable; changes.len()]
        })
    }

    /// Vshard by vshard, because no more than the order within one is promised.
    fn due_timers(
        &self,
        vshards: VshardSet,
        due_ms: Range<u64>,
        after: Option<DueTimer>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<DueTimer>, StoreError>> {
        let place = |due: &DueTimer| (due.key.owner.vshard(), *due);
        self.read_by(|model| {
            let due = model.timers().into_iter().map(|row| row.due());
            let due = due.filter(|due| due_ms.contains(&due.due_ms) && vshards.contains(due.key.owner.vshard()));
            let mut due: Vec<_> = due.filter(|due| after.is_none_or(|after| place(due) > place(&after))).collect();
            due.sort_unstable_by_key(place);
            due.truncate(limit);
            due
        })
    }

    fn timers(&self, keys: Vec<TimerKey>) -> BoxFuture<'static, Result<Vec<Option<TimerRow>>, StoreError>> {
        self.read_by(|model| keys.into_iter().map(|key| model.timer(key)).collect())
    }

    fn timers_of(
        &self,
        kind: TimerKind,
        owner: TimerOwner,
        after: Option<(u64, TimerId)>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<TimerRow>, StoreError>> {
        let place = |row: &TimerRow| (row.due_ms, row.key.id);
        self.read_by(|model| {
            let mine = model.timers().into_iter().filter(|row| row.key.kind == kind && row.key.owner == owner);
            mine.filter(|row| after.is_none_or(|after| place(row) > after)).take(limit).collect()
        })
    }

    fn count_timers(&self, kind: TimerKind, owner: TimerOwner) -> BoxFuture<'static, Result<u64, StoreError>> {
        let is_its = move |row: &TimerRow| row.key.kind == kind && row.key.owner == owner;
        self.read_by(|model| model.timers().iter().filter(|row| is_its(row)).count() as u64)
    }
}
