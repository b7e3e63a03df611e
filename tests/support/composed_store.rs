//! A store that is put together: the log of one, the accounts of another, the timers of a third.

use futures_util::future::BoxFuture;
use godwit::{
    chat::LogEntry,
    store::{
        AckedPosition, Commit, CommitOutcome, CreateUserOutcome, Direction, DueTimer, InvitationId, LoadedConversation,
        LogStore, NewToken, PageLimit, Revoke, StoreError, StoredSummary, TimerChange, TimerId, TimerKey, TimerKind,
        TimerOutcome, TimerOwner, TimerRow, TimerStore, TokenHash, TokenRecord, UserRecord, UserStore,
    },
};
use godwit_proto::{ClientMsgId, ConversationId, DeviceId, Seq, UserId, VshardSet};
use std::ops::Range;

pub type Answer<T> = BoxFuture<'static, Result<T, StoreError>>;

/// What a store is put together from, and what is done on the way to the parts and back.
pub trait Parts: Send + Sync + 'static {
    fn log(&self) -> &dyn LogStore;

    fn accounts(&self) -> &dyn UserStore;

    fn timers(&self) -> &dyn TimerStore;

    fn commit(&self, commits: Vec<Commit>) -> BoxFuture<'static, Vec<CommitOutcome>> {
        self.log().commit(commits)
    }

    fn put_timers(&self, changes: Vec<TimerChange>) -> BoxFuture<'static, Vec<TimerOutcome>> {
        self.timers().put_timers(changes)
    }

    /// Every answer of a part comes through here, except those of [`commit`](Self::commit) and
    /// [`put_timers`](Self::put_timers), which say themselves what they do.
    fn through<T: Send + 'static>(&self, answer: Answer<T>) -> Answer<T> {
        answer
    }
}

/// The parts as one store.
#[derive(Clone)]
pub struct Composed<P>(pub P);

impl<P: Parts> LogStore for Composed<P> {
    fn commit(&self, commits: Vec<Commit>) -> BoxFuture<'static, Vec<CommitOutcome>> {
        self.0.commit(commits)
    }

    fn load(&self, conversation: ConversationId, tail: usize) -> Answer<Option<LoadedConversation>> {
        self.0.through(self.0.log().load(conversation, tail))
    }

    fn read(
        &self,
        conversation: ConversationId,
        from: Seq,
        direction: Direction,
        limit: PageLimit,
    ) -> Answer<Vec<LogEntry>> {
        self.0.through(self.0.log().read(conversation, from, direction, limit))
    }

    fn find_send(
        &self,
        conversation: ConversationId,
        sender: UserId,
        client_msg_id: ClientMsgId,
    ) -> Answer<Option<LogEntry>> {
        self.0.through(self.0.log().find_send(conversation, sender, client_msg_id))
    }

    fn summaries(&self, wanted: Vec<(ConversationId, UserId)>) -> Answer<Vec<Option<StoredSummary>>> {
        self.0.through(self.0.log().summaries(wanted))
    }

    fn conversations_of(
        &self,
        user: UserId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> Answer<Vec<ConversationId>> {
        self.0.through(self.0.log().conversations_of(user, after, limit))
    }
}

impl<P: Parts> UserStore for Composed<P> {
    fn create_user(&self, user: UserRecord, invitation: Option<InvitationId>) -> Answer<CreateUserOutcome> {
        self.0.through(self.0.accounts().create_user(user, invitation))
    }

    fn user_by_name(&self, name_key: String) -> Answer<Option<UserRecord>> {
        self.0.through(self.0.accounts().user_by_name(name_key))
    }

    fn users(&self, ids: Vec<UserId>) -> Answer<Vec<UserRecord>> {
        self.0.through(self.0.accounts().users(ids))
    }

    fn put_token(&self, token: NewToken) -> Answer<bool> {
        self.0.through(self.0.accounts().put_token(token))
    }

    fn token(&self, hash: TokenHash) -> Answer<Option<TokenRecord>> {
        self.0.through(self.0.accounts().token(hash))
    }

    fn extend_token(&self, hash: TokenHash, expires_ms: u64) -> Answer<()> {
        self.0.through(self.0.accounts().extend_token(hash, expires_ms))
    }

    fn revoke_tokens(&self, user: UserId, what: Revoke) -> Answer<Vec<DeviceId>> {
        self.0.through(self.0.accounts().revoke_tokens(user, what))
    }

    fn put_acked(&self, acked: Vec<AckedPosition>) -> Answer<()> {
        self.0.through(self.0.accounts().put_acked(acked))
    }

    fn acked(&self, user: UserId, device: DeviceId, conversations: Vec<ConversationId>) -> Answer<Vec<Seq>> {
        self.0.through(self.0.accounts().acked(user, device, conversations))
    }
}

impl<P: Parts> TimerStore for Composed<P> {
    fn put_timers(&self, changes: Vec<TimerChange>) -> BoxFuture<'static, Vec<TimerOutcome>> {
        self.0.put_timers(changes)
    }

    fn due_timers(
        &self,
        vshards: VshardSet,
        due_ms: Range<u64>,
        after: Option<DueTimer>,
        limit: usize,
    ) -> Answer<Vec<DueTimer>> {
        self.0.through(self.0.timers().due_timers(vshards, due_ms, after, limit))
    }

    fn timers(&self, keys: Vec<TimerKey>) -> Answer<Vec<Option<TimerRow>>> {
        self.0.through(self.0.timers().timers(keys))
    }

    fn timers_of(
        &self,
        kind: TimerKind,
        owner: TimerOwner,
        after: Option<(u64, TimerId)>,
        limit: usize,
    ) -> Answer<Vec<TimerRow>> {
        self.0.through(self.0.timers().timers_of(kind, owner, after, limit))
    }

    fn count_timers(&self, kind: TimerKind, owner: TimerOwner) -> Answer<u64> {
        self.0.through(self.0.timers().count_timers(kind, owner))
    }
}
