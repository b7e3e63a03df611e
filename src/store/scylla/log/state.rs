//! What the owner of a conversation knows of it: what is committed, and which part of that is not yet in the rows of others.

use super::{batch::Change, pending::Pending};
use crate::{
    chat::LogEntry,
    store::{ConversationDetails, SHOWN_LOOK_BACK, scylla::tables::bucket_of, send_hash},
};
use bytes::Bytes;
use godwit_proto::{Seq, UserId};
use std::collections::{BTreeMap, BTreeSet};

/// All of it is durable. What is on its way is not here.
#[derive(Default)]
pub(super) struct State {
    /// Whether anything was ever committed.
    pub(super) exists: bool,
    /// If not, whether static columns that say so are at a quorum: from then on nothing of a former owner can come.
    pub(super) is_begun: bool,
    pub(super) head: Seq,
    /// Counts commits, so that a reader knows whether there was one meanwhile.
    pub(super) version: u64,
    /// What `meta` says at a quorum is no less.
    pub(super) meta_bucket: u64,
    /// What is written there from now on.
    pub(super) meta_raised: u64,
    pub(super) details: ConversationDetails,
    /// The version that made them, if `meta` may not have them.
    pub(super) details_since: Option<u64>,
    pub(super) member_count: u32,
    /// Cells that may not be in their rows: what stands here counts, not the row.
    pub(super) members: BTreeMap<UserId, Unsettled<Bytes>>,
    /// Counts the writes of members' rows when they begin, so that a reader of one knows whether it may have changed meanwhile.
    pub(super) settles: u64,
    /// Rows of memberships that may say otherwise.
    pub(super) memberships: BTreeMap<UserId, Unsettled<bool>>,
    /// Whose membership the mutation that is on its way changes: their rows must stay unsure until it is known.
    pub(super) marked: BTreeSet<UserId>,
    /// Whose rows of memberships are unsure at a quorum. They stay so when a commit fails, and are not marked again when it is tried
    /// again: or a database that is slow would have more to do with every attempt.
    pub(super) unsure: BTreeSet<UserId>,
    /// Entries whose rows may be older.
    pub(super) rewritten: BTreeMap<Seq, LogEntry>,
    /// The entry at the head.
    pub(super) newest: Option<LogEntry>,
    pub(super) shown: Shown,
    /// Hashes of the newest segment, if all of it was committed since the first look.
    pub(super) segment: Option<Vec<u64>>,
}

/// Something that is to be written elsewhere.
#[derive(Debug, Clone)]
pub(super) struct Unsettled<V> {
    pub(super) value: V,
    /// The commit that made it.
    pub(super) since: u64,
}

/// The newest entry that there is something to show of.
#[derive(Debug, Clone, Default)]
pub(super) enum Shown {
    /// Nobody has looked for it.
    #[default]
    Unknown,
    /// There is none among the newest.
    Nowhere,
    /// This one, as long as it is among the newest.
    Entry(LogEntry),
}

/// Hashes of the sends of entries, complete.
pub(super) struct Segment {
    pub(super) bucket: u64,
    pub(super) segment: u8,
    pub(super) hashes: Bytes,
}

/// Entries whose hashes are in one row.
pub(super) const SEGMENT_ENTRIES: u64 = 256;

impl State {
    /// What `pending` says when this change is committed in a mutation whose rows begin at `first`.
    pub(super) fn pending(&self, change: &Change, first: Seq) -> Pending {
        let details = change.details.as_ref().or(self.details_since.map(|_| &self.details));
        let mut members: BTreeMap<UserId, &Bytes> =
            self.members.iter().map(|(user, cell)| (*user, &cell.value)).collect();
        members.extend(change.members.iter().map(|(user, cell)| (*user, cell)));
        let mut rewritten: BTreeMap<Seq, &LogEntry> = self.rewritten.iter().map(|(seq, entry)| (*seq, entry)).collect();
        rewritten.extend(change.rewritten.iter().map(|(seq, entry)| (*seq, entry)));
        let mut memberships: BTreeMap<UserId, bool> =
            self.memberships.iter().map(|(user, row)| (*user, row.value)).collect();
        memberships.extend(&change.memberships);
        Pending::new(
            first,
            change.member_count,
            details,
            members.into_iter(),
            rewritten.into_values(),
            memberships.into_iter(),
        )
    }

    /// The change is durable. Returns the segments of hashes that it completes.
    pub(super) fn apply(&mut self, change: Change) -> Vec<Segment> {
        self.exists = true;
        self.version += 1;
        let since = self.version;
        self.head = change.head;
        self.member_count = change.member_count;
        if let Some(details) = change.details {
            self.details = details;
            self.details_since = Some(since);
        }
        let unsettled = |(user, value)| (user, Unsettled { value, since });
        self.members.extend(change.members.into_iter().map(unsettled));
        let unsettled = |(user, value)| (user, Unsettled { value, since });
        self.memberships.extend(change.memberships.into_iter().map(unsettled));
        for (seq, entry) in change.rewritten {
            if self.newest.as_ref().is_some_and(|newest| newest.seq == seq) {
                self.newest = Some(entry.clone());
            }
            match &self.shown {
                Shown::Entry(shown) if shown.seq == seq && entry.is_shown => self.shown = Shown::Entry(entry.clone()),
                Shown::Entry(shown) if shown.seq > seq => {}
                Shown::Nowhere if !entry.is_shown => {}
                _ => self.shown = Shown::Unknown,
            }
            self.rewritten.insert(seq, entry);
        }
        if let Some(shown) = change.entries.iter().rev().find(|entry| entry.is_shown) {
            self.shown = Shown::Entry(shown.clone());
        }
        if let Some(newest) = change.entries.last() {
            self.newest = Some(newest.clone());
        }
        change.entries.iter().filter_map(|entry| self.add_hash(entry)).collect()
    }

    /// The newest entry to show, unless it must be looked for.
    pub(super) fn known_shown(&self) -> Option<Option<LogEntry>> {
        match &self.shown {
            Shown::Unknown => None,
            Shown::Nowhere => Some(None),
            Shown::Entry(entry) => Some((entry.seq.0 + SHOWN_LOOK_BACK as u64 > self.head.0).then(|| entry.clone())),
        }
    }

    /// Whether something is to be written to `conversations`.
    pub(super) fn is_settled(&self) -> bool {
        self.members.is_empty() && self.details_since.is_none()
    }

    fn add_hash(&mut self, entry: &LogEntry) -> Option<Segment> {
        let index = (entry.seq.0 % SEGMENT_ENTRIES) as usize;
        if index == 0 {
            self.segment = Some(Vec::new());
        } else if entry.seq == Seq::FIRST {
            self.segment = Some(vec![0]);
        }
        let segment = self.segment.as_mut().filter(|segment| segment.len() == index)?;
        segment.push(send_hash::hash(entry.sender, entry.client_msg_id));
        if (segment.len() as u64) < SEGMENT_ENTRIES {
            return None;
        }
        let hashes = self.segment.take()?;
        Some(Segment::new(entry.seq, &hashes))
    }
}

impl Segment {
    /// The one that an entry is in.
    pub(super) fn new(seq: Seq, hashes: &[u64]) -> Self {
        Self {
            bucket: bucket_of(seq),
            segment: segment_of(seq),
            hashes: hashes.iter().flat_map(|hash| hash.to_be_bytes()).collect(),
        }
    }
}

/// Which segment of its bucket an entry is in.
pub(super) fn segment_of(seq: Seq) -> u8 {
    (seq.0 / SEGMENT_ENTRIES % 16) as u8
}
