//! What one turn of the commit thread made durable, as one value.

use super::{error::RowError, rows::MemberChangeRow};
use crate::{
    chat::LogEntry,
    store::{Commit, ConversationDetails},
};
use bytes::Bytes;
use godwit_proto::{ConversationId, Seq};
use prost::Message;

/// The commits of one turn. Records are numbered 1, 2, 3, … without gaps, so that a lost one is noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) number: u64,
    /// In the order in which they were made; several may be of one conversation. None when a turn only wrote accounts.
    pub(super) commits: Vec<Commit>,
    /// Encoded size, which stands for its memory too.
    pub(super) bytes: usize,
}

impl Record {
    /// Numbers a turn's commits, and gives the value to be stored.
    pub(super) fn encode(number: u64, commits: Vec<Commit>) -> (Self, Vec<u8>) {
        let value = RecordRow { number, commits: commits.iter().map(CommitRow::from).collect() }.encode_to_vec();
        (Self { number, commits, bytes: value.len() }, value)
    }

    /// Reads a record back.
    pub(super) fn decode(value: &[u8]) -> Result<Self, RowError> {
        let row = RecordRow::decode(Bytes::copy_from_slice(value))?;
        let commits = row.commits.into_iter().map(CommitRow::commit).collect::<Result<_, _>>()?;
        Ok(Self { number: row.number, commits, bytes: value.len() })
    }

    /// About how many rows it will become.
    pub(super) fn rows(&self) -> usize {
        self.commits.iter().map(|commit| 1 + 2 * commit.entries.len() + 2 * commit.members.len()).sum()
    }

    pub(super) fn entries(&self) -> usize {
        self.commits.iter().map(|commit| commit.entries.len()).sum()
    }
}

/// About how many bytes a commit takes in a record and in memory.
pub(super) fn commit_bytes(commit: &Commit) -> usize {
    const FIXED: usize = 64;
    const MEMBER: usize = 64;
    let entries: usize = commit.entries.iter().map(|entry| entry.encoded.len() + FIXED).sum();
    let title = commit.details.as_ref().map_or(0, |details| details.title.len());
    FIXED + entries + MEMBER * commit.members.len() + title
}

#[derive(Clone, PartialEq, Message)]
struct RecordRow {
    /// Repeated from the key, so that a value under the wrong key is noticed.
    #[prost(uint64, tag = "1")]
    number: u64,
    #[prost(message, repeated, tag = "2")]
    commits: Vec<CommitRow>,
}

#[derive(Clone, PartialEq, Message)]
struct CommitRow {
    #[prost(bytes = "bytes", tag = "1")]
    conversation: Bytes,
    #[prost(uint64, tag = "2")]
    after: u64,
    #[prost(bytes = "bytes", repeated, tag = "3")]
    entries: Vec<Bytes>,
    #[prost(message, repeated, tag = "4")]
    members: Vec<MemberChangeRow>,
    #[prost(string, optional, tag = "5")]
    title: Option<String>,
}

impl From<&Commit> for CommitRow {
    fn from(commit: &Commit) -> Self {
        Self {
            conversation: commit.conversation.to_bytes(),
            after: commit.after.0,
            entries: commit.entries.iter().map(|entry| entry.encoded.clone()).collect(),
            members: commit.members.iter().map(MemberChangeRow::from).collect(),
            title: commit.details.as_ref().map(|details| details.title.clone()),
        }
    }
}

impl CommitRow {
    fn commit(self) -> Result<Commit, RowError> {
        let conversation =
            ConversationId::from_slice(&self.conversation).map_err(|error| RowError::Damaged(error.to_string()))?;
        Ok(Commit {
            conversation,
            after: Seq(self.after),
            entries: self.entries.into_iter().map(LogEntry::decode).collect::<Result<_, _>>()?,
            members: self.members.iter().map(MemberChangeRow::change).collect::<Result<_, _>>()?,
            details: self.title.map(|title| ConversationDetails { title }),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::chat::{Member, MemberChange, Position, Role};
    use godwit_proto::{UserId, v1};

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let user = UserId::new(7).unwrap();
        let entry = LogEntry::new(&v1::Entry {
            seq: 4,
            ordinal: 3,
            sender_id: 7,
            sent_ms: 99,
            client_msg_id: Bytes::from_static(&[5; 16]),
            ..v1::Entry::default()
        });
        let mut member = Member::new(user, Role::Owner, Position { seq: Seq(2), ordinal: 1 });
        member.read = Position { seq: Seq(3), ordinal: 2 };
        member.own = Position { seq: Seq(4), ordinal: 3 };
        let commit = Commit {
            conversation: ConversationId::group([9; 16]),
            after: Seq(3),
            entries: vec![entry],
            members: vec![MemberChange::Put(member), MemberChange::Remove(user)],
            details: Some(ConversationDetails { title: "Über uns".to_owned() }),
        };
        let untouched = Commit { entries: vec![], members: vec![], details: None, after: Seq::ZERO, ..commit };
        let (record, value) = Record::encode(12, vec![commit, untouched]);
        assert_eq!(Record::decode(&value).unwrap(), record);
    }

    #[test]
    fn a_truncated_record_is_not_read() {
        let commit = Commit {
            conversation: ConversationId::group([9; 16]),
            after: Seq(3),
            entries: vec![],
            members: vec![MemberChange::Remove(UserId::new(1).unwrap())],
            details: None,
        };
        let (_, value) = Record::encode(12, vec![commit]);
        assert!(Record::decode(&value[..value.len() - 1]).is_err());
    }
}
