//! [`Embedded`] as a store: every call goes to the queue of the thread that serves it.

use super::{
    Embedded,
    commit_thread::Write,
    queue::Weight,
    readers::{closed, refusal},
    record::commit_bytes,
    timers::timer_change_bytes,
    users::{Answer, UserWrite},
};
use crate::chat::LogEntry;
use crate::store::{
    AckedPosition, Commit, CommitOutcome, CreateUserOutcome, Direction, DueTimer, InvitationId, LoadedConversation,
    LogStore, NewToken, PageLimit, Revoke, StoreError, StoredSummary, TIMER_PAYLOAD_BYTES_MAX, TimerChange, TimerId,
    TimerKey, TimerKind, TimerOutcome, TimerOwner, TimerRow, TimerStore, TokenHash, TokenRecord, UserRecord, UserStore,
};
use futures_util::future::BoxFuture;
use godwit_proto::{ClientMsgId, ConversationId, DeviceId, Seq, UserId, VshardSet};
use std::{future::ready, ops::Range};
use tokio::sync::oneshot;

/// About what a change of accounts takes in the queue.
const USER_WRITE: Weight = Weight { items: 1, bytes: 1024 };

impl LogStore for Embedded {
    /// # Panics
    ///
    /// When entries are not dense and ascending from `after`, or rewritten ones are not older: the caller's numbering is
    /// broken. When the payload of a timer is larger than [`TIMER_PAYLOAD_BYTES_MAX`].
    fn commit(&self, commits: Vec<Commit>) -> BoxFuture<'static, Vec<CommitOutcome>> {
        for commit in &commits {
            let mut seq = commit.after;
            for entry in &commit.entries {
                seq = seq.next();
                assert!(
                    entry.seq == seq,
                    "{:?} continues {:?} with {:?}",
                    commit.conversation,
                    commit.after,
                    entry.seq
                );
            }
            for entry in &commit.rewritten {
                let is_older = (Seq::FIRST..=commit.after).contains(&entry.seq);
                assert!(is_older, "{:?} rewrites {:?} after {:?}", commit.conversation, entry.seq, commit.after);
            }
            check_payloads(&commit.timers);
        }
        let count = commits.len();
        let weight = Weight { items: count, bytes: commits.iter().map(commit_bytes).sum() };
        let (answer, answered) = oneshot::channel();
        match self.inner.writes.push(Write::Commits(commits, answer), weight) {
            // The commit thread always answers; if it panicked, nobody knows.
            Ok(_) => Box::pin(async move { answered.await.unwrap_or_else(|_| vec![CommitOutcome::Unknown; count]) }),
            Err(error) => Box::pin(ready(vec![CommitOutcome::NotWritten(refusal(error)); count])),
        }
    }

    fn load(
        &self,
        conversation: ConversationId,
        tail: usize,
    ) -> BoxFuture<'static, Result<Option<LoadedConversation>, StoreError>> {
        self.inner.readers.read(move |shared| shared.load(conversation, tail))
    }

    fn read(
        &self,
        conversation: ConversationId,
        from: Seq,
        direction: Direction,
        limit: PageLimit,
    ) -> BoxFuture<'static, Result<Vec<LogEntry>, StoreError>> {
        self.inner.readers.read(move |shared| shared.read_log(conversation, from, direction, limit))
    }

    fn find_send(
        &self,
        conversation: ConversationId,
        sender: UserId,
        client_msg_id: ClientMsgId,
    ) -> BoxFuture<'static, Result<Option<LogEntry>, StoreError>> {
        self.inner.readers.read(move |shared| shared.find_sent(conversation, sender, client_msg_id))
    }

    fn summaries(
        &self,
        wanted: Vec<(ConversationId, UserId)>,
    ) -> BoxFuture<'static, Result<Vec<Option<StoredSummary>>, StoreError>> {
        self.inner.readers.read(move |shared| shared.summarise(&wanted))
    }

    fn conversations_of(
        &self,
        user: UserId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<ConversationId>, StoreError>> {
        self.inner.readers.read(move |shared| shared.conversations(user, after, limit))
    }
}

