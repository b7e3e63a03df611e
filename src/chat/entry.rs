//! An entry of a conversation's log, encoded once for the wire, for the disk and for every recipient.

use bytes::Bytes;
use godwit_proto::{
    ClientMsgId, Seq, UserId,
    v1::{self, WithdrawnReason, entry::Content},
};
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
    /// From this moment on it is not handed out as it is: a message may expire, or its delivery end. [`NEVER_MS`]: always.
    pub until_ms: u64,
    /// When its delivery ends; 0: it does not, or has.
    pub deliver_by_ms: u64,
    /// It is a message whose delivery has ended: not every member may see it.
    pub delivery_ended: bool,
    /// Whether there is something to show: markers of withdrawn messages, and entries that only speak of such, have nothing.
    pub is_shown: bool,
    /// The protobuf encoding of the whole entry.
    pub encoded: Bytes,
}

/// A time that does not come.
pub const NEVER_MS: u64 = u64::MAX;

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

    /// What stands in the place of a message that was withdrawn. What is no message stays as it is.
    pub fn withdrawn(&self, reason: WithdrawnReason) -> Self {
        let mut entry = self.to_proto();
        withdraw(&mut entry, reason);
        Self::new(&entry)
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
            until_ms: until_ms(entry),
            deliver_by_ms: deliver_by_ms(entry),
            delivery_ended: matches!(&entry.content, Some(Content::Message(message)) if message.delivery_ended),
            is_shown: is_shown(entry),
            encoded,
        })
    }
}

fn deliver_by_ms(entry: &v1::Entry) -> u64 {
    match &entry.content {
        Some(Content::Message(message)) if !message.delivery_ended => message.deliver_by_ms,
        _ => 0,
    }
}

fn until_ms(entry: &v1::Entry) -> u64 {
    let Some(Content::Message(message)) = &entry.content else { return NEVER_MS };
    [message.expires_ms, deliver_by_ms(entry)].into_iter().filter(|at_ms| *at_ms > 0).min().unwrap_or(NEVER_MS)
}

fn is_shown(entry: &v1::Entry) -> bool {
    !matches!(&entry.content, Some(Content::Withdrawn(_) | Content::Expired(_) | Content::Undelivered(_)))
}

/// Puts a marker in the place of a message.
pub fn withdraw(entry: &mut v1::Entry, reason: WithdrawnReason) {
    if let Some(Content::Message(message)) = &entry.content {
        let scheduled = message.scheduled;
        entry.content = Some(Content::Withdrawn(v1::Withdrawn { reason: reason.into(), scheduled }));
    }
}
