//! The simulated store: a disk that takes its time, fails, and forgets what was not durable when the process died.

use crate::{
    changes::{Answer, Batch, Change, Changes, Write, into_write},
    disk::Disk,
    rng::Rng,
    schedules::Schedules,
    settings::{Bug, Settings},
};
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
    collections::VecDeque,
    future::Future,
    ops::Range,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

/// Batches that the queue takes; more are refused at once, while those before them are still on their way.
const QUEUE_BATCHES_MAX: usize = 6;

/// Clones share one disk.
#[derive(Clone)]
pub struct SimStore(Arc<Mutex<Inner>>);

pub struct Inner {
    pub now_ms: u64,
    pub disk: Disk,
    rng: Rng,
    settings: Settings,
    /// Whether the faults of the settings happen now.
    pub faulty: bool,
    queue: VecDeque<Batch>,
    /// Calls become durable in the order in which they were made.
    last_write_ms: u64,
    /// Answered before they are durable, which only a store with a bug does.
    limbo: VecDeque<(u64, Write)>,
    pub script: Script,
}

/// What a test that plays one case by hand wants to happen. Empty in a run.
#[derive(Default)]
pub struct Script {
    /// This many of the next changes are written, and nobody is told whether they are.
    pub unknown_changes: usize,
    /// The last of the next so many changes is not written.
    pub fail_change: Option<usize>,
    /// The last of the next so many questions fails.
    pub fail_read: Option<usize>,
    /// So many questions are answered; the others wait, and look at what is there when they are.
    pub answers: Option<usize>,
    /// Questions look at what is there when they are asked, whenever they are answered.
    pub looks_at_once: bool,
    /// Nothing is written for now.
    pub holds_writes: bool,
    /// Of a change that is not written, its timers are.
    pub leaves_timers: bool,
}

impl SimStore {
    pub fn new(settings: Settings, rng: Rng) -> Self {
        let schedules = Schedules::new(settings.limits.schedule.late_ms_max);
        let disk = Disk { bug: settings.bug, schedules, ..Disk::default() };
        Self(Arc::new(Mutex::new(Inner {
            now_ms: 0,
            disk,
            rng,
            settings,
            faulty: false,
            queue: VecDeque::new(),
            last_write_ms: 0,
            limbo: VecDeque::new(),
            script: Script::default(),
        })))
    }

    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets time pass: what is due becomes durable, in order.
    pub fn advance(&self, now_ms: u64) {
        let mut inner = self.lock();
        inner.now_ms = now_ms;
        while inner.limbo.front().is_some_and(|(at_ms, _)| *at_ms <= now_ms) {
            let (at_ms, write) = inner.limbo.pop_front().unwrap();
            write(&mut inner.disk, at_ms);
        }
        while !inner.script.holds_writes && inner.queue.front().is_some_and(|batch| batch.at_ms <= now_ms) {
            let batch = inner.queue.pop_front().unwrap();
            match batch.changes {
                Changes::Commits(commits, answer) => inner.answer(&commits, &answer),
                Changes::Timers(changes, answer) => inner.answer(&changes, &answer),
            }
        }
    }

    pub fn is_writing(&self) -> bool {
        let inner = self.lock();
        !inner.queue.is_empty() && !inner.script.holds_writes
    }

    /// The process dies: of what is on its way, only a part from the front gets to the disk, and nobody hears of it.
    pub fn crash(&self) {
        let mut inner = self.lock();
        inner.limbo.clear();
        let on_its_way: Vec<Write> = inner.queue.drain(..).flat_map(|batch| batch.changes.writes()).collect();
        let written = inner.rng.index(on_its_way.len() + 1);
        let now_ms = inner.now_ms;
        for write in on_its_way.into_iter().take(written) {
            write(&mut inner.disk, now_ms);
        }
        // Acked positions are written behind: some are lost.
        let lost = inner.rng.below(3);
        let mut number = 0;
        inner.disk.acked.retain(|_, _| {
            number += 1;
            number % 3 != lost
        });
        inner.last_write_ms = 0;
    }

    fn write<C: Change>(&self, changes: Vec<C>) -> BoxFuture<'static, Vec<C::Outcome>> {
        let mut inner = self.lock();
        if inner.queue.len() >= QUEUE_BATCHES_MAX {
            let refused = vec![C::not_written(StoreError::Overloaded); changes.len()];
            return std::future::ready(refused).boxed();
        }
        let at_ms = inner.last_write_ms.max(inner.now_ms + inner.delay_ms());
        inner.last_write_ms = at_ms;
        let answer = Answer::default();
        inner.queue.push_back(Batch { at_ms, changes: C::in_batch(changes, answer.clone()) });
        Outcomes { store: self.clone(), answer }.boxed()
    }

    fn later<T: Send + Unpin + 'static>(
        &self,
        work: impl FnOnce(&mut Disk) -> T + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let mut inner = self.lock();
        let at_ms = inner.now_ms + inner.delay_ms();
        let mut failures = if inner.faulty { inner.settings.read_failures } else { 0 };
        if let Some(left) = &mut inner.script.fail_read {
            *left = left.saturating_sub(1);
            if *left == 0 {
                (failures, inner.script.fail_read) = (1_000, None);
            }
        }
        let work: Work<T> = if inner.rng.chance(failures) {
            Work::Done(Err(StoreError::Unavailable("a simulated fault".into())))
        } else if inner.script.looks_at_once || (inner.script.answers.is_none() && inner.rng.chance(500)) {
            // As early as a store may look: what is answered later was read now.
            Work::Done(Ok(work(&mut inner.disk)))
        } else {
            Work::Waiting(Box::new(work))
        };
        Later { store: self.clone(), at_ms, work: Some(work) }.boxed()
    }
}

