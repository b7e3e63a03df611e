//! Requests about reminders, and what they do with the store.

use super::{Reminder, ReminderCompletion, ReminderPlace};
use crate::{
    chat::Refusal,
    router::{Limits, ReplyTo, parse, queries, queries::Answer, schedule, services::refusal},
    store::{Store, StoreError, TimerChange, TimerKind, TimerOutcome, TimerOwner, TimerRow},
};
use bytes::Bytes;
use godwit_proto::{
    Seq, UserId,
    v1::{self, ErrorCode, server_frame::Body},
};
use std::{cmp::Reverse, sync::Arc};

/// Bytes of a note at most.
const NOTE_BYTES_MAX: usize = 256;
/// As many as an operator may allow; they fit one frame.
const LISTED_MAX: usize = 150;

/// What a user may ask of one reminder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReminderRequest {
    /// Remind me of this.
    Set(Reminder),
    /// Do not, or not any more.
    Dismiss(ReminderPlace),
}

impl ReminderRequest {
    /// The entry that it is about.
    pub fn place(&self) -> ReminderPlace {
        match self {
            Self::Set(reminder) => reminder.place,
            Self::Dismiss(place) => *place,
        }
    }
}

pub fn set(
    now_ms: u64,
    request: v1::SetReminderRequest,
    user: UserId,
    limits: &Limits,
) -> Result<ReminderRequest, Refusal> {
    let v1::SetReminderRequest { conversation_id, seq, due_ms, note } = request;
    if note.len() > NOTE_BYTES_MAX {
        return Err(parse::invalid(format!("a note has at most {NOTE_BYTES_MAX} bytes")));
    }
    schedule::due(now_ms, due_ms, limits)?;
    let place = place(&conversation_id, seq)?;
    Ok(ReminderRequest::Set(Reminder { user, place, due_ms, note, created_ms: now_ms, is_due: false }))
}

pub fn dismiss(request: &v1::DismissReminderRequest) -> Result<ReminderRequest, Refusal> {
    Ok(ReminderRequest::Dismiss(place(&request.conversation_id, request.seq)?))
}

/// All of a user's, those that are due first.
pub async fn list_reminders(store: Arc<dyn Store>, user: UserId) -> Result<Answer, Refusal> {
    let rows = store.timers_of(TimerKind::REMINDER, TimerOwner::User(user), None, LISTED_MAX).await;
    let reminders = rows.map_err(|error| refusal(&error))?.iter().map(read).collect::<Result<Vec<_>, _>>();
    let mut reminders = reminders?;
    reminders.sort_by_key(|one| (Reverse(one.is_due), one.due_ms, one.place.seq));
    let reminders = reminders.iter().map(Reminder::to_proto).collect();
    Ok((Body::ListReminders(v1::ListRemindersResponse { reminders }), None))
}

/// One request, with what it needs to know.
#[derive(Debug)]
pub struct Work {
    pub now_ms: u64,
    pub user: UserId,
    pub reply_to: ReplyTo,
    pub request: ReminderRequest,
    /// Others of the same user that are being written and that the store may not count yet.
    pub others: usize,
    pub per_user_max: usize,
}

/// What a request came to. It is durable.
#[derive(Debug)]
pub enum Done {
    /// It is new, or changed.
    Saved(Reminder),
    /// It was like this before.
    Unchanged(Reminder),
    /// It is gone; whether it was there.
    Dismissed(bool),
}

impl Work {
    /// Nothing else is done to the same reminder meanwhile.
    pub async fn run(self, store: Arc<dyn Store>) -> ReminderCompletion {
        let result = match &self.request {
            ReminderRequest::Set(reminder) => self.set(&*store, reminder).await,
            ReminderRequest::Dismiss(place) => dismissed(&*store, *place, self.user).await,
        };
        ReminderCompletion::Requested(Box::new(self), result)
    }

