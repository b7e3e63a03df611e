//! Godwit's frames, as far as a client that only sends and receives messages needs them.

use super::FrameSizes;
use bytes::{Bytes, BytesMut};
use godwit_proto::{
    ClientMsgId, ConversationId,
    codec::encode_frame,
    v1::{
        AckRequest, ClientFrame, ConversationPosition, EntriesPush, Entry, Message, SendRequest, SendResponse,
        ServerFrame, client_frame::Body, entry::Content, server_frame::Body as Reply,
    },
};
use prost::Message as _;

/// Appends a message for a conversation. `after` is the message before it, if that has no answer yet.
pub fn encode_send(
    request_id: u64,
    conversation: ConversationId,
    id: ClientMsgId,
    after: Option<ClientMsgId>,
    body: Bytes,
    out: &mut BytesMut,
) {
    let request = SendRequest {
        conversation_id: conversation.to_bytes(),
        client_msg_id: id.to_bytes(),
        body,
        content_type: String::new(),
        first_attempt: true,
        after_client_msg_id: after.map(|after| after.to_bytes()).unwrap_or_default(),
        ..SendRequest::default()
    };
    encode_frame(&ClientFrame { request_id, body: Some(Body::Send(request)) }, out);
}

/// Appends what a device has received.
pub fn encode_ack(positions: Vec<ConversationPosition>, out: &mut BytesMut) {
    encode_frame(&ClientFrame { request_id: 0, body: Some(Body::Ack(AckRequest { positions })) }, out);
}

/// How long Godwit's frames are in the middle of a run with bodies of this length.
pub fn frame_sizes(body_bytes: usize) -> FrameSizes {
    // What a conversation and a session have seen decides how long their numbers are.
    const TYPICAL: u64 = 10_000;
    let (id, body) = (ClientMsgId([7; 16]), Bytes::from(vec![0; body_bytes]));
    let conversation_id = Bytes::from_static(&[7; 16]);
    let send = SendRequest {
        conversation_id: conversation_id.clone(),
        client_msg_id: id.to_bytes(),
        body: body.clone(),
        content_type: String::new(),
        first_attempt: true,
        after_client_msg_id: id.to_bytes(),
        ..SendRequest::default()
    };
    let sent_ms = 1_800_000_000_000;
    let accepted = SendResponse { seq: TYPICAL, ordinal: TYPICAL, sent_ms };
    let entry = Entry {
        seq: TYPICAL,
        ordinal: TYPICAL,
        sender_id: u64::MAX,
        sent_ms,
        client_msg_id: id.to_bytes(),
        content: Some(Content::Message(Message { body, ..Message::default() })),
    };
    let push = EntriesPush { conversation_id, entries: vec![entry] };
    FrameSizes {
        send_bytes: ClientFrame { request_id: TYPICAL, body: Some(Body::Send(send)) }.encoded_len(),
        ack_bytes: ServerFrame { request_id: TYPICAL, body: Some(Reply::Send(accepted)) }.encoded_len(),
        push_bytes: ServerFrame { request_id: 0, body: Some(Reply::Entries(push)) }.encoded_len(),
    }
}
