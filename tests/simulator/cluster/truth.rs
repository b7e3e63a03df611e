//! What is durable on a cluster: what its commit points say, taken when a quorum has them. The same ledger is angry about any that
//! should not be there as on a disk.

use super::rows::Pending;
use crate::{
    disk::{Disk, Stored},
    expiries,
    simulated_cluster::CommitPoint,
};
use godwit::{chat::LogEntry, store::Commit};
use godwit_proto::{ClientMsgId, ConversationId, UserId, v1::entry::Content};
use prost::Message;
use std::collections::BTreeMap;

/// Every entry that a server ever asked to have written, in all its versions.
#[derive(Debug, Default)]
pub struct Asked(BTreeMap<(ConversationId, UserId, ClientMsgId), Vec<LogEntry>>);

impl Asked {
    pub fn note(&mut self, commit: &Commit) {
        for entry in commit.entries.iter().chain(&commit.rewritten) {
            let versions = self.0.entry((commit.conversation, entry.sender, entry.client_msg_id)).or_default();
            if !versions.contains(entry) {
                versions.push(entry.clone());
            }
        }
    }

    /// The first version of an entry: what was sent, before it was withdrawn.
    fn first(&self, conversation: ConversationId, entry: &LogEntry) -> LogEntry {
        let versions = self.0.get(&(conversation, entry.sender, entry.client_msg_id));
        let versions = versions.filter(|versions| versions.contains(entry));
        let versions = versions.unwrap_or_else(|| panic!("{conversation:?} has {entry:?}, which nobody wrote"));
        let is_sent = |version: &&LogEntry| {
            let withdrawn = matches!(version.to_proto().content, Some(Content::Withdrawn(_)));
            !withdrawn && expiries::is_same(&version.to_proto(), &entry.to_proto())
        };
        versions.iter().find(is_sent).unwrap_or(entry).clone()
    }
}

impl Disk {
    /// A quorum has this commit point of the present owner.
    pub fn take_commit_point(&mut self, point: &CommitPoint<'_>) {
        let (id, now_ms) = (point.conversation, point.at_ms);
        let pending = Pending::decode(point.pending.clone()).unwrap();
        if pending.first_seq == 0 {
            // Somebody is about to make the first commit.
            assert!(!self.conversations.contains_key(&id), "{id:?} begins, and is there");
            return;
        }
        let rewritten: BTreeMap<u64, LogEntry> = pending
            .rewritten
            .iter()
            .map(|row| LogEntry::decode(row.clone()).unwrap())
            .map(|entry| (entry.seq.0, entry))
            .collect();
        let latest_ms = self.schedules.clock.latest_between(0, now_ms);
        let stored = self.conversations.entry(id).or_insert_with(|| Stored::new(id, now_ms));
        let there = stored.log.len() as u64;
        assert!(point.head >= there, "{id:?}: #{} is the newest, and there were {there}", point.head);
        for entry in rewritten.values().filter(|entry| entry.seq.0 <= there) {
            if stored.log[entry.seq.0 as usize - 1] != *entry {
                stored.rewrite(id, entry, latest_ms);
            }
        }
        for seq in pending.first_seq.min(there + 1).max(1)..=point.head {
            let row = point.entry(seq).unwrap_or_else(|| panic!("{id:?} #{seq}: the head is beyond what is there"));
            let row = LogEntry::decode(row).unwrap();
            let entry = rewritten.get(&seq).unwrap_or(&row);
            if seq <= there {
                assert_eq!(&stored.log[seq as usize - 1], entry, "{id:?} #{seq} has two contents");
                continue;
            }
            let sent = self.asked.first(id, entry);
            stored.append(now_ms, id, &sent, &mut self.schedules);
            if sent != *entry {
                stored.rewrite(id, entry, latest_ms);
            }
        }
        for row in &pending.members {
            match row.member() {
                Some(member) => drop(stored.members.insert(row.user(), member)),
                None => drop(stored.members.remove(&row.user())),
            }
        }
        assert_eq!(pending.member_count as usize, stored.members.len(), "{id:?}: the number of members");
        stored.ledger.check_rows(&stored.members);
    }
}
