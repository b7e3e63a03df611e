//! What stands in the rows of a cluster, read without the server's help.

use bytes::Bytes;
use godwit::chat::{Member, Position, Role};
use godwit_proto::{Seq, UserId};
use prost::Message;

/// The static column `pending` of a log, as far as it is looked at.
#[derive(Clone, PartialEq, Message)]
pub struct Pending {
    #[prost(uint64, tag = "1")]
    pub first_seq: u64,
    #[prost(uint32, tag = "2")]
    pub member_count: u32,
    #[prost(message, repeated, tag = "4")]
    pub members: Vec<PendingMember>,
    /// Encoded entries that take the place of older ones.
    #[prost(bytes = "bytes", repeated, tag = "5")]
    pub rewritten: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub struct PendingMember {
    #[prost(fixed64, tag = "1")]
    pub user: u64,
    /// Empty: has left.
    #[prost(bytes = "bytes", tag = "2")]
    pub cell: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct MemberRow {
    #[prost(fixed64, tag = "1")]
    user: u64,
    #[prost(bool, tag = "2")]
    owner: bool,
    #[prost(uint64, tag = "3")]
    joined_seq: u64,
    #[prost(uint64, tag = "4")]
    joined_ordinal: u64,
    #[prost(uint64, tag = "5")]
    read_seq: u64,
    #[prost(uint64, tag = "6")]
    read_ordinal: u64,
    #[prost(uint64, tag = "7")]
    own_seq: u64,
    #[prost(uint64, tag = "8")]
    own_ordinal: u64,
    #[prost(uint64, repeated, tag = "9")]
    scheduled_seqs: Vec<u64>,
}

impl PendingMember {
    pub fn user(&self) -> UserId {
        UserId::new(self.user).unwrap()
    }

    /// `None`: has left.
    pub fn member(&self) -> Option<Member> {
        if self.cell.is_empty() {
            return None;
        }
        let row = MemberRow::decode(self.cell.clone()).unwrap();
        let position = |seq, ordinal| Position { seq: Seq(seq), ordinal };
        let role = if row.owner { Role::Owner } else { Role::Member };
        let member = Member::new(self.user(), role, position(row.joined_seq, row.joined_ordinal));
        Some(Member {
            read: position(row.read_seq, row.read_ordinal),
            own: position(row.own_seq, row.own_ordinal),
            scheduled: row.scheduled_seqs.iter().map(|seq| Seq(*seq)).collect(),
            ..member
        })
    }
}
