//! A conversation as one person keeps it, who is not always there: whole, whatever came as a push, an answer or a page.

use crate::{
    peer::{Room, RoomKey},
    wire::Stamp,
};
use std::collections::BTreeMap;

/// Everything up to `held`, and what came too early.
pub struct Log {
    /// What was said, in the order of the log.
    pub room: Room,
    held: u64,
    waiting: BTreeMap<u64, Option<Stamp>>,
    /// The newest that was pushed on this connection.
    pushed: u64,
    /// Pushed twice on one connection, or behind a later one.
    pub repeated: u64,
    /// Should have been pushed while the person was there, and was not.
    pub missed: u64,
}

impl Log {
    pub fn new(key: RoomKey, others: u32) -> Self {
        let room = Room::new(key, others);
        Self { room, held: 0, waiting: BTreeMap::new(), pushed: 0, repeated: 0, missed: 0 }
    }

    /// The seq up to which nothing is missing.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// The newest seq that is known.
    pub fn newest(&self) -> u64 {
        self.waiting.last_key_value().map_or(self.held, |(seq, _)| *seq)
    }

    /// What lies before this is not for this person to read.
    pub fn begin_at(&mut self, first_seq: u64) {
        self.held = self.held.max(first_seq.saturating_sub(1));
        self.waiting = self.waiting.split_off(&(self.held + 1));
        self.drain();
    }

    /// An entry was pushed; `None` where it is no message of somebody else. Returns whether it is new.
    pub fn on_push(&mut self, seq: u64, message: Option<Stamp>) -> bool {
        if seq <= self.pushed {
            self.repeated += 1;
        }
        self.pushed = self.pushed.max(seq);
        self.take(seq, message)
    }

    /// An entry came by other ways than a push: in a page, or as the answer to a send. Returns whether it is new.
    pub fn take(&mut self, seq: u64, message: Option<Stamp>) -> bool {
        if seq <= self.held || self.waiting.contains_key(&seq) {
            return false;
        }
        self.waiting.insert(seq, message);
        self.drain();
        true
    }

    /// The connection is about to end, and nothing is under way; the server says that the log goes up to `last_seq`. What
    /// is missing was missed; a page brings it later.
    pub fn on_leave(&mut self, last_seq: u64) {
        let missing = last_seq.max(self.newest()) - self.held - self.waiting.len() as u64;
        self.missed += missing;
        self.pushed = 0;
    }

    fn drain(&mut self) {
        while let Some(message) = self.waiting.remove(&(self.held + 1)) {
            self.held += 1;
            if let Some(stamp) = message {
                self.room.on_message(stamp, self.held);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::compare;

    fn log() -> Log {
        Log::new(RoomKey::Group(0), 1)
    }

    fn message(number: u64) -> Option<Stamp> {
        Some(Stamp { sender: 1, number, due_ns: 0 })
    }

    fn faults(log: &Log, sent: u64) -> (u64, u64, u64) {
        let mut sender = Room::new(RoomKey::Group(0), 1);
        (sender.sent, sender.acked) = (sent, sent);
        let verdict = compare(&[(1, &sender), (0, &log.room)]);
        (verdict.lost, verdict.duplicated, verdict.disordered)
    }

    #[test]
    fn what_was_said_while_the_person_was_away_comes_in_pages_behind_newer_pushes() {
        let mut log = log();
        assert!(log.on_push(1, message(1)));
        log.on_leave(1);
        assert!(log.on_push(4, message(4)) && log.take(2, message(2)) && log.take(3, message(3)));
        assert!(!log.take(4, message(4)), "a page may hold what was pushed");
        assert_eq!((log.held(), log.repeated, log.missed), (4, 0, 0));
        assert_eq!(faults(&log, 4), (0, 0, 0));
    }

    #[test]
    fn ones_own_messages_fill_their_places() {
        let mut log = log();
        log.on_push(2, message(1));
        assert_eq!(log.held(), 0);
        log.take(1, None);
        log.on_leave(2);
        assert_eq!((log.held(), log.missed), (2, 0));
    }

    #[test]
    fn a_push_that_comes_twice_or_late_or_never_is_counted() {
        let mut log = log();
        log.on_push(1, message(1));
        log.on_push(1, message(1));
        assert_eq!(log.repeated, 1);
        log.on_push(3, message(3));
        log.on_push(2, message(2));
        assert_eq!(log.repeated, 2);
        log.on_push(6, message(6));
        log.on_leave(8);
        assert_eq!(log.missed, 4, "4, 5, 7 and 8");
    }

    #[test]
    fn a_message_that_is_nowhere_is_lost_and_one_at_two_places_is_doubled() {
        let mut log = log();
        for (seq, number) in [(1, 1), (2, 3), (3, 3)] {
            log.take(seq, message(number));
        }
        assert_eq!(faults(&log, 3), (1, 1, 0));
    }

    #[test]
    fn what_was_before_ones_time_is_not_waited_for() {
        let mut log = log();
        log.on_push(6, message(1));
        log.begin_at(5);
        assert_eq!((log.held(), log.newest()), (4, 6));
        log.take(5, None);
        log.on_leave(6);
        assert_eq!((log.held(), log.missed), (6, 0));
    }
}
