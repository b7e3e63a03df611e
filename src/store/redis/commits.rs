//! Passing on what commits change.

use super::{
    Shared,
    cells::{CellId, Cells},
    changes::{Change, Committed},
    keys::Subject,
    meters::Doubt,
    writer::{Announced, Job},
};
use crate::store::{Commit, CommitOutcome};
use futures_util::future::BoxFuture;
use std::sync::{Arc, PoisonError, atomic::Ordering::Relaxed};

/// One call of the store, from when it is made until its changes are announced.
struct Call {
    shared: Arc<Shared>,
    /// Ascends in the order in which calls are made.
    number: u64,
    /// Empty once they are announced.
    commits: Vec<Planned>,
}

struct Planned {
    committed: Committed,
    /// Everything that it may change, and where that is noted.
    touched: Vec<(Subject, CellId)>,
}

impl Shared {
    /// Commits, and announces what changed before it is answered.
    pub(super) fn commit(self: &Arc<Self>, commits: Vec<Commit>) -> BoxFuture<'static, Vec<CommitOutcome>> {
        let planned: Vec<Planned> = commits.iter().map(Planned::of).collect();
        for (_, cell) in planned.iter().flat_map(|planned| &planned.touched) {
            self.cells.commit_begins(*cell);
        }
        let number = self.calls.fetch_add(1, Relaxed);
        let answered = self.store.commit(commits);
        let call = Call { shared: self.clone(), number, commits: planned };
        Box::pin(async move {
            // If nobody waits for the answer any more, this is dropped here, and nobody knows what became of it.
            let mut call = call;
            let outcomes = answered.await;
            call.announce(&outcomes);
            outcomes
        })
    }
}

impl Planned {
    fn of(commit: &Commit) -> Self {
        let committed = Committed::of(commit);
        let lists = committed.come_and_gone().into_iter().map(Subject::List);
        let touched = std::iter::once(committed.subject()).chain(lists);
        let touched = touched.map(|subject| (subject, Cells::of(subject))).collect();
        Self { committed, touched }
    }
}

impl Call {
    /// From here on nobody who asks is told what was there before.
    fn announce(&mut self, outcomes: &[CommitOutcome]) {
        let commits = std::mem::take(&mut self.commits);
        assert_eq!(outcomes.len(), commits.len(), "the store answers every change");
        let shared = self.shared.clone();
        let mut changes = Vec::new();
        let mut announced = Announced { shared: shared.clone(), cells: Vec::new() };
        // One at a time, so that what is announced later is written later.
        let _order = shared.announcing.lock().unwrap_or_else(PoisonError::into_inner);
        for (planned, outcome) in commits.into_iter().zip(outcomes) {
            let Planned { committed, touched } = planned;
            if matches!(outcome, CommitOutcome::NotWritten(_) | CommitOutcome::Conflict) {
                touched.iter().for_each(|(_, cell)| shared.cells.commit_ends(*cell));
                continue;
            }
            let conversation = committed.conversation();
            if *outcome == CommitOutcome::Unknown && !shared.unsure.add(conversation, &committed.come_and_gone()) {
                tracing::error!(
                    "too many commits are in doubt; part of all lists is read from the store until a restart"
                );
            }
            let mut in_order = true;
            for (_, cell) in &touched {
                in_order &= shared.cells.changed(*cell, self.number);
                announced.cells.push(*cell);
            }
            changes.extend(touched.iter().skip(1).map(|(list, _)| Change::Forget(*list)));
            // Who may have come or gone with a commit that was in doubt until now.
            let settled = (*outcome != CommitOutcome::Unknown).then(|| shared.unsure.users_of(conversation)).flatten();
            for list in settled.iter().flatten().map(|user| Subject::List(*user)) {
                let cell = Cells::of(list);
                shared.cells.commit_begins(cell);
                shared.cells.changed(cell, self.number);
                announced.cells.push(cell);
                changes.push(Change::Forget(list));
            }
            let is_plain = *outcome == CommitOutcome::Durable && in_order && settled.is_none() && committed.is_small();
            changes.push(match is_plain {
                true => Change::Committed(Box::new(committed)),
                false => Change::Forget(committed.subject()),
            });
            if settled.is_some() {
                shared.unsure.settle(conversation);
            }
        }
        // A slice that is closed has nothing to change; one that is opened from now on is opened for what is read from now on.
        changes.retain(|change| !shared.slices.is_closed(change.subject().slice()));
        if changes.is_empty() {
            return;
        }
        if shared.link.is_up() {
            shared.write(Job::Changed(changes, announced));
        } else {
            changes.iter().for_each(|change| shared.close(change.subject().slice(), Doubt::Unanswered));
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.commits.is_empty() {
            let outcomes = vec![CommitOutcome::Unknown; self.commits.len()];
            self.announce(&outcomes);
        }
    }
}
