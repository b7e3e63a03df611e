//! Values that every store on a disk keeps, as protobuf messages: fields can be added later, numbers are never reused.

use crate::{
    chat::{Ban, Bans, Expiry, Member, MemberChange, Ordinals, Position, Role},
    store::{ConversationDetails, TokenHash, TokenRecord, UserRecord},
};
use bytes::Bytes;
use godwit_proto::{DeviceId, Seq, UserId};
use prost::Message;
use thiserror::Error;

/// A row is not what was written.
#[derive(Debug, Error)]
#[error("damaged row: {0}")]
pub(in crate::store) struct DamagedRow(pub(in crate::store) String);

impl From<prost::DecodeError> for DamagedRow {
    fn from(error: prost::DecodeError) -> Self {
        Self(error.to_string())
    }
}

/// What is true of a whole conversation beside its title.
#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct DetailsRow {
    #[prost(uint64, tag = "1")]
    expires_after_ms: u64,
    #[prost(bool, tag = "2")]
    expires_after_reading: bool,
    /// As [`Ordinals::to_bytes`] makes it.
    #[prost(bytes = "bytes", tag = "3")]
    withdrawn: Bytes,
    /// The newest message that expires from being read.
    #[prost(uint64, tag = "4")]
    expires_from_reading: u64,
    /// Ascending by user.
    #[prost(message, repeated, tag = "5")]
    bans: Vec<BanRow>,
}

/// Somebody who may not be added to a group.
#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct BanRow {
    #[prost(fixed64, tag = "1")]
    user: u64,
    #[prost(uint64, tag = "2")]
    until_ms: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct MemberRow {
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
    /// Ascending. Absent for nearly everybody.
    #[prost(uint64, repeated, tag = "9")]
    scheduled_seqs: Vec<u64>,
    /// As [`Ordinals::to_bytes`] makes it.
    #[prost(bytes = "bytes", tag = "10")]
    missed: Bytes,
    /// 0, which is not written, for nearly everybody.
    #[prost(uint64, tag = "11")]
    muted_until_ms: u64,
}

/// In a record: one of the three is set.
#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct MemberChangeRow {
    #[prost(message, optional, tag = "1")]
    put: Option<MemberRow>,
    #[prost(fixed64, optional, tag = "2")]
    remove: Option<u64>,
    #[prost(message, optional, tag = "3")]
    update: Option<MemberRow>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct UserRow {
    #[prost(fixed64, tag = "1")]
    id: u64,
    #[prost(string, tag = "2")]
    username: String,
    #[prost(string, tag = "3")]
    name_key: String,
    #[prost(string, tag = "4")]
    display_name: String,
    #[prost(string, tag = "5")]
    password_hash: String,
    #[prost(uint64, tag = "6")]
    created_ms: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct TokenRow {
    #[prost(fixed64, tag = "1")]
    user: u64,
    #[prost(bytes = "bytes", tag = "2")]
    device: Bytes,
    #[prost(string, tag = "3")]
    device_name: String,
    #[prost(uint64, tag = "4")]
    expires_ms: u64,
}

/// The token that a device holds.
#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct DeviceRow {
    #[prost(bytes = "bytes", tag = "1")]
    hash: Bytes,
    #[prost(uint64, tag = "2")]
    expires_ms: u64,
}

impl DetailsRow {
    /// `None` when there is nothing beside the title: the row is what it was before there was this.
    pub(in crate::store) fn of(details: &ConversationDetails) -> Option<Self> {
        let row = Self {
            expires_after_ms: details.expiry.after_ms,
            expires_after_reading: details.expiry.from_reading,
            withdrawn: details.withdrawn.to_bytes().into(),
            expires_from_reading: details.expires_from_reading.0,
            bans: details.bans.all().iter().map(BanRow::from).collect(),
        };
        (row != Self::default()).then_some(row)
    }

    pub(in crate::store) fn details(row: Option<Self>, title: String) -> Result<ConversationDetails, DamagedRow> {
        let row = row.unwrap_or_default();
        Ok(ConversationDetails {
            title,
            expiry: Expiry { after_ms: row.expires_after_ms, from_reading: row.expires_after_reading },
            withdrawn: ordinals(&row.withdrawn)?,
            expires_from_reading: Seq(row.expires_from_reading),
            bans: bans(&row.bans)?,
        })
    }
}

