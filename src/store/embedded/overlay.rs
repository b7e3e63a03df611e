//! What is durable as records and not yet written as rows: it lies over the rows, and readers see both as one.

use super::record::Record;
use crate::{
    chat::{LogEntry, Member, MemberChange},
    store::{Commit, ConversationDetails, Direction, PageLimit},
};
use godwit_proto::{ClientMsgId, ConversationId, Seq, UserId};
use std::{
    collections::{BTreeMap, HashMap, VecDeque, btree_map, hash_map},
    ops::Bound,
    sync::Arc,
    time::Instant,
};

/// Records in order, and what they say about each conversation and user.
#[derive(Default)]
pub(super) struct Overlay {
    records: VecDeque<(Arc<Record>, Instant)>,
    conversations: HashMap<ConversationId, Pending>,
    memberships: HashMap<UserId, BTreeMap<ConversationId, Membership>>,
    bytes: usize,
    rows: usize,
}

/// One conversation's part. Entries are dense, and the rows hold exactly those before them.
#[derive(Default)]
pub(super) struct Pending {
    entries: VecDeque<LogEntry>,
    sends: HashMap<(UserId, ClientMsgId), Seq>,
    /// `None` for a member who was taken out.
    members: BTreeMap<UserId, Numbered<Option<Member>>>,
    details: Option<Numbered<ConversationDetails>>,
}

/// Something with the record that said it last: only when that record is in rows, it can go.
#[derive(Clone)]
pub(super) struct Numbered<T> {
    number: u64,
    value: T,
}

/// Whether a user is a member now.
type Membership = Numbered<bool>;

impl Overlay {
    /// Adds a record that has just become durable.
    pub(super) fn publish(&mut self, record: Arc<Record>, now: Instant) {
        self.bytes += record.bytes;
        self.rows += record.rows();
        for commit in &record.commits {
            self.apply(record.number, commit);
        }
        self.records.push_back((record, now));
    }

    fn apply(&mut self, number: u64, commit: &Commit) {
        let pending = self.conversations.entry(commit.conversation).or_default();
        for entry in &commit.entries {
            pending.sends.insert((entry.sender, entry.client_msg_id), entry.seq);
            pending.entries.push_back(entry.clone());
        }
        if let Some(details) = &commit.details {
            pending.details = Some(Numbered { number, value: details.clone() });
        }
        for change in &commit.members {
            let (user, member) = match change {
                MemberChange::Put(member) => (member.user, Some(*member)),
                MemberChange::Remove(user) => (*user, None),
            };
            pending.members.insert(user, Numbered { number, value: member });
            let membership = Numbered { number, value: member.is_some() };
            self.memberships.entry(user).or_default().insert(commit.conversation, membership);
        }
    }

    /// The oldest records, up to about `rows_max` rows but at least one.
    pub(super) fn oldest(&self, rows_max: usize) -> Vec<Arc<Record>> {
        let mut rows = 0;
        let mut oldest = Vec::new();
        for (record, _) in &self.records {
            rows += record.rows();
            if rows > rows_max && !oldest.is_empty() {
                break;
            }
            oldest.push(record.clone());
        }
        oldest
    }

    /// Drops the oldest records, whose rows are written now.
    pub(super) fn forget(&mut self, written: &[Arc<Record>]) {
        for record in written {
            let forgotten = self.records.pop_front();
            assert!(
                forgotten.is_some_and(|(oldest, _)| oldest.number == record.number),
                "rows were written out of order"
            );
            self.bytes -= record.bytes;
            self.rows -= record.rows();
            for commit in &record.commits {
                self.unapply(record.number, commit);
            }
        }
    }

    fn unapply(&mut self, number: u64, commit: &Commit) {
        let hash_map::Entry::Occupied(mut slot) = self.conversations.entry(commit.conversation) else { return };
        let pending = slot.get_mut();
        for entry in &commit.entries {
            pending.entries.pop_front();
            // The same id may have been used again by a caller that does not dedupe; the newer seq stays.
            if pending.sends.get(&(entry.sender, entry.client_msg_id)) == Some(&entry.seq) {
                pending.sends.remove(&(entry.sender, entry.client_msg_id));
            }
        }
        pending.details.take_if(|details| details.number <= number);
        for change in &commit.members {
            let user = match change {
                MemberChange::Put(member) => member.user,
                MemberChange::Remove(user) => *user,
            };
            if pending.members.get(&user).is_some_and(|member| member.number <= number) {
                pending.members.remove(&user);
            }
            if let hash_map::Entry::Occupied(mut of_user) = self.memberships.entry(user) {
                if let btree_map::Entry::Occupied(membership) = of_user.get_mut().entry(commit.conversation)
                    && membership.get().number <= number
                {
                    membership.remove();
                }
                if of_user.get().is_empty() {
                    of_user.remove();
                }
            }
        }
        if pending.entries.is_empty() && pending.members.is_empty() && pending.details.is_none() {
            slot.remove();
        }
    }

