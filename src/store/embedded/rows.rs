//! The values of keyspaces that only this store has; [`crate::store::rows`] has the others.

use super::error::RowError;
use crate::{chat::LogEntry, store::rows::DetailsRow};
use bytes::Bytes;
use godwit_proto::codec::{field_len, put_field_head};
use prost::Message;

/// Entries of one conversation that were written behind together.
#[derive(Clone, PartialEq, Message)]
pub(super) struct EntriesRow {
    /// `godwit.v1.Entry` each, dense and ascending from the seq in the key.
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(super) entries: Vec<Bytes>,
}

/// What a conversation list needs, in one row.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ConversationRow {
    /// The newest entry in rows.
    #[prost(uint64, tag = "1")]
    pub(super) head: u64,
    /// The key of the entries row that holds it.
    #[prost(uint64, tag = "2")]
    pub(super) head_row_first: u64,
    #[prost(uint32, tag = "3")]
    pub(super) member_count: u32,
    #[prost(string, tag = "4")]
    pub(super) title: String,
    /// The key of the row of hashes of sends that was written last.
    #[prost(uint64, tag = "5")]
    pub(super) sends_row_first: u64,
    /// Absent for most.
    #[prost(message, optional, tag = "6")]
    pub(super) details: Option<DetailsRow>,
}

impl EntriesRow {
    /// Entries, which are encoded already, as a row.
    pub(super) fn encode(entries: &[&LogEntry]) -> Vec<u8> {
        const ENTRIES: u32 = 1;
        let mut row = Vec::with_capacity(entries.iter().map(|entry| field_len(ENTRIES, entry.encoded.len())).sum());
        for entry in entries {
            put_field_head(ENTRIES, entry.encoded.len(), &mut row);
            row.extend_from_slice(&entry.encoded);
        }
        row
    }

    pub(super) fn read(value: &[u8]) -> Result<Vec<LogEntry>, RowError> {
        let row = Self::decode(Bytes::copy_from_slice(value))?;
        row.entries.into_iter().map(|encoded| Ok(LogEntry::decode(encoded)?)).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{
        chat::{Ban, Expiry},
        store::ConversationDetails,
    };
    use godwit_proto::{Seq, UserId};

    fn ban(raw: u64, until_ms: u64) -> Ban {
        Ban { user: UserId::new(raw).unwrap(), until_ms }
    }

    #[test]
    fn a_conversation_in_which_nothing_expires_is_the_row_that_it_was_before_anything_could() {
        let details = ConversationDetails { title: "ab".to_owned(), ..ConversationDetails::default() };
        let row = |details: &ConversationDetails| ConversationRow {
            head: 9,
            head_row_first: 8,
            member_count: 2,
            title: details.title.clone(),
            sends_row_first: 1,
            details: DetailsRow::of(details),
        };
        assert_eq!(row(&details).encode_to_vec(), b"\x08\x09\x10\x08\x18\x02\x22\x02ab\x28\x01");
        let expiring = ConversationDetails {
            expiry: Expiry { after_ms: 5, from_reading: true },
            withdrawn: (1..=9).collect(),
            expires_from_reading: Seq(8),
            bans: [(1, 5), (7, u64::MAX)].map(|(raw, until_ms)| ban(raw, until_ms)).into_iter().collect(),
            ..details
        };
        let read = ConversationRow::decode(&*row(&expiring).encode_to_vec()).unwrap();
        assert_eq!(DetailsRow::details(read.details, read.title).unwrap(), expiring);
    }
}