impl From<&Ban> for BanRow {
    fn from(ban: &Ban) -> Self {
        Self { user: ban.user.as_u64(), until_ms: ban.until_ms }
    }
}

impl From<&Member> for MemberRow {
    fn from(member: &Member) -> Self {
        Self {
            user: member.user.as_u64(),
            owner: member.role == Role::Owner,
            joined_seq: member.joined.seq.0,
            joined_ordinal: member.joined.ordinal,
            read_seq: member.read.seq.0,
            read_ordinal: member.read.ordinal,
            own_seq: member.own.seq.0,
            own_ordinal: member.own.ordinal,
            scheduled_seqs: member.scheduled.seqs().iter().map(|seq| seq.0).collect(),
            missed: member.missed.to_bytes().into(),
            muted_until_ms: member.muted_until_ms,
        }
    }
}

impl MemberRow {
    pub(in crate::store) fn read(value: &[u8]) -> Result<Member, DamagedRow> {
        Self::decode(value)?.member()
    }

    fn member(&self) -> Result<Member, DamagedRow> {
        if !self.scheduled_seqs.is_sorted_by(|seq, next| seq < next) {
            return Err(DamagedRow("scheduled messages of a member that are not ascending".to_owned()));
        }
        Ok(Member {
            user: user_id(self.user)?,
            role: if self.owner { Role::Owner } else { Role::Member },
            joined: Position { seq: Seq(self.joined_seq), ordinal: self.joined_ordinal },
            read: Position { seq: Seq(self.read_seq), ordinal: self.read_ordinal },
            own: Position { seq: Seq(self.own_seq), ordinal: self.own_ordinal },
            scheduled: self.scheduled_seqs.iter().map(|seq| Seq(*seq)).collect(),
            missed: ordinals(&self.missed)?,
            muted_until_ms: self.muted_until_ms,
        })
    }
}

impl From<&MemberChange> for MemberChangeRow {
    fn from(change: &MemberChange) -> Self {
        match change {
            MemberChange::Put(member) => Self { put: Some(member.into()), ..Self::default() },
            MemberChange::Update(member) => Self { update: Some(member.into()), ..Self::default() },
            MemberChange::Remove(user) => Self { remove: Some(user.as_u64()), ..Self::default() },
        }
    }
}

impl MemberChangeRow {
    pub(in crate::store) fn change(&self) -> Result<MemberChange, DamagedRow> {
        match (&self.put, &self.update, self.remove) {
            (Some(put), None, None) => Ok(MemberChange::Put(put.member()?)),
            (None, Some(update), None) => Ok(MemberChange::Update(update.member()?)),
            (None, None, Some(user)) => Ok(MemberChange::Remove(user_id(user)?)),
            _ => Err(DamagedRow("a member change that is not exactly one".to_owned())),
        }
    }
}

impl From<&UserRecord> for UserRow {
    fn from(user: &UserRecord) -> Self {
        Self {
            id: user.id.as_u64(),
            username: user.username.clone(),
            name_key: user.name_key.clone(),
            display_name: user.display_name.clone(),
            password_hash: user.password_hash.clone(),
            created_ms: user.created_ms,
        }
    }
}

impl UserRow {
    pub(in crate::store) fn read(value: &[u8]) -> Result<UserRecord, DamagedRow> {
        let row = Self::decode(value)?;
        Ok(UserRecord {
            id: user_id(row.id)?,
            username: row.username,
            name_key: row.name_key,
            display_name: row.display_name,
            password_hash: row.password_hash,
            created_ms: row.created_ms,
        })
    }
}

impl From<&TokenRecord> for TokenRow {
    fn from(token: &TokenRecord) -> Self {
        Self {
            user: token.user.as_u64(),
            device: token.device.to_bytes(),
            device_name: token.device_name.clone(),
            expires_ms: token.expires_ms,
        }
    }
}

impl TokenRow {
    pub(in crate::store) fn read(hash: TokenHash, value: &[u8]) -> Result<TokenRecord, DamagedRow> {
        let row = Self::decode(value)?;
        Ok(TokenRecord {
            hash,
            user: user_id(row.user)?,
            device: DeviceId::from_slice(&row.device).map_err(|error| DamagedRow(error.to_string()))?,
            device_name: row.device_name,
            expires_ms: row.expires_ms,
        })
    }
}

