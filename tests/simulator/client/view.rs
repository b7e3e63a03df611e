//! What a client holds of one conversation: a run of its log without gaps.

use crate::{disk::Stored, expiries};
use godwit::chat::withdraw;
use godwit_proto::{
    ConversationId, UserId,
    v1::{self, WithdrawnReason, entry::Content},
};

/// Entries `first`, `first + 1`, … as they were received.
#[derive(Debug, Default)]
pub struct View {
    /// 0 until the server has said from where on this member may read.
    pub first: u64,
    pub entries: Vec<v1::Entry>,
    /// So many were held against the log.
    checked: usize,
    /// The newest entry that the client has heard of.
    pub target: u64,
    /// Where unread counts from.
    pub read: u64,
    /// The user is no member any more.
    pub left: bool,
    /// By this entry. The answer to a request to leave may outrun what tells of the entries before it.
    pub left_at: u64,
    /// A page is on its way, or is asked for again at this time.
    pub filling: bool,
    pub not_before_ms: u64,
}

impl View {
    pub fn next(&self) -> u64 {
        self.first.max(1) + self.entries.len() as u64
    }

    pub fn last(&self) -> u64 {
        self.next() - 1
    }

    /// There is something to be fetched.
    pub fn is_behind(&self) -> bool {
        !self.left && (self.first == 0 || self.target > self.last())
    }

    /// The server says that this member reads from here on: what is older belongs to an earlier membership.
    pub fn starts_at(&mut self, first: u64) {
        if self.first == 0 || first > self.next() {
            self.first = first;
            self.entries.clear();
            self.checked = 0;
            // A read position may outrun the entries that it is of.
            if self.read < first {
                self.read = 0;
            }
        }
    }

    /// Takes an entry that came by itself, or leaves it for a page to fetch when there is a gap before it.
    pub fn on_entry(&mut self, me: UserId, conversation: ConversationId, entry: v1::Entry) {
        if entry.seq > self.last().max(self.left_at) {
            self.left = false;
        }
        self.target = self.target.max(entry.seq);
        if self.first == 0 || entry.seq > self.next() {
            return;
        }
        if entry.seq == self.next() {
            return self.append(me, entry);
        }
        if entry.seq >= self.first {
            let held = &self.entries[(entry.seq - self.first) as usize];
            assert!(expiries::is_same(held, &entry), "{conversation:?}: two versions of one entry");
        }
    }

    /// The membership ended, with this entry or before it.
    pub fn leave(&mut self, seq: u64) {
        self.left = true;
        self.left_at = self.left_at.max(seq);
        self.target = self.last();
    }

    pub fn append(&mut self, me: UserId, entry: v1::Entry) {
        let mine = |ids: &[u64]| ids.contains(&me.as_u64());
        let by_me = entry.sender_id == me.as_u64();
        match &entry.content {
            Some(Content::Message(message)) if by_me && !message.scheduled => self.read = self.read.max(entry.seq),
            Some(Content::Withdrawn(marker)) if by_me && !marker.scheduled => self.read = self.read.max(entry.seq),
            Some(Content::Expired(expired)) => {
                expired.seqs.iter().for_each(|seq| self.withdraw(*seq, WithdrawnReason::Expired));
            }
            Some(Content::Undelivered(ended)) if mine(&ended.member_ids) => {
                self.withdraw(ended.seq, WithdrawnReason::Undelivered);
            }
            Some(Content::GroupCreated(created)) if by_me || mine(&created.member_ids) => {
                self.read = self.read.max(entry.seq);
            }
            Some(Content::MembersAdded(added)) if mine(&added.member_ids) => {
                // A page may tell of it when the answer to a request to leave has already told of the end.
                self.left &= entry.seq <= self.left_at;
                self.read = self.read.max(entry.seq);
            }
            Some(Content::MemberRemoved(removed)) if removed.member_id == me.as_u64() => self.leave(entry.seq),
            Some(Content::MemberBanned(banned)) if banned.removed && banned.member_id == me.as_u64() => {
                self.leave(entry.seq);
            }
            _ => {}
        }
        self.target = self.target.max(entry.seq);
        self.entries.push(entry);
    }

    fn withdraw(&mut self, seq: u64, reason: WithdrawnReason) {
        // What is older than the view is not held.
        if let Some(index) = seq.checked_sub(self.first.max(1)) {
            withdraw(&mut self.entries[index as usize], reason);
        }
    }

    /// Holds it against the log: entries that were held against it before cannot have changed, unless `all`.
    pub fn check(&mut self, me: Option<UserId>, conversation: ConversationId, stored: &Stored, all: bool) {
        let known = if all { 0 } else { self.checked };
        for (held, seq) in self.entries.iter().zip(self.first..).skip(known) {
            assert_eq!(held.seq, seq, "{conversation:?}: a view has a hole or a double");
            let entry = stored.entries.get(seq as usize - 1);
            let entry = entry.unwrap_or_else(|| panic!("{conversation:?} #{seq} is in a view and not in the log"));
            assert!(expiries::is_same(held, entry), "{conversation:?} #{seq} differs from the log");
            let is_member = me.is_some_and(|me| stored.ledger.stay(me).is_some());
            if all && !self.left && is_member {
                let missed = me.is_some_and(|me| stored.ledger.has_missed(me, seq));
                expiries::check_held(conversation, held, entry, missed);
            }
        }
        self.checked = self.entries.len();
    }
}
