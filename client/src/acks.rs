//! Acknowledgements of entries: cumulative per conversation, many conversations a frame.

use godwit_proto::ConversationId;
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// Conversations whose position the server does not know yet.
///
/// An acknowledgement in a packet of its own costs the server as much as a message, so one waits a moment for another
/// frame to travel with; and while entries keep coming, one in a while covers them all.
#[derive(Debug)]
pub(crate) struct Acks {
    owed: BTreeSet<ConversationId>,
    due: Option<Instant>,
    delay: Duration,
    interval: Duration,
    /// When acknowledgements left last.
    left: Option<Instant>,
}

/// Positions in one frame: about 9 KB.
const POSITIONS_PER_FRAME_MAX: usize = 256;

impl Acks {
    /// Acknowledgements that wait for `delay`, or longer if the last ones left less than `interval` ago.
    pub(crate) fn new(delay: Duration, interval: Duration) -> Self {
        Self { owed: BTreeSet::new(), due: None, delay, interval, left: None }
    }

    /// The position of this conversation is to be acknowledged.
    pub(crate) fn owe(&mut self, conversation: ConversationId, now: Instant) {
        self.owed.insert(conversation);
        let not_before = self.left.map_or(now, |left| left + self.interval);
        self.due.get_or_insert(not_before.max(now + self.delay));
    }

    /// The same, and what is owed leaves now: somebody waits for it.
    pub(crate) fn owe_at_once(&mut self, conversation: ConversationId, now: Instant) {
        self.owed.insert(conversation);
        self.due = Some(now);
    }

    /// When they leave at the latest.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Up to a frame's worth of conversations to acknowledge now.
    pub(crate) fn take(&mut self, now: Instant) -> Vec<ConversationId> {
        self.left = Some(now);
        let taken = std::iter::from_fn(|| self.owed.pop_first()).take(POSITIONS_PER_FRAME_MAX).collect();
        if self.owed.is_empty() {
            self.due = None;
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;
    use godwit_proto::UserId;

    fn conversation(raw: u64) -> ConversationId {
        ConversationId::direct(UserId::new(1).unwrap(), UserId::new(raw).unwrap())
    }

    const DELAY: Duration = Duration::from_millis(25);
    const INTERVAL: Duration = Duration::from_millis(250);

    #[test]
    fn many_entries_of_one_conversation_owe_one_acknowledgement() {
        let (mut acks, now) = (Acks::new(DELAY, INTERVAL), Instant::now());
        acks.owe(conversation(2), now);
        acks.owe(conversation(2), now + Duration::from_millis(20));
        assert_eq!(acks.due(), Some(now + DELAY), "a later entry does not put the first one off");
        assert_eq!(acks.take(now), [conversation(2)]);
        assert_eq!((acks.due(), acks.take(now)), (None, vec![]));
    }

    #[test]
    fn entries_that_keep_coming_are_acknowledged_once_in_an_interval_and_the_first_after_a_pause_soon() {
        let (mut acks, now) = (Acks::new(DELAY, INTERVAL), Instant::now());
        acks.owe(conversation(2), now);
        acks.take(now);
        acks.owe(conversation(2), now + DELAY);
        assert_eq!(acks.due(), Some(now + INTERVAL));
        acks.take(now + INTERVAL);
        acks.owe(conversation(2), now + 3 * INTERVAL);
        assert_eq!(acks.due(), Some(now + 3 * INTERVAL + DELAY));
    }

    #[test]
    fn what_somebody_waits_for_leaves_at_once() {
        let (mut acks, now) = (Acks::new(DELAY, INTERVAL), Instant::now());
        acks.owe(conversation(2), now);
        acks.take(now);
        acks.owe(conversation(2), now);
        acks.owe_at_once(conversation(3), now + DELAY);
        assert_eq!(acks.due(), Some(now + DELAY));
        acks.owe(conversation(2), now + DELAY);
        assert_eq!(acks.due(), Some(now + DELAY));
    }

    #[test]
    fn more_than_a_frame_holds_leaves_in_several() {
        let (mut acks, now) = (Acks::new(Duration::ZERO, Duration::ZERO), Instant::now());
        (1..=300).for_each(|raw| acks.owe(conversation(raw), now));
        assert_eq!(acks.take(now).len(), POSITIONS_PER_FRAME_MAX);
        assert!(acks.due().is_some());
        assert_eq!(acks.take(now).len(), 300 - POSITIONS_PER_FRAME_MAX);
        assert_eq!(acks.due(), None);
    }
}
