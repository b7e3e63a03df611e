//! The rows of some records, sorted by key, in a few batches of the engine.

use super::{
    error::RowError,
    keys::{self, TimerKeyBytes},
    keyspaces::Keyspaces,
    record::Record,
    rewrite,
    rows::{ConversationRow, EntriesRow},
    sends,
    timer_round::{self, ChangedTimer},
};
use crate::{
    chat::{LogEntry, MemberChange},
    store::{
        ConversationDetails,
        rows::{DetailsRow, MemberRow},
    },
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

/// Consecutive records, regrouped by conversation and timer.
pub(super) struct Round<'a> {
    conversations: BTreeMap<ConversationId, Changes<'a>>,
    timers: BTreeMap<TimerKeyBytes, ChangedTimer<'a>>,
    upto: u64,
}

#[derive(Default)]
struct Changes<'a> {
    entries: Vec<&'a LogEntry>,
    /// What takes the place of entries before these.
    rewritten: BTreeMap<Seq, &'a LogEntry>,
    /// The last word on each member.
    members: BTreeMap<UserId, MemberChange>,
    details: Option<&'a ConversationDetails>,
}

impl<'a> Round<'a> {
    /// Regroups records, which must not be none.
    pub(super) fn new(records: &'a [Arc<Record>]) -> Self {
        let mut conversations = BTreeMap::<_, Changes>::new();
        for commit in records.iter().flat_map(|record| &record.commits) {
            let changes = conversations.entry(commit.conversation).or_default();
            changes.entries.extend(&commit.entries);
            commit.rewritten.iter().for_each(|entry| changes.rewrite(entry));
            if let Some(details) = &commit.details {
                changes.details = Some(details);
            }
            for change in &commit.members {
                changes.change_member(change.clone());
            }
        }
        let timers = timer_round::changed(records.iter().flat_map(|record| &record.timers));
        Self { conversations, timers, upto: records.last().map_or(0, |record| record.number) }
    }

    /// Writes the rows, in batches of about `batch_rows_max` that `commit` is given in order. What belongs to one
    /// conversation or timer is in one batch, and how far the rows have come is in the last one.
    ///
    /// It also removes the records `removable`, whose own rows have to be durable: were they removed together with these
    /// rows, an engine that flushes one keyspace and not the other before a power cut could keep the removal alone.
    ///
    /// `replay`: a crash may have left some of these rows and not others, so nothing about them is taken for granted.
    pub(super) fn write(
        &self,
        keyspaces: &Keyspaces,
        removable: RangeInclusive<u64>,
        replay: bool,
        batch_rows_max: usize,
        mut commit: impl FnMut(OwnedWriteBatch) -> fjall::Result<()>,
    ) -> Result<(), RowError> {
        let mut batch = keyspaces.db.batch();
        for (&conversation, changes) in &self.conversations {
            changes.rows(conversation, keyspaces, replay, &mut batch)?;
            if batch.len() >= batch_rows_max {
                commit(std::mem::replace(&mut batch, keyspaces.db.batch()))?;
            }
        }
        for timer in self.timers.values() {
            timer.rows(keyspaces, replay, &mut batch);
            if batch.len() >= batch_rows_max {
                commit(std::mem::replace(&mut batch, keyspaces.db.batch()))?;
            }
        }
        for number in removable {
            batch.remove(&keyspaces.records, keys::record(number));
        }
        batch.insert(&keyspaces.meta, keys::ROWS_UPTO, self.upto.to_be_bytes());
        Ok(commit(batch)?)
    }

    /// The newest record in it.
    pub(super) fn upto(&self) -> u64 {
        self.upto
    }
}

impl<'a> Changes<'a> {
    fn rewrite(&mut self, entry: &'a LogEntry) {
        let index = self.entries.first().and_then(|first| entry.seq.0.checked_sub(first.seq.0));
        let in_round = index.and_then(|index| self.entries.get_mut(usize::try_from(index).ok()?));
        match in_round {
            // The older one never becomes a row.
            Some(older) => *older = entry,
            None => drop(self.rewritten.insert(entry.seq, entry)),
        }
    }

