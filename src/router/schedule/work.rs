//! What requests about scheduled messages do with the store.

use super::{
    BUSY_RETRY_MS, ScheduleCompletion, ScheduleRequest, ScheduledMessage, message::key, request::ListPage, series,
};
use crate::{
    chat::{MessageBody, Refusal},
    router::{ReplyTo, ScheduleLimits, parse, queries::Answer, services::refusal},
    store::{Store, StoreError, TimerChange, TimerKey, TimerKind, TimerOutcome, TimerOwner, TimerRow},
};
use godwit_proto::{
    ClientMsgId, ConversationId, ConversationKind, UserId,
    v1::{self, ErrorCode, server_frame::Body},
};
use prost::Message;
use std::sync::Arc;

/// One request, with what it needs to know.
#[derive(Debug)]
pub struct Work {
    pub now_ms: u64,
    pub user: UserId,
    pub reply_to: ReplyTo,
    pub request: ScheduleRequest,
    /// New ones of the same user that are being written and that the store may not count yet.
    pub others: usize,
    pub limits: ScheduleLimits,
}

/// What a request came to. It is durable.
#[derive(Debug)]
pub enum Done {
    /// It is new, or changed.
    Saved(ScheduledMessage),
    /// It was there before.
    Unchanged(ScheduledMessage),
    /// It is gone; what it was, if it was there.
    Cancelled(Option<ScheduledMessage>),
    /// Nothing yet: this is what is to be sent now, under this `client_msg_id`.
    Send(ClientMsgId, ScheduledMessage),
}

impl Work {
    /// Nothing else is done to the same message meanwhile.
    pub async fn run(self, store: Arc<dyn Store>) -> ScheduleCompletion {
        let result = match &self.request {
            ScheduleRequest::Create(message) => self.create(&*store, message).await,
            ScheduleRequest::Change { id, .. } => self.change(&*store, *id).await,
            ScheduleRequest::Cancel(id) => self.cancel(&*store, *id).await,
            ScheduleRequest::SendNow(id, extra) => self.find(&*store, *id).await.and_then(|(pending, _)| {
                let message = pending.ok_or_else(not_found)?;
                match (&message.recurrence, extra) {
                    (None, _) => Ok(Done::Send(message.id, message)),
                    (Some(_), Some(extra)) => Ok(Done::Send(*extra, message)),
                    (Some(_), None) => Err(parse::invalid("to send one of a series takes a client_msg_id")),
                }
            }),
        };
        ScheduleCompletion::Requested(Box::new((self, result)))
    }

    async fn create(&self, store: &dyn Store, message: &ScheduledMessage) -> Result<Done, Refusal> {
        if let (Some(known), _) | (None, Some(known)) = self.find(store, message.id).await? {
            return Ok(Done::Unchanged(known));
        }
        check_member(store, message.conversation, self.user).await?;
        self.check_room(store).await?;
        write(store, vec![TimerChange::Put(pending_row(message))]).await?;
        Ok(Done::Saved(message.clone()))
    }

    /// One more may wait to be sent.
    async fn check_room(&self, store: &dyn Store) -> Result<(), Refusal> {
        let owner = TimerOwner::User(self.user);
        let counted = store.count_timers(TimerKind::SCHEDULED_SEND, owner).await.map_err(|error| refusal(&error))?;
        let count = usize::try_from(counted).unwrap_or(usize::MAX).saturating_add(self.others);
        if count >= self.limits.per_user_max {
            let message = format!("at most {} scheduled messages", self.limits.per_user_max);
            return Err(Refusal::new(ErrorCode::TooManyScheduled, message));
        }
        Ok(())
    }

