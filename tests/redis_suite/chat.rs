//! A chat whose lists are compared with the truth.

use super::settle;
use crate::store_suite::{build::*, wait};
use godwit::{
    chat::{Member, MemberChange, Position},
    store::{Commit, CommitOutcome, LogStore, StoredSummary, embedded::Embedded, redis::Summarised},
};
use godwit_proto::{ConversationId, Seq, UserId};
use std::sync::Arc;
use tempfile::TempDir;

/// A store, lists over it, and what they should say.
pub struct Chat {
    pub truth: Arc<Embedded>,
    pub _dir: TempDir,
    pub lists: Summarised,
    pub groups: Vec<ConversationId>,
}

pub const ME: u64 = 1;

impl Chat {
    /// Some groups of users 1 and 2, with a message each.
    pub fn new(groups: u8, lists: impl FnOnce(Arc<Embedded>) -> Summarised) -> Self {
        let (truth, dir) = super::embedded();
        let lists = lists(truth.clone());
        let chat = Self { truth, _dir: dir, lists, groups: (0..groups).map(group).collect() };
        let members = || vec![put(ME), put(2)];
        let new =
            |id: &ConversationId| Commit { members: members(), details: Some(titled("birds")), ..append(*id, 1..=1) };
        chat.commit(chat.groups.iter().map(new).collect());
        chat
    }

    pub fn commit(&self, commits: Vec<Commit>) {
        let outcomes = wait(self.lists.commit(commits));
        assert!(outcomes.iter().all(|outcome| *outcome == CommitOutcome::Durable), "{outcomes:?}");
    }

    /// Appends a message to a conversation, which moves its sender on.
    pub fn send(&self, n: usize) {
        self.commit(vec![self.message(n)]);
    }

    pub fn message(&self, n: usize) -> Commit {
        let loaded = wait(self.truth.load(self.groups[n], 1)).unwrap().unwrap();
        let seq = loaded.tail.last().unwrap().seq.0 + 1;
        let at = Position { seq: Seq(seq), ordinal: seq };
        let sender = MemberChange::Update(Member { own: at, ..member(ME) });
        Commit { members: vec![sender], ..append(self.groups[n], seq..=seq) }
    }

    /// Asks for the list of a user, and for the truth; says how much of it came from Redis.
    #[track_caller]
    pub fn check(&self) -> u64 {
        let before = self.lists.counts().from_redis;
        for user in [user(ME), user(2)] {
            let ids = wait(self.lists.conversations_of(user, None, 1_000)).unwrap();
            assert_eq!(ids, wait(self.truth.conversations_of(user, None, 1_000)).unwrap());
            assert_eq!(lines(&self.lists, user, &self.groups), lines(&*self.truth, user, &self.groups));
        }
        self.lists.counts().from_redis - before
    }

    /// Has everything in Redis.
    #[track_caller]
    pub fn warm(&self) {
        // What has no trusted slice yet is opened by the first, written by it, and read by the second.
        for _ in 0..2 {
            self.check();
            settle(&self.lists);
        }
        assert_eq!(self.check(), self.all());
    }

    pub fn all(&self) -> u64 {
        2 + 2 * self.groups.len() as u64
    }
}

pub fn lines(store: &dyn LogStore, user: UserId, groups: &[ConversationId]) -> Vec<Option<StoredSummary>> {
    wait(store.summaries(groups.iter().map(|id| (*id, user)).collect())).unwrap()
}
