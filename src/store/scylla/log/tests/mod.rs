//! The log of conversations on three replicas in memory.

mod outcomes;
mod random;
mod replicas;
mod rows;
mod takeover;
mod world;

use self::{
    replicas::{Fate, Replicas},
    world::World,
};
use super::{Log, LogLimits};
use crate::{
    chat::{LogEntry, Member, MemberChange, Position, Role},
    store::{
        Commit, CommitOutcome, ConversationDetails, Direction, DueTimer, LoadedConversation, LogStore, PageLimit,
        StoreError, TimerChange, TimerId, TimerKey, TimerKind, TimerOutcome, TimerOwner, TimerRow, TimerStore,
        scylla::fence::Fence,
    },
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use godwit_proto::{ClientMsgId, ConversationId, Seq, UserId, VshardSet, v1, v1::WithdrawnReason};
use std::{
    future::ready,
    ops::{Range, RangeInclusive},
    sync::{Arc, Mutex},
    time::Duration,
};

const ALL: PageLimit = PageLimit { entries: usize::MAX, bytes: usize::MAX };

/// A database, and the owners that it has one after the other.
struct House {
    world: Arc<World>,
    replicas: Arc<Replicas>,
    timers: Arc<Timers>,
    limits: LogLimits,
}

/// Who owns all conversations in one epoch.
struct Owner {
    world: Arc<World>,
    log: Log<Replicas>,
    fence: Fence,
}

/// Timestamps of one epoch.
const EPOCH_US: i64 = 1_000_000_000_000;

impl House {
    fn new() -> Self {
        let world = Arc::new(World::default());
        Self { replicas: Replicas::new(&world), world, timers: Arc::default(), limits: LogLimits::default() }
    }

    fn owner(&self, epoch: u64) -> Owner {
        self.owner_for(epoch, Duration::from_secs(1 << 40))
    }

    /// Its lease lapses after that time.
    fn owner_for(&self, epoch: u64, held: Duration) -> Owner {
        let floor_us = epoch as i64 * EPOCH_US;
        let fence = Fence::new(self.world.clone(), vec![epoch; 4_096], floor_us);
        fence.renewed(Duration::from_millis(self.world.now_ms()), held, floor_us + EPOCH_US - 1);
        let log = Log::new(self.replicas.clone(), self.timers.clone(), fence.clone(), self.limits.clone());
        Owner { world: self.world.clone(), log, fence }
    }
}

impl Owner {
    fn commit(&self, commit: Commit) -> CommitOutcome {
        self.commits(vec![commit]).remove(0)
    }

    fn commits(&self, commits: Vec<Commit>) -> Vec<CommitOutcome> {
        self.world.run(self.log.commit(commits))
    }

    fn load(&self, tail: usize) -> Result<Option<LoadedConversation>, StoreError> {
        self.world.run(self.log.load(group(1), tail))
    }

    fn members(&self) -> Vec<Member> {
        self.load(1).unwrap().unwrap().members
    }

    fn read(&self, from: u64, direction: Direction, limit: PageLimit) -> Vec<LogEntry> {
        self.world.run(self.log.read(group(1), Seq(from), direction, limit)).unwrap()
    }

    fn entries(&self) -> Vec<LogEntry> {
        self.read(1, Direction::Forward, ALL)
    }

    fn conversations_of(&self, of: u64) -> Vec<ConversationId> {
        self.world.run(self.log.conversations_of(user(of), None, 99)).unwrap()
    }

    fn count(&self, of: u64) -> Option<u32> {
        let lines = self.world.run(self.log.summaries(vec![(group(1), user(of))])).unwrap();
        lines.into_iter().next().unwrap().map(|line| line.member_count)
    }
}

fn group(n: u8) -> ConversationId {
    ConversationId::group([n; 16])
}

fn user(n: u64) -> UserId {
    UserId::new(n).unwrap()
}

fn msg(n: u64) -> ClientMsgId {
    ClientMsgId(u128::from(n).to_be_bytes())
}

/// Entry `seq`, whose text is this.
fn entry_of(seq: u64, text: &str) -> LogEntry {
    LogEntry::new(&v1::Entry {
        seq,
        ordinal: seq,
        sender_id: 1,
        sent_ms: 1_000 + seq,
        client_msg_id: msg(seq).to_bytes(),
        content: Some(v1::entry::Content::Message(v1::Message {
            body: Bytes::copy_from_slice(text.as_bytes()),
            ..v1::Message::default()
        })),
    })
}

fn entries(seqs: RangeInclusive<u64>, text: &str) -> Vec<LogEntry> {
    seqs.map(|seq| entry_of(seq, text)).collect()
}

fn marker(seq: u64) -> LogEntry {
    entry_of(seq, "").withdrawn(WithdrawnReason::Expired)
}

fn append_as(seqs: RangeInclusive<u64>, text: &str) -> Commit {
    Commit { entries: entries(seqs.clone(), text), ..nothing(seqs.start() - 1) }
}

fn append(seqs: RangeInclusive<u64>) -> Commit {
    append_as(seqs, "text")
}

fn nothing(after: u64) -> Commit {
    Commit::after(group(1), Seq(after))
}

fn member(n: u64) -> Member {
    Member::new(user(n), Role::Member, Position::START)
}

fn put(n: u64) -> MemberChange {
    MemberChange::Put(member(n))
}

fn take(n: u64) -> MemberChange {
    MemberChange::Remove(user(n))
}

fn titled(title: &str) -> Option<ConversationDetails> {
    Some(ConversationDetails { title: title.to_owned(), ..ConversationDetails::default() })
}

fn timer(id: u64) -> TimerRow {
    let key = TimerKey { kind: TimerKind(100), owner: TimerOwner::Conversation(group(1)), id: TimerId(msg(id).0) };
    TimerRow { key, due_ms: id, payload: Bytes::new() }
}

/// Keeps what it is told, and can refuse.
#[derive(Default)]
struct Timers {
    put: Mutex<Vec<TimerChange>>,
    refuses: Mutex<Vec<TimerOutcome>>,
}

impl TimerStore for Timers {
    fn put_timers(&self, changes: Vec<TimerChange>) -> BoxFuture<'static, Vec<TimerOutcome>> {
        let count = changes.len();
        let outcome = self.refuses.lock().unwrap().pop().unwrap_or(TimerOutcome::Durable);
        self.put.lock().unwrap().extend(changes);
        Box::pin(ready(vec![outcome; count]))
    }

    fn due_timers(
        &self,
        _: VshardSet,
        _: Range<u64>,
        _: Option<DueTimer>,
        _: usize,
    ) -> BoxFuture<'static, Result<Vec<DueTimer>, StoreError>> {
        Box::pin(ready(Ok(vec![])))
    }

    fn timers(&self, keys: Vec<TimerKey>) -> BoxFuture<'static, Result<Vec<Option<TimerRow>>, StoreError>> {
        Box::pin(ready(Ok(vec![None; keys.len()])))
    }

    fn timers_of(
        &self,
        _: TimerKind,
        _: TimerOwner,
        _: Option<(u64, TimerId)>,
        _: usize,
    ) -> BoxFuture<'static, Result<Vec<TimerRow>, StoreError>> {
        Box::pin(ready(Ok(vec![])))
    }

    fn count_timers(&self, _: TimerKind, _: TimerOwner) -> BoxFuture<'static, Result<u64, StoreError>> {
        Box::pin(ready(Ok(0)))
    }
}
