//! Frames to clients.

use super::{Mail, Push, ReplyTo, meters::count_refusal};
use crate::chat::{LogEntry, Position, Refusal};
use bytes::{BufMut, Bytes, BytesMut};
use godwit_proto::{
    ConversationId, Seq, UserId, Vshard,
    codec::{self, field_len, put_field_head},
    v1,
    v1::server_frame::Body,
};
use prost::{
    Message,
    encoding::{encode_varint, encoded_len_varint},
};

/// Field numbers that the hand-written encoding of a push uses; a test holds them to the generated code.
const ENTRIES_FIELD: u32 = 16;
const CONVERSATION_FIELD: u32 = 1;
const ENTRY_FIELD: u32 = 2;

/// A reply with its length prefix.
pub fn reply(request_id: u64, body: Body) -> Bytes {
    codec::frame(&v1::ServerFrame { request_id, body: Some(body) })
}

/// The body of an error, which is counted.
pub fn error(refusal: &Refusal) -> Body {
    count_refusal(refusal);
    Body::Error(v1::Error {
        code: refusal.code.into(),
        message: refusal.message.clone(),
        retry_after_ms: refusal.retry_after_ms,
    })
}

/// A reply on its way to the core of its session; `None` where none is wanted.
pub fn mail_reply(to: &ReplyTo, body: Body, known: Option<(ConversationId, Seq)>) -> Option<Mail> {
    let (session, channel) = (to.at.session, to.channel);
    (to.request_id != 0).then(|| Mail::Reply { session, channel, frame: reply(to.request_id, body), known })
}

/// The push of one entry. The entry's own encoding is copied, not made again.
pub fn push_entry(conversation: ConversationId, entry: &LogEntry) -> Push {
    let id = conversation.as_bytes();
    let inner = field_len(CONVERSATION_FIELD, id.len()) + field_len(ENTRY_FIELD, entry.encoded.len());
    let length = field_len(ENTRIES_FIELD, inner);
    let mut out = BytesMut::with_capacity(encoded_len_varint(length as u64) + length);
    encode_varint(length as u64, &mut out);
    put_field_head(ENTRIES_FIELD, inner, &mut out);
    put_field_head(CONVERSATION_FIELD, id.len(), &mut out);
    out.put_slice(id);
    put_field_head(ENTRY_FIELD, entry.encoded.len(), &mut out);
    out.put_slice(&entry.encoded);
    let (until_ms, deliver_by_ms) = (entry.until_ms, entry.deliver_by_ms);
    let frame = out.freeze();
    Push { conversation, seq: entry.seq, until_ms, deliver_by_ms, is_datagram: false, frame }
}

/// A datagram that says that somebody is typing, or, with 0, is not any more.
pub fn typing(conversation: ConversationId, user: UserId, lasts_ms: u32) -> Bytes {
    let push = v1::TypingPush { conversation_id: conversation.to_bytes(), user_id: user.as_u64(), lasts_ms };
    v1::ServerFrame { request_id: 0, body: Some(Body::Typing(push)) }.encode_to_vec().into()
}

/// The push of a read position.
pub fn push_read(conversation: ConversationId, position: Position) -> Push {
    let read = v1::ReadPush {
        conversation_id: conversation.to_bytes(),
        read_seq: position.seq.as_u64(),
        read_ordinal: position.ordinal,
    };
    Push::of(conversation, reply(0, Body::Read(read)))
}

/// The lane of a conversation, always the same among as many.
pub fn lane_of(conversation: ConversationId, lanes: u32) -> u32 {
    // The low bits choose the core, so the lane is taken from above them.
    u32::from(Vshard::of_conversation(conversation).index() >> 8) % lanes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use godwit_proto::ClientMsgId;

    #[test]
    fn a_push_by_hand_is_what_the_generated_code_would_write() {
        let user = UserId::new(5).unwrap();
        let conversation = ConversationId::direct(user, UserId::new(9).unwrap());
        for length in [0, 1, 100, 127, 128, 5_000, 30_000] {
            let message = v1::Message {
                body: vec![b'x'; length].into(),
                content_type: String::new(),
                scheduled: false,
                ..v1::Message::default()
            };
            let entry = v1::Entry {
                seq: 300,
                ordinal: 299,
                sender_id: user.as_u64(),
                sent_ms: 1_700_000_000_000,
                client_msg_id: ClientMsgId([7; 16]).to_bytes(),
                content: Some(v1::entry::Content::Message(message)),
            };
            let push = push_entry(conversation, &LogEntry::new(&entry));
            let body = v1::EntriesPush { conversation_id: conversation.to_bytes(), entries: vec![entry] };
            let expected = v1::ServerFrame { request_id: 0, body: Some(Body::Entries(body)) };
            assert_eq!(push.frame, expected.encode_length_delimited_to_vec());
        }
    }
}
