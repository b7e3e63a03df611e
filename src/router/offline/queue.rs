//! Notices that wait to be handed over. Pure.

use super::OfflineNotice;
use godwit_proto::{ConversationId, Seq, UserId};
use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
};

/// A notice on its way, and how often it was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Letter {
    pub notice: OfflineNotice,
    pub attempts: u8,
}

/// One notice for each user and conversation at most: what comes while one waits is added to it.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: BTreeMap<UserId, BTreeMap<ConversationId, Waiting>>,
    len: usize,
    /// Whose were taken last. The next batch begins behind them, so that nobody waits for ever behind those who have more.
    taken: Option<UserId>,
}

#[derive(Debug)]
struct Waiting {
    newest: Seq,
    unread: u64,
    attempts: u8,
}

impl Queue {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether it adds to one that waits already, and so takes no room.
    pub fn has(&self, notice: &OfflineNotice) -> bool {
        self.waiting.get(&notice.user).is_some_and(|of_user| of_user.contains_key(&notice.conversation))
    }

    pub fn put(&mut self, letter: &Letter) {
        let OfflineNotice { user, conversation, newest, unread } = letter.notice;
        let waiting = self.waiting.entry(user).or_default().entry(conversation).or_insert_with(|| {
            self.len += 1;
            Waiting { newest, unread: 0, attempts: 0 }
        });
        waiting.newest = waiting.newest.max(newest);
        waiting.unread += unread;
        waiting.attempts = waiting.attempts.max(letter.attempts);
    }

    /// The user is there, and sees for themselves.
    pub fn forget(&mut self, user: UserId) {
        self.len -= self.waiting.remove(&user).map_or(0, |of_user| of_user.len());
    }

    /// The next batch.
    pub fn take(&mut self, count: usize) -> Vec<Letter> {
        let mut batch = Vec::new();
        while batch.len() < count {
            let next = self.taken.and_then(|taken| self.waiting.range((Excluded(taken), Unbounded)).next());
            let Some(user) = next.or_else(|| self.waiting.first_key_value()).map(|(user, _)| *user) else { break };
            let Some(of_user) = self.waiting.get_mut(&user) else { unreachable!("just looked at") };
            while batch.len() < count
                && let Some((conversation, Waiting { newest, unread, attempts })) = of_user.pop_first()
            {
                self.len -= 1;
                batch.push(Letter { notice: OfflineNotice { user, conversation, newest, unread }, attempts });
            }
            if of_user.is_empty() {
                self.waiting.remove(&user);
            }
            self.taken = Some(user);
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn letter(user: u64, other: u64, newest: u64, attempts: u8) -> Letter {
        let user = UserId::new(user).unwrap();
        let conversation = ConversationId::direct(user, UserId::new(other).unwrap());
        Letter { notice: OfflineNotice { user, conversation, newest: Seq(newest), unread: 1 }, attempts }
    }

    #[test]
    fn what_comes_while_a_notice_waits_is_added_to_it() {
        let mut queue = Queue::default();
        for (newest, attempts) in [(5, 2), (6, 0), (4, 0)] {
            queue.put(&letter(1, 9, newest, attempts));
        }
        let batch = queue.take(10);
        assert_eq!(batch.len(), 1);
        assert_eq!((batch[0].notice.newest, batch[0].notice.unread, batch[0].attempts), (Seq(6), 3, 2));
        assert!(queue.is_empty());
    }

    #[test]
    fn who_comes_back_is_forgotten_and_nobody_else() {
        let mut queue = Queue::default();
        [(1, 8), (2, 8), (2, 9), (3, 8)].iter().for_each(|(user, other)| queue.put(&letter(*user, *other, 1, 0)));
        queue.forget(UserId::new(2).unwrap());
        let left: Vec<u64> = queue.take(10).iter().map(|letter| letter.notice.user.as_u64()).collect();
        assert_eq!(left, [1, 3]);
    }

    #[test]
    fn nobody_waits_behind_those_who_have_more() {
        let mut queue = Queue::default();
        (1..=4).for_each(|user| queue.put(&letter(user, 9, 1, 0)));
        let mut taken = Vec::new();
        for _ in 0..4 {
            for letter in queue.take(1) {
                taken.push(letter.notice.user.as_u64());
                // It has something new at once.
                queue.put(&letter);
            }
        }
        assert_eq!(taken, [1, 2, 3, 4]);
    }
}