    async fn set(&self, store: &dyn Store, reminder: &Reminder) -> Result<Done, Refusal> {
        let known = find(store, reminder.place, self.user).await?;
        if let Some(known) = &known
            && (known.due_ms, &known.note) == (reminder.due_ms, &reminder.note)
        {
            return Ok(Done::Unchanged(known.clone()));
        }
        check_entry(store, reminder.place, self.user).await?;
        if known.is_none() {
            let counted = store.count_timers(TimerKind::REMINDER, TimerOwner::User(self.user)).await;
            let counted = usize::try_from(counted.map_err(|error| refusal(&error))?).unwrap_or(usize::MAX);
            if counted.saturating_add(self.others) >= self.per_user_max {
                let message = format!("at most {} reminders, also of those that were due", self.per_user_max);
                return Err(Refusal::new(ErrorCode::TooManyReminders, message));
            }
        }
        write(store, TimerChange::Put(reminder.row())).await?;
        Ok(Done::Saved(reminder.clone()))
    }
}

/// Marks one as due, unless its user may not read the entry any more: then it is dropped.
pub async fn fall_due(store: Arc<dyn Store>, reminder: Reminder) -> ReminderCompletion {
    let due = Reminder { is_due: true, ..reminder };
    let (change, stays) = match check_entry(&*store, due.place, due.user).await {
        Ok(()) => (TimerChange::Put(due.row()), true),
        Err(why) if why.retry_after_ms > 0 => return ReminderCompletion::Due(Box::new(due), Err(why)),
        Err(_) => (TimerChange::Remove(due.key()), false),
    };
    let written = write(&*store, change).await;
    ReminderCompletion::Due(Box::new(due), written.map(|()| stays))
}

async fn dismissed(store: &dyn Store, place: ReminderPlace, user: UserId) -> Result<Done, Refusal> {
    let known = find(store, place, user).await?;
    if known.is_some() {
        write(store, TimerChange::Remove(place.key(user))).await?;
    }
    Ok(Done::Dismissed(known.is_some()))
}

async fn find(store: &dyn Store, place: ReminderPlace, user: UserId) -> Result<Option<Reminder>, Refusal> {
    let mut rows = store.timers(vec![place.key(user)]).await.map_err(|error| refusal(&error))?;
    rows.pop().flatten().as_ref().map(read).transpose()
}

/// Whether there is such an entry, and the user may read it.
async fn check_entry(store: &dyn Store, place: ReminderPlace, user: UserId) -> Result<(), Refusal> {
    let summary = queries::summary_of(store, place.conversation, user).await?;
    let last = summary.last.as_ref().map_or(Seq::ZERO, |entry| entry.seq);
    match place.seq >= summary.member.first_seq() && place.seq <= last {
        true => Ok(()),
        false => Err(Refusal::new(ErrorCode::SeqOutOfRange, "there is no such entry that you may read")),
    }
}

async fn write(store: &dyn Store, change: TimerChange) -> Result<(), Refusal> {
    match store.put_timers(vec![change]).await.pop() {
        Some(TimerOutcome::Durable) => Ok(()),
        Some(TimerOutcome::NotWritten(error)) => Err(refusal(&error)),
        Some(TimerOutcome::Unknown) | None => Err(refusal(&StoreError::Unavailable("the outcome is unknown".into()))),
    }
}

fn read(row: &TimerRow) -> Result<Reminder, Refusal> {
    Reminder::from_row(row).map_err(|error| {
        tracing::error!(key = ?row.key, %error, "a reminder cannot be read");
        Refusal::new(ErrorCode::Internal, "it cannot be read")
    })
}

fn place(conversation_id: &Bytes, seq: u64) -> Result<ReminderPlace, Refusal> {
    if seq == 0 {
        return Err(parse::invalid("entries are counted from 1"));
    }
    Ok(ReminderPlace { conversation: parse::conversation_id(conversation_id)?, seq: Seq(seq) })
}