impl From<&TokenRecord> for DeviceRow {
    fn from(token: &TokenRecord) -> Self {
        Self { hash: Bytes::copy_from_slice(&token.hash.0), expires_ms: token.expires_ms }
    }
}

/// What a device's row says.
pub(in crate::store) struct HeldToken {
    pub(in crate::store) hash: TokenHash,
    pub(in crate::store) expires_ms: u64,
}

impl DeviceRow {
    pub(in crate::store) fn read(value: &[u8]) -> Result<HeldToken, DamagedRow> {
        let row = Self::decode(value)?;
        let hash = row.hash.as_ref().try_into().map(TokenHash);
        let hash = hash.map_err(|_| DamagedRow("a token hash of the wrong length".to_owned()))?;
        Ok(HeldToken { hash, expires_ms: row.expires_ms })
    }
}

fn ordinals(bytes: &[u8]) -> Result<Ordinals, DamagedRow> {
    Ordinals::from_bytes(bytes).ok_or_else(|| DamagedRow("a set of ordinals that is none".to_owned()))
}

fn bans(rows: &[BanRow]) -> Result<Bans, DamagedRow> {
    if !rows.is_sorted_by(|ban, next| ban.user < next.user) {
        return Err(DamagedRow("bans that are not ascending".to_owned()));
    }
    rows.iter().map(|row| Ok(Ban { user: user_id(row.user)?, until_ms: row.until_ms })).collect()
}

pub(in crate::store) fn user_id(raw: u64) -> Result<UserId, DamagedRow> {
    UserId::new(raw).map_err(|error| DamagedRow(error.to_string()))
}

/// Two parts of a key, one after the other.
pub(in crate::store) fn join<const A: usize, const B: usize, const AB: usize>(
    first: [u8; A],
    second: [u8; B],
) -> [u8; AB] {
    const { assert!(A + B == AB) };
    let mut key = [0; AB];
    key[..A].copy_from_slice(&first);
    key[A..].copy_from_slice(&second);
    key
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn member() -> Member {
        let at = |seq, ordinal| Position { seq: Seq(seq), ordinal };
        let joined = Member::new(UserId::new(7).unwrap(), Role::Owner, at(2, 1));
        Member { read: at(3, 2), own: at(300, 200), ..joined }
    }

    #[test]
    fn a_member_without_scheduled_messages_is_the_row_that_it_was_before_there_were_any() {
        let before = b"\x09\x07\0\0\0\0\0\0\0\x10\x01\x18\x02\x20\x01\x28\x03\x30\x02\x38\xac\x02\x40\xc8\x01";
        assert_eq!(MemberRow::from(&member()).encode_to_vec(), before);
        assert_eq!(MemberRow::read(before).unwrap(), member());
    }

    #[test]
    fn a_muted_members_row_says_until_when() {
        let muted = Member { muted_until_ms: u64::MAX, ..member() };
        assert_eq!(MemberRow::read(&MemberRow::from(&muted).encode_to_vec()).unwrap(), muted);
    }

    #[test]
    fn bans_that_are_not_ascending_are_damage() {
        let read = |users: [u64; 2]| bans(&users.map(|user| BanRow { user, until_ms: 1 }));
        assert!(read([1, 2]).is_ok());
        assert!(read([2, 1]).is_err() && read([1, 1]).is_err());
    }

    #[test]
    fn ordinals_that_are_cut_off_are_damage() {
        let row = MemberRow { missed: Bytes::from_static(&[1, 2]), ..MemberRow::from(&member()) };
        assert!(MemberRow::read(&row.encode_to_vec()).is_err());
    }

    #[test]
    fn scheduled_messages_that_are_not_ascending_are_damage() {
        let read = |seqs: [u64; 2]| {
            let member = Member { scheduled: seqs.map(Seq).into_iter().collect(), ..member() };
            MemberRow::read(&MemberRow::from(&member).encode_to_vec()).map(|read| assert_eq!(read, member))
        };
        assert!(read([301, 303]).is_ok());
        assert!(read([303, 301]).is_err() && read([301, 301]).is_err());
    }
}
