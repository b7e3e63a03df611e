//! Conversations of which nobody knows what became of their last commit: it may take effect at any time, unannounced. Until a
//! later commit of the same conversation is answered, they are read from the store.

use super::keys::{SLICES, Subject};
use foldhash::{HashMap, HashMapExt};
use godwit_proto::{ConversationId, UserId};
use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering::SeqCst},
};

/// Conversations in doubt at one time. Past it, whole slices are read from the store until the next start.
const UNSURE_MAX: usize = 65_536;

pub(super) struct Unsure {
    /// Whether there is anything to look up: there nearly never is.
    any: AtomicBool,
    inner: Mutex<Inner>,
    max: usize,
}

struct Inner {
    /// With the users who may have come or gone.
    conversations: HashMap<ConversationId, Vec<UserId>>,
    /// In how many conversations each.
    users: HashMap<UserId, usize>,
    blind: Vec<bool>,
}

impl Unsure {
    pub(super) fn new() -> Self {
        Self::with_max(UNSURE_MAX)
    }

    fn with_max(max: usize) -> Self {
        let inner = Inner { conversations: HashMap::new(), users: HashMap::new(), blind: vec![false; SLICES] };
        Self { any: AtomicBool::new(false), inner: Mutex::new(inner), max }
    }

    pub(super) fn has(&self, subject: Subject) -> bool {
        self.any.load(SeqCst) && {
            let inner = self.lock();
            inner.blind[subject.slice()]
                || match subject {
                    Subject::Conversation(conversation) => inner.conversations.contains_key(&conversation),
                    Subject::List(user) => inner.users.contains_key(&user),
                }
        }
    }

    /// Says whether there was room for it alone.
    pub(super) fn add(&self, conversation: ConversationId, users: &[UserId]) -> bool {
        let mut inner = self.lock();
        self.any.store(true, SeqCst);
        if inner.conversations.len() >= self.max && !inner.conversations.contains_key(&conversation) {
            inner.blind[Subject::Conversation(conversation).slice()] = true;
            for user in users {
                inner.blind[Subject::List(*user).slice()] = true;
            }
            return false;
        }
        for user in users {
            *inner.users.entry(*user).or_default() += 1;
        }
        inner.conversations.entry(conversation).or_default().extend(users);
        true
    }

    /// Whoever may have come or gone in a conversation in doubt.
    pub(super) fn users_of(&self, conversation: ConversationId) -> Option<Vec<UserId>> {
        if !self.any.load(SeqCst) {
            return None;
        }
        self.lock().conversations.get(&conversation).cloned()
    }

    /// It is known how the conversation stands.
    pub(super) fn settle(&self, conversation: ConversationId) {
        let mut inner = self.lock();
        for user in inner.conversations.remove(&conversation).unwrap_or_default() {
            if let Some(count) = inner.users.get_mut(&user) {
                *count -= 1;
                if *count == 0 {
                    inner.users.remove(&user);
                }
            }
        }
        let any = !inner.conversations.is_empty() || inner.blind.contains(&true);
        self.any.store(any, SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing here panics half-way through a change.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn group(n: u8) -> ConversationId {
        ConversationId::group([n; 16])
    }

    #[test]
    fn a_user_is_in_doubt_until_all_conversations_are_settled() {
        let unsure = Unsure::new();
        let user = UserId::new(1).unwrap();
        unsure.add(group(1), &[user]);
        unsure.add(group(2), &[user]);
        unsure.settle(group(1));
        assert!(!unsure.has(Subject::Conversation(group(1))));
        assert!(unsure.has(Subject::List(user)) && unsure.has(Subject::Conversation(group(2))));
        unsure.settle(group(2));
        assert!(!unsure.has(Subject::List(user)));
    }

    #[test]
    fn what_does_not_fit_blinds_its_slice() {
        let unsure = Unsure::with_max(1);
        assert!(unsure.add(group(1), &[]) && unsure.add(group(1), &[]));
        assert!(!unsure.add(group(2), &[]));
        unsure.settle(group(1));
        unsure.settle(group(2));
        assert!(unsure.has(Subject::Conversation(group(2))));
    }
}
