//! Messages of one session whose delivery ends, and that it has not acknowledged.

use godwit_proto::{ConversationId, Seq};

/// More than a page of history has. Of those that were sent before, it does not matter any more who has them: that client is far
/// behind.
const AWAITED_MAX: usize = 1_024;

/// Which ones, with when their delivery ends, in milliseconds since the epoch. Nearly always there are none; then it is one
/// word without memory of its own.
#[derive(Default)]
#[expect(clippy::box_collection, reason = "it is one word while there are none")]
pub struct Awaited(Option<Box<Vec<(ConversationId, Seq, u64)>>>);

impl Awaited {
    /// One is on its way.
    pub fn add(&mut self, conversation: ConversationId, seq: Seq, deliver_by_ms: u64) {
        let awaited = self.0.get_or_insert_default();
        if awaited.iter().any(|(id, other, _)| *id == conversation && *other == seq) {
            return;
        }
        if awaited.len() >= AWAITED_MAX {
            awaited.remove(0);
        }
        awaited.push((conversation, seq, deliver_by_ms));
    }

    /// Those that an acknowledgement says have been delivered, in time or not: seq, and when the delivery ends.
    pub fn on_ack(&mut self, conversation: ConversationId, upto: Seq) -> Vec<(Seq, u64)> {
        let Some(awaited) = &mut self.0 else { return Vec::new() };
        let acked = awaited.extract_if(.., |(id, seq, _)| *id == conversation && *seq <= upto);
        let acked: Vec<_> = acked.map(|(_, seq, deliver_by_ms)| (seq, deliver_by_ms)).collect();
        if awaited.is_empty() {
            self.0 = None;
        }
        acked
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]
    use super::*;

    #[test]
    fn what_comes_twice_is_awaited_once_and_takes_no_room_from_others() {
        let (id, other) = (ConversationId::group([1; 16]), ConversationId::group([2; 16]));
        let mut awaited = Awaited::default();
        awaited.add(other, Seq(1), 7);
        (0..10).for_each(|_| (1..=200).for_each(|seq| awaited.add(id, Seq(seq), 9)));
        assert_eq!(awaited.on_ack(id, Seq(150)).len(), 150);
        assert_eq!(awaited.on_ack(other, Seq(1)), [(Seq(1), 7)]);
        assert_eq!(awaited.on_ack(id, Seq(200)).len(), 50);
        assert!(awaited.0.is_none());
    }
}
