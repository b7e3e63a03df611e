//! Requests about scheduled messages off the wire, checked.

use super::{
    ScheduledMessage,
    message::{REPORT_KEPT_MS, key},
    series,
};
use crate::{
    chat::{MessageBody, Refusal},
    router::{Limits, parse},
    store::{TimerId, TimerKey, TimerKind},
};
use bytes::Bytes;
use godwit_proto::{
    ClientMsgId, ConversationId, ConversationKind, UserId,
    v1::{self, ErrorCode},
};

/// What an author may ask of one scheduled message.
#[derive(Debug, Clone, PartialEq)]
pub enum ScheduleRequest {
    /// Send this later.
    Create(ScheduledMessage),
    /// Send it with another text or at another time.
    Change {
        /// Which.
        id: ClientMsgId,
        /// `None`: as it is.
        body: Option<Bytes>,
        /// `None`: as it is.
        content_type: Option<String>,
        /// Milliseconds since the epoch; `None`: as it is.
        due_ms: Option<u64>,
        /// `None`: as it is. Without a rule: it is sent once.
        recurrence: Option<v1::Recurrence>,
    },
    /// Do not send it.
    Cancel(ClientMsgId),
    /// Send it now; a series under this `client_msg_id`.
    SendNow(ClientMsgId, Option<ClientMsgId>),
}

impl ScheduleRequest {
    /// The timer of the one that it is about.
    pub fn key(&self, author: UserId) -> TimerKey {
        let id = match self {
            Self::Create(message) => message.id,
            Self::Change { id, .. } | Self::Cancel(id) | Self::SendNow(id, _) => *id,
        };
        key(TimerKind::SCHEDULED_SEND, author, id)
    }
}

pub fn create(
    now_ms: u64,
    request: v1::ScheduleRequest,
    author: UserId,
    limits: &Limits,
) -> Result<ScheduleRequest, Refusal> {
    let conversation = parse::conversation_id(&request.conversation_id)?;
    if let ConversationKind::Direct(low, high) = conversation.kind()
        && ![low, high].contains(&author)
    {
        return Err(parse::no_member());
    }
    let content = MessageBody { body: request.body, content_type: request.content_type };
    parse::message_body(&content, limits)?;
    due(now_ms, request.due_ms, limits)?;
    let recurrence = request.recurrence.map(|asked| series::begin(asked, request.due_ms, &limits.schedule));
    Ok(ScheduleRequest::Create(ScheduledMessage {
        id: parse::client_msg_id(&request.schedule_id)?,
        author,
        conversation,
        content,
        due_ms: request.due_ms,
        created_ms: now_ms,
        revision: 1,
        failure: None,
        recurrence: recurrence.transpose()?.flatten(),
    }))
}

pub fn change(now_ms: u64, request: v1::ChangeScheduledRequest, limits: &Limits) -> Result<ScheduleRequest, Refusal> {
    let v1::ChangeScheduledRequest { schedule_id: id, body, content_type, due_ms, recurrence } = request;
    if body.is_none() && content_type.is_none() && due_ms.is_none() && recurrence.is_none() {
        return Err(parse::invalid("a change has a body, a content_type, a due_ms or a recurrence"));
    }
    let content =
        MessageBody { body: body.clone().unwrap_or_default(), content_type: content_type.clone().unwrap_or_default() };
    parse::message_body(&content, limits)?;
    due_ms.map_or(Ok(()), |due_ms| due(now_ms, due_ms, limits))?;
    Ok(ScheduleRequest::Change { id: schedule_id(&id)?, body, content_type, due_ms, recurrence })
}

pub fn send_now(request: &v1::SendScheduledRequest) -> Result<ScheduleRequest, Refusal> {
    let client_msg_id = match request.client_msg_id.is_empty() {
        true => None,
        false => Some(parse::client_msg_id(&request.client_msg_id)?),
    };
    Ok(ScheduleRequest::SendNow(schedule_id(&request.schedule_id)?, client_msg_id))
}

pub fn schedule_id(bytes: &Bytes) -> Result<ClientMsgId, Refusal> {
    parse::client_msg_id(bytes)
}

/// A time that has passed by no more than the allowed lateness is a request that took long, or was repeated.
pub fn due(now_ms: u64, due_ms: u64, limits: &Limits) -> Result<(), Refusal> {
    let limits = &limits.schedule;
    let message = match due_ms {
        _ if due_ms > now_ms.saturating_add(limits.ahead_ms_max) => "that is too far ahead",
        _ if due_ms.saturating_add(limits.late_ms_max) < now_ms => "that time has passed",
        _ => return Ok(()),
    };
    Err(Refusal::new(ErrorCode::DueOutOfRange, message))
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPage {
    pub conversation: Option<ConversationId>,
    pub kind: TimerKind,
    pub after: Option<(u64, TimerId)>,
    pub limit: usize,
}

pub fn list(request: &v1::ListScheduledRequest, limits: &Limits) -> Result<ListPage, Refusal> {
    let conversation = match request.conversation_id.is_empty() {
        true => None,
        false => Some(parse::conversation_id(&request.conversation_id)?),
    };
    let after = match request.after_schedule_id.is_empty() {
        true => None,
        false => {
            let kept_ms = if request.failed { REPORT_KEPT_MS } else { 0 };
            let id = TimerId(parse::client_msg_id(&request.after_schedule_id)?.0);
            Some((request.after_due_ms.saturating_add(kept_ms), id))
        }
    };
    let kind = if request.failed { TimerKind::SCHEDULE_FAILED } else { TimerKind::SCHEDULED_SEND };
    let limit = parse::page_size(request.limit, limits.schedule.per_page_max, "list")?;
    Ok(ListPage { conversation, kind, after, limit })
}
