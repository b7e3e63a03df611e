//! Requests off the wire, checked: what comes out of here cannot be invalid.

use super::Limits;
use crate::{
    chat::{Action, Expiry, MessageBody, NewMessage, Refusal, Sanction, SentBy},
    store::{Direction, PageLimit},
};
use bytes::Bytes;
use godwit_proto::{ClientMsgId, ConversationId, ConversationKind, DeviceId, Seq, UserId, v1, v1::ErrorCode};

const NAME_BYTES_MAX: usize = 64;
const TITLE_BYTES_MAX: usize = 128;
const CONTENT_TYPE_BYTES_MAX: usize = 64;
/// A message that is gone before anybody can have read it is a mistake.
const EXPIRY_AFTER_MS_MIN: u64 = 1_000;

/// A field that is missing or out of its range.
#[expect(clippy::needless_pass_by_value, reason = "it is handed to map_err, which passes errors by value")]
pub fn invalid(message: impl ToString) -> Refusal {
    Refusal::new(ErrorCode::InvalidArgument, message.to_string())
}

pub fn conversation_id(bytes: &Bytes) -> Result<ConversationId, Refusal> {
    ConversationId::from_slice(bytes).map_err(invalid)
}

pub fn client_msg_id(bytes: &Bytes) -> Result<ClientMsgId, Refusal> {
    ClientMsgId::from_slice(bytes).map_err(invalid)
}

pub fn device_id(bytes: &Bytes) -> Result<DeviceId, Refusal> {
    DeviceId::from_slice(bytes).map_err(invalid)
}

pub fn user_ids(raw: &[u64], limits: &Limits) -> Result<Vec<UserId>, Refusal> {
    if raw.len() > limits.users_per_request_max {
        return Err(invalid(format!("at most {} users in one request", limits.users_per_request_max)));
    }
    raw.iter().map(|&raw| UserId::new(raw).map_err(invalid)).collect()
}

pub fn short_name(field: &str, name: &str) -> Result<(), Refusal> {
    if name.len() > NAME_BYTES_MAX {
        return Err(invalid(format!("{field} has at most {NAME_BYTES_MAX} bytes")));
    }
    if name.chars().any(char::is_control) {
        return Err(invalid(format!("{field} holds a control character")));
    }
    Ok(())
}

pub fn send(now_ms: u64, request: v1::SendRequest, limits: &Limits) -> Result<(ConversationId, Action), Refusal> {
    let conversation = conversation_id(&request.conversation_id)?;
    let content = MessageBody { body: request.body, content_type: request.content_type };
    message_body(&content, limits)?;
    let after = match request.after_client_msg_id.is_empty() {
        true => None,
        false => Some(client_msg_id(&request.after_client_msg_id)?),
    };
    if request.deliver_by_ms > now_ms.saturating_add(limits.expiry_after_ms_max) {
        return Err(invalid(format!("deliver_by_ms is at most {} ms ahead", limits.expiry_after_ms_max)));
    }
    let message = NewMessage {
        client_msg_id: client_msg_id(&request.client_msg_id)?,
        // The frame that it came in is let go of; the body alone lives on.
        content,
        first_attempt: request.first_attempt,
        after,
        by: SentBy::Hand,
        expiry: request.expiry.map(|expiry| self::expiry(expiry, limits)).transpose()?,
        deliver_by_ms: request.deliver_by_ms,
    };
    Ok((conversation, Action::Send(message)))
}

/// What a message may say.
pub fn message_body(content: &MessageBody, limits: &Limits) -> Result<(), Refusal> {
    if content.body.len() > limits.message_bytes_max {
        let message = format!("a body has at most {} bytes", limits.message_bytes_max);
        return Err(Refusal::new(ErrorCode::MessageTooLarge, message));
    }
    if content.content_type.len() > CONTENT_TYPE_BYTES_MAX {
        return Err(invalid(format!("content_type has at most {CONTENT_TYPE_BYTES_MAX} bytes")));
    }
    Ok(())
}

