//! What may be in the store, as far as anybody can know: for each conversation the states that are possible after all that was
//! answered. A commit makes two of each; an answer, or what somebody reads, leaves fewer; none left is a fault.

use crate::store_suite::model::Model;
use godwit::store::{Commit, CommitOutcome};
use godwit_proto::ConversationId;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Debug},
    sync::Arc,
};

/// More than a run should ever have to hold apart.
const STATES_MAX: usize = 512;

pub type CommitId = u64;

#[derive(Default)]
pub struct Oracle(BTreeMap<ConversationId, Chat>);

#[derive(Default)]
struct Chat {
    states: Vec<Arc<State>>,
    /// All states that there have ever been.
    seen: Vec<Arc<State>>,
    open: BTreeSet<CommitId>,
    /// Of the present owner, who has said that it does not know, and that nobody has loaded since.
    doubted: BTreeSet<CommitId>,
    /// Counts whenever a commit begins or ends.
    changes: u64,
}

#[derive(Default)]
pub struct State {
    pub model: Model,
    applied: BTreeSet<CommitId>,
}

/// What was possible when a question was asked.
pub struct Asked {
    conversation: ConversationId,
    states: Vec<Arc<State>>,
    seen: usize,
    changes: u64,
    quiet: bool,
    of_list: bool,
}

impl Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = if self.quiet { "" } else { ", open" };
        write!(f, "{:x} in one of {} states{open}", self.conversation.as_bytes()[0], self.states.len())
    }
}

impl Oracle {
    pub fn new(conversations: &[ConversationId]) -> Self {
        let chat = || {
            let empty = Arc::new(State::default());
            Chat { states: vec![empty.clone()], seen: vec![empty], ..Chat::default() }
        };
        Self(conversations.iter().map(|id| (*id, chat())).collect())
    }

    /// One of the states that are possible now.
    pub fn any(&self, conversation: ConversationId) -> &Arc<State> {
        &self.0[&conversation].states[0]
    }

    /// Whether all agree on something.
    pub fn all(&self, conversation: ConversationId, holds: impl Fn(&Model) -> bool) -> bool {
        self.0[&conversation].states.iter().all(|state| holds(&state.model))
    }

    pub fn open(&self, conversation: ConversationId) -> usize {
        self.0[&conversation].open.len()
    }

    /// Something is made that may be there from now on. Whether it may be a conflict.
    pub fn begin(&mut self, id: CommitId, commit: &Commit) -> bool {
        let chat = self.0.get_mut(&commit.conversation).unwrap();
        chat.changes += 1;
        chat.open.insert(id);
        let mut may_conflict = false;
        for state in chat.states.clone() {
            let (mut model, mut applied) = (state.model.clone(), state.applied.clone());
            match model.commit(commit) {
                CommitOutcome::Durable => {
                    applied.insert(id);
                    let state = Arc::new(State { model, applied });
                    chat.states.push(state.clone());
                    chat.seen.push(state);
                }
                _ => may_conflict = true,
            }
        }
        assert!(chat.states.len() <= STATES_MAX, "{} states are possible", chat.states.len());
        may_conflict
    }

    /// Whoever made it hears what became of it.
    pub fn end(&mut self, id: CommitId, commit: &Commit, outcome: &CommitOutcome) {
        let chat = self.0.get_mut(&commit.conversation).unwrap();
        chat.changes += 1;
        if chat.open.remove(&id) && *outcome == CommitOutcome::Unknown {
            chat.doubted.insert(id);
        }
        match outcome {
            CommitOutcome::Durable => chat.states.retain(|state| state.applied.contains(&id)),
            CommitOutcome::NotWritten(_) | CommitOutcome::Conflict => {
                chat.states.retain(|state| !state.applied.contains(&id));
            }
            CommitOutcome::AlreadyDurable => chat.states.retain(|state| {
                let again = state.model.clone().commit(commit);
                !state.applied.contains(&id) && again == CommitOutcome::AlreadyDurable
            }),
            CommitOutcome::Unknown => {}
        }
        assert!(!chat.states.is_empty(), "{outcome:?} of commit {id} is not possible: {commit:?}");
    }

    /// Nobody waits for what is open any more: another owner has taken over.
    pub fn abandon(&mut self) {
        for chat in self.0.values_mut() {
            chat.changes += 1;
            chat.open.clear();
            chat.doubted.clear();
        }
    }

    /// Lists show what is known; whoever loads a conversation or reads it hears what became of what was not.
    pub fn ask(&self, conversation: ConversationId, of_list: bool) -> Asked {
        let chat = &self.0[&conversation];
        Asked {
            conversation,
            states: chat.states.clone(),
            seen: chat.seen.len(),
            changes: chat.changes,
            quiet: chat.open.is_empty() && (!of_list || chat.doubted.is_empty()),
            of_list,
        }
    }

    /// Somebody was answered something that is true of these states alone.
    pub fn answer(&mut self, asked: &Asked, is: impl Fn(&Model) -> bool, what: &dyn Debug) {
        let chat = self.0.get_mut(&asked.conversation).unwrap();
        if asked.quiet && asked.changes == chat.changes {
            let before = chat.states.clone();
            chat.states.retain(|state| is(&state.model));
            let possible = || before.iter().map(|state| state.model.load(asked.conversation, 3)).collect::<Vec<_>>();
            assert!(!chat.states.is_empty(), "this cannot be read now: {what:?}\nbut one of {:#?}", possible());
            if !asked.of_list {
                chat.doubted.clear();
            }
            return;
        }
        // While something is being made the answer may be from before or after it.
        let since = chat.seen[asked.seen..].iter().chain(&asked.states);
        let mut matching = since.filter(|state| is(&state.model)).map(|state| &state.applied);
        let Some(first) = matching.next() else { panic!("this could not be read at any time: {what:?}") };
        let certain = matching.fold(first.clone(), |all, applied| all.intersection(applied).copied().collect());
        // What was seen stays.
        chat.states.retain(|state| certain.is_subset(&state.applied));
        assert!(!chat.states.is_empty(), "this was read and is not there: {what:?}");
    }
}
