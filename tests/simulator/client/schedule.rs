//! What a client has the server send later.

use super::{Around, Client, What, requests::wait_ms};
use crate::{
    clock::START_MS,
    ledger::{OUT_OF_ORDER, write_body},
    network::Stream,
    schedules::RULE,
};
use bytes::Bytes;
use godwit_proto::{
    ClientMsgId, ConversationId, UserId,
    v1::{self, ErrorCode, client_frame::Body as Request, scheduled_push::Change, server_frame::Body},
};

/// Scheduled messages that one client thinks about at a time.
const PLANS_MAX: usize = 4;
/// How far ahead they are due.
const AHEAD_MS_MAX: u64 = 400;

/// A scheduled message that the client may still want something of.
#[derive(Debug)]
pub struct Plan {
    id: ClientMsgId,
    conversation: ConversationId,
    /// Asked again until it is answered; `None` for now.
    wish: Option<Wish>,
    /// It was asked, and the answer is not here.
    open: bool,
    /// On the present connection.
    pub in_flight: bool,
    not_before_ms: u64,
}

/// What a client may want of a scheduled message.
#[derive(Debug, Clone)]
pub enum Wish {
    /// `times`: how often; 0 for once and no series.
    Create {
        body: Bytes,
        due_ms: u64,
        times: u64,
    },
    Change {
        due_ms: u64,
    },
    Cancel,
    /// One of a series goes under this `client_msg_id`.
    Send(ClientMsgId),
}

impl Plan {
    pub fn is_at_rest(&self) -> bool {
        self.wish.is_none()
    }
}

impl Client {
    pub(super) fn plan_something(&mut self, around: &Around<'_>) {
        if self.rng.chance(200) {
            let limit = self.rng.below(3).min(around.settings.limits.schedule.per_page_max as u64) as u32;
            let mut request = v1::ListScheduledRequest { failed: self.rng.chance(400), limit, ..Default::default() };
            if self.rng.chance(300) {
                request.conversation_id = self.places(around)[0].to_bytes();
            }
            return self.list_scheduled(around.now_ms, request);
        }
        let due_ms = START_MS + around.now_ms + self.rng.below(AHEAD_MS_MAX);
        let idle: Vec<usize> = (0..self.plans.len()).filter(|index| self.plans[*index].is_at_rest()).collect();
        if !idle.is_empty() && self.rng.chance(500) {
            let index = self.rng.pick(&idle);
            self.plans[index].wish = match self.rng.below(4) {
                0 => Some(Wish::Cancel),
                1 => Some(Wish::Send(ClientMsgId(self.rng.sixteen_bytes()))),
                2 => Some(Wish::Change { due_ms }),
                _ => {
                    self.plans.remove(index);
                    return;
                }
            };
        } else if self.plans.len() < PLANS_MAX {
            let places = self.places(around);
            let conversation = self.rng.pick(&places);
            let body = write_body(self.id as u64, OUT_OF_ORDER, self.rng.index(20)).into();
            let id = ClientMsgId(self.rng.sixteen_bytes());
            let times = if self.rng.chance(300) { 1 + self.rng.below(4) } else { 0 };
            self.plan(id, conversation, Wish::Create { body, due_ms, times });
        }
    }

    fn plan(&mut self, id: ClientMsgId, conversation: ConversationId, wish: Wish) {
        self.plans.push(Plan { id, conversation, wish: Some(wish), open: false, in_flight: false, not_before_ms: 0 });
    }

    pub(super) fn ask_plans(&mut self, around: &Around<'_>) {
        let me = self.me.unwrap();
        let mut requests = Vec::new();
        for plan in self.plans.iter_mut().filter(|plan| !plan.in_flight && around.now_ms >= plan.not_before_ms) {
            let Some(wish) = &plan.wish else { continue };
            let (schedule_id, schedules) = (plan.id.to_bytes(), &mut around.store.lock().disk.schedules);
            let request = match wish {
                Wish::Create { body, due_ms, times } => {
                    if plan.open {
                        schedules.doubt(me, plan.id);
                    }
                    let (conversation_id, body, due_ms) = (plan.conversation.to_bytes(), body.clone(), *due_ms);
                    let content_type = String::new();
                    Request::Schedule(v1::ScheduleRequest {
                        schedule_id,
                        conversation_id,
                        body,
                        content_type,
                        due_ms,
                        recurrence: (*times > 0).then(|| v1::Recurrence {
                            rrule: format!("{RULE};COUNT={times}"),
                            time_zone: "UTC".into(),
                            ..Default::default()
                        }),
                    })
                }
                Wish::Change { due_ms } => Request::ChangeScheduled(v1::ChangeScheduledRequest {
                    schedule_id,
                    due_ms: Some(*due_ms),
                    ..Default::default()
                }),
                Wish::Cancel => Request::CancelScheduled(v1::CancelScheduledRequest { schedule_id }),
                Wish::Send(of_series) => {
                    schedules.hurry(me, plan.id, *of_series);
                    let client_msg_id = of_series.to_bytes();
                    Request::SendScheduled(v1::SendScheduledRequest { schedule_id, client_msg_id })
                }
            };
            (plan.open, plan.in_flight) = (true, true);
            requests.push((What::Schedule(plan.conversation, plan.id, wish.clone()), request));
        }
        for (what, request) in requests {
            self.ask(around.now_ms, what, Stream::Session, request);
        }
    }

