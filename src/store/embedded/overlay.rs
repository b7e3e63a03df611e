//! What is durable as records and not yet written as rows: it lies over the rows, and readers see both as one.

use super::{record::Record, timer_overlay::PendingTimers};
use crate::{
    chat::{LogEntry, Member, MemberChange},
    store::{Commit, ConversationDetails, Direction, PageLimit},
};
use foldhash::HashMap;
use godwit_proto::{ClientMsgId, ConversationId, Seq, UserId};
use std::{
    collections::{BTreeMap, VecDeque, btree_map, hash_map},
    ops::Bound,
    sync::Arc,
    time::Instant,
};

/// Records in order, and what they say about each conversation, user and timer.
#[derive(Default)]
pub(super) struct Overlay {
    records: VecDeque<(Arc<Record>, Instant)>,
    conversations: HashMap<ConversationId, Pending>,
    memberships: HashMap<UserId, BTreeMap<ConversationId, Membership>>,
    timers: PendingTimers,
    bytes: usize,
    rows: usize,
}

/// One conversation's part. Entries are dense, and the rows hold exactly those before them.
#[derive(Default)]
pub(super) struct Pending {
    entries: VecDeque<LogEntry>,
    /// Entries that took the place of older ones, which may be among `entries`, where they are replaced, or in rows.
    rewritten: BTreeMap<Seq, Numbered<LogEntry>>,
    /// `None` for a member who was taken out.
    members: BTreeMap<UserId, Numbered<Option<Member>>>,
    details: Option<Numbered<ConversationDetails>>,
}