    fn change_member(&mut self, change: MemberChange) {
        let user = change.user();
        let change = match (self.members.get(&user), change) {
            // Whether there is a row to overwrite is not known before the earlier change is written.
            (Some(MemberChange::Put(_)), MemberChange::Update(member)) => MemberChange::Put(member),
            (_, change) => change,
        };
        self.members.insert(user, change);
    }

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
        rewrite::rows(conversation, &self.rewritten, keyspaces, batch)?;
        self.entry_rows(conversation, keyspaces, replay, batch, &mut row)?;
        self.member_rows(conversation, keyspaces, replay, batch, &mut row)?;
        if let Some(details) = self.details {
            row.title.clone_from(&details.title);
            row.details = DetailsRow::of(details);
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
            batch.insert(&keyspaces.entries, keys::entry(conversation, first.seq), EntriesRow::encode(packed));
            written.insert(first.seq);
            row.head_row_first = first.seq.0;
            rest = later;
        }
        row.head = last.seq.0;
        // In a replay, what the last row of hashes holds is not taken for granted. A row of its own overlaps it at most.
        let last = Seq(row.sends_row_first);
        let open =
            if replay || last == Seq::ZERO { None } else { keyspaces.sends.get(keys::entry(conversation, last))? };
        let open = open.as_deref().map(|hashes| (last, hashes));
        let written_last = sends::rows(open, &self.entries, |first, hashes| {
            batch.insert(&keyspaces.sends, keys::entry(conversation, first), hashes);
        });
        row.sends_row_first = written_last.map_or(row.sends_row_first, |first| first.0);
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
        for (&user, change) in &self.members {
            let key = keys::member(conversation, user);
            let was_member = match change {
                MemberChange::Update(_) if !replay => true,
                _ => keyspaces.members.contains_key(key)?,
            };
            match change {
                MemberChange::Put(member) | MemberChange::Update(member) => {
                    batch.insert(&keyspaces.members, key, MemberRow::from(member).encode_to_vec());
                    if !was_member || replay {
                        batch.insert(&keyspaces.memberships, keys::membership(user, conversation), [0_u8; 0]);
                    }
                    count += i64::from(!was_member);
                }
                MemberChange::Remove(_) => {
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
fn fitting(entries: &[&LogEntry]) -> usize {
    let mut bytes = 0;
    let fitting = entries.iter().take(ROW_ENTRIES_MAX).take_while(|entry| {
        bytes += entry.encoded.len();
        bytes <= ROW_BYTES_MAX
    });
    fitting.count().max(1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{
        chat::{Member, Position, Role},
        store::{Commit, embedded::EmbeddedOptions},
    };
    use godwit_proto::{ClientMsgId, v1};

    const NONE: RangeInclusive<u64> = RangeInclusive::new(1, 0);

    fn group() -> ConversationId {
        ConversationId::group([1; 16])
    }

    /// Record `number` has entries `seqs` and brings one member, of the same number.
    fn record(number: u64, seqs: RangeInclusive<u64>) -> Arc<Record> {
        let after = Seq(seqs.start() - 1);
        let entry = |seq: u64| {
            let client_msg_id = ClientMsgId([seq as u8; 16]).to_bytes();
            LogEntry::new(&v1::Entry { seq, sender_id: 1, client_msg_id, ..v1::Entry::default() })
        };
        let member = Member::new(UserId::new(number).unwrap(), Role::Member, Position::START);
        let members = vec![MemberChange::Put(member)];
        let commit = Commit { entries: seqs.map(entry).collect(), members, ..Commit::after(group(), after) };
        Arc::new(Record::encode(number, vec![commit], Vec::new()).0)
    }

    fn conversation(keyspaces: &Keyspaces) -> ConversationRow {
        ConversationRow::decode(&*keyspaces.conversations.get(group().as_bytes()).unwrap().unwrap()).unwrap()
    }

    fn rows(keyspaces: &Keyspaces) -> Vec<Vec<u64>> {
        let row = |row: fjall::Guard| {
            EntriesRow::read(&row.value().unwrap()).unwrap().iter().map(|entry| entry.seq.0).collect()
        };
        keyspaces.entries.iter().map(row).collect()
    }

    #[test]
    fn a_replay_puts_right_whatever_a_crash_left_of_its_rows() {
        let dir = tempfile::tempdir().unwrap();
        let keyspaces = Keyspaces::open(dir.path(), &EmbeddedOptions::new(dir.path())).unwrap();
        let records = [record(1, 1..=3), record(2, 4..=5), record(3, 6..=9)];
        let write = |records: &[Arc<Record>], replay| {
            Round::new(records).write(&keyspaces, NONE, replay, 1, OwnedWriteBatch::commit).unwrap();
        };
        write(&records[..1], false);
        write(&records[1..2], false);
        write(&records[2..], false);
        assert_eq!(rows(&keyspaces), [vec![1, 2, 3], vec![4, 5], vec![6, 7, 8, 9]]);
        assert_eq!(conversation(&keyspaces).member_count, 3);
        // The machine died. The engine had flushed entries and conversations, but not all members, nor how far it was.
        keyspaces.members.remove(keys::member(group(), UserId::new(2).unwrap())).unwrap();
        // This time, the rounds are others.
        write(&records[1..], true);
        assert_eq!(rows(&keyspaces), [vec![1, 2, 3], vec![4, 5, 6, 7, 8, 9]]);
        let row = conversation(&keyspaces);
        assert_eq!((row.member_count, row.head, row.head_row_first), (3, 9, 4));
    }

    #[test]
    fn entries_written_together_share_rows_of_bounded_size() {
        let dir = tempfile::tempdir().unwrap();
        let keyspaces = Keyspaces::open(dir.path(), &EmbeddedOptions::new(dir.path())).unwrap();
        let records = [record(1, 1..=200), record(2, 201..=300)];
        Round::new(&records).write(&keyspaces, NONE, false, 1, OwnedWriteBatch::commit).unwrap();
        let rows = rows(&keyspaces);
        assert_eq!(rows.concat(), (1..=300).collect::<Vec<_>>());
        assert_eq!(rows.len(), 300_usize.div_ceil(ROW_ENTRIES_MAX));
    }

    /// One commit of record `number` that changes a member and nothing else.
    fn member_record(number: u64, change: MemberChange) -> Arc<Record> {
        let commit = Commit { members: vec![change], ..Commit::after(group(), Seq::ZERO) };
        Arc::new(Record::encode(number, vec![commit], Vec::new()).0)
    }

    #[test]
    fn who_joins_and_writes_in_one_round_is_a_member_with_the_newest_positions() {
        let dir = tempfile::tempdir().unwrap();
        let keyspaces = Keyspaces::open(dir.path(), &EmbeddedOptions::new(dir.path())).unwrap();
        let user = UserId::new(7).unwrap();
        let joined = Member::new(user, Role::Member, Position::START);
        let wrote = Member { own: Position { seq: Seq(1), ordinal: 1 }, ..joined.clone() };
        let records =
            [member_record(1, MemberChange::Put(joined)), member_record(2, MemberChange::Update(wrote.clone()))];
        Round::new(&records).write(&keyspaces, NONE, false, 1, OwnedWriteBatch::commit).unwrap();
        assert!(keyspaces.memberships.contains_key(keys::membership(user, group())).unwrap());
        assert_eq!(conversation(&keyspaces).member_count, 1);
        let row = keyspaces.members.get(keys::member(group(), user)).unwrap().unwrap();
        assert_eq!(MemberRow::read(&row).unwrap(), wrote);
        // One that is there already is counted once.
        let again = [member_record(3, MemberChange::Update(Member { read: wrote.own, ..wrote }))];
        Round::new(&again).write(&keyspaces, NONE, false, 1, OwnedWriteBatch::commit).unwrap();
        assert_eq!(conversation(&keyspaces).member_count, 1);
    }
}