    pub(super) fn on_plan_answer(&mut self, around: &Around<'_>, id: ClientMsgId, wish: &Wish, body: Body) {
        let index = self.plans.iter().position(|plan| plan.id == id).expect("a plan waits until it is answered");
        let plan = &mut self.plans[index];
        (plan.open, plan.in_flight) = (false, false);
        let done = match (wish, body) {
            (_, Body::Error(error)) if error.retry_after_ms > 0 => {
                plan.not_before_ms = around.now_ms + wait_ms(&error);
                return;
            }
            (Wish::Create { .. } | Wish::Change { .. }, Body::Schedule(_)) => false,
            (Wish::Cancel, Body::CancelScheduled(_)) | (Wish::Send(_), Body::Send(_)) => true,
            (wish, Body::Error(error)) => {
                let code = error.code();
                let allowed: &[ErrorCode] = match wish {
                    Wish::Create { .. } => {
                        &[ErrorCode::NotAMember, ErrorCode::TooManyScheduled, ErrorCode::DueOutOfRange]
                    }
                    Wish::Change { .. } => {
                        &[ErrorCode::ScheduleNotFound, ErrorCode::TooManyScheduled, ErrorCode::DueOutOfRange]
                    }
                    Wish::Send(_) => &[ErrorCode::ScheduleNotFound, ErrorCode::NotAMember],
                    Wish::Cancel => &[],
                };
                assert!(allowed.contains(&code), "client {}: {wish:?} was refused: {error:?}", self.id);
                matches!(wish, Wish::Create { .. }) || code == ErrorCode::ScheduleNotFound
            }
            (wish, body) => panic!("client {}: {wish:?} was answered with {body:?}", self.id),
        };
        plan.wish = None;
        if done {
            self.plans.remove(index);
        }
    }

    /// Another device of the user has scheduled something: now and then this one meddles.
    pub(super) fn on_scheduled(&mut self, around: &Around<'_>, me: UserId, push: v1::ScheduledPush) {
        let Some(Change::Saved(message)) = push.change else { return };
        let id = ClientMsgId::from_slice(&message.schedule_id).unwrap();
        let mine = self.plans.iter().any(|plan| plan.id == id);
        if around.calm || mine || self.plans.len() >= PLANS_MAX || !self.rng.chance(200) {
            return;
        }
        // The other one may not have the answer yet, and ask again after this one is done.
        around.store.lock().disk.schedules.doubt(me, id);
        let conversation = ConversationId::from_slice(&message.conversation_id).unwrap();
        let due_ms = START_MS + around.now_ms + self.rng.below(AHEAD_MS_MAX);
        let wish = match self.rng.below(3) {
            0 => Wish::Cancel,
            1 => Wish::Send(ClientMsgId(self.rng.sixteen_bytes())),
            _ => Wish::Change { due_ms },
        };
        self.plan(id, conversation, wish);
    }

    fn list_scheduled(&mut self, now_ms: u64, request: v1::ListScheduledRequest) {
        let stream = self.new_bulk();
        self.ask(now_ms, What::ListScheduled(request.clone()), stream, Request::ListScheduled(request));
    }

    pub(super) fn on_scheduled_page(
        &mut self,
        around: &Around<'_>,
        request: v1::ListScheduledRequest,
        page: &v1::ListScheduledResponse,
    ) {
        let Some(last) = page.scheduled.last().filter(|_| page.more) else { return };
        let (after_due_ms, after_schedule_id) = (last.due_ms, last.schedule_id.clone());
        self.list_scheduled(around.now_ms, v1::ListScheduledRequest { after_due_ms, after_schedule_id, ..request });
    }
}