/// Something with the record that said it last: only when that record is in rows, it can go.
#[derive(Clone)]
pub(super) struct Numbered<T> {
    pub(super) number: u64,
    pub(super) value: T,
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
        for edit in &record.timers {
            self.timers.publish(record.number, edit);
        }
        self.records.push_back((record, now));
    }

    fn apply(&mut self, number: u64, commit: &Commit) {
        let pending = self.conversations.entry(commit.conversation).or_default();
        for entry in &commit.entries {
            pending.entries.push_back(entry.clone());
        }
        for entry in &commit.rewritten {
            if let Some(pending) = pending.entry_mut(entry.seq) {
                pending.clone_from(entry);
            }
            // Even then: the older entry may become a row before this one does.
            pending.rewritten.insert(entry.seq, Numbered { number, value: entry.clone() });
        }
        if let Some(details) = &commit.details {
            pending.details = Some(Numbered { number, value: details.clone() });
        }
        for change in &commit.members {
            let user = change.user();
            let (member, membership) = match change {
                MemberChange::Put(member) => (Some(member.clone()), Some(true)),
                MemberChange::Update(member) => (Some(member.clone()), None),
                MemberChange::Remove(_) => (None, Some(false)),
            };
            pending.members.insert(user, Numbered { number, value: member });
            if let Some(value) = membership {
                self.memberships.entry(user).or_default().insert(commit.conversation, Numbered { number, value });
            }
        }
    }

    /// The oldest records, up to about `rows_max` rows but at least one.
    pub(super) fn round(&self, rows_max: usize) -> Vec<Arc<Record>> {
        let mut rows = 0;
        let mut round = Vec::new();
        for (record, _) in &self.records {
            rows += record.rows();
            if rows > rows_max && !round.is_empty() {
                break;
            }
            round.push(record.clone());
        }
        round
    }

    /// The number of the oldest record.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.records.front().map(|(record, _)| record.number)
    }

    /// The number of the newest record.
    pub(super) fn newest(&self) -> Option<u64> {
        self.records.back().map(|(record, _)| record.number)
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
            for edit in &record.timers {
                self.timers.forget(record.number, edit);
            }
        }
    }

    fn unapply(&mut self, number: u64, commit: &Commit) {
        let hash_map::Entry::Occupied(mut slot) = self.conversations.entry(commit.conversation) else { return };
        let pending = slot.get_mut();
        pending.entries.drain(..commit.entries.len());
        for entry in &commit.rewritten {
            if pending.rewritten.get(&entry.seq).is_some_and(|rewritten| rewritten.number <= number) {
                pending.rewritten.remove(&entry.seq);
            }
        }
        pending.details.take_if(|details| details.number <= number);
        for change in &commit.members {
            let user = change.user();
            if pending.members.get(&user).is_some_and(|member| member.number <= number) {
                pending.members.remove(&user);
            }
            if let MemberChange::Update(_) = change {
                continue;
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
        if pending.is_empty() {
            slot.remove();
        }
    }

    pub(super) fn find(&self, conversation: ConversationId) -> Option<&Pending> {
        self.conversations.get(&conversation)
    }

    pub(super) fn timers(&self) -> &PendingTimers {
        &self.timers
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

    /// Entries in rows, from `from` on in a direction, that newer ones have taken the place of: those that a page of so many
    /// entries may have.
    pub(super) fn rewritten(&self, from: Seq, direction: Direction, entries: usize) -> Rewritten {
        let copy = |(seq, entry): (&Seq, &Numbered<LogEntry>)| (*seq, entry.value.clone());
        let entries = entries.max(1);
        Rewritten(match direction {
            Direction::Forward => self.rewritten.range(from..).take(entries).map(copy).collect(),
            Direction::Backward => self.rewritten.range(..=from).rev().take(entries).map(copy).collect(),
        })
    }

    /// The newest pending entry that there is something to show of, if it is among the `entries` newest.
    pub(super) fn shown(&self, entries: usize) -> Option<&LogEntry> {
        self.entries.iter().rev().take(entries).find(|entry| entry.is_shown)
    }

    fn entry_mut(&mut self, seq: Seq) -> Option<&mut LogEntry> {
        let index = seq.0.checked_sub(self.first()?.0)?;
        self.entries.get_mut(usize::try_from(index).ok()?)
    }

    fn is_empty(&self) -> bool {
        let Self { entries, rewritten, members, details } = self;
        entries.is_empty() && rewritten.is_empty() && members.is_empty() && details.is_none()
    }

    /// Looks through all of them: an index would cost every message more than these seldom questions do.
    pub(super) fn find_send(&self, sender: UserId, id: ClientMsgId) -> Option<&LogEntry> {
        let rewritten = self.rewritten.values().map(|rewritten| &rewritten.value);
        let mut all = self.entries.iter().rev().chain(rewritten);
        all.find(|entry| entry.client_msg_id == id && entry.sender == sender)
    }

    pub(super) fn details(&self) -> Option<&ConversationDetails> {
        self.details.as_ref().map(|details| &details.value)
    }

    /// `Some(None)` for a member who was taken out.
    pub(super) fn member(&self, user: UserId) -> Option<Option<Member>> {
        self.members.get(&user).map(|member| member.value.clone())
    }

    pub(super) fn members(&self) -> Vec<(UserId, Option<Member>)> {
        self.members.iter().map(|(user, member)| (*user, member.value.clone())).collect()
    }

    /// The pending part of a page, in the order of reading, as far as the page has room for it.
    pub(super) fn page(&self, from: Seq, direction: Direction, limit: PageLimit) -> Page {
        let mut page = Page::new(limit);
        let Some(first) = self.first() else { return page };
        let index = |seq: Seq| usize::try_from(seq.0.saturating_sub(first.0)).unwrap_or(usize::MAX);
        match direction {
            Direction::Forward => {
                let start = index(from).min(self.entries.len());
                page.fill(self.entries.range(start..).cloned());
            }
            Direction::Backward if from >= first => {
                let end = index(from).saturating_add(1).min(self.entries.len());
                page.fill(self.entries.range(..end).rev().cloned());
            }
            Direction::Backward => {}
        }
        page
    }
}

/// Entries that take the place of those in rows.
#[derive(Default)]
pub(super) struct Rewritten(BTreeMap<Seq, LogEntry>);

impl Rewritten {
    /// What stands now where this entry is in the rows.
    pub(super) fn newest(&self, entry: LogEntry) -> LogEntry {
        self.0.get(&entry.seq).cloned().unwrap_or(entry)
    }
}

/// A page being filled, up to its limits but never without a first entry.
pub(super) struct Page {
    entries: Vec<LogEntry>,
    limit: PageLimit,
    bytes: usize,
    /// An entry did not fit: what comes after it must not be taken in its place.
    full: bool,
}

impl Page {
    pub(super) fn new(limit: PageLimit) -> Self {
        Self { entries: Vec::new(), limit, bytes: 0, full: false }
    }

    /// Adds entries until one does not fit.
    pub(super) fn fill(&mut self, entries: impl IntoIterator<Item = LogEntry>) {
        for entry in entries {
            let bytes = self.bytes.saturating_add(entry.encoded.len());
            let fits = self.entries.len() < self.limit.entries && bytes <= self.limit.bytes;
            if self.full || !(fits || self.entries.is_empty()) {
                self.full = true;
                return;
            }
            self.bytes = bytes;
            self.entries.push(entry);
        }
    }

    /// Whether another entry might fit: if not, there is no need to look for one.
    pub(super) fn has_room(&self) -> bool {
        let may_fit = self.entries.len() < self.limit.entries && self.bytes < self.limit.bytes;
        !self.full && (may_fit || self.entries.is_empty())
    }

    pub(super) fn into_entries(self) -> Vec<LogEntry> {
        self.entries
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use godwit_proto::v1;

    fn entry(seq: u64, id_bytes: u8) -> LogEntry {
        let client_msg_id = ClientMsgId([id_bytes; 16]).to_bytes();
        LogEntry::new(&v1::Entry { seq, sender_id: 1, client_msg_id, ..v1::Entry::default() })
    }

    fn sized(bytes: usize) -> LogEntry {
        LogEntry { encoded: vec![0; bytes].into(), ..entry(1, 1) }
    }

    #[test]
    fn a_page_never_skips_what_did_not_fit() {
        let mut page = Page::new(PageLimit { entries: 9, bytes: 100 });
        page.fill([sized(60), sized(60)]);
        page.fill([sized(10)]);
        assert!(!page.has_room());
        assert_eq!(page.into_entries(), [sized(60)]);
    }

    #[test]
    fn an_entry_that_was_rewritten_stays_so_while_its_first_form_becomes_a_row() {
        let conversation = ConversationId::group([1; 16]);
        let user = UserId::new(1).unwrap();
        let shorter = |seq| LogEntry { ordinal: 7, ..entry(seq, seq as u8) };
        let record = |number, commit| Arc::new(Record::encode(number, vec![commit], Vec::new()).0);
        let records = [
            record(1, Commit { entries: vec![entry(5, 5), entry(6, 6)], ..Commit::after(conversation, Seq(4)) }),
            record(2, Commit { rewritten: vec![shorter(4), shorter(6)], ..Commit::after(conversation, Seq(6)) }),
        ];
        let mut overlay = Overlay::default();
        records.iter().for_each(|record| overlay.publish(record.clone(), Instant::now()));
        let of = |overlay: &Overlay, seq| {
            let found = overlay.find(conversation).unwrap().find_send(user, ClientMsgId([seq; 16])).cloned();
            found.map(|entry| entry.ordinal)
        };
        assert_eq!([4, 5, 6].map(|seq| of(&overlay, seq)), [Some(7), Some(0), Some(7)]);
        assert_eq!(overlay.find(conversation).unwrap().last(), Some(&shorter(6)));
        overlay.forget(&records[..1]);
        assert_eq!([4, 5, 6].map(|seq| of(&overlay, seq)), [Some(7), None, Some(7)]);
        let rewritten = overlay.find(conversation).unwrap().rewritten(Seq(6), Direction::Backward, 1);
        assert_eq!([4, 6].map(|seq| rewritten.newest(entry(seq, seq as u8)).ordinal), [0, 7]);
        overlay.forget(&records[1..]);
        assert!(overlay.find(conversation).is_none());
    }

    #[test]
    fn what_was_written_as_rows_leaves_and_what_came_after_stays() {
        let conversation = ConversationId::group([1; 16]);
        let user = UserId::new(1).unwrap();
        let record = |number, seq: u64, change| {
            let entries = vec![entry(seq, seq as u8)];
            let commit = Commit { entries, members: vec![change], ..Commit::after(conversation, Seq(seq - 1)) };
            Arc::new(Record::encode(number, vec![commit], Vec::new()).0)
        };
        let mut overlay = Overlay::default();
        let member = Member::new(user, crate::chat::Role::Member, crate::chat::Position::START);
        let records = [record(1, 5, MemberChange::Put(member)), record(2, 6, MemberChange::Remove(user))];
        for record in &records {
            overlay.publish(record.clone(), Instant::now());
        }
        overlay.forget(&records[..1]);
        let pending = overlay.find(conversation).unwrap();
        assert_eq!((pending.first(), pending.head()), (Some(Seq(6)), Some(Seq(6))));
        assert_eq!(pending.member(user), Some(None));
        assert_eq!(pending.find_send(user, ClientMsgId([5; 16])), None);
        assert_eq!(overlay.memberships(user, None).into_iter().collect::<Vec<_>>(), [(conversation, false)]);
        overlay.forget(&records[1..]);
        assert!(overlay.find(conversation).is_none());
        assert!(overlay.memberships.is_empty());
        assert_eq!((overlay.bytes(), overlay.rows()), (0, 0));
    }
}