impl Inner {
    fn delay_ms(&mut self) -> u64 {
        let slow = if self.faulty && self.rng.chance(50) { 10 } else { 1 };
        self.rng.below(slow * self.settings.store_delay_ms_max + 1)
    }

    fn answer<C: Change>(&mut self, changes: &[C], answer: &Answer<C::Outcome>) {
        let outcomes = self.write(changes);
        let answer_ms = self.now_ms + self.delay_ms();
        *answer.lock().unwrap() = Some((answer_ms, outcomes));
    }

    /// One outcome a change. A failure takes one change, or all the rest of the batch.
    fn write<C: Change>(&mut self, changes: &[C]) -> Vec<C::Outcome> {
        let mut rest: Option<C::Outcome> = None;
        let mut outcomes = Vec::with_capacity(changes.len());
        for change in changes {
            if let Some(outcome) = &rest {
                outcomes.push(outcome.clone());
                continue;
            }
            if self.script.unknown_changes > 0 {
                self.script.unknown_changes -= 1;
                change.write(&mut self.disk, self.now_ms);
                outcomes.push(C::UNKNOWN);
                continue;
            }
            if let Some(left) = &mut self.script.fail_change {
                *left -= 1;
                if *left == 0 {
                    self.script.fail_change = None;
                    if self.script.leaves_timers && change.has_part() {
                        change.write_part(&mut self.disk, self.now_ms);
                    }
                    outcomes.push(C::not_written(StoreError::Full));
                    continue;
                }
            }
            if self.faulty && self.rng.chance(self.settings.commit_failures) {
                if change.has_part() && self.rng.chance(500) {
                    change.write_part(&mut self.disk, self.now_ms);
                }
                if self.rng.chance(self.settings.unknown_outcomes) {
                    if self.rng.chance(500) {
                        change.write(&mut self.disk, self.now_ms);
                    }
                    outcomes.push(C::UNKNOWN);
                    continue;
                }
                let outcome = C::not_written(match self.rng.below(3) {
                    0 => StoreError::Full,
                    1 => StoreError::Overloaded,
                    _ => StoreError::Unavailable("a simulated fault".into()),
                });
                rest = self.rng.chance(500).then(|| outcome.clone());
                outcomes.push(outcome);
                continue;
            }
            outcomes.push(if self.settings.bug == Some(Bug::EarlyAck) {
                self.limbo.push_back((self.now_ms + 20, into_write(change.clone())));
                C::DURABLE
            } else {
                change.write(&mut self.disk, self.now_ms)
            });
        }
        outcomes
    }
}

/// An answer that takes its time.
struct Later<T> {
    store: SimStore,
    at_ms: u64,
    work: Option<Work<T>>,
}

enum Work<T> {
    Done(Result<T, StoreError>),
    Waiting(Box<dyn FnOnce(&mut Disk) -> T + Send>),
}

impl<T: Unpin> Future for Later<T> {
    type Output = Result<T, StoreError>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        let store = self.store.clone();
        let mut inner = store.lock();
        if inner.now_ms < self.at_ms || inner.script.answers == Some(0) {
            return Poll::Pending;
        }
        inner.script.answers = inner.script.answers.map(|left| left - 1);
        match self.work.take() {
            Some(Work::Done(answer)) => Poll::Ready(answer),
            Some(Work::Waiting(work)) => Poll::Ready(Ok(work(&mut inner.disk))),
            None => panic!("polled after it was done"),
        }
    }
}

/// The outcomes of a batch, once there are any.
struct Outcomes<O> {
    store: SimStore,
    answer: Answer<O>,
}

impl<O> Future for Outcomes<O> {
    type Output = Vec<O>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        let now_ms = self.store.lock().now_ms;
        match &mut *self.answer.lock().unwrap() {
            Some((at_ms, outcomes)) if *at_ms <= now_ms => Poll::Ready(std::mem::take(outcomes)),
            _ => Poll::Pending,
        }
    }
}