/// When messages disappear.
fn expiry(expiry: v1::Expiry, limits: &Limits) -> Result<Expiry, Refusal> {
    if expiry.after_ms > 0 && !(EXPIRY_AFTER_MS_MIN..=limits.expiry_after_ms_max).contains(&expiry.after_ms) {
        let range = format!("{EXPIRY_AFTER_MS_MIN} to {}", limits.expiry_after_ms_max);
        return Err(invalid(format!("the after_ms of an expiry is 0, or {range}")));
    }
    Ok(Expiry::from_proto(expiry))
}

pub fn set_expiry(request: &v1::SetExpiryRequest, limits: &Limits) -> Result<(ConversationId, Action), Refusal> {
    let wanted = request.expiry.ok_or_else(|| invalid("expiry is missing"))?;
    let action =
        Action::SetExpiry { client_msg_id: client_msg_id(&request.client_msg_id)?, expiry: expiry(wanted, limits)? };
    Ok((conversation_id(&request.conversation_id)?, action))
}

/// Not a member, or no such conversation.
pub fn no_member() -> Refusal {
    Refusal::new(ErrorCode::NotAMember, "you are no member of this conversation, or there is none")
}

/// The id comes later: it is made from the creator and the `client_msg_id`.
pub fn create_group(request: v1::CreateGroupRequest, limits: &Limits) -> Result<Action, Refusal> {
    if request.title.is_empty() || request.title.len() > TITLE_BYTES_MAX {
        return Err(invalid(format!("title has 1 to {TITLE_BYTES_MAX} bytes")));
    }
    if request.title.chars().any(char::is_control) {
        return Err(invalid("title holds a control character"));
    }
    Ok(Action::CreateGroup {
        client_msg_id: client_msg_id(&request.client_msg_id)?,
        members: user_ids(&request.member_ids, limits)?,
        title: request.title,
    })
}

pub fn add_members(request: &v1::AddMembersRequest, limits: &Limits) -> Result<(ConversationId, Action), Refusal> {
    let action = Action::AddMembers {
        client_msg_id: client_msg_id(&request.client_msg_id)?,
        members: user_ids(&request.user_ids, limits)?,
    };
    Ok((conversation_id(&request.conversation_id)?, action))
}

pub fn remove_member(request: &v1::RemoveMemberRequest) -> Result<(ConversationId, Action), Refusal> {
    let action = Action::RemoveMember {
        client_msg_id: client_msg_id(&request.client_msg_id)?,
        member: UserId::new(request.user_id).map_err(invalid)?,
    };
    Ok((conversation_id(&request.conversation_id)?, action))
}

pub fn mute_member(request: &v1::MuteMemberRequest) -> Result<(ConversationId, Action), Refusal> {
    let action = Action::Sanction {
        client_msg_id: client_msg_id(&request.client_msg_id)?,
        sanction: Sanction::Mute,
        user: UserId::new(request.user_id).map_err(invalid)?,
        until_ms: request.until_ms,
    };
    Ok((conversation_id(&request.conversation_id)?, action))
}

pub fn ban_member(request: &v1::BanMemberRequest) -> Result<(ConversationId, Action), Refusal> {
    let action = Action::Sanction {
        client_msg_id: client_msg_id(&request.client_msg_id)?,
        sanction: Sanction::Ban,
        user: UserId::new(request.user_id).map_err(invalid)?,
        until_ms: request.until_ms,
    };
    Ok((conversation_id(&request.conversation_id)?, action))
}

pub fn leave(request: &v1::LeaveRequest, user: UserId) -> Result<(ConversationId, Action), Refusal> {
    let action = Action::RemoveMember { client_msg_id: client_msg_id(&request.client_msg_id)?, member: user };
    Ok((conversation_id(&request.conversation_id)?, action))
}

