//! Scheduled messages: the part of the core that owns their author.
//!
//! A scheduled message is a durable timer of its author. Every change of one is made here, one at a time, so that a cancel and
//! a firing cannot cross. When one is due, the owner of its conversation is asked to send it under the schedule's own id, and
//! only when that is durable is the timer removed: after a crash in between it fires again, and the id makes that harmless.

mod firing;
mod message;
mod moving;
mod request;
mod series;
mod work;

pub use message::ScheduledMessage;
pub use request::{ScheduleRequest, change, create, due, list, schedule_id, send_now};
pub use work::list_scheduled;

use super::{
    Completion, CoreId, Effects, Limits, Mail, Placement, Push, ReplyTo, SessionRef, Task, Timers, frames,
    meters::ScheduleMeters, services::Services,
};
use crate::{
    chat::Refusal,
    store::{DueTimer, StoreError},
};
use firing::Firing;
use foldhash::{HashMap, HashMapExt};
use futures_util::FutureExt;
use godwit_proto::{
    UserId,
    v1::{self, ErrorCode, server_frame::Body},
};
use series::PassedOver;
use std::sync::Arc;
use work::{Done, Work};

/// How long a client waits before it asks again for one that is being worked on.
const BUSY_RETRY_MS: u32 = 50;

/// The scheduled messages of the users that a core owns.
pub struct Scheduler {
    core: CoreId,
    placement: Placement,
    limits: Limits,
    services: Services,
    /// New ones of each user that are being written.
    creating: HashMap<UserId, usize>,
    /// Those whose conversation was asked to send them, by the number of the request.
    firings: HashMap<u64, Firing>,
    firings_begun: u64,
    meters: ScheduleMeters,
}

/// What became of something that the scheduler asked of the store.
#[derive(Debug)]
pub enum ScheduleCompletion {
    /// The log was searched for one that is so many milliseconds late: whether it was sent.
    Late(Box<ScheduledMessage>, u64, Result<bool, StoreError>),
    /// The log was searched for one of a series that is due again already, or too late: whether it was sent.
    PassedOver(Box<(ScheduledMessage, PassedOver)>, Result<bool, StoreError>),
    /// A request was carried out, or not.
    Requested(Box<(Work, Result<Done, Refusal>)>),
    /// One that was sent, or that failed, was taken out of the list of those that will be sent.
    Settled(Box<ScheduledMessage>, Result<(), Refusal>),
    /// A series moved on to this time.
    MovedOn(Box<ScheduledMessage>, Result<(), Refusal>),
}

impl Scheduler {
    pub fn new(core: CoreId, placement: Placement, limits: Limits, services: Services) -> Self {
        Self {
            core,
            placement,
            limits,
            services,
            creating: HashMap::new(),
            firings: HashMap::new(),
            firings_begun: 0,
            meters: ScheduleMeters::new(),
        }
    }

    /// An author asks something.
    pub fn on_request(
        &mut self,
        now_ms: u64,
        user: UserId,
        reply_to: ReplyTo,
        request: ScheduleRequest,
        timers: &mut Timers,
        effects: &mut Effects,
    ) {
        if !timers.begin(request.key(user)) {
            let refusal = Refusal::retry(ErrorCode::Overloaded, "it is being worked on", BUSY_RETRY_MS);
            return reply(&reply_to, frames::error(&refusal), effects);
        }
        let others = match request {
            // A change may bring one back that failed.
            ScheduleRequest::Create(_) | ScheduleRequest::Change { .. } => {
                let creating = self.creating.entry(user).or_default();
                *creating += 1;
                *creating - 1
            }
            _ => 0,
        };
        let work = Work { now_ms, user, reply_to, request, others, limits: self.limits.schedule };
        effects.tasks.push(completion(work.run(self.services.store.clone())));
    }

    /// The store has answered.
    pub fn on_completion(&mut self, completion: ScheduleCompletion, timers: &mut Timers, effects: &mut Effects) {
        match completion {
            ScheduleCompletion::Late(message, late_ms, sent) => self.on_late(*message, late_ms, &sent, timers, effects),
            ScheduleCompletion::Requested(done) => self.on_requested(*done, timers, effects),
            ScheduleCompletion::PassedOver(passed, sent) => self.on_passed_over(*passed, &sent, timers, effects),
            ScheduleCompletion::MovedOn(message, result) => self.on_moved_on(&message, &result, timers, effects),
            ScheduleCompletion::Settled(message, result) => self.on_settled(&message, &result, timers, effects),
        }
    }

    fn on_requested(
        &mut self,
        (work, result): (Work, Result<Done, Refusal>),
        timers: &mut Timers,
        effects: &mut Effects,
    ) {
        let key = work.request.key(work.user);
        if let ScheduleRequest::Create(_) | ScheduleRequest::Change { .. } = work.request
            && let Some(creating) = self.creating.get_mut(&work.user)
        {
            *creating -= 1;
            if *creating == 0 {
                self.creating.remove(&work.user);
            }
        }
        let mut look_again = false;
        let body = match result {
            Ok(Done::Saved(message)) => {
                timers.arm(DueTimer { due_ms: message.due_ms, key });
                self.push(&message, Some(work.reply_to.at), effects);
                schedule_response(&message)
            }
            Ok(Done::Unchanged(message)) => {
                look_again = true;
                schedule_response(&message)
            }
            Ok(Done::Cancelled(gone)) => {
                if let Some(message) = gone {
                    let change = v1::scheduled_push::Change::Cancelled(message.id.to_bytes());
                    self.push_change(&message, change, Some(work.reply_to.at), effects);
                }
                Body::CancelScheduled(v1::CancelScheduledResponse {})
            }
            // It stays busy until it is sent.
            Ok(Done::Send(id, message)) => return self.fire(message, id, Some(work.reply_to), effects),
            Err(refusal) => {
                look_again = true;
                frames::error(&refusal)
            }
        };
        match look_again {
            // It is as it was, or nobody knows; and if it became due meanwhile, it was passed over as busy.
            true => timers.look_again(key),
            false => timers.done(&key),
        }
        reply(&work.reply_to, body, effects);
    }

    /// Tells all sessions of the author, but one, how it is now.
    fn push(&self, message: &ScheduledMessage, except: Option<SessionRef>, effects: &mut Effects) {
        let change = v1::scheduled_push::Change::Saved(message.to_proto());
        self.push_change(message, change, except, effects);
    }

    fn push_change(
        &self,
        message: &ScheduledMessage,
        change: v1::scheduled_push::Change,
        except: Option<SessionRef>,
        effects: &mut Effects,
    ) {
        let body = Body::Scheduled(v1::ScheduledPush { change: Some(change) });
        let push = Push::of(message.conversation, frames::reply(0, body));
        effects.mail.push((self.core, Mail::FanOut(push, Arc::new([message.author]), except)));
    }
}

fn completion(work: impl Future<Output = ScheduleCompletion> + Send + 'static) -> Task {
    work.map(|done| Completion::Schedule(Box::new(done))).boxed()
}

fn schedule_response(message: &ScheduledMessage) -> Body {
    Body::Schedule(v1::ScheduleResponse { scheduled: Some(message.to_proto()) })
}

fn reply(to: &ReplyTo, body: Body, effects: &mut Effects) {
    effects.mail.extend(frames::mail_reply(to, body, None).map(|mail| (to.at.core, mail)));
}
