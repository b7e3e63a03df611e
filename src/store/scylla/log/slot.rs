//! One conversation in memory: its state, and the calls that wait for their turn.

use super::{call::Answer, queue::Held, state::State, timer_order::Place};
use crate::{
    chat::LogEntry,
    store::{Commit, CommitOutcome, Direction, LoadedConversation, StoreError},
};
use futures_util::future::{BoxFuture, Shared};
use godwit_proto::{ConversationId, Seq};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{Notify, oneshot};

/// One conversation. At most one task works on it, in the order of the queue.
pub(super) struct Slot {
    pub(super) conversation: ConversationId,
    inner: Mutex<Inner>,
    /// Told when so much is unsettled that it should not wait any longer.
    pub(super) settle_now: Notify,
}

#[derive(Default)]
pub(super) struct Inner {
    /// `None`: nobody has looked yet.
    pub(super) state: Option<State>,
    queue: VecDeque<Item>,
    /// A task works on the queue.
    is_worked_on: bool,
    /// It is not known whether the mutation that is on its way was applied.
    pub(super) in_doubt: bool,
    /// And has not been for so long that nobody else is let in.
    is_stuck: bool,
    /// A task writes members and details to their rows, or waits to.
    pub(super) is_settling: bool,
    /// A task writes memberships.
    pub(super) is_indexing: bool,
    /// Counts how often rows began to be overwritten, so that a reader of several knows whether they may be from before and after.
    pub(super) rewrites: u64,
    /// Pages that are being read.
    pub(super) pages: BTreeMap<PageKey, SharedPage>,
}

/// What tells one page from another. Those of another version may show less than was committed before they were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PageKey {
    pub(super) version: u64,
    pub(super) from: Seq,
    pub(super) is_forward: bool,
    pub(super) entries: usize,
    pub(super) bytes: usize,
}

impl PageKey {
    pub(super) fn direction(self) -> Direction {
        if self.is_forward { Direction::Forward } else { Direction::Backward }
    }
}

pub(super) type SharedPage = Shared<BoxFuture<'static, Result<Vec<LogEntry>, StoreError>>>;

pub(super) type LoadAnswer = oneshot::Sender<Result<Option<LoadedConversation>, StoreError>>;

/// What waits.
enum Item {
    Commit(Box<Queued>),
    /// Loads of so many entries at the end.
    Load(usize, Vec<LoadAnswer>),
    /// Whoever only wants to know that it is its turn.
    Turn(Vec<oneshot::Sender<Result<(), StoreError>>>),
}

pub(super) struct Queued {
    pub(super) commit: Commit,
    /// Of its timers, if it has any.
    pub(super) timers: Option<Place>,
    pub(super) answer: Answer,
    pub(super) held: Held,
}

/// What is to be done next.
pub(super) enum Work {
    /// Commits that continue the head, and each other.
    Batch(Vec<Queued>),
    /// One that does not continue the head.
    Elsewhere(Box<Queued>),
    Load(usize, Vec<LoadAnswer>),
    Turn(Vec<oneshot::Sender<Result<(), StoreError>>>),
}

/// How much a batch gathers.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchMax {
    pub(super) entries: usize,
    pub(super) bytes: usize,
}

