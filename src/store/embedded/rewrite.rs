//! Entries in rows that give way to others, as a message does to the marker that says it was withdrawn.

use super::{error::RowError, keys, keyspaces::Keyspaces, rows::EntriesRow};
use crate::chat::LogEntry;
use fjall::OwnedWriteBatch;
use godwit_proto::{ConversationId, Seq};
use std::collections::BTreeMap;

/// Writes the rows that hold these entries again, under the keys that they have. Each is read first; doing it twice, as after
/// a crash, is the same as doing it once.
pub(super) fn rows(
    conversation: ConversationId,
    rewritten: &BTreeMap<Seq, &LogEntry>,
    keyspaces: &Keyspaces,
    batch: &mut OwnedWriteBatch,
) -> Result<(), RowError> {
    let missing = |seq: Seq| RowError::Damaged(format!("{conversation:?} has no entry {seq:?} to be rewritten"));
    let mut rest = rewritten.clone();
    while let Some((&last, _)) = rest.last_key_value() {
        let upto = keys::entry(conversation, Seq::ZERO)..=keys::entry(conversation, last);
        let row = keyspaces.entries.range(upto).next_back().ok_or_else(|| missing(last))?;
        let (key, value) = row.into_inner()?;
        let mut entries = EntriesRow::read(&value)?;
        for (seq, entry) in rest.split_off(&keys::entry_first(&key)?) {
            let older = entries.iter_mut().find(|older| older.seq == seq).ok_or_else(|| missing(seq))?;
            older.clone_from(entry);
        }
        batch.insert(&keyspaces.entries, key, EntriesRow::encode(&entries.iter().collect::<Vec<_>>()));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;
    use crate::store::{
        Commit,
        embedded::{EmbeddedOptions, record::Record, round::Round},
    };
    use godwit_proto::{
        ClientMsgId,
        v1::{self, WithdrawnReason, entry::Content},
    };
    use std::{
        ops::{Range, RangeInclusive},
        sync::Arc,
    };

    const NONE: RangeInclusive<u64> = RangeInclusive::new(1, 0);

    fn group() -> ConversationId {
        ConversationId::group([1; 16])
    }

    fn entry(seq: u64) -> LogEntry {
        let content = Some(Content::Message(v1::Message::default()));
        let client_msg_id = ClientMsgId([seq as u8; 16]).to_bytes();
        LogEntry::new(&v1::Entry { seq, sender_id: 1, client_msg_id, content, ..v1::Entry::default() })
    }

    fn marker(seq: u64) -> LogEntry {
        entry(seq).withdrawn(WithdrawnReason::Expired)
    }

    /// Record `number` adds entries, of seqs without the end, and withdraws some that were there before.
    fn record(number: u64, seqs: Range<u64>, withdrawn: &[u64]) -> Arc<Record> {
        let rewritten = withdrawn.iter().map(|seq| marker(*seq)).collect();
        let after = Seq(seqs.start - 1);
        let commit = Commit { entries: seqs.map(entry).collect(), rewritten, ..Commit::after(group(), after) };
        Arc::new(Record::encode(number, vec![commit], Vec::new()).0)
    }

    fn open(dir: &tempfile::TempDir) -> Keyspaces {
        Keyspaces::open(dir.path(), &EmbeddedOptions::new(dir.path())).unwrap()
    }

    fn write(keyspaces: &Keyspaces, records: &[Arc<Record>], replay: bool) {
        Round::new(records).write(keyspaces, NONE, replay, 1, OwnedWriteBatch::commit).unwrap();
    }

    fn log(keyspaces: &Keyspaces) -> Vec<LogEntry> {
        keyspaces.entries.iter().flat_map(|row| EntriesRow::read(&row.value().unwrap()).unwrap()).collect()
    }

    #[test]
    fn a_replay_puts_right_whatever_a_crash_left_of_rewritten_entries() {
        let records = [record(1, 1..4, &[]), record(2, 4..6, &[2]), record(3, 6..6, &[4, 1]), record(4, 6..8, &[5])];
        let withdrawn = [1, 2, 4, 5];
        let expected: Vec<_> =
            (1..=7).map(|seq| if withdrawn.contains(&seq) { marker(seq) } else { entry(seq) }).collect();
        // Record 1 is in rows for sure. Of the others, the engine kept the rows of so many, and now the rounds are others.
        for kept in 1..=records.len() {
            for first_round in 1..=records.len() {
                let dir = tempfile::tempdir().unwrap();
                let keyspaces = open(&dir);
                records[..kept].iter().for_each(|record| write(&keyspaces, std::slice::from_ref(record), false));
                for round in [&records[1..first_round], &records[first_round..]] {
                    if !round.is_empty() {
                        write(&keyspaces, round, true);
                    }
                }
                assert_eq!(
                    log(&keyspaces),
                    expected,
                    "{kept} kept, {first_round} in rows when the second round begins"
                );
            }
        }
    }

    #[test]
    fn what_is_rewritten_within_a_round_never_becomes_a_row() {
        let dir = tempfile::tempdir().unwrap();
        let keyspaces = open(&dir);
        write(&keyspaces, &[record(1, 1..4, &[]), record(2, 4..5, &[1, 3])], false);
        assert_eq!(log(&keyspaces), [marker(1), entry(2), marker(3), entry(4)]);
        assert_eq!(keyspaces.entries.len().unwrap(), 1);
    }

    #[test]
    fn an_entry_that_is_in_no_row_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        let keyspaces = open(&dir);
        write(&keyspaces, &[record(1, 1..4, &[])], false);
        let absent = [record(2, 5..6, &[4])];
        let written = Round::new(&absent).write(&keyspaces, NONE, false, 1, OwnedWriteBatch::commit);
        assert!(matches!(written, Err(RowError::Damaged(_))));
    }
}