impl UserStore for Embedded {
    fn create_user(
        &self,
        user: UserRecord,
        invitation: Option<InvitationId>,
    ) -> BoxFuture<'static, Result<CreateUserOutcome, StoreError>> {
        self.write_user(|answer| UserWrite::Create(user, invitation, answer))
    }

    fn user_by_name(&self, name_key: String) -> BoxFuture<'static, Result<Option<UserRecord>, StoreError>> {
        self.inner.readers.read(move |shared| shared.keyspaces.user_by_name(&name_key))
    }

    fn users(&self, ids: Vec<UserId>) -> BoxFuture<'static, Result<Vec<UserRecord>, StoreError>> {
        self.inner
            .readers
            .read(move |shared| ids.into_iter().filter_map(|id| shared.keyspaces.user(id).transpose()).collect())
    }

    fn put_token(&self, token: NewToken) -> BoxFuture<'static, Result<bool, StoreError>> {
        self.write_user(|answer| UserWrite::PutToken(token, answer))
    }

    fn token(&self, hash: TokenHash) -> BoxFuture<'static, Result<Option<TokenRecord>, StoreError>> {
        self.inner.readers.read(move |shared| shared.keyspaces.token(hash))
    }

    fn extend_token(&self, hash: TokenHash, expires_ms: u64) -> BoxFuture<'static, Result<(), StoreError>> {
        self.write_user(|answer| UserWrite::ExtendToken(hash, expires_ms, answer))
    }

    fn revoke_tokens(&self, user: UserId, what: Revoke) -> BoxFuture<'static, Result<Vec<DeviceId>, StoreError>> {
        self.write_user(|answer| UserWrite::Revoke(user, what, answer))
    }

    fn put_acked(&self, acked: Vec<AckedPosition>) -> BoxFuture<'static, Result<(), StoreError>> {
        Box::pin(ready(self.inner.acked.put(&acked)))
    }

    fn acked(
        &self,
        user: UserId,
        device: DeviceId,
        conversations: Vec<ConversationId>,
    ) -> BoxFuture<'static, Result<Vec<Seq>, StoreError>> {
        self.inner.readers.read(move |shared| shared.acked.read(&shared.keyspaces, user, device, &conversations))
    }
}

impl TimerStore for Embedded {
    fn put_timers(&self, changes: Vec<TimerChange>) -> BoxFuture<'static, Vec<TimerOutcome>> {
        check_payloads(&changes);
        let count = changes.len();
        let weight = Weight { items: count, bytes: changes.iter().map(timer_change_bytes).sum() };
        let (answer, answered) = oneshot::channel();
        match self.inner.writes.push(Write::Timers(changes, answer), weight) {
            Ok(_) => Box::pin(async move { answered.await.unwrap_or_else(|_| vec![TimerOutcome::Unknown; count]) }),
            Err(error) => Box::pin(ready(vec![TimerOutcome::NotWritten(refusal(error)); count])),
        }
    }

    fn due_timers(
        &self,
        vshards: VshardSet,
        due_ms: Range<u64>,
        after: Option<DueTimer>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<DueTimer>, StoreError>> {
        self.inner.readers.read(move |shared| shared.due_timers(&vshards, due_ms, after, limit))
    }

    fn timers(&self, keys: Vec<TimerKey>) -> BoxFuture<'static, Result<Vec<Option<TimerRow>>, StoreError>> {
        self.inner.readers.read(move |shared| shared.timers(&keys))
    }

    fn timers_of(
        &self,
        kind: TimerKind,
        owner: TimerOwner,
        after: Option<(u64, TimerId)>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<TimerRow>, StoreError>> {
        self.inner.readers.read(move |shared| shared.timers_of(kind, owner, after, limit))
    }

    fn count_timers(&self, kind: TimerKind, owner: TimerOwner) -> BoxFuture<'static, Result<u64, StoreError>> {
        self.inner.readers.read(move |shared| shared.count_timers(kind, owner))
    }
}

impl Embedded {
    fn write_user<T: Send + 'static>(
        &self,
        write: impl FnOnce(Answer<T>) -> UserWrite,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let (answer, answered) = oneshot::channel();
        match self.inner.writes.push(Write::User(write(answer)), USER_WRITE) {
            Ok(_) => Box::pin(async { answered.await.unwrap_or_else(|_| Err(closed())) }),
            Err(error) => Box::pin(ready(Err(refusal(error)))),
        }
    }
}

fn check_payloads(changes: &[TimerChange]) {
    for change in changes {
        if let TimerChange::Put(row) = change {
            assert!(row.payload.len() <= TIMER_PAYLOAD_BYTES_MAX, "{:?} is too large", row.key);
        }
    }
}
