//! Which entry a send became: for every entry of a log, eight bytes of a hash of who sent it under which id.
//!
//! Asked for only when a client repeats a send that is not among the newest entries, so it is made for cheap writing: a row
//! per message, findable at once, cost as much CPU as all else that the write-behind does. Rows are dense, hold up to
//! [`ROW_SENDS_MAX`] hashes, and lie under `conversation | first seq` like entries. A question looks through all rows of a
//! conversation, newest first: 8 MB for a million entries.
//!
//! A hash that matches is only a hint; the entry itself says whether it is the one. Rows may overlap after a crash, which
//! does no harm, for a seq never changes its entry.

pub(super) use crate::store::send_hash::hash;

use crate::chat::LogEntry;
use godwit_proto::Seq;

/// What one row holds at most.
pub(super) const ROW_SENDS_MAX: usize = 512;
/// A row with fewer is written again with those that follow: conversations in which little happens would otherwise have a
/// row for every message.
const OPEN_SENDS_MAX: usize = 64;
const HASH_BYTES: usize = 8;

/// Hands `put` the rows, by their first seq, that the next `entries` of a log make. `last` is the row written last, if it
/// is known. Returns the first seq of the new last one.
pub(super) fn rows(last: Option<(Seq, &[u8])>, entries: &[&LogEntry], mut put: impl FnMut(Seq, &[u8])) -> Option<Seq> {
    let mut first = entries.first()?.seq;
    let mut row = Vec::with_capacity(entries.len().min(ROW_SENDS_MAX) * HASH_BYTES);
    if let Some((open, hashes)) = last
        && hashes.len() / HASH_BYTES < OPEN_SENDS_MAX
        && open.0 + (hashes.len() / HASH_BYTES) as u64 == first.0
    {
        first = open;
        row.extend_from_slice(hashes);
    }
    for entry in entries {
        if row.len() / HASH_BYTES == ROW_SENDS_MAX {
            put(first, &row);
            first = entry.seq;
            row.clear();
        }
        row.extend_from_slice(&hash(entry.sender, entry.client_msg_id).to_be_bytes());
    }
    put(first, &row);
    Some(first)
}

/// The seqs in a row that may be of this send, newest first.
pub(super) fn candidates(first: Seq, row: &[u8], wanted: u64) -> impl Iterator<Item = Seq> {
    let hashes = row.chunks_exact(HASH_BYTES).enumerate().rev();
    let matching = hashes.filter(move |(_, hash)| **hash == wanted.to_be_bytes());
    matching.map(move |(index, _)| Seq(first.0 + index as u64))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use godwit_proto::{ClientMsgId, UserId, v1};
    use std::collections::BTreeMap;

    type Rows = BTreeMap<u64, Vec<u8>>;

    fn id(seq: u64) -> ClientMsgId {
        ClientMsgId(u128::from(seq).to_be_bytes())
    }

    fn entries(seqs: std::ops::RangeInclusive<u64>) -> Vec<LogEntry> {
        let entry = |seq| v1::Entry { seq, sender_id: 1, client_msg_id: id(seq).to_bytes(), ..v1::Entry::default() };
        seqs.map(|seq| LogEntry::new(&entry(seq))).collect()
    }

    fn write(written: &mut Rows, last: &mut Option<Seq>, seqs: std::ops::RangeInclusive<u64>) {
        let entries = entries(seqs);
        let before = written.clone();
        let open = last.map(|first| (first, before[&first.0].as_slice()));
        *last =
            rows(open, &entries.iter().collect::<Vec<_>>(), |first, row| drop(written.insert(first.0, row.to_vec())));
    }

    fn find(written: &Rows, seq: u64) -> Vec<u64> {
        let wanted = hash(UserId::new(1).unwrap(), id(seq));
        written.iter().flat_map(|(first, row)| candidates(Seq(*first), row, wanted)).map(|seq| seq.0).collect()
    }

    #[test]
    fn every_entry_is_found_however_the_log_was_written() {
        let (mut written, mut last) = (Rows::new(), None);
        let mut next = 1;
        for count in [1, 1, 70, 1, 2, 600, 1, 1300] {
            write(&mut written, &mut last, next..=next + count - 1);
            next += count;
        }
        for seq in 1..next {
            assert_eq!(find(&written, seq), [seq]);
        }
        assert_eq!(find(&written, next), [0; 0]);
        assert!(written.values().all(|row| row.len() <= ROW_SENDS_MAX * HASH_BYTES));
    }

    #[test]
    fn a_slow_conversation_fills_its_rows() {
        let (mut written, mut last) = (Rows::new(), None);
        (1..=640).for_each(|seq| write(&mut written, &mut last, seq..=seq));
        assert_eq!(written.len(), 640 / OPEN_SENDS_MAX);
    }

    #[test]
    fn a_row_that_does_not_end_where_the_entries_begin_is_left_alone() {
        let all = entries(5..=6);
        let mut firsts = Vec::new();
        let refs: Vec<_> = all.iter().collect();
        let last = rows(Some((Seq(1), &[0; 2 * HASH_BYTES])), &refs, |first, _| firsts.push(first));
        assert_eq!((firsts, last), (vec![Seq(5)], Some(Seq(5))));
    }
}