    pub(super) fn find(&self, conversation: ConversationId) -> Option<&Pending> {
        self.conversations.get(&conversation)
    }

    /// Changes of a user's memberships after a conversation, ascending; `true` for a member.
    pub(super) fn memberships(&self, user: UserId, after: Option<ConversationId>) -> BTreeMap<ConversationId, bool> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let Some(memberships) = self.memberships.get(&user) else { return BTreeMap::new() };
        memberships.range((from, Bound::Unbounded)).map(|(id, membership)| (*id, membership.value)).collect()
    }

    /// Bytes of records that are not rows yet.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// About how many rows they will be.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// When the oldest of them became durable.
    pub(super) fn oldest_since(&self) -> Option<Instant> {
        self.records.front().map(|(_, since)| *since)
    }
}

impl Pending {
    /// The newest seq, if any entry is pending.
    pub(super) fn head(&self) -> Option<Seq> {
        self.entries.back().map(|entry| entry.seq)
    }

    pub(super) fn last(&self) -> Option<&LogEntry> {
        self.entries.back()
    }

    /// The seq that the rows end before, if any entry is pending.
    pub(super) fn first(&self) -> Option<Seq> {
        self.entries.front().map(|entry| entry.seq)
    }

    pub(super) fn entry(&self, seq: Seq) -> Option<&LogEntry> {
        let index = seq.0.checked_sub(self.first()?.0)?;
        self.entries.get(usize::try_from(index).ok()?)
    }

    pub(super) fn find_send(&self, sender: UserId, id: ClientMsgId) -> Option<&LogEntry> {
        self.entry(*self.sends.get(&(sender, id))?)
    }

    pub(super) fn details(&self) -> Option<&ConversationDetails> {
        self.details.as_ref().map(|details| &details.value)
    }

    /// `Some(None)` for a member who was taken out.
    pub(super) fn member(&self, user: UserId) -> Option<Option<Member>> {
        self.members.get(&user).map(|member| member.value)
    }

    pub(super) fn members(&self) -> Vec<(UserId, Option<Member>)> {
        self.members.iter().map(|(user, member)| (*user, member.value)).collect()
    }

    /// The pending part of a page, in the order of reading, as far as the page has room for it.
    pub(super) fn page(&self, from: Seq, direction: Direction, limit: PageLimit) -> Vec<LogEntry> {
        let mut page = Page::new(limit);
        let Some(first) = self.first() else { return page.entries };
        let index = |seq: Seq| usize::try_from(seq.0.saturating_sub(first.0)).unwrap_or(usize::MAX);
        match direction {
            Direction::Forward => {
                for entry in self.entries.range(index(from.max(first)).min(self.entries.len())..) {
                    if !page.push(entry.clone()) {
                        break;
                    }
                }
            }
            Direction::Backward if from >= first => {
                let end = index(from).saturating_add(1).min(self.entries.len());
                for entry in self.entries.range(..end).rev() {
                    if !page.push(entry.clone()) {
                        break;
                    }
                }
            }
            Direction::Backward => {}
        }
        page.entries
    }
}

/// A page being filled, up to its limits but never without a first entry.
pub(super) struct Page {
    pub(super) entries: Vec<LogEntry>,
    limit: PageLimit,
    bytes: usize,
}

impl Page {
    pub(super) fn new(limit: PageLimit) -> Self {
        Self { entries: Vec::new(), limit, bytes: 0 }
    }

    /// Adds an entry if it fits; `false` when the page is full.
    pub(super) fn push(&mut self, entry: LogEntry) -> bool {
        let bytes = self.bytes + entry.encoded.len();
        let fits = self.entries.len() < self.limit.entries && bytes <= self.limit.bytes;
        if !self.entries.is_empty() && !fits {
            return false;
        }
        self.bytes = bytes;
        self.entries.push(entry);
        true
    }

    /// Whether another entry might fit; spares a look at the disk.
    pub(super) fn has_room(&self) -> bool {
        self.entries.is_empty() || (self.entries.len() < self.limit.entries && self.bytes < self.limit.bytes)
    }
}