    async fn change(&self, store: &dyn Store, id: ClientMsgId) -> Result<Done, Refusal> {
        let ScheduleRequest::Change { body, content_type, due_ms, recurrence, .. } = &self.request else {
            unreachable!("only a change comes here")
        };
        let (pending, failed) = self.find(store, id).await?;
        let (has_failed, is_pending) = (failed.is_some(), pending.is_some());
        let was_sent = match &pending {
            Some(pending) => self.was_sent(store, pending).await?,
            None => false,
        };
        let Some(known) = pending.or(failed) else { return Err(not_found()) };
        let was_series = known.recurrence.is_some();
        if was_sent && !was_series {
            self.remove(store, id).await?;
            return Err(not_found());
        }
        let due = due_ms.unwrap_or(known.due_ms);
        let recurrence = match recurrence.as_ref().or(known.recurrence.as_ref().filter(|_| due_ms.is_some())) {
            Some(asked) => series::begin(asked.clone(), due, &self.limits)?,
            None => known.recurrence.map(|told| v1::Recurrence { missed: 0, ..told }),
        };
        let changed = ScheduledMessage {
            content: MessageBody {
                body: body.clone().unwrap_or(known.content.body),
                content_type: content_type.clone().unwrap_or(known.content.content_type),
            },
            due_ms: due,
            recurrence,
            revision: known.revision.saturating_add(1),
            failure: None,
            ..known
        };
        // Under another id it would be sent once more: first the series moves on.
        if was_sent && changed.recurrence.is_none() {
            return Err(Refusal::retry(ErrorCode::Overloaded, "it is due and being sent", BUSY_RETRY_MS));
        }
        // One that failed is not sent again merely because its text was mended.
        if changed.due_ms.saturating_add(self.limits.late_ms_max) < self.now_ms {
            return Err(Refusal::new(ErrorCode::DueOutOfRange, "the time that it was due has passed"));
        }
        if !is_pending {
            self.check_room(store).await?;
        }
        write(store, vec![TimerChange::Put(pending_row(&changed))]).await?;
        // Only now: of two changes in one batch, the second may be durable and the first not.
        if has_failed {
            write(store, vec![TimerChange::Remove(key(TimerKind::SCHEDULE_FAILED, self.user, id))]).await?;
        }
        Ok(Done::Saved(changed))
    }

    async fn cancel(&self, store: &dyn Store, id: ClientMsgId) -> Result<Done, Refusal> {
        let (pending, failed) = self.find(store, id).await?;
        if let Some(pending) = &pending {
            // Whether it was or not, it is not sent from now on.
            self.was_sent(store, pending).await?;
        }
        let Some(known) = pending.or(failed) else { return Ok(Done::Cancelled(None)) };
        self.remove(store, id).await?;
        Ok(Done::Cancelled(Some(known)))
    }

    /// Takes it out of both lists.
    async fn remove(&self, store: &dyn Store, id: ClientMsgId) -> Result<(), Refusal> {
        let of = |kind| TimerChange::Remove(key(kind, self.user, id));
        write(store, [TimerKind::SCHEDULED_SEND, TimerKind::SCHEDULE_FAILED].map(of).into()).await
    }

    /// Whether it is in the log, although it is still among those that will be sent. An error as long as nobody knows: what was begun
    /// may get there later.
    async fn was_sent(&self, store: &dyn Store, pending: &ScheduledMessage) -> Result<bool, Refusal> {
        let found = store.find_send(pending.conversation, self.user, pending.entry_id()).await;
        found.map(|entry| entry.is_some()).map_err(|error| refusal(&error))
    }

    /// As one that will be sent, and as one that could not be.
    async fn find(
        &self,
        store: &dyn Store,
        id: ClientMsgId,
    ) -> Result<(Option<ScheduledMessage>, Option<ScheduledMessage>), Refusal> {
        let keys: Vec<TimerKey> =
            [TimerKind::SCHEDULED_SEND, TimerKind::SCHEDULE_FAILED].map(|kind| key(kind, self.user, id)).into();
        let rows = store.timers(keys).await.map_err(|error| refusal(&error))?;
        let mut found = rows.into_iter().map(|row| row.as_ref().map(read).transpose());
        let mut next = || found.next().unwrap_or(Ok(None));
        Ok((next()?, next()?))
    }
}

