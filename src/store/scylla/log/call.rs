//! The answers to one call: who made it waits for all of them, and is woken once.

use crate::store::CommitOutcome;
use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::oneshot;

struct Call {
    /// Of those without an answer: nobody knows.
    outcomes: Vec<CommitOutcome>,
    missing: usize,
    all: Option<oneshot::Sender<Vec<CommitOutcome>>>,
}

/// Where the outcome of one commit of a call goes. Dropped without one, as with the runtime that worked on it, it is unknown.
pub(super) struct Answer {
    call: Arc<Mutex<Call>>,
    at: usize,
}

/// One for each of so many commits, in order, and what gets the outcomes when all are there.
pub(super) fn answers(commits: usize) -> (impl Iterator<Item = Answer>, oneshot::Receiver<Vec<CommitOutcome>>) {
    let (all, outcomes) = oneshot::channel();
    let all = if commits == 0 {
        // The receiver is above.
        let _ = all.send(Vec::new());
        None
    } else {
        Some(all)
    };
    let call = Arc::new(Mutex::new(Call { outcomes: vec![CommitOutcome::Unknown; commits], missing: commits, all }));
    ((0..commits).map(move |at| Answer { call: call.clone(), at }), outcomes)
}

impl Answer {
    pub(super) fn send(self, outcome: CommitOutcome) {
        let mut call = self.call.lock().unwrap_or_else(PoisonError::into_inner);
        call.outcomes[self.at] = outcome;
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let mut call = self.call.lock().unwrap_or_else(PoisonError::into_inner);
        call.missing -= 1;
        if call.missing == 0
            && let Some(all) = call.all.take()
        {
            // Who has gone does not want to know.
            let _ = all.send(mem::take(&mut call.outcomes));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    #[test]
    fn outcomes_come_in_the_order_of_the_commits_when_all_are_there() {
        let (answers, mut outcomes) = answers(3);
        let answers: Vec<Answer> = answers.collect();
        let [first, dropped, last] = answers.try_into().ok().unwrap();
        last.send(CommitOutcome::Conflict);
        drop(dropped);
        assert!(outcomes.try_recv().is_err());
        first.send(CommitOutcome::Durable);
        let expected = [CommitOutcome::Durable, CommitOutcome::Unknown, CommitOutcome::Conflict];
        assert_eq!(outcomes.try_recv().unwrap(), expected);
    }

    #[test]
    fn a_call_without_commits_is_answered_at_once() {
        let (_, mut outcomes) = answers(0);
        assert_eq!(outcomes.try_recv().unwrap(), []);
    }
}
