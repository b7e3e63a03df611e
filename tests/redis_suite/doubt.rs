//! A store that answers commits with "nobody knows", and makes them durable later or never.

use futures_util::future::BoxFuture;
use godwit::{
    chat::LogEntry,
    store::{
        AckedPosition, Commit, CommitOutcome, CreateUserOutcome, Direction, DueTimer, InvitationId, LoadedConversation,
        LogStore, NewToken, PageLimit, Revoke, StoreError, StoredSummary, TimerChange, TimerId, TimerKey, TimerKind,
        TimerOutcome, TimerOwner, TimerRow, TimerStore, TokenHash, TokenRecord, UserRecord, UserStore,
        embedded::Embedded,
    },
};
use godwit_proto::{ClientMsgId, ConversationId, DeviceId, Seq, UserId, VshardSet};
use std::{
    future::ready,
    ops::Range,
    sync::{Arc, Mutex},
};

pub struct Doubtful {
    pub store: Arc<Embedded>,
    /// `Some`: commits are held, and answered as unknown.
    held: Mutex<Option<Vec<Commit>>>,
}

impl Doubtful {
    pub fn new(store: Arc<Embedded>) -> Self {
        Self { store, held: Mutex::new(None) }
    }

    pub fn hold(&self) {
        *self.held.lock().unwrap() = Some(Vec::new());
    }

    /// What was held takes effect now, and nothing is held any more.
    pub fn release(&self) {
        let held = self.held.lock().unwrap().take().unwrap();
        let outcomes = crate::store_suite::wait(self.store.commit(held));
        assert!(outcomes.iter().all(|outcome| *outcome == CommitOutcome::Durable));
    }
}

type Answer<T> = BoxFuture<'static, Result<T, StoreError>>;

impl LogStore for Doubtful {
    fn commit(&self, commits: Vec<Commit>) -> BoxFuture<'static, Vec<CommitOutcome>> {
        match &mut *self.held.lock().unwrap() {
            Some(held) => {
                let unknown = vec![CommitOutcome::Unknown; commits.len()];
                held.extend(commits);
                Box::pin(ready(unknown))
            }
            None => self.store.commit(commits),
        }
    }

    fn load(&self, conversation: ConversationId, tail: usize) -> Answer<Option<LoadedConversation>> {
        self.store.load(conversation, tail)
    }

    fn read(&self, id: ConversationId, from: Seq, to: Direction, limit: PageLimit) -> Answer<Vec<LogEntry>> {
        self.store.read(id, from, to, limit)
    }

    fn find_send(&self, id: ConversationId, sender: UserId, msg: ClientMsgId) -> Answer<Option<LogEntry>> {
        self.store.find_send(id, sender, msg)
    }

    fn summaries(&self, wanted: Vec<(ConversationId, UserId)>) -> Answer<Vec<Option<StoredSummary>>> {
        self.store.summaries(wanted)
    }

    fn conversations_of(
        &self,
        user: UserId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> Answer<Vec<ConversationId>> {
        self.store.conversations_of(user, after, limit)
    }
}

impl UserStore for Doubtful {
    fn create_user(&self, user: UserRecord, invitation: Option<InvitationId>) -> Answer<CreateUserOutcome> {
        self.store.create_user(user, invitation)
    }

    fn user_by_name(&self, name_key: String) -> Answer<Option<UserRecord>> {
        self.store.user_by_name(name_key)
    }

    fn users(&self, ids: Vec<UserId>) -> Answer<Vec<UserRecord>> {
        self.store.users(ids)
    }

    fn put_token(&self, token: NewToken) -> Answer<bool> {
        self.store.put_token(token)
    }

    fn token(&self, hash: TokenHash) -> Answer<Option<TokenRecord>> {
        self.store.token(hash)
    }

    fn extend_token(&self, hash: TokenHash, expires_ms: u64) -> Answer<()> {
        self.store.extend_token(hash, expires_ms)
    }

    fn revoke_tokens(&self, user: UserId, what: Revoke) -> Answer<Vec<DeviceId>> {
        self.store.revoke_tokens(user, what)
    }

    fn put_acked(&self, acked: Vec<AckedPosition>) -> Answer<()> {
        self.store.put_acked(acked)
    }

    fn acked(&self, user: UserId, device: DeviceId, ids: Vec<ConversationId>) -> Answer<Vec<Seq>> {
        self.store.acked(user, device, ids)
    }
}

impl TimerStore for Doubtful {
    fn put_timers(&self, changes: Vec<TimerChange>) -> BoxFuture<'static, Vec<TimerOutcome>> {
        self.store.put_timers(changes)
    }

    fn due_timers(
        &self,
        vshards: VshardSet,
        due_ms: Range<u64>,
        after: Option<DueTimer>,
        limit: usize,
    ) -> Answer<Vec<DueTimer>> {
        self.store.due_timers(vshards, due_ms, after, limit)
    }

    fn timers(&self, keys: Vec<TimerKey>) -> Answer<Vec<Option<TimerRow>>> {
        self.store.timers(keys)
    }

    fn timers_of(
        &self,
        kind: TimerKind,
        owner: TimerOwner,
        after: Option<(u64, TimerId)>,
        limit: usize,
    ) -> Answer<Vec<TimerRow>> {
        self.store.timers_of(kind, owner, after, limit)
    }

    fn count_timers(&self, kind: TimerKind, owner: TimerOwner) -> Answer<u64> {
        self.store.count_timers(kind, owner)
    }
}