/// A page of what a user has scheduled.
pub async fn list_scheduled(
    store: Arc<dyn Store>,
    user: UserId,
    page: ListPage,
    page_bytes: usize,
) -> Result<Answer, Refusal> {
    let (mut scheduled, mut bytes, mut after) = (Vec::new(), 0, page.after);
    let more = 'pages: loop {
        let rows = store.timers_of(page.kind, TimerOwner::User(user), after, page.limit).await;
        let rows = rows.map_err(|error| refusal(&error))?;
        for row in &rows {
            after = Some((row.due_ms, row.key.id));
            let message = read(row)?;
            if page.conversation.is_some_and(|wanted| wanted != message.conversation) {
                continue;
            }
            let line = message.to_proto();
            bytes += line.encoded_len() + LINE_BYTES;
            if scheduled.len() == page.limit || (bytes > page_bytes && !scheduled.is_empty()) {
                break 'pages true;
            }
            scheduled.push(line);
        }
        if rows.len() < page.limit {
            break false;
        }
    };
    Ok((Body::ListScheduled(v1::ListScheduledResponse { scheduled, more }), None))
}

/// Takes one that was sent out of the list of those that will be, or moves it on to when it is due again.
pub async fn settle(store: Arc<dyn Store>, pending: TimerKey, change: TimerChange) -> Result<(), Refusal> {
    // It may have failed before: it was changed since, or its author became a member again before that was all written.
    let report = TimerKey { kind: TimerKind::SCHEDULE_FAILED, ..pending };
    let rows = store.timers(vec![report]).await.map_err(|error| refusal(&error))?;
    if rows.iter().any(Option::is_some) {
        write(&*store, vec![TimerChange::Remove(report)]).await?;
    }
    write(&*store, vec![change]).await
}

/// Moves one to the list of those that could not be sent.
pub async fn settle_failed(store: Arc<dyn Store>, pending: TimerKey, report: TimerRow) -> Result<(), Refusal> {
    // One after the other: of two changes in one batch, the second may be durable and the first not. A crash in between has it
    // fail once more.
    write(&*store, vec![TimerChange::Put(report)]).await?;
    write(&*store, vec![TimerChange::Remove(pending)]).await
}

/// All of a batch, or what to tell of the first that is not.
fn all_durable(outcomes: Vec<TimerOutcome>) -> Result<(), Refusal> {
    outcomes.into_iter().try_for_each(|outcome| match outcome {
        TimerOutcome::Durable => Ok(()),
        TimerOutcome::NotWritten(error) => Err(refusal(&error)),
        TimerOutcome::Unknown => Err(refusal(&StoreError::Unavailable("the outcome is unknown".into()))),
    })
}

async fn write(store: &dyn Store, changes: Vec<TimerChange>) -> Result<(), Refusal> {
    all_durable(store.put_timers(changes).await)
}

/// As it is kept while it will be sent.
pub fn pending_row(message: &ScheduledMessage) -> TimerRow {
    message.row(TimerKind::SCHEDULED_SEND, message.due_ms)
}

fn read(row: &TimerRow) -> Result<ScheduledMessage, Refusal> {
    ScheduledMessage::from_row(row).map_err(|error| {
        tracing::error!(key = ?row.key, %error, "a scheduled message cannot be read");
        Refusal::new(ErrorCode::Internal, "it cannot be read")
    })
}

fn not_found() -> Refusal {
    Refusal::new(ErrorCode::ScheduleNotFound, "it was sent or cancelled, or there never was one")
}

/// Whether the user may write there now. It is asked again when it is due.
async fn check_member(store: &dyn Store, conversation: ConversationId, user: UserId) -> Result<(), Refusal> {
    match conversation.kind() {
        ConversationKind::Group => {
            let summaries = store.summaries(vec![(conversation, user)]).await.map_err(|error| refusal(&error))?;
            let is_member = summaries.into_iter().any(|summary| summary.is_some());
            if is_member { Ok(()) } else { Err(parse::no_member()) }
        }
        ConversationKind::Direct(low, high) => {
            let users = store.users(vec![low, high]).await.map_err(|error| refusal(&error))?;
            let exist = [low, high].iter().all(|id| users.iter().any(|user| user.id == *id));
            if exist { Ok(()) } else { Err(Refusal::new(ErrorCode::UserNotFound, "the other user does not exist")) }
        }
    }
}

/// Around one line of a page: a tag and a length.
const LINE_BYTES: usize = 5;
