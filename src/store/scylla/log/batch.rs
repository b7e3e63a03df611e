//! Commits of a conversation that become one mutation, and what they change together.

use super::limits::MUTATION_ENTRIES_MAX;
use crate::{
    chat::{LogEntry, MemberChange},
    store::{
        Commit, ConversationDetails, TimerChange,
        rows::MemberRow,
        scylla::tables::{LogRow, bucket_of},
    },
};
use bytes::Bytes;
use godwit_proto::{Seq, UserId};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};

/// What commits that continue each other change.
pub(super) struct Change {
    /// The newest entry with them.
    pub(super) head: Seq,
    /// New ones, as they are once all is done.
    pub(super) entries: Vec<LogEntry>,
    /// Those that take the place of entries that were there before.
    pub(super) rewritten: BTreeMap<Seq, LogEntry>,
    /// Cells of members' rows.
    pub(super) members: BTreeMap<UserId, Bytes>,
    /// Who joins and who leaves.
    pub(super) memberships: BTreeMap<UserId, bool>,
    /// With them.
    pub(super) member_count: u32,
    pub(super) details: Option<ConversationDetails>,
}

impl Change {
    /// What these change in a log that ends at `head`, given who of those whom they put or remove is a member.
    pub(super) fn of(commits: &[Commit], head: Seq, member_count: u32, members: &BTreeMap<UserId, bool>) -> Self {
        let mut change = Self {
            head,
            entries: Vec::new(),
            rewritten: BTreeMap::new(),
            members: BTreeMap::new(),
            memberships: BTreeMap::new(),
            member_count,
            details: None,
        };
        let mut now = members.clone();
        for commit in commits {
            for entry in &commit.rewritten {
                if entry.seq > head {
                    change.entries[(entry.seq.0 - head.0 - 1) as usize] = entry.clone();
                } else {
                    change.rewritten.insert(entry.seq, entry.clone());
                }
            }
            change.entries.extend(commit.entries.iter().cloned());
            for member in &commit.members {
                let cell = match member {
                    MemberChange::Put(member) | MemberChange::Update(member) => {
                        Bytes::from(MemberRow::from(member).encode_to_vec())
                    }
                    MemberChange::Remove(_) => Bytes::new(),
                };
                match member {
                    MemberChange::Put(member) => drop(now.insert(member.user, true)),
                    MemberChange::Remove(user) => drop(now.insert(*user, false)),
                    MemberChange::Update(_) => {}
                }
                change.members.insert(member.user(), cell);
            }
            if let Some(details) = &commit.details {
                change.details = Some(details.clone());
            }
        }
        change.head = Seq(head.0 + change.entries.len() as u64);
        for (user, is_member) in now {
            let was_member = members.get(&user).copied().unwrap_or(false);
            if is_member != was_member {
                change.memberships.insert(user, is_member);
                change.member_count =
                    if is_member { change.member_count + 1 } else { change.member_count.saturating_sub(1) };
            } else if !is_member {
                // Neither before nor after: there is no row to write.
                change.members.remove(&user);
            }
        }
        change
    }

    /// The rows of the new entries, cut into mutations in the order in which they are written. The last one is the commit
    /// point; those before it are beyond the head until then. None crosses into another bucket.
    pub(super) fn parts(&self, entries_max: usize, bytes_max: usize) -> Vec<Vec<LogRow>> {
        let entries_max = entries_max.clamp(1, MUTATION_ENTRIES_MAX);
        let mut parts: Vec<Vec<LogRow>> = vec![Vec::new()];
        let mut bytes = 0;
        for entry in &self.entries {
            let row = LogRow { seq: entry.seq, entry: entry.encoded.clone() };
            bytes += row.entry.len();
            match parts.last_mut() {
                Some(part)
                    if part.is_empty()
                        || (part.len() < entries_max
                            && bytes <= bytes_max
                            && part.last().is_some_and(|last| bucket_of(last.seq) == bucket_of(row.seq))) =>
                {
                    part.push(row);
                }
                _ => {
                    bytes = row.entry.len();
                    parts.push(vec![row]);
                }
            }
        }
        parts
    }
}

/// Whom these put or remove, so that somebody must find out whether they are members.
pub(super) fn joining_or_leaving(commits: &[Commit]) -> BTreeSet<UserId> {
    let changes = commits.iter().flat_map(|commit| &commit.members);
    changes.filter(|change| !matches!(change, MemberChange::Update(_))).map(MemberChange::user).collect()
}

/// The timers that come with them, in order.
pub(super) fn timers(commits: &[Commit]) -> Vec<TimerChange> {
    commits.iter().flat_map(|commit| commit.timers.iter().cloned()).collect()
}

/// # Panics
///
/// When entries are not dense and ascending from `after`, or rewritten ones are not older.
pub(super) fn check(commit: &Commit) {
    let mut seq = commit.after;
    for entry in &commit.entries {
        seq = seq.next();
        assert!(entry.seq == seq, "{:?} continues {:?} with {:?}", commit.conversation, commit.after, entry.seq);
    }
    for entry in &commit.rewritten {
        let is_older = (Seq::FIRST..=commit.after).contains(&entry.seq);
        assert!(is_older, "{:?} rewrites {:?} after {:?}", commit.conversation, entry.seq, commit.after);
    }
}

/// About what a commit takes in the queue and in a mutation.
pub(super) fn commit_bytes(commit: &Commit) -> usize {
    const ROW_BYTES: usize = 64;
    let entries = commit.entries.iter().chain(&commit.rewritten).map(|entry| entry.encoded.len() + ROW_BYTES);
    let timers = commit.timers.iter().map(|change| match change {
        TimerChange::Put(row) => row.payload.len() + ROW_BYTES,
        TimerChange::Remove(_) => ROW_BYTES,
    });
    ROW_BYTES + entries.sum::<usize>() + timers.sum::<usize>() + commit.members.len() * ROW_BYTES
}