impl Slot {
    pub(super) fn new(conversation: ConversationId) -> Self {
        Self { conversation, inner: Mutex::default(), settle_now: Notify::new() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Whether there is a state that whoever reads may go by.
    pub(super) fn is_certain(&self) -> bool {
        self.state.is_some() && !self.in_doubt && !self.is_stuck
    }

    /// Adds a commit. Returns it if nobody is let in.
    pub(super) fn push_commit(&mut self, queued: Box<Queued>) -> Result<(), Box<Queued>> {
        if self.is_stuck {
            return Err(queued);
        }
        self.queue.push_back(Item::Commit(queued));
        Ok(())
    }

    /// Adds a load, together with one that waits for the same if nothing is to change in between. Whether it was added to one.
    pub(super) fn push_load(&mut self, tail: usize, answer: LoadAnswer) -> Result<bool, StoreError> {
        if self.is_stuck {
            return Err(stuck());
        }
        if let Some(Item::Load(waiting, answers)) = self.queue.back_mut()
            && *waiting == tail
        {
            answers.push(answer);
            return Ok(true);
        }
        self.queue.push_back(Item::Load(tail, vec![answer]));
        Ok(false)
    }

    /// Waits for its turn.
    pub(super) fn push_turn(&mut self) -> Result<oneshot::Receiver<Result<(), StoreError>>, StoreError> {
        if self.is_stuck {
            return Err(stuck());
        }
        let (answer, answered) = oneshot::channel();
        match self.queue.back_mut() {
            Some(Item::Turn(answers)) => answers.push(answer),
            _ => self.queue.push_back(Item::Turn(vec![answer])),
        }
        Ok(answered)
    }

    /// Whether the caller must start a task that works on the queue.
    pub(super) fn needs_worker(&mut self) -> bool {
        !self.queue.is_empty() && !std::mem::replace(&mut self.is_worked_on, true)
    }

    /// What is next for the task that works on it; with `None` that has ended.
    pub(super) fn next(&mut self, head: Seq, max: BatchMax) -> Option<Work> {
        match self.queue.pop_front() {
            None => {
                self.is_worked_on = false;
                None
            }
            Some(Item::Load(tail, answers)) => Some(Work::Load(tail, answers)),
            Some(Item::Turn(answers)) => Some(Work::Turn(answers)),
            Some(Item::Commit(queued)) if queued.commit.after != head => Some(Work::Elsewhere(queued)),
            Some(Item::Commit(queued)) => {
                let (mut entries, mut bytes) = (queued.commit.entries.len(), queued.held.bytes());
                let mut end = head.0 + entries as u64;
                let mut batch = vec![*queued];
                while let Some(Item::Commit(next)) = self.queue.front() {
                    entries += next.commit.entries.len();
                    bytes += next.held.bytes();
                    let waits = next.timers.as_ref().is_some_and(|place| !place.is_first());
                    if next.commit.after.0 != end || entries > max.entries || bytes > max.bytes || waits {
                        break;
                    }
                    end += next.commit.entries.len() as u64;
                    if let Some(Item::Commit(next)) = self.queue.pop_front() {
                        batch.push(*next);
                    }
                }
                Some(Work::Batch(batch))
            }
        }
    }

    /// Lets nobody in until [`Self::go_on`]; who waits is sent away.
    pub(super) fn give_up(&mut self) {
        self.is_stuck = true;
        self.send_away(&stuck());
    }

    /// What was not known is known.
    pub(super) fn go_on(&mut self) {
        self.is_stuck = false;
        self.in_doubt = false;
    }

    /// The task that works on it ends, because it cannot go on; who waits is sent away.
    pub(super) fn stop(&mut self, error: &StoreError) {
        self.go_on();
        self.is_worked_on = false;
        self.send_away(error);
    }

    fn send_away(&mut self, error: &StoreError) {
        // Who has gone does not want to know.
        for item in self.queue.drain(..) {
            match item {
                Item::Commit(queued) => queued.answer.send(CommitOutcome::NotWritten(error.clone())),
                Item::Load(_, answers) => {
                    answers.into_iter().for_each(|answer| drop(answer.send(Err(error.clone()))));
                }
                Item::Turn(answers) => {
                    answers.into_iter().for_each(|answer| drop(answer.send(Err(error.clone()))));
                }
            }
        }
    }
}

/// What whoever comes to a conversation is told of which nobody knows how its last write ended.
pub(super) fn stuck() -> StoreError {
    StoreError::Unavailable("an earlier write of this conversation has no known outcome yet; ask again".to_owned())
}