pub fn mark_read(request: &v1::MarkReadRequest) -> Result<(ConversationId, Action), Refusal> {
    Ok((conversation_id(&request.conversation_id)?, Action::MarkRead(Seq(request.seq))))
}

/// A page of history.
#[derive(Debug, Clone, Copy)]
pub struct HistoryPage {
    pub conversation: ConversationId,
    pub from: Seq,
    pub direction: Direction,
    pub limit: PageLimit,
}

pub fn history(request: &v1::HistoryRequest, limits: &Limits) -> Result<HistoryPage, Refusal> {
    let direction = match request.direction() {
        v1::Direction::Forward => Direction::Forward,
        v1::Direction::Backward => Direction::Backward,
        v1::Direction::Unspecified => return Err(invalid("direction is forward or backward")),
    };
    let entries = page_size(request.limit, limits.history_entries_max, "history")?;
    let from = match (direction, request.from_seq) {
        (Direction::Backward, 0) => Seq(u64::MAX),
        (_, seq) => Seq(seq).max(Seq::FIRST),
    };
    let limit = PageLimit { entries, bytes: limits.page_bytes() };
    Ok(HistoryPage { conversation: conversation_id(&request.conversation_id)?, from, direction, limit })
}

/// 0 means the maximum.
pub fn page_size(limit: u32, limit_max: usize, what: &str) -> Result<usize, Refusal> {
    match limit as usize {
        0 => Ok(limit_max),
        limit if limit <= limit_max => Ok(limit),
        _ => Err(invalid(format!("the limit of a {what} page is at most {limit_max}"))),
    }
}

/// What a client holds, ascending.
#[derive(Debug)]
pub struct SyncPage {
    pub after: Option<ConversationId>,
    pub known: Vec<(ConversationId, Seq, Seq)>,
    pub known_continues: bool,
}

pub fn sync(request: &v1::SyncRequest, limits: &Limits) -> Result<SyncPage, Refusal> {
    let after = match request.after.is_empty() {
        true => None,
        false => Some(conversation_id(&request.after)?),
    };
    if request.known.len() > limits.conversations_per_page_max {
        return Err(invalid(format!("at most {} known conversations", limits.conversations_per_page_max)));
    }
    if request.known_continues && request.known.is_empty() {
        return Err(invalid("known_continues needs at least one known conversation"));
    }
    let mut known = Vec::with_capacity(request.known.len());
    let mut previous = after;
    for item in &request.known {
        let id = conversation_id(&item.conversation_id)?;
        if previous.is_some_and(|previous| id <= previous) {
            return Err(invalid("known conversations are ascending and come after `after`"));
        }
        previous = Some(id);
        known.push((id, Seq(item.seq), Seq(item.read_seq)));
    }
    Ok(SyncPage { after, known, known_continues: request.known_continues })
}

/// Who may be asked for, by a direct conversation or by name.
pub fn group_only(conversation: ConversationId) -> Result<(), Refusal> {
    match conversation.kind() {
        ConversationKind::Group => Ok(()),
        ConversationKind::Direct(..) => Err(invalid("a direct conversation's members are in its id")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use prost::{Message, encoding};

    #[test]
    fn a_client_cannot_say_that_a_schedule_sent_its_message() {
        let request = v1::SendRequest {
            conversation_id: ConversationId::group([1; 16]).to_bytes(),
            client_msg_id: ClientMsgId([2; 16]).to_bytes(),
            body: "hello".into(),
            ..v1::SendRequest::default()
        };
        let mut bytes = request.encode_to_vec();
        // Whatever field it hopes for.
        (9..=64).for_each(|field| encoding::bool::encode(field, &true, &mut bytes));
        let (_, action) = send(0, v1::SendRequest::decode(&*bytes).unwrap(), &Limits::default()).unwrap();
        let Action::Send(message) = action else { unreachable!("a send is a send") };
        assert_eq!((message.by, &message.content.body[..]), (SentBy::Hand, &b"hello"[..]));
    }
}
