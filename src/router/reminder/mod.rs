//! Reminders: the part of the core that owns the user.
//!
//! A reminder is a durable timer of its user. When it is due, that is written first, and then told to all sessions: so it is in the
//! list of what is due however the process dies, until the user dismisses it on some device.

mod row;
mod work;

pub use row::{Reminder, ReminderPlace};
pub use work::{ReminderRequest, dismiss, list_reminders, set};

use super::{
    Completion, CoreId, Effects, Limits, Mail, Push, ReplyTo, SessionRef, Task, Timers, frames, services::Services,
};
use crate::{
    chat::Refusal,
    store::{DueTimer, TimerChange, TimerRow},
};
use foldhash::{HashMap, HashMapExt};
use futures_util::FutureExt;
use godwit_proto::{
    UserId,
    v1::{self, ErrorCode, reminder_push::Change, server_frame::Body},
};
use std::sync::Arc;
use work::{Done, Work};

/// How long a client waits before it asks again for one that is being worked on.
const BUSY_RETRY_MS: u32 = 50;

/// The reminders of the users that a core owns.
pub struct Reminders {
    core: CoreId,
    limits: Limits,
    services: Services,
    /// Those of each user that are being written.
    setting: HashMap<UserId, usize>,
}

/// What became of something that was asked of the store about reminders.
#[derive(Debug)]
pub enum ReminderCompletion {
    /// A request was carried out, or not.
    Requested(Box<Work>, Result<Done, Refusal>),
    /// One that was due is marked as such; `false`: it is gone, because its user may not read the entry any more.
    Due(Box<Reminder>, Result<bool, Refusal>),
}

impl Reminders {
    pub fn new(core: CoreId, limits: Limits, services: Services) -> Self {
        Self { core, limits, services, setting: HashMap::new() }
    }

    /// A user asks something.
    pub fn on_request(
        &mut self,
        now_ms: u64,
        user: UserId,
        reply_to: ReplyTo,
        request: ReminderRequest,
        timers: &mut Timers,
        effects: &mut Effects,
    ) {
        if !timers.begin(request.place().key(user)) {
            let refusal = Refusal::retry(ErrorCode::Overloaded, "it is being worked on", BUSY_RETRY_MS);
            return reply(&reply_to, frames::error(&refusal), effects);
        }
        let others = match request {
            ReminderRequest::Set(_) => {
                let setting = self.setting.entry(user).or_default();
                *setting += 1;
                *setting - 1
            }
            ReminderRequest::Dismiss(_) => 0,
        };
        let per_user_max = self.limits.schedule.reminders_per_user_max;
        let work = Work { now_ms, user, reply_to, request, others, per_user_max };
        effects.tasks.push(completion(work.run(self.services.store.clone())));
    }

    /// It is due, and its row says so.
    pub fn on_due(&self, row: &TimerRow, timers: &mut Timers, effects: &mut Effects) {
        let store = self.services.store.clone();
        match Reminder::from_row(row) {
            Ok(reminder) if reminder.is_due => {
                // It was kept for long enough.
                timers.done(&row.key);
                let removed = store.put_timers(vec![TimerChange::Remove(row.key)]);
                effects.tasks.push(removed.map(|_| Completion::Noted).boxed());
            }
            Ok(reminder) => effects.tasks.push(completion(work::fall_due(store, reminder))),
            Err(error) => {
                tracing::error!(key = ?row.key, %error, "a reminder cannot be read; it is left in the store");
                timers.done(&row.key);
            }
        }
    }

    /// The store has answered.
    pub fn on_completion(&mut self, completion: ReminderCompletion, timers: &mut Timers, effects: &mut Effects) {
        match completion {
            ReminderCompletion::Requested(work, result) => self.on_requested(&work, result, timers, effects),
            ReminderCompletion::Due(reminder, Err(_)) => timers.look_again(reminder.key()),
            ReminderCompletion::Due(reminder, Ok(stays)) => {
                timers.done(&reminder.key());
                let change = match stays {
                    true => Change::Saved(reminder.to_proto()),
                    false => Change::Dismissed(reminder.place.to_proto()),
                };
                self.push(reminder.user, reminder.place, change, None, effects);
            }
        }
    }

    fn on_requested(&mut self, work: &Work, result: Result<Done, Refusal>, timers: &mut Timers, effects: &mut Effects) {
        let (place, at) = (work.request.place(), Some(work.reply_to.at));
        let key = place.key(work.user);
        if let ReminderRequest::Set(_) = work.request
            && let Some(setting) = self.setting.get_mut(&work.user)
        {
            *setting -= 1;
            if *setting == 0 {
                self.setting.remove(&work.user);
            }
        }
        let body = match result {
            Ok(Done::Saved(reminder)) => {
                timers.done(&key);
                timers.arm(DueTimer { due_ms: reminder.due_ms, key });
                self.push(work.user, place, Change::Saved(reminder.to_proto()), at, effects);
                set_response(&reminder)
            }
            Ok(Done::Unchanged(reminder)) => {
                // If it became due meanwhile, it was passed over as busy.
                timers.look_again(key);
                set_response(&reminder)
            }
            Ok(Done::Dismissed(was_there)) => {
                timers.done(&key);
                if was_there {
                    self.push(work.user, place, Change::Dismissed(place.to_proto()), at, effects);
                }
                Body::DismissReminder(v1::DismissReminderResponse {})
            }
            Err(refusal) => {
                timers.look_again(key);
                frames::error(&refusal)
            }
        };
        reply(&work.reply_to, body, effects);
    }

    /// Tells all sessions of the user, but one.
    fn push(
        &self,
        user: UserId,
        place: ReminderPlace,
        change: Change,
        except: Option<SessionRef>,
        effects: &mut Effects,
    ) {
        let body = Body::Reminder(v1::ReminderPush { change: Some(change) });
        let push = Push::of(place.conversation, frames::reply(0, body));
        effects.mail.push((self.core, Mail::FanOut(push, Arc::new([user]), except)));
    }
}

fn completion(work: impl Future<Output = ReminderCompletion> + Send + 'static) -> Task {
    work.map(|done| Completion::Reminder(Box::new(done))).boxed()
}

fn set_response(reminder: &Reminder) -> Body {
    Body::SetReminder(v1::SetReminderResponse { reminder: Some(reminder.to_proto()) })
}

fn reply(to: &ReplyTo, body: Body, effects: &mut Effects) {
    effects.mail.extend(frames::mail_reply(to, body, None).map(|mail| (to.at.core, mail)));
}
