//! Messages that the server sends later.

use crate::{Client, RequestError, Sent, client::random_msg_id};
use bytes::Bytes;
use godwit_proto::{
    ClientMsgId, ConversationId, Seq,
    v1::{self, client_frame::Body, server_frame::Body as Reply},
};

impl Client {
    /// Has the server send a text message at `due_ms`; see [`schedule_with`](Self::schedule_with).
    pub async fn schedule(
        &self,
        conversation: ConversationId,
        body: impl Into<Bytes>,
        due_ms: u64,
    ) -> Result<v1::ScheduledMessage, RequestError> {
        self.schedule_with(conversation, body, due_ms, ScheduleOptions::default()).await
    }

    /// Has the server send a message at `due_ms`: milliseconds since 1970-01-01 UTC, by the server's clock. The answer
    /// means that this is durable; the message is sent once, never before that time, and whoever is online then. It has
    /// no order with messages that are sent.
    ///
    /// The id goes with every repetition of the request, so that what is scheduled twice is sent once. It becomes the
    /// `client_msg_id` of the entry, unless it is sent again and again.
    pub async fn schedule_with(
        &self,
        conversation: ConversationId,
        body: impl Into<Bytes>,
        due_ms: u64,
        options: ScheduleOptions,
    ) -> Result<v1::ScheduledMessage, RequestError> {
        let ScheduleOptions { schedule_id, content_type, repeat } = options;
        let body = body.into();
        self.fits(&body, &content_type).map_err(RequestError::Refused)?;
        let request = v1::ScheduleRequest {
            schedule_id: schedule_id.unwrap_or_else(random_msg_id).to_bytes(),
            conversation_id: conversation.to_bytes(),
            body,
            content_type,
            due_ms,
            recurrence: repeat.map(Repeat::into_proto),
        };
        self.ask_scheduled(Body::Schedule(request)).await
    }

    /// Changes a message that is not sent yet. One that could not be sent is scheduled anew.
    ///
    /// [`ScheduleNotFound`](v1::ErrorCode::ScheduleNotFound): it was sent or cancelled, or never was.
    pub async fn change_scheduled(
        &self,
        schedule_id: ClientMsgId,
        change: ScheduleChange,
    ) -> Result<v1::ScheduledMessage, RequestError> {
        let ScheduleChange { body, content_type, due_ms, repeat } = change;
        self.fits(body.as_deref().unwrap_or_default(), content_type.as_deref().unwrap_or_default())
            .map_err(RequestError::Refused)?;
        let recurrence = repeat.map(|repeat| repeat.map(Repeat::into_proto).unwrap_or_default());
        let schedule_id = schedule_id.to_bytes();
        let request = v1::ChangeScheduledRequest { schedule_id, body, content_type, due_ms, recurrence };
        self.ask_scheduled(Body::ChangeScheduled(request)).await
    }

    /// Takes a scheduled message back, and a whole series. Afterwards it is cancelled or sent: if it was sent, its entry is in the log. One that
    /// is not there is no error.
    pub async fn cancel_scheduled(&self, schedule_id: ClientMsgId) -> Result<(), RequestError> {
        let request = v1::CancelScheduledRequest { schedule_id: schedule_id.to_bytes() };
        expect!(self.ask(Body::CancelScheduled(request)).await?, CancelScheduled).map(drop)
    }

    /// Has a scheduled message sent at once; a series goes on as it would have without this. Its entry follows as [`Event::Entry`](crate::Event::Entry).
    ///
    /// [`ScheduleNotFound`](v1::ErrorCode::ScheduleNotFound): it was sent or cancelled, or never was. If the connection was
    /// lost meanwhile, that it was sent may have been the work of this very call.
    pub async fn send_scheduled(&self, schedule_id: ClientMsgId) -> Result<Sent, RequestError> {
        let client_msg_id = random_msg_id().to_bytes();
        let request = v1::SendScheduledRequest { schedule_id: schedule_id.to_bytes(), client_msg_id };
        let sent = expect!(self.ask(Body::SendScheduled(request)).await?, Send)?;
        Ok(Sent { seq: Seq(sent.seq), ordinal: sent.ordinal, sent_ms: sent.sent_ms })
    }

    /// A page of what the user has scheduled on all devices, in the order in which it is due: after the last one of the page
    /// before, or the first page. `limit` 0 asks for as many as the server gives.
    pub async fn list_scheduled(
        &self,
        filter: ScheduledFilter,
        limit: u32,
        after: Option<&v1::ScheduledMessage>,
    ) -> Result<v1::ListScheduledResponse, RequestError> {
        let request = v1::ListScheduledRequest {
            conversation_id: filter.conversation.map(ConversationId::to_bytes).unwrap_or_default(),
            failed: filter.failed,
            after_due_ms: after.map_or(0, |last| last.due_ms),
            after_schedule_id: after.map_or_else(Bytes::new, |last| last.schedule_id.clone()),
            limit,
        };
        expect!(self.ask_bulk(Body::ListScheduled(request)).await?, ListScheduled)
    }

    async fn ask_scheduled(&self, body: Body) -> Result<v1::ScheduledMessage, RequestError> {
        expect!(self.ask(body).await?, Schedule)?.scheduled.ok_or(RequestError::Protocol)
    }
}

/// What a scheduled message may have besides its body and its time.
#[derive(Debug, Clone, Default)]
pub struct ScheduleOptions {
    /// The id that makes scheduling it again harmless; a random one when `None`. Choose it to remember the message across
    /// runs of the application.
    pub schedule_id: Option<ClientMsgId>,
    /// A media type of at most 64 bytes; empty for text.
    pub content_type: String,
    /// Set to have it sent again and again.
    pub repeat: Option<Repeat>,
}

/// When a scheduled message is sent again. The first time is its due time; the rule must give that, too.
///
/// It is counted on the clock of the time zone: 09:00 stays 09:00 across daylight saving.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeat {
    /// A rule of iCalendar (RFC 5545), like `FREQ=WEEKLY;BYDAY=MO,TH`.
    pub rrule: String,
    /// A name of the IANA time zone database, like `Europe/Berlin`.
    pub time_zone: String,
}

impl Repeat {
    fn into_proto(self) -> v1::Recurrence {
        v1::Recurrence { rrule: self.rrule, time_zone: self.time_zone, ..v1::Recurrence::default() }
    }
}

/// What [`Client::change_scheduled`] changes. `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScheduleChange {
    /// What it says.
    pub body: Option<Bytes>,
    /// A media type of at most 64 bytes; empty for text.
    pub content_type: Option<String>,
    /// When it is sent: milliseconds since 1970-01-01 UTC.
    pub due_ms: Option<u64>,
    /// When it is sent again; `Some(None)` for once only. A new rule or a new time begins a new series.
    pub repeat: Option<Option<Repeat>>,
}

/// Which scheduled messages [`Client::list_scheduled`] lists. By default all that will be sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScheduledFilter {
    /// Only those of this conversation.
    pub conversation: Option<ConversationId>,
    /// Those that were due and could not be sent, instead of those that will be.
    pub failed: bool,
}
