//! What one turn of the commit thread made durable, as one value.

use super::{
    error::RowError,
    timer_round::ROWS_OF_TIMER,
    timers::{TimerEdit, TimerEditRow, timer_change_bytes},
};
use crate::{
    chat::{LogEntry, MemberChange},
    store::{
        Commit,
        rows::{DetailsRow, MemberChangeRow},
    },
};
use bytes::Bytes;
use godwit_proto::{
    ConversationId, Seq,
    codec::{field_len, put_field_head},
};
use prost::{
    Message,
    encoding::{message, string, uint64},
};

/// The changes of one turn. Records are numbered 1, 2, 3, … without gaps, so that a lost one is noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) number: u64,
    /// In the order in which they were made; several may be of one conversation. None when a turn only wrote accounts.
    /// Their timers are taken out, into `timers`.
    pub(super) commits: Vec<Commit>,
    /// In the order in which they were made, by themselves or with a commit; several may be of one timer.
    pub(super) timers: Vec<TimerEdit>,
    /// Encoded size, which stands for its memory too.
    pub(super) bytes: usize,
}

impl Record {
    /// Numbers a turn's changes, and gives the value to be stored.
    pub(super) fn encode(number: u64, commits: Vec<Commit>, timers: Vec<TimerEdit>) -> (Self, Vec<u8>) {
        let bytes = commits.iter().map(|commit| field_len(RECORD_COMMITS, encoded_commit_len(commit))).sum::<usize>();
        let timer_rows: Vec<_> = timers.iter().map(TimerEditRow::from).collect();
        let timer_bytes = message::encoded_len_repeated(RECORD_TIMERS, &timer_rows);
        let mut value = Vec::with_capacity(RECORD_NUMBER_BYTES_MAX + bytes + timer_bytes);
        uint64::encode(RECORD_NUMBER, &number, &mut value);
        for commit in &commits {
            put_field_head(RECORD_COMMITS, encoded_commit_len(commit), &mut value);
            put_commit(commit, &mut value);
        }
        message::encode_repeated(RECORD_TIMERS, &timer_rows, &mut value);
        (Self { number, commits, timers, bytes: value.len() }, value)
    }

    /// Reads a record back.
    pub(super) fn decode(value: &[u8]) -> Result<Self, RowError> {
        let row = RecordRow::decode(Bytes::copy_from_slice(value))?;
        let commits = row.commits.into_iter().map(CommitRow::commit).collect::<Result<_, _>>()?;
        let timers = row.timers.into_iter().map(TimerEditRow::edit).collect::<Result<_, _>>()?;
        Ok(Self { number: row.number, commits, timers, bytes: value.len() })
    }

    /// About how many rows it will become.
    pub(super) fn rows(&self) -> usize {
        let rows = |commit: &Commit| 1 + commit.entries.len() + commit.members.len() + commit.rewritten.len();
        self.commits.iter().map(rows).sum::<usize>() + ROWS_OF_TIMER * self.timers.len()
    }

    /// Whether entries take the place of others.
    pub(super) fn rewrites(&self) -> bool {
        self.commits.iter().any(|commit| !commit.rewritten.is_empty())
    }

    pub(super) fn entries(&self) -> usize {
        self.commits.iter().map(|commit| commit.entries.len()).sum()
    }
}

/// About how many bytes a commit takes in a record and in memory.
pub(super) fn commit_bytes(commit: &Commit) -> usize {
    const FIXED: usize = 64;
    const MEMBER: usize = 64;
    const SCHEDULED: usize = 10;
    const BAN: usize = 20;
    let member = |change: &MemberChange| match change {
        MemberChange::Put(member) | MemberChange::Update(member) => {
            MEMBER + SCHEDULED * member.scheduled.seqs().len() + member.missed.encoded_len()
        }
        MemberChange::Remove(_) => MEMBER,
    };
    let entries = commit.entries.iter().chain(&commit.rewritten);
    let entries: usize = entries.map(|entry| entry.encoded.len() + FIXED).sum();
    let details = commit
        .details
        .as_ref()
        .map_or(0, |details| details.title.len() + details.withdrawn.encoded_len() + BAN * details.bans.all().len());
    let timers: usize = commit.timers.iter().map(timer_change_bytes).sum();
    FIXED + entries + commit.members.iter().map(member).sum::<usize>() + details + timers
}

/// Encodes what [`CommitRow`] decodes. By hand, because every message goes through here, and the entries are encoded.
fn put_commit(commit: &Commit, out: &mut Vec<u8>) {
    put_field_head(COMMIT_CONVERSATION, commit.conversation.as_bytes().len(), out);
    out.extend_from_slice(commit.conversation.as_bytes());
    if commit.after > Seq::ZERO {
        uint64::encode(COMMIT_AFTER, &commit.after.0, out);
    }
    for entry in &commit.entries {
        put_field_head(COMMIT_ENTRIES, entry.encoded.len(), out);
        out.extend_from_slice(&entry.encoded);
    }
    for change in &commit.members {
        message::encode(COMMIT_MEMBERS, &MemberChangeRow::from(change), out);
    }
    if let Some(details) = &commit.details {
        string::encode(COMMIT_TITLE, &details.title, out);
    }
    for entry in &commit.rewritten {
        put_field_head(COMMIT_REWRITTEN, entry.encoded.len(), out);
        out.extend_from_slice(&entry.encoded);
    }
    if let Some(details) = commit.details.as_ref().and_then(DetailsRow::of) {
        message::encode(COMMIT_DETAILS, &details, out);
    }
}

