//! Unread, counted from the log itself: what the server's answer is compared with.

use super::log_check::{is_message, joins};
use godwit_client::{UserId, v1::Entry};

/// One member's unread messages, from every entry that the member may read.
#[derive(Debug)]
pub struct Recount {
    me: UserId,
    /// The furthest of joined, marked as read and own last message.
    position: u64,
    message_seqs: Vec<u64>,
}

impl Recount {
    /// Before the first entry, for a member who marked everything up to `marked` as read; 0 if they never did.
    pub fn new(me: UserId, marked: u64) -> Self {
        Self { me, position: marked, message_seqs: Vec::new() }
    }

    /// The next entry, in any order.
    pub fn on_entry(&mut self, entry: &Entry) {
        let own_message = is_message(entry) && entry.sender_id == self.me.as_u64();
        if own_message || joins(entry, self.me) {
            self.position = self.position.max(entry.seq);
        }
        if is_message(entry) {
            self.message_seqs.push(entry.seq);
        }
    }

    /// Messages behind the position. None of them is the member's own: the last of those moved it.
    pub fn unread(&self) -> u64 {
        self.message_seqs.iter().filter(|&&seq| seq > self.position).count() as u64
    }

    /// Where it counts from.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// All messages.
    pub fn messages(&self) -> u64 {
        self.message_seqs.len() as u64
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;
    use godwit_client::v1::{GroupCreated, MembersAdded, Message, entry::Content};

    const ME: u64 = 7;
    const OTHER: u64 = 9;

    fn recount(marked: u64, entries: &[(u64, u64)]) -> (u64, u64) {
        let mut recount = Recount::new(UserId::new(ME).unwrap(), marked);
        for &(seq, sender_id) in entries {
            let content = Some(Content::Message(Message::default()));
            recount.on_entry(&Entry { seq, sender_id, content, ..Entry::default() });
        }
        (recount.unread(), recount.position())
    }

    #[test]
    fn messages_of_others_are_unread_until_marked() {
        assert_eq!(recount(0, &[(1, OTHER), (2, OTHER)]), (2, 0));
        assert_eq!(recount(1, &[(1, OTHER), (2, OTHER)]), (1, 1));
    }

    #[test]
    fn an_own_message_reads_what_is_before_it_and_is_never_unread() {
        assert_eq!(recount(0, &[(1, OTHER), (2, ME), (3, OTHER)]), (1, 2));
        assert_eq!(recount(3, &[(1, OTHER), (2, ME), (3, OTHER)]), (0, 3));
    }

    #[test]
    fn membership_entries_are_not_unread_and_joining_sets_the_position() {
        let mut recount = Recount::new(UserId::new(ME).unwrap(), 0);
        let created = Content::GroupCreated(GroupCreated::default());
        recount.on_entry(&Entry { seq: 1, sender_id: OTHER, content: Some(created), ..Entry::default() });
        let added = Content::MembersAdded(MembersAdded { member_ids: vec![ME] });
        recount.on_entry(&Entry { seq: 2, sender_id: OTHER, content: Some(added), ..Entry::default() });
        assert_eq!((recount.unread(), recount.position()), (0, 2));
    }
}
