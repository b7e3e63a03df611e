//! Compares a conversation's entries, as one member gets them, with what was sent: pure, for the live stream and for
//! reading back alike.

use super::{
    corpus::Corpus,
    faults::{Fault, Faults},
    plan::{Kind, MessageIds, Plan},
};
use godwit_client::{
    UserId,
    v1::{Entry, entry::Content},
};

/// What the entries are compared with.
#[derive(Debug)]
pub struct Expected {
    pub corpus: Corpus,
    pub plan: Plan,
    pub ids: MessageIds,
    /// The user behind each account of the plan.
    pub users: Vec<UserId>,
}

/// One member's view of one conversation, entry by entry.
#[derive(Debug)]
pub struct LogCheck {
    conversation: usize,
    reader: usize,
    /// How the entries came here, for descriptions: "live", "from the log".
    way: &'static str,
    previous: Option<Previous>,
    /// The furthest message of the conversation that was seen.
    furthest: Option<usize>,
    seen: Vec<bool>,
}

#[derive(Debug, Clone, Copy)]
struct Previous {
    seq: u64,
    ordinal: u64,
    sent_ms: u64,
}

impl LogCheck {
    /// Before the first entry of a conversation, as an account reads it.
    pub fn new(expected: &Expected, conversation: usize, reader: usize, way: &'static str) -> Self {
        let seen = vec![false; expected.plan.conversations[conversation].messages.len()];
        Self { conversation, reader, way, previous: None, furthest: None, seen }
    }

    /// The next entry. Returns the position of the message in it, if it is seen for the first time.
    pub fn on_entry(&mut self, expected: &Expected, entry: &Entry, faults: &mut Faults) -> Option<usize> {
        let repeated = self.check_seq(expected, entry, faults);
        let position = match &entry.content {
            Some(Content::Message(message)) => {
                let position = self.check_message(expected, entry, &message.body, faults);
                // In its right place and new, and yet under a number that was there.
                if repeated && position.is_some() && position == self.furthest {
                    self.add(expected, faults, Fault::Duplicated, || format!("seq {} was used twice", entry.seq));
                }
                position
            }
            content => {
                let group = expected.plan.conversations[self.conversation].kind == Kind::Group;
                let membership = matches!(content, Some(Content::GroupCreated(_) | Content::MembersAdded(_)));
                if !(group && membership) {
                    self.add(expected, faults, Fault::Unexpected, || format!("seq {} is no message", entry.seq));
                } else if repeated {
                    self.add(expected, faults, Fault::Duplicated, || format!("seq {} came again", entry.seq));
                }
                None
            }
        };
        if !repeated {
            self.previous = Some(Previous { seq: entry.seq, ordinal: entry.ordinal, sent_ms: entry.sent_ms });
        }
        position
    }

    /// After the last entry: what did not come is lost.
    pub fn finish(&self, expected: &Expected, faults: &mut Faults) {
        for (position, _) in self.seen.iter().enumerate().filter(|(_, seen)| !**seen) {
            let message = expected.plan.conversations[self.conversation].messages[position];
            self.add(expected, faults, Fault::Lost, || format!("message {message} (its number {position}) is missing"));
        }
    }

    /// Whether this entry, or one after it, was there before; and what a first or next entry must be like.
    fn check_seq(&self, expected: &Expected, entry: &Entry, faults: &mut Faults) -> bool {
        let Some(previous) = self.previous else {
            if !self.may_begin_with(expected, entry) {
                let words = || format!("begins with seq {}, which is not where this member came in", entry.seq);
                self.add(expected, faults, Fault::SeqGap, words);
            }
            return false;
        };
        if entry.seq <= previous.seq {
            return true;
        }
        if entry.seq != previous.seq + 1 {
            self.add(expected, faults, Fault::SeqGap, || format!("seq {} after {}", entry.seq, previous.seq));
        } else if entry.ordinal != previous.ordinal + u64::from(is_message(entry)) {
            let words = || format!("ordinal {} at seq {} after {}", entry.ordinal, entry.seq, previous.ordinal);
            self.add(expected, faults, Fault::Altered, words);
        }
        if entry.sent_ms < previous.sent_ms {
            self.add(expected, faults, Fault::Altered, || format!("the clock goes back at seq {}", entry.seq));
        }
        false
    }

    fn check_message(&mut self, expected: &Expected, entry: &Entry, body: &[u8], faults: &mut Faults) -> Option<usize> {
        let here = |message: &usize| expected.plan.places.get(*message).map(|place| place.conversation);
        let message = expected.ids.message(&entry.client_msg_id).filter(|m| here(m) == Some(self.conversation));
        let Some(message) = message else {
            self.add(expected, faults, Fault::Unexpected, || format!("seq {} was not sent here", entry.seq));
            return None;
        };
        let place = expected.plan.places[message];
        if self.seen[place.position] {
            let words = || format!("message {message} came again, at seq {}", entry.seq);
            self.add(expected, faults, Fault::Duplicated, words);
            return None;
        }
        if self.furthest.is_some_and(|furthest| place.position < furthest) {
            let words = || format!("message {message} came after a later one, at seq {}", entry.seq);
            self.add(expected, faults, Fault::Reordered, words);
        }
        if body != expected.corpus.messages[message].text {
            let words = || format!("the text of message {message} changed, at seq {}", entry.seq);
            self.add(expected, faults, Fault::Altered, words);
        }
        if entry.sender_id != expected.users[place.sender].as_u64() {
            let words = || format!("message {message} has another sender, at seq {}", entry.seq);
            self.add(expected, faults, Fault::Altered, words);
        }
        self.seen[place.position] = true;
        self.furthest = self.furthest.max(Some(place.position));
        Some(place.position)
    }

    /// A pair reads from seq 1; a member of the group from the entry that made them one.
    fn may_begin_with(&self, expected: &Expected, entry: &Entry) -> bool {
        match expected.plan.conversations[self.conversation].kind {
            Kind::Direct => entry.seq == 1 && entry.ordinal == 1,
            Kind::Group => joins(entry, expected.users[self.reader]),
        }
    }

    fn add(&self, expected: &Expected, faults: &mut Faults, fault: Fault, words: impl FnOnce() -> String) {
        faults.add(fault, || {
            let conversation = expected.plan.describe(self.conversation);
            format!("{conversation}, {} to {}: {}", self.way, expected.plan.accounts[self.reader], words())
        });
    }
}

/// Whether an entry makes this user a member.
pub fn joins(entry: &Entry, user: UserId) -> bool {
    match &entry.content {
        Some(Content::GroupCreated(created)) => {
            entry.sender_id == user.as_u64() || created.member_ids.contains(&user.as_u64())
        }
        Some(Content::MembersAdded(added)) => added.member_ids.contains(&user.as_u64()),
        _ => false,
    }
}

/// Whether an entry counts for unread.
pub fn is_message(entry: &Entry) -> bool {
    matches!(entry.content, Some(Content::Message(_)))
}

#[cfg(test)]
#[path = "log_check_tests.rs"]
mod tests;
