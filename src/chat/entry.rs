//! An entry of a conversation's log, encoded once for the wire, for the disk and for every recipient.

use bytes::Bytes;
use godwit_proto::{ClientMsgId, Seq, UserId, v1};
use prost::Message;

/// What a user sent: opaque to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageBody {
    /// At most `message_bytes_max`.
    pub body: Bytes,
    /// A media type; empty means text.
    pub content_type: String,
}

/// The fields that the server works with, beside the `godwit.v1.Entry` that clients and the store see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Dense from 1.
    pub seq: Seq,
    /// Unread-worthy entries up to and including this one.
    pub ordinal: u64,
    /// Who sent it.
    pub sender: UserId,
    /// The sender's id of it.
    pub client_msg_id: ClientMsgId,
    /// When it was accepted, in milliseconds since the epoch; never less than in the entry before.
    pub sent_ms: u64,
    /// The protobuf encoding of the whole entry.
    pub encoded: Bytes,
}

impl LogEntry {
    /// Encodes an entry. Panics if the entry holds an invalid id, which the server never builds.
    pub fn new(entry: &v1::Entry) -> Self {
        match Self::header(entry, Bytes::from(entry.encode_to_vec())) {
            Ok(entry) => entry,
            Err(error) => unreachable!("the server built an entry with a bad header: {error}"),
        }
    }

    /// Reads an entry back from its encoding, as a store does. Fails when the bytes are no entry.
    pub fn decode(encoded: Bytes) -> Result<Self, prost::DecodeError> {
        let entry = v1::Entry::decode(encoded.clone())?;
        Self::header(&entry, encoded)
    }

    /// The whole entry.
    ///
    /// Panics if `encoded` is no entry; every constructor has checked that it is.
    pub fn to_proto(&self) -> v1::Entry {
        match v1::Entry::decode(self.encoded.clone()) {
            Ok(entry) => entry,
            Err(error) => unreachable!("an encoded entry does not decode: {error}"),
        }
    }

    fn header(entry: &v1::Entry, encoded: Bytes) -> Result<Self, prost::DecodeError> {
        // A header that breaks the rules can only be damage; decoding stops as it would at a broken tag.
        let damaged =
            || v1::Entry::decode(&[0xff_u8][..]).err().unwrap_or_else(|| unreachable!("a lone 0xff is no entry"));
        Ok(Self {
            seq: Seq(entry.seq),
            ordinal: entry.ordinal,
            sender: UserId::new(entry.sender_id).map_err(|_| damaged())?,
            client_msg_id: ClientMsgId::from_slice(&entry.client_msg_id).map_err(|_| damaged())?,
            sent_ms: entry.sent_ms,
            encoded,
        })
    }
}
