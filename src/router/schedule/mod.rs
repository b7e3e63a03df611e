//! Scheduled messages: the part of the core that owns their author.
//!
//! A scheduled message is a durable timer of its author. Every change of one is made here, one at a time, so that a cancel and
//! a firing cannot cross. When one is due, the owner of its conversation is asked to send it under the schedule's own id, and
//! only when that is durable is the timer removed: after a crash in between it fires again, and the id makes that harmless.

mod firing;
mod message;
mod request;
mod work;

pub use message::ScheduledMessage;
pub use request::{ScheduleRequest, change, create, list, schedule_id};
pub use work::list_scheduled;

use super::{
    Completion, CoreId, Effects, Limits, Mail, Placement, Push, ReplyTo, SessionRef, Task, frames,
    meters::ScheduleMeters, services::Services,
};
use crate::{
    chat::Refusal,
    store::{DueTimer, StoreError, TimerKey, TimerRow},
    timer::{DurableTimers, Load, PAGE_TIMERS},
};
use firing::Firing;
use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};
use futures_util::FutureExt;
use godwit_proto::{
    Seq, UserId, Vshard, VshardSet,
    v1::{self, ErrorCode, server_frame::Body},
};
use std::sync::Arc;
use work::{Done, Work};

/// How long a client waits before it asks again for one that is being worked on.
const BUSY_RETRY_MS: u32 = 50;
/// How long it waits before it looks again at one whose store or conversation did not answer.
const LOOK_AGAIN_MS: u64 = 200;
/// Timers that fire in one turn.
const DUE_PER_TURN_MAX: usize = 512;

/// The scheduled messages of the users that a core owns.
pub struct Scheduler {
    core: CoreId,
    placement: Placement,
    limits: Limits,
    services: Services,
    vshards: VshardSet,
    timers: DurableTimers,
    /// Those that something is being done to: a request, or the firing.
    busy: HashSet<TimerKey>,
    /// New ones of each user that are being written.
    creating: HashMap<UserId, usize>,
    /// Those whose conversation was asked to send them, by the number of the request.
    firings: HashMap<u64, Firing>,
    firings_begun: u64,
    due: Vec<TimerKey>,
    meters: ScheduleMeters,
}

/// What became of something that the scheduler asked of the store.
#[derive(Debug)]
pub enum ScheduleCompletion {
    /// Timers of a stretch were read.
    Loaded(Load, Result<Vec<DueTimer>, StoreError>),
    /// What is due was read.
    Due(Vec<TimerKey>, Result<Vec<Option<TimerRow>>, StoreError>),
    /// The log was searched for one that is so many milliseconds late: whether it was sent.
    Late(Box<ScheduledMessage>, u64, Result<bool, StoreError>),
    /// A request was carried out, or not.
    Requested(Box<Work>, Result<Done, Refusal>),
    /// One that was sent, or that failed, was taken out of the list of those that will be sent.
    Settled(Box<ScheduledMessage>, Result<(), Refusal>),
}

impl Scheduler {
    pub fn new(core: CoreId, placement: Placement, limits: Limits, services: Services) -> Self {
        Self {
            core,
            placement,
            limits,
            services,
            vshards: Vshard::all().filter(|vshard| placement.of(*vshard) == core).collect(),
            timers: DurableTimers::default(),
            busy: HashSet::new(),
            creating: HashMap::new(),
            firings: HashMap::new(),
            firings_begun: 0,
            due: Vec::new(),
            meters: ScheduleMeters::new(core.0),
        }
    }

    /// An author asks something.
    pub fn on_request(
        &mut self,
        now_ms: u64,
        user: UserId,
        reply_to: ReplyTo,
        request: ScheduleRequest,
        effects: &mut Effects,
    ) {
        let key = request.key(user);
        if self.busy.len() >= self.limits.schedule.busy_max || self.busy.contains(&key) {
            let refusal = Refusal::retry(ErrorCode::Overloaded, "it is being worked on", BUSY_RETRY_MS);
            return reply(&reply_to, frames::error(&refusal), effects);
        }
        self.busy.insert(key);
        let others = match request {
            ScheduleRequest::Create(_) => {
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
    pub fn on_completion(&mut self, now_ms: u64, completion: ScheduleCompletion, effects: &mut Effects) {
        match completion {
            ScheduleCompletion::Loaded(load, timers) => self.timers.on_loaded(&load, timers),
            ScheduleCompletion::Due(keys, rows) => self.on_due_read(now_ms, keys, rows, effects),
            ScheduleCompletion::Late(message, late_ms, sent) => self.on_late(*message, late_ms, &sent, effects),
            ScheduleCompletion::Requested(work, result) => self.on_requested(&work, result, effects),
            ScheduleCompletion::Settled(message, result) => self.on_settled(&message, &result, effects),
        }
    }

    /// Reads ahead, and fires what is due.
    pub fn on_time(&mut self, now_ms: u64, effects: &mut Effects) {
        if let Some(load) = self.timers.on_time(now_ms) {
            effects.tasks.push(self.load(load));
        }
        let mut due = std::mem::take(&mut self.due);
        let room = self.limits.schedule.busy_max.saturating_sub(self.busy.len());
        self.timers.take_due(now_ms, room.min(DUE_PER_TURN_MAX), &mut due);
        // Whoever works on one arms it again if it is still to fire.
        due.retain(|key| self.busy.insert(*key));
        if !due.is_empty() {
            let keys = due.clone();
            let rows = self.services.store.timers(due.clone());
            let read = rows.map(|rows| ScheduleCompletion::Due(keys, rows));
            effects.tasks.push(completion(read));
            due.clear();
        }
        self.due = due;
        self.meters.armed.set(self.timers.len() as f64);
    }

    /// When there will be something to do, at the latest.
    pub fn next_at_ms(&self) -> Option<u64> {
        // What is busy ends with a completion or a mail, and that is a turn.
        self.timers.next_at_ms().filter(|_| self.busy.len() < self.limits.schedule.busy_max)
    }

    fn load(&self, load: Load) -> Task {
        let (due_ms, after) = (load.due_ms.clone(), load.after);
        let timers = self.services.store.due_timers(self.vshards.clone(), due_ms, after, PAGE_TIMERS);
        completion(timers.map(move |timers| ScheduleCompletion::Loaded(load, timers)))
    }

    fn on_requested(&mut self, work: &Work, result: Result<Done, Refusal>, effects: &mut Effects) {
        let key = work.request.key(work.user);
        if let ScheduleRequest::Create(_) = work.request
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
                self.timers.arm(DueTimer { due_ms: message.due_ms, key });
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
            Ok(Done::Send(message)) => return self.fire(message, Some(work.reply_to), effects),
            Err(refusal) => {
                look_again = true;
                frames::error(&refusal)
            }
        };
        self.busy.remove(&key);
        if look_again {
            // It is as it was, or nobody knows; and if it became due meanwhile, it was passed over as busy.
            self.timers.arm_again(key, LOOK_AGAIN_MS);
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
        let push = Push { conversation: message.conversation, seq: Seq::ZERO, frame: frames::reply(0, body) };
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
