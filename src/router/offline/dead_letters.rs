//! Notices that the hook did not take, until somebody looks at them.

use super::{Letter, OfflineNotice};
use crate::{
    router::{Mail, Mailboxes, Placement},
    telemetry::metric,
};
use metrics::gauge;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

/// A notice that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// What nobody was told.
    pub notice: OfflineNotice,
    /// How often it was tried.
    pub attempts: u8,
    /// What the hook said last, cut to 200 characters.
    pub error: String,
    /// When that was, in milliseconds since the epoch.
    pub failed_ms: u64,
}

/// The newest of them, of all cores, in memory. Clones share one list.
#[derive(Clone)]
pub struct DeadLetters {
    letters: Arc<Mutex<VecDeque<DeadLetter>>>,
    letters_max: usize,
}

const ERROR_CHARS_MAX: usize = 200;

impl DeadLetters {
    /// An empty list that holds so many.
    pub fn new(letters_max: usize) -> Self {
        Self { letters: Arc::default(), letters_max }
    }

    /// All of them, the oldest first.
    pub fn list(&self) -> Vec<DeadLetter> {
        self.with(|letters| letters.iter().cloned().collect())
    }

    /// Adds one; the oldest makes room.
    pub(super) fn put(&self, letter: &Letter, error: &str, failed_ms: u64) {
        let error = error.chars().take(ERROR_CHARS_MAX).collect();
        self.with(|letters| {
            while letters.len() >= self.letters_max.max(1) {
                letters.pop_front();
            }
            letters.push_back(DeadLetter { notice: letter.notice, attempts: letter.attempts, error, failed_ms });
        });
    }

    /// Empties it.
    fn take(&self) -> VecDeque<DeadLetter> {
        self.with(std::mem::take)
    }

    fn with<T>(&self, work: impl FnOnce(&mut VecDeque<DeadLetter>) -> T) -> T {
        // Nothing that panics runs under the lock, so what a poisoned one holds is whole.
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        let done = work(&mut letters);
        gauge!(metric::OFFLINE_DEAD_LETTERS).set(letters.len() as f64);
        done
    }
}

/// What an operator may do about notices that were given up, from any thread.
#[derive(Clone)]
pub struct OfflineHandle {
    dead_letters: DeadLetters,
    placement: Placement,
    mailboxes: Arc<Mailboxes>,
}

impl OfflineHandle {
    /// For the cores that these mailboxes lead to.
    pub fn new(dead_letters: DeadLetters, placement: Placement, mailboxes: Arc<Mailboxes>) -> Self {
        Self { dead_letters, placement, mailboxes }
    }

    /// Those that were given up, the oldest first.
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        self.dead_letters.list()
    }

    /// Hands all of them to the hook again, as if they were new, but for users who are there by now. How many were in the list.
    pub fn replay(&self) -> usize {
        let letters = self.dead_letters.take();
        let count = letters.len();
        let mut by_core: BTreeMap<_, Vec<OfflineNotice>> = BTreeMap::new();
        for letter in letters {
            by_core.entry(self.placement.of_user(letter.notice.user)).or_default().push(letter.notice);
        }
        for (core, notices) in by_core {
            self.mailboxes.of(core).put(&mut vec![Mail::Replay(notices)]);
        }
        count
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use godwit_proto::{ConversationId, Seq, UserId};

    #[test]
    fn a_full_list_drops_the_oldest_and_an_error_is_cut() {
        let dead_letters = DeadLetters::new(2);
        let (user, other) = (UserId::new(1).unwrap(), UserId::new(2).unwrap());
        let conversation = ConversationId::direct(user, other);
        for newest in 1..=3 {
            let notice = OfflineNotice { user, conversation, newest: Seq(newest), unread: 1 };
            dead_letters.put(&Letter { notice, attempts: 3 }, &"ö".repeat(500), 7);
        }
        let listed = dead_letters.list();
        assert_eq!(listed.iter().map(|letter| letter.notice.newest.0).collect::<Vec<_>>(), [2, 3]);
        assert_eq!((listed[0].error.chars().count(), listed[0].attempts, listed[0].failed_ms), (200, 3, 7));
    }
}
