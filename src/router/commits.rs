//! The changes of one core on their way to the store.

use super::{Completion, Task};
use crate::store::{Commit, CommitOutcome, Store};
use futures_util::FutureExt;
use godwit_proto::ConversationId;
use std::collections::BTreeMap;

/// Gathers the changes of a turn into one batch, and hands the outcomes back in the order in which the changes were made.
///
/// The store commits batches in order but may answer a later one first: one that finds the queue full is refused at once,
/// and a task that is done is not always the next one asked. An outcome taken for that of another change would ack what
/// was never written, so what comes early waits here for its turn.
#[derive(Default)]
pub struct Commits {
    turn: Vec<Commit>,
    in_flight: usize,
    next: u64,
    due: u64,
    early: BTreeMap<u64, Outcomes>,
}

/// What became of the changes of one batch, in the order in which they were made.
pub type Outcomes = Vec<(ConversationId, CommitOutcome)>;

impl Commits {
    /// Changes made and not answered yet, this turn's included.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Takes a change into this turn's batch.
    pub fn push(&mut self, commit: Commit) {
        self.in_flight += 1;
        self.turn.push(commit);
    }

    /// Hands the turn's batch to the store. The call itself gives the batch its place in the store's queue; the task only
    /// waits for the outcomes.
    pub fn send(&mut self, store: &dyn Store) -> Option<Task> {
        if self.turn.is_empty() {
            return None;
        }
        let commits = std::mem::take(&mut self.turn);
        let ids: Vec<ConversationId> = commits.iter().map(|commit| commit.conversation).collect();
        let batch = self.next;
        self.next += 1;
        let completion = store.commit(commits).map(move |outcomes| {
            assert_eq!(outcomes.len(), ids.len(), "the store answers every change");
            Completion::Committed(batch, ids.into_iter().zip(outcomes).collect())
        });
        Some(completion.boxed())
    }

    /// A batch is answered.
    pub fn on_answered(&mut self, batch: u64, outcomes: Outcomes) {
        self.early.insert(batch, outcomes);
    }

    /// The outcomes of the batch that is next in order, if they are here.
    pub fn next_answered(&mut self) -> Option<Outcomes> {
        let outcomes = self.early.remove(&self.due)?;
        self.due += 1;
        self.in_flight -= outcomes.len();
        Some(outcomes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use godwit_proto::{Seq, UserId};

    #[test]
    fn a_batch_that_is_answered_early_waits_for_the_one_before_it() {
        let user = UserId::new(1).unwrap();
        let conversation = ConversationId::direct(user, user);
        let mut commits = Commits::default();
        for _ in 0..2 {
            commits.push(Commit::after(conversation, Seq::ZERO));
        }
        let (first, second) = (CommitOutcome::Durable, CommitOutcome::Conflict);
        commits.on_answered(1, vec![(conversation, second.clone())]);
        assert_eq!(commits.next_answered(), None);
        assert_eq!(commits.in_flight(), 2);
        commits.on_answered(0, vec![(conversation, first.clone())]);
        assert_eq!(commits.next_answered(), Some(vec![(conversation, first)]));
        assert_eq!(commits.next_answered(), Some(vec![(conversation, second)]));
        assert_eq!((commits.next_answered(), commits.in_flight()), (None, 0));
    }
}
