//! The rows of some records, sorted by key, as one batch of the engine.

use super::{
    error::RowError,
    keys,
    keyspaces::Keyspaces,
    record::Record,
    rows::{ConversationRow, EntriesRow, MemberRow},
};
use crate::{
    chat::{LogEntry, Member, MemberChange},
    store::ConversationDetails,
};
use fjall::OwnedWriteBatch;
use godwit_proto::{ConversationId, Seq, UserId};
use prost::Message;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    sync::Arc,
};

/// What one entries row holds at most, unless a single entry is larger: reading one entry reads its row.
const ROW_BYTES_MAX: usize = 16 * 1024;
const ROW_ENTRIES_MAX: usize = 128;

/// Consecutive records, regrouped by conversation.
pub(super) struct Round {
    conversations: BTreeMap<ConversationId, Changes>,
    upto: u64,
}

#[derive(Default)]
struct Changes {
    entries: Vec<LogEntry>,
    /// The last word on each member; `None` for one who was taken out.
    members: BTreeMap<UserId, Option<Member>>,
    details: Option<ConversationDetails>,
}

impl Round {
    /// Regroups records, which must not be none.
    pub(super) fn new(records: &[Arc<Record>]) -> Self {
        let mut conversations = BTreeMap::<_, Changes>::new();
        for commit in records.iter().flat_map(|record| &record.commits) {
            let changes = conversations.entry(commit.conversation).or_default();
            changes.entries.extend(commit.entries.iter().cloned());
            if let Some(details) = &commit.details {
                changes.details = Some(details.clone());
            }
            for change in &commit.members {
                match change {
                    MemberChange::Put(member) => changes.members.insert(member.user, Some(*member)),
                    MemberChange::Remove(user) => changes.members.insert(*user, None),
                };
            }
        }
        Self { conversations, upto: records.last().map_or(0, |record| record.number) }
    }

    /// The batch, to be committed by the caller. It also removes the records `removable`, whose own rows have to be
    /// durable: were they removed together with these rows, an engine that flushes one keyspace and not the other before
    /// a power cut could keep the removal alone.
    ///
    /// `replay`: a crash may have left some of these rows and not others, so nothing about them is taken for granted.
    pub(super) fn batch(
        &self,
        keyspaces: &Keyspaces,
        removable: RangeInclusive<u64>,
        replay: bool,
    ) -> Result<OwnedWriteBatch, RowError> {
        let mut batch = keyspaces.db.batch();
        for (&conversation, changes) in &self.conversations {
            changes.rows(conversation, keyspaces, replay, &mut batch)?;
        }
        for number in removable {
            batch.remove(&keyspaces.records, keys::record(number));
        }
        batch.insert(&keyspaces.meta, keys::ROWS_UPTO, self.upto.to_be_bytes());
        Ok(batch)
    }

    /// The newest record in it.
    pub(super) fn upto(&self) -> u64 {
        self.upto
    }
}

impl Changes {
    fn rows(
        &self,
        conversation: ConversationId,
        keyspaces: &Keyspaces,
        replay: bool,
        batch: &mut OwnedWriteBatch,
    ) -> Result<(), RowError> {
        let old = match keyspaces.conversations.get(conversation.as_bytes())? {
            Some(value) => Some(ConversationRow::decode(&*value)?),
            None => None,
        };
        let mut row = old.clone().unwrap_or_default();
        self.entry_rows(conversation, keyspaces, replay, batch, &mut row)?;
        self.member_rows(conversation, keyspaces, replay, batch, &mut row)?;
        if let Some(details) = &self.details {
            row.title.clone_from(&details.title);
        }
        if old.as_ref() != Some(&row) {
            batch.insert(&keyspaces.conversations, *conversation.as_bytes(), row.encode_to_vec());
        }
        Ok(())
    }

    fn entry_rows(
        &self,
        conversation: ConversationId,
        keyspaces: &Keyspaces,
        replay: bool,
        batch: &mut OwnedWriteBatch,
        row: &mut ConversationRow,
    ) -> Result<(), RowError> {
        let (Some(first), Some(last)) = (self.entries.first(), self.entries.last()) else { return Ok(()) };
        let mut written = BTreeSet::new();
        let mut rest = self.entries.as_slice();
        while let Some(first) = rest.first() {
            let (packed, later) = rest.split_at(fitting(rest));
            let value = EntriesRow { entries: packed.iter().map(|entry| entry.encoded.clone()).collect() };
            batch.insert(&keyspaces.entries, keys::entry(conversation, first.seq), value.encode_to_vec());
            written.insert(first.seq);
            row.head_row_first = first.seq.0;
            rest = later;
        }
        row.head = last.seq.0;
        // Sorted like the rest: inserting in key order is what makes a large batch cheap. A key must not be in a batch
        // twice, for both would be equally new; of an id that was used twice, the later seq stays.
        let sends: BTreeMap<_, _> = self
            .entries
            .iter()
            .map(|entry| (keys::send(conversation, entry.sender, entry.client_msg_id), entry.seq))
            .collect();
        for (key, seq) in sends {
            batch.insert(&keyspaces.sends, key, seq.0.to_be_bytes());
        }
        if replay {
            // The same entries may have been packed otherwise before the crash. Everything from `first` on is in the
            // records that are being replayed, so a row that starts there and is not written again is a stale copy.
            let from = keys::entry(conversation, first.seq);
            for stale in keyspaces.entries.range(from..=keys::entry(conversation, Seq(u64::MAX))) {
                let key = stale.key()?;
                if !written.contains(&keys::entry_first(&key)?) {
                    batch.remove(&keyspaces.entries, key);
                }
            }
        }
        Ok(())
    }

    fn member_rows(
        &self,
        conversation: ConversationId,
        keyspaces: &Keyspaces,
        replay: bool,
        batch: &mut OwnedWriteBatch,
        row: &mut ConversationRow,
    ) -> Result<(), RowError> {
        if self.members.is_empty() {
            return Ok(());
        }
        let mut count = i64::from(row.member_count);
        if replay {
            count = 0;
            for member in keyspaces.members.prefix(conversation.as_bytes()) {
                member.key()?;
                count += 1;
            }
        }
        for (&user, member) in &self.members {
            let key = keys::member(conversation, user);
            let was_member = keyspaces.members.contains_key(key)?;
            match member {
                Some(member) => {
                    batch.insert(&keyspaces.members, key, MemberRow::from(member).encode_to_vec());
                    if !was_member || replay {
                        batch.insert(&keyspaces.memberships, keys::membership(user, conversation), [0_u8; 0]);
                    }
                    count += i64::from(!was_member);
                }
                None => {
                    batch.remove(&keyspaces.members, key);
                    batch.remove(&keyspaces.memberships, keys::membership(user, conversation));
                    count -= i64::from(was_member);
                }
            }
        }
        row.member_count = u32::try_from(count).map_err(|_| RowError::Damaged("member count".to_owned()))?;
        Ok(())
    }
}

/// How many of these entries share the next row: at least one.
fn fitting(entries: &[LogEntry]) -> usize {
    let mut bytes = 0;
    let fitting = entries.iter().take(ROW_ENTRIES_MAX).take_while(|entry| {
        bytes += entry.encoded.len();
        bytes <= ROW_BYTES_MAX
    });
    fitting.count().max(1)
}
