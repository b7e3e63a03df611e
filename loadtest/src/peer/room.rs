//! One conversation as one peer sees it, and whether everybody saw the same.

use super::super::wire::Stamp;
use godwit_proto::{ClientMsgId, ConversationId};
use std::collections::{BTreeSet, HashMap};

/// Which conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RoomKey {
    /// Of a Godwit server.
    Conversation(ConversationId),
    /// Of the bare relay.
    Group(u32),
}

/// What a peer sent to a conversation and heard in it.
#[derive(Debug)]
pub struct Room {
    pub key: RoomKey,
    /// Members besides this one.
    pub others: u32,
    /// The number of the last message sent.
    pub sent: u64,
    /// Messages that were answered with an error.
    pub refused: BTreeSet<u64>,
    /// Messages that were answered as durable.
    pub acked: u64,
    /// The last message that has no answer yet.
    pub unanswered: Option<ClientMsgId>,
    /// The newest seq that arrived and is not acknowledged.
    pub owed_seq: Option<u64>,
    heard: HashMap<u32, Heard>,
    last_seq: u64,
    duplicated: u64,
    disordered: u64,
}

/// What arrived from one sender.
#[derive(Debug, Default)]
struct Heard {
    count: u64,
    last: u64,
    /// Numbers below `last` that did not arrive.
    missing: BTreeSet<u64>,
}

impl Room {
    pub fn new(key: RoomKey, others: u32) -> Self {
        Self {
            key,
            others,
            sent: 0,
            refused: BTreeSet::new(),
            acked: 0,
            unanswered: None,
            owed_seq: None,
            heard: HashMap::new(),
            last_seq: 0,
            duplicated: 0,
            disordered: 0,
        }
    }

    /// A message arrived; `seq` is 0 with the bare relay. Returns whether it is new.
    pub fn on_message(&mut self, stamp: Stamp, seq: u64) -> bool {
        let heard = self.heard.entry(stamp.sender).or_default();
        let is_new = stamp.number > heard.last || heard.missing.remove(&stamp.number);
        if !is_new {
            // The same entry again is what a server does that got no acknowledgement in time; a client knows it by its seq.
            self.duplicated += u64::from(seq == 0 || seq > self.last_seq);
            return false;
        }
        let in_order = stamp.number > heard.last && (seq == 0 || seq > self.last_seq);
        self.disordered += u64::from(!in_order);
        if stamp.number > heard.last {
            heard.missing.extend(heard.last + 1..stamp.number);
            heard.last = stamp.number;
        }
        heard.count += 1;
        self.last_seq = self.last_seq.max(seq);
        true
    }
}

/// What went wrong in a run. All zero: nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Verdict {
    /// Answered as durable, and not arrived at some member.
    pub lost: u64,
    /// Arrived twice.
    pub duplicated: u64,
    /// Arrived behind a later one.
    pub disordered: u64,
    /// Sent and never answered.
    pub unanswered: u64,
}

impl Verdict {
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }

    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            lost: self.lost + other.lost,
            duplicated: self.duplicated + other.duplicated,
            disordered: self.disordered + other.disordered,
            unanswered: self.unanswered + other.unanswered,
        }
    }
}

/// Compares what every member of one conversation sent with what the others heard. `rooms` are the members' views, with
/// the number of each.
pub fn compare(rooms: &[(u32, &Room)]) -> Verdict {
    let mut verdict = Verdict::default();
    for (sender, sent) in rooms {
        let answered = sent.acked + sent.refused.len() as u64;
        verdict.unanswered += sent.sent.saturating_sub(answered);
        for (receiver, room) in rooms {
            if receiver == sender {
                continue;
            }
            let heard = room.heard.get(sender);
            let arrived = heard.map_or(0, |heard| heard.count);
            // Without an answer a message may have arrived or not; with one it must have.
            verdict.lost += sent.acked.saturating_sub(arrived);
        }
    }
    for (_, room) in rooms {
        verdict.duplicated += room.duplicated;
        verdict.disordered += room.disordered;
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(sender: u32, number: u64) -> Stamp {
        Stamp { sender, number, due_ns: 0 }
    }

    fn room(sent: u64, heard: &[(u32, u64)]) -> Room {
        let mut room = Room::new(RoomKey::Group(0), 1);
        (room.sent, room.acked) = (sent, sent);
        for (seq, (sender, number)) in (1..).zip(heard) {
            room.on_message(stamp(*sender, *number), seq);
        }
        room
    }

    #[test]
    fn a_clean_conversation_is_clean() {
        let (a, b) = (room(2, &[(1, 1)]), room(1, &[(0, 1), (0, 2)]));
        assert!(compare(&[(0, &a), (1, &b)]).is_clean());
    }

    #[test]
    fn what_is_lost_doubled_late_or_unanswered_is_counted() {
        let (a, b) = (room(3, &[]), room(0, &[(0, 1), (0, 3), (0, 2)]));
        assert_eq!(compare(&[(0, &a), (1, &b)]), Verdict { disordered: 1, ..Verdict::default() });
        let b = room(0, &[(0, 1), (0, 1), (0, 3)]);
        assert_eq!(compare(&[(0, &a), (1, &b)]), Verdict { lost: 1, duplicated: 1, ..Verdict::default() });
        let mut a = room(3, &[]);
        a.acked = 2;
        assert_eq!(
            compare(&[(0, &a), (1, &room(0, &[(0, 1), (0, 2)]))]),
            Verdict { unanswered: 1, ..Verdict::default() }
        );
    }

    #[test]
    fn an_entry_that_is_pushed_again_is_no_double_but_the_same_message_in_another_entry_is() {
        let mut room = room(0, &[(1, 1), (1, 2)]);
        room.on_message(stamp(1, 1), 1);
        room.on_message(stamp(1, 2), 2);
        assert_eq!((room.duplicated, room.disordered, room.heard[&1].count), (0, 0, 2));
        room.on_message(stamp(1, 2), 3);
        assert_eq!(room.duplicated, 1);
    }

    #[test]
    fn a_refused_message_need_not_arrive() {
        let mut a = room(3, &[]);
        (a.acked, a.refused) = (2, BTreeSet::from([2]));
        assert!(compare(&[(0, &a), (1, &room(0, &[(0, 1), (0, 3)]))]).is_clean());
    }

    #[test]
    fn an_entry_behind_a_later_seq_is_disorder_even_between_senders() {
        let mut room = Room::new(RoomKey::Group(0), 1);
        room.on_message(stamp(1, 1), 5);
        room.on_message(stamp(2, 1), 4);
        assert_eq!(room.disordered, 1);
    }
}