impl LogStore for SimStore {
    fn commit(&self, commits: Vec<Commit>) -> BoxFuture<'static, Vec<CommitOutcome>> {
        self.write(commits)
    }

    fn load(
        &self,
        conversation: ConversationId,
        tail: usize,
    ) -> BoxFuture<'static, Result<Option<LoadedConversation>, StoreError>> {
        self.later(move |disk| disk.load(conversation, tail))
    }

    fn read(
        &self,
        conversation: ConversationId,
        from: Seq,
        direction: Direction,
        limit: PageLimit,
    ) -> BoxFuture<'static, Result<Vec<LogEntry>, StoreError>> {
        self.later(move |disk| disk.read(conversation, from, direction, limit))
    }

    fn find_send(
        &self,
        conversation: ConversationId,
        sender: UserId,
        client_msg_id: ClientMsgId,
    ) -> BoxFuture<'static, Result<Option<LogEntry>, StoreError>> {
        self.later(move |disk| disk.find_send(conversation, sender, client_msg_id))
    }

    fn summaries(
        &self,
        wanted: Vec<(ConversationId, UserId)>,
    ) -> BoxFuture<'static, Result<Vec<Option<StoredSummary>>, StoreError>> {
        self.later(move |disk| wanted.into_iter().map(|(id, user)| disk.summary(id, user)).collect())
    }

    fn conversations_of(
        &self,
        user: UserId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<ConversationId>, StoreError>> {
        self.later(move |disk| disk.conversations_of(user, after, limit))
    }
}

impl UserStore for SimStore {
    fn create_user(
        &self,
        user: UserRecord,
        _: Option<InvitationId>,
    ) -> BoxFuture<'static, Result<CreateUserOutcome, StoreError>> {
        self.later(move |disk| disk.create_user(user))
    }

    fn user_by_name(&self, name_key: String) -> BoxFuture<'static, Result<Option<UserRecord>, StoreError>> {
        self.later(move |disk| disk.users.values().find(|user| user.name_key == name_key).cloned())
    }

    fn users(&self, ids: Vec<UserId>) -> BoxFuture<'static, Result<Vec<UserRecord>, StoreError>> {
        self.later(move |disk| ids.iter().filter_map(|id| disk.users.get(id).cloned()).collect())
    }

    fn put_token(&self, token: NewToken) -> BoxFuture<'static, Result<bool, StoreError>> {
        self.later(move |disk| disk.put_token(token))
    }

    fn token(&self, hash: TokenHash) -> BoxFuture<'static, Result<Option<TokenRecord>, StoreError>> {
        self.later(move |disk| disk.token(hash).cloned())
    }

    fn extend_token(&self, hash: TokenHash, expires_ms: u64) -> BoxFuture<'static, Result<(), StoreError>> {
        self.later(move |disk| disk.extend_token(hash, expires_ms))
    }

    fn revoke_tokens(&self, user: UserId, what: Revoke) -> BoxFuture<'static, Result<Vec<DeviceId>, StoreError>> {
        let only = match what {
            Revoke::Device(device) => Some(device),
            Revoke::AllDevices => None,
        };
        self.later(move |disk| disk.revoke_tokens(user, only))
    }

    fn put_acked(&self, acked: Vec<AckedPosition>) -> BoxFuture<'static, Result<(), StoreError>> {
        self.later(move |disk| {
            for AckedPosition { user, device, conversation, seq } in acked {
                let row = disk.acked.entry((user, device, conversation)).or_default();
                *row = seq.max(*row);
            }
        })
    }

    fn acked(
        &self,
        user: UserId,
        device: DeviceId,
        conversations: Vec<ConversationId>,
    ) -> BoxFuture<'static, Result<Vec<Seq>, StoreError>> {
        self.later(move |disk| {
            let row = |id: ConversationId| disk.acked.get(&(user, device, id)).copied().unwrap_or_default();
            conversations.into_iter().map(row).collect()
        })
    }
}

impl TimerStore for SimStore {
    fn put_timers(&self, changes: Vec<TimerChange>) -> BoxFuture<'static, Vec<TimerOutcome>> {
        self.write(changes)
    }

    fn due_timers(
        &self,
        vshards: VshardSet,
        due_ms: Range<u64>,
        after: Option<DueTimer>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<DueTimer>, StoreError>> {
        self.later(move |disk| disk.due_timers(&vshards, &due_ms, after, limit))
    }

    fn timers(&self, keys: Vec<TimerKey>) -> BoxFuture<'static, Result<Vec<Option<TimerRow>>, StoreError>> {
        self.later(move |disk| keys.iter().map(|key| disk.timers.get(key).cloned()).collect())
    }

    fn timers_of(
        &self,
        kind: TimerKind,
        owner: TimerOwner,
        after: Option<(u64, TimerId)>,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<TimerRow>, StoreError>> {
        self.later(move |disk| disk.timers_of(kind, owner, after, limit))
    }

    fn count_timers(&self, kind: TimerKind, owner: TimerOwner) -> BoxFuture<'static, Result<u64, StoreError>> {
        self.later(move |disk| disk.timers_of(kind, owner, None, usize::MAX).len() as u64)
    }
}