fn encoded_commit_len(commit: &Commit) -> usize {
    let after = if commit.after > Seq::ZERO { uint64::encoded_len(COMMIT_AFTER, &commit.after.0) } else { 0 };
    let entries = commit.entries.iter().map(|entry| field_len(COMMIT_ENTRIES, entry.encoded.len()));
    let members = commit.members.iter();
    let members = members.map(|change| message::encoded_len(COMMIT_MEMBERS, &MemberChangeRow::from(change)));
    let title = commit.details.as_ref().map_or(0, |details| string::encoded_len(COMMIT_TITLE, &details.title));
    let conversation = field_len(COMMIT_CONVERSATION, commit.conversation.as_bytes().len());
    let rewritten = commit.rewritten.iter().map(|entry| field_len(COMMIT_REWRITTEN, entry.encoded.len()));
    let details = commit.details.as_ref().and_then(DetailsRow::of);
    let details = details.map_or(0, |details| message::encoded_len(COMMIT_DETAILS, &details));
    let entries = entries.sum::<usize>() + rewritten.sum::<usize>();
    conversation + after + entries + members.sum::<usize>() + title + details
}

/// Field numbers of the messages below; a test holds the encoding by hand to them.
const RECORD_NUMBER: u32 = 1;
const RECORD_COMMITS: u32 = 2;
const RECORD_TIMERS: u32 = 3;
const COMMIT_CONVERSATION: u32 = 1;
const COMMIT_AFTER: u32 = 2;
const COMMIT_ENTRIES: u32 = 3;
const COMMIT_MEMBERS: u32 = 4;
const COMMIT_TITLE: u32 = 5;
const COMMIT_REWRITTEN: u32 = 6;
const COMMIT_DETAILS: u32 = 7;
const RECORD_NUMBER_BYTES_MAX: usize = 11;

#[derive(Clone, PartialEq, Message)]
struct RecordRow {
    /// Repeated from the key, so that a value under the wrong key is noticed.
    #[prost(uint64, tag = "1")]
    number: u64,
    #[prost(message, repeated, tag = "2")]
    commits: Vec<CommitRow>,
    #[prost(message, repeated, tag = "3")]
    timers: Vec<TimerEditRow>,
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
    #[prost(bytes = "bytes", repeated, tag = "6")]
    rewritten: Vec<Bytes>,
    /// What the details say beside the title.
    #[prost(message, optional, tag = "7")]
    details: Option<DetailsRow>,
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
            details: self.title.map(|title| DetailsRow::details(self.details, title)).transpose()?,
            rewritten: self.rewritten.into_iter().map(LogEntry::decode).collect::<Result<_, _>>()?,
            timers: Vec::new(),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{
        chat::{Ban, Expiry, Member, MemberChange, Position, Role},
        store::{ConversationDetails, TimerChange, TimerId, TimerKey, TimerKind, TimerOwner, TimerRow},
    };
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
        member.scheduled = [Seq(5), Seq(900)].into_iter().collect();
        member.missed = [7, 8].into_iter().collect();
        member.muted_until_ms = 9;
        let commit = Commit {
            rewritten: vec![entry.clone(), entry.clone()],
            entries: vec![entry],
            members: vec![MemberChange::Put(member), MemberChange::Remove(user)],
            details: Some(ConversationDetails {
                title: "Über uns".to_owned(),
                expiry: Expiry { after_ms: 5, from_reading: true },
                withdrawn: [3, 4, 1 << 40].into_iter().collect(),
                expires_from_reading: Seq(9),
                bans: [Ban { user, until_ms: 10 }].into_iter().collect(),
            }),
            ..Commit::after(ConversationId::group([9; 16]), Seq(3))
        };
        let untouched = Commit::after(commit.conversation, Seq::ZERO);
        let key = TimerKey { kind: TimerKind(3), owner: TimerOwner::User(user), id: TimerId([8; 16]) };
        let row = TimerRow { key, due_ms: 0, payload: Bytes::from_static(b"later") };
        let of_conversation = TimerKey { owner: TimerOwner::Conversation(untouched.conversation), ..key };
        let timers = vec![
            TimerEdit { change: TimerChange::Put(row), was_due_ms: None },
            TimerEdit { change: TimerChange::Remove(of_conversation), was_due_ms: Some(0) },
        ];
        let (record, value) = Record::encode(12, vec![commit, untouched], timers);
        assert_eq!(Record::decode(&value).unwrap(), record);
    }

    #[test]
    fn a_truncated_record_is_not_read() {
        let commit = Commit {
            members: vec![MemberChange::Remove(UserId::new(1).unwrap())],
            ..Commit::after(ConversationId::group([9; 16]), Seq(3))
        };
        let (_, value) = Record::encode(12, vec![commit], Vec::new());
        assert!(Record::decode(&value[..value.len() - 1]).is_err());
    }
}
