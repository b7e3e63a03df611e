//! One core, as a state machine: inputs in, effects out. It has no clock, no thread and no socket; the driver has.

use super::{
    Channel, Completion, CoreId, Effects, Limits, Mail, Output, Placement, ReplyAddress, SessionId, SessionRef,
    deadlines::{Deadline, Deadlines},
    delivery::Patience,
    expiry::{self, Expirer},
    frames,
    meters::CoreMeters,
    offline::Offline,
    owner::Owner,
    presence::Presence,
    redelivery::seed,
    reminder::Reminders,
    schedule::Scheduler,
    services::Services,
    session::{Online, Session, Stage},
    timers::{Timers, TimersCompletion},
};
use crate::{
    chat::{Input, Refusal},
    store::{AckedPosition, TimerKind},
    timer::Tick,
};
use bytes::Bytes;
use foldhash::{HashMap, HashMapExt};
use futures_util::FutureExt;
use godwit_proto::{
    ConversationId, DeviceId, Seq, UserId,
    v1::{self, ErrorCode, server_frame::Body},
};
use std::{collections::VecDeque, net::SocketAddr};

/// Acked positions that are gathered before they are written behind.
const ACKED_BATCH_MAX: usize = 4_096;
/// How long acked positions are gathered.
const ACKED_DELAY_MS: u64 = 1_000;

/// Everything that one core owns: its connections, the sessions of its users, its conversations.
pub struct Core {
    pub(super) id: CoreId,
    pub(super) placement: Placement,
    pub(super) limits: Limits,
    pub(super) services: Services,
    pub(super) sessions: HashMap<SessionId, Session>,
    pub(super) presence: Presence,
    pub(super) owner: Owner,
    timers: Timers,
    scheduler: Scheduler,
    expirer: Expirer,
    reminders: Reminders,
    /// Mail to oneself, handled before the input is done with.
    local: VecDeque<Mail>,
    /// The sessions here that a push goes to. Kept for its memory.
    pushed_to: Vec<SessionId>,
    pub(super) meters: CoreMeters,
    acked: HashMap<(UserId, DeviceId, ConversationId), Seq>,
    acked_since_ms: Option<u64>,
    pub(super) deadlines: Deadlines,
    /// Those of this turn. Kept for its memory.
    pub(super) due: Vec<Deadline>,
    /// How long clients have for an acknowledgement; it knows the present by the monotonic clock.
    pub(super) patience: Patience,
    /// `None` without a hook.
    pub(super) offline: Option<Box<Offline>>,
    /// Pages of the log that are being read, to be pushed again.
    pub(super) pages_in_flight: usize,
    /// Some mailbox is filling up: new work is refused until it is not.
    pub(super) congested: bool,
    stopping: bool,
}

impl Core {
    /// A core with nothing in it.
    pub fn new(id: CoreId, placement: Placement, limits: Limits, services: Services) -> Self {
        Self {
            id,
            placement,
            limits,
            presence: Presence::new(id, &limits, placement.cores()),
            owner: Owner::new(placement, limits, services.clone()),
            timers: Timers::new(id, placement, &limits, services.clone()),
            reminders: Reminders::new(id, limits, services.clone()),
            scheduler: Scheduler::new(id, placement, limits, services.clone()),
            expirer: Expirer::new(placement, services.clone()),
            deadlines: Deadlines::new(),
            due: Vec::new(),
            patience: Patience::new(limits.delivery.backoff, limits.delivery.attempts_max, seed(&services.random)),
            pages_in_flight: 0,
            offline: None,
            services,
            sessions: HashMap::new(),
            local: VecDeque::new(),
            pushed_to: Vec::new(),
            meters: CoreMeters::new(),
            acked: HashMap::new(),
            acked_since_ms: None,
            congested: false,
            stopping: false,
        }
    }

    /// A connection opened its session stream, and has so long from now on to come online.
    pub fn on_opened(&mut self, session: SessionId, remote: SocketAddr, login_within_ms: u64, effects: &mut Effects) {
        self.sessions.insert(session, Session::new(remote, self.patience.now));
        let until = Tick(self.patience.now.0.saturating_add(login_within_ms));
        self.deadlines.arm(until, Deadline::Authentication(session));
        if self.stopping {
            self.end(session, ErrorCode::ShuttingDown, "the server is stopping", effects);
        }
    }

    /// A connection sent a frame.
    pub fn on_frame(&mut self, now_ms: u64, session: SessionId, channel: Channel, frame: Bytes, effects: &mut Effects) {
        let sent_before = effects.mail.len();
        self.handle_frame(now_ms, session, channel, frame, effects);
        self.deliver_local(now_ms, sent_before, effects);
    }

    /// A connection that did not read reads again.
    pub fn on_drained(&mut self, id: SessionId, effects: &mut Effects) {
        if let Some(session) = self.sessions.get_mut(&id)
            && std::mem::take(&mut session.resync)
        {
            self.require_resync(id, effects);
        }
    }

    /// A connection is gone.
    pub fn on_closed(&mut self, now_ms: u64, id: SessionId, effects: &mut Effects) {
        let sent_before = effects.mail.len();
        let Some(session) = self.sessions.remove(&id) else { return };
        let typing = session.typed.as_ref().and_then(|typed| typed.conversation());
        let user = match session.stage {
            Stage::Online(online) => {
                self.meters.sessions.decrement(1.0);
                Some(online.user)
            }
            Stage::Registering(_, _, identity) => Some(identity.user),
            Stage::Ended(user) => user,
            Stage::Fresh | Stage::Greeted(_) | Stage::Authenticating(_) => None,
        };
        if let Some(user) = user {
            self.mail(self.placement.of_user(user), Mail::Offline(user, self.at(id)), effects);
            if let Some(conversation) = typing {
                self.tell_owner(conversation, user, id, false, effects);
            }
            self.deliver_local(now_ms, sent_before, effects);
        }
    }

    /// An [`Output::Push`] found no room. The session gets no more pushes until it has read what it has.
    pub fn on_push_refused(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(&id)
            && !std::mem::replace(&mut session.resync, true)
        {
            session.deliveries.give_up();
            self.meters.resyncs.increment(1);
        }
    }

    /// Another core sent this.
    pub fn on_mail(&mut self, now_ms: u64, mail: Mail, effects: &mut Effects) {
        let sent_before = effects.mail.len();
        self.handle_mail(now_ms, mail, effects);
        self.deliver_local(now_ms, sent_before, effects);
    }

    /// A task is done.
    pub fn on_completion(&mut self, now_ms: u64, completion: Completion, effects: &mut Effects) {
        let sent_before = effects.mail.len();
        self.handle_completion(now_ms, completion, effects);
        self.deliver_local(now_ms, sent_before, effects);
    }

    /// The turn is over: what it changed goes to the store at once. Call it even if nothing happened, at least once a second.
    pub fn end_turn(&mut self, now_ms: u64, effects: &mut Effects) {
        let sent_before = effects.mail.len();
        self.timers.on_time(now_ms, effects);
        self.on_deadlines(now_ms, effects);
        self.deliver_local(now_ms, sent_before, effects);
        self.owner.end_turn(now_ms, effects);
        // By the distance, so that a clock that was set back does not hold them up.
        let due = self.acked_since_ms.is_some_and(|since_ms| now_ms.abs_diff(since_ms) >= ACKED_DELAY_MS);
        if due || self.acked.len() >= ACKED_BATCH_MAX {
            self.acked_since_ms = None;
            let acked = self.acked.drain().map(|((user, device, conversation), seq)| AckedPosition {
                user,
                device,
                conversation,
                seq,
            });
            // A position that is not noted costs a second delivery, which the client recognises; nothing is lost.
            effects.tasks.push(self.services.store.put_acked(acked.collect()).map(|_| Completion::Noted).boxed());
        }
    }

    /// When the next turn is to begin at the latest, in milliseconds since the epoch: a timer is due then. There is also
    /// [`next_deadline`](Self::next_deadline), by another clock.
    pub fn next_turn_ms(&self) -> Option<u64> {
        self.timers.next_at_ms()
    }

    /// Says whether some mailbox is filling up; new work is refused while it is.
    pub fn set_congested(&mut self, congested: bool) {
        self.congested = congested;
    }

    /// Ends every session, and every one that comes.
    pub fn stop(&mut self, effects: &mut Effects) {
        self.stopping = true;
        self.stop_offline();
        let mut sessions: Vec<SessionId> = self.sessions.keys().copied().collect();
        // In order, so that a simulated run can be had again.
        sessions.sort_unstable();
        for session in sessions {
            self.end(session, ErrorCode::ShuttingDown, "the server is stopping", effects);
        }
    }

    /// Changes that are not durable yet.
    pub fn commits_in_flight(&self) -> usize {
        self.owner.commits_in_flight()
    }

    /// Conversations in memory.
    pub fn conversations(&self) -> usize {
        self.owner.len()
    }

    pub(super) fn mail(&mut self, to: CoreId, mail: Mail, effects: &mut Effects) {
        if to == self.id {
            self.local.push_back(mail);
        } else {
            effects.mail.push((to, mail));
        }
    }

    pub(super) fn at(&self, session: SessionId) -> SessionRef {
        SessionRef { core: self.id, session }
    }

    /// Closes a session once what it was told has left. The owner of its user forgets it when the connection is gone.
    pub(super) fn end(&mut self, id: SessionId, code: ErrorCode, reason: &'static str, effects: &mut Effects) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let user = match &session.stage {
            Stage::Ended(_) => return,
            Stage::Online(online) => {
                self.meters.sessions.decrement(1.0);
                Some(online.user)
            }
            Stage::Registering(_, _, identity) => Some(identity.user),
            Stage::Fresh | Stage::Greeted(_) | Stage::Authenticating(_) => None,
        };
        session.stage = Stage::Ended(user);
        let error = frames::error(&Refusal::new(code, reason));
        effects.output.push((id, Output::Reply(Channel::Session, frames::reply(0, error))));
        effects.output.push((id, Output::Close(code, reason)));
    }

    /// Tells a client that pushes were left out.
    pub(super) fn require_resync(&self, id: SessionId, effects: &mut Effects) {
        let frame = frames::reply(0, Body::ResyncRequired(v1::ResyncRequiredPush {}));
        effects.output.push((id, Output::Reply(Channel::Session, frame)));
    }

    pub(super) fn note_acked(&mut self, now_ms: u64, online: Online, conversation: ConversationId, seq: Seq) {
        let acked = self.acked.entry((online.user, online.device, conversation)).or_default();
        *acked = seq.max(*acked);
        self.acked_since_ms.get_or_insert(now_ms);
    }

    /// Handles the mail to this core among what was sent since `sent_before`, and what comes of it.
    pub(super) fn deliver_local(&mut self, now_ms: u64, sent_before: usize, effects: &mut Effects) {
        loop {
            let here = self.id;
            if effects.mail.len() == sent_before && self.local.is_empty() {
                return;
            }
            let to_here = effects.mail.extract_if(sent_before.., |(core, _)| *core == here);
            self.local.extend(to_here.map(|(_, mail)| mail));
            let Some(mail) = self.local.pop_front() else { return };
            self.handle_mail(now_ms, mail, effects);
        }
    }

    fn handle_mail(&mut self, now_ms: u64, mail: Mail, effects: &mut Effects) {
        match mail {
            Mail::Request(conversation, input) => self.owner.on_request(now_ms, conversation, input, effects),
            Mail::Reply { session, channel, frame, known } => {
                let Some(open) = self.sessions.get_mut(&session) else { return };
                if let Some((conversation, seq)) = known {
                    open.deliveries.on_reply(conversation, seq);
                }
                effects.output.push((session, Output::Reply(channel, frame)));
            }
            Mail::Schedule(user, reply_to, request) => {
                self.scheduler.on_request(now_ms, user, reply_to, request, &mut self.timers, effects);
            }
            Mail::Remind(user, reply_to, request) => {
                self.reminders.on_request(now_ms, user, reply_to, request, &mut self.timers, effects);
            }
            Mail::Fired(number, reply) => {
                self.scheduler.on_fired(now_ms, number, reply, &mut self.timers, effects);
            }
            Mail::Expired(number, reply) => {
                self.expirer.on_done(now_ms, number, &reply, &mut self.timers, effects);
            }
            Mail::Armed(due) => due.into_iter().for_each(|timer| self.timers.arm(timer)),
            Mail::Delivered(conversation, seq, user, deliver_by_ms) => {
                self.expirer.on_delivered(conversation, seq, user, deliver_by_ms, effects);
            }
            Mail::Typing { conversation, user, at, is_typing } => {
                self.on_typing(now_ms, conversation, (user, at), is_typing, effects);
            }
            Mail::FanOut(push, users, except) => {
                let mut here = std::mem::take(&mut self.pushed_to);
                let absent = self.offline.as_mut().map(|offline| &mut offline.absent);
                self.presence.on_fan_out(&push, &users, except, &mut here, absent, effects);
                self.push(now_ms, &push, &here, effects);
                self.on_absent(&push, effects);
                here.clear();
                self.pushed_to = here;
            }
            Mail::Push(push, sessions) => self.push(now_ms, &push, &sessions, effects),
            Mail::Online { user, device, at } => {
                self.presence.on_online(user, device, at, effects);
                self.on_user_online(user);
            }
            Mail::Replay(notices) => self.on_replay(now_ms, notices, effects),
            Mail::OnlineAnswer(session, accepted) => self.on_online_answer(session, accepted, effects),
            Mail::Offline(user, at) => self.presence.on_offline(user, at),
            Mail::EndDevices(user, devices, except) => {
                self.presence.on_end_devices(user, &devices, except, effects);
            }
            Mail::End(session, code, reason) => self.end(session, code, reason, effects),
        }
    }

    fn handle_completion(&mut self, now_ms: u64, completion: Completion, effects: &mut Effects) {
        match completion {
            Completion::Answer { to, body, known } => self.answer(now_ms, to, body, known, effects),
            Completion::Authenticated(session, request_id, result) => {
                self.on_authenticated(session, request_id, result, effects);
            }
            Completion::Confirmed(session, stands) => self.on_confirmed(now_ms, session, stands, effects),
            Completion::Checked(conversation, reply_to, user, action) => {
                self.request_done(reply_to.at.session);
                match action {
                    Ok(action) => {
                        let mail = Mail::Request(conversation, Input { reply_to, user, action });
                        self.mail(self.placement.of_conversation(conversation), mail, effects);
                    }
                    Err(refusal) => {
                        let mail = frames::mail_reply(&reply_to, frames::error(&refusal), None);
                        effects.mail.extend(mail.map(|mail| (self.id, mail)));
                    }
                }
            }
            Completion::LoggedOut(to, result) => self.on_logged_out(now_ms, to, result, effects),
            Completion::Loaded(conversation, result) => {
                self.owner.on_loaded(now_ms, conversation, result, effects);
            }
            Completion::Found(conversation, question, key, result) => {
                self.owner.on_found(now_ms, conversation, question, key, result, effects);
            }
            Completion::Ordinal(conversation, question, result) => {
                self.owner.on_ordinal(now_ms, conversation, question, result, effects);
            }
            Completion::Committed(batch, outcomes) => self.owner.on_committed(now_ms, batch, outcomes, effects),
            Completion::Reread { session, conversation, from, page } => {
                self.on_reread(now_ms, session, conversation, from, page, effects);
            }
            Completion::Notified(call, result) => self.on_notified(now_ms, call, result, effects),
            Completion::Timers(done) => self.on_timers(now_ms, done, effects),
            Completion::Expiry(done) => self.expirer.on_completion(now_ms, *done, &mut self.timers, effects),
            Completion::Schedule(done) => self.scheduler.on_completion(*done, &mut self.timers, effects),
            Completion::Reminder(done) => self.reminders.on_completion(*done, &mut self.timers, effects),
            Completion::Noted => {}
        }
    }

    /// What is due goes to whoever handles its kind.
    fn on_timers(&mut self, now_ms: u64, completion: TimersCompletion, effects: &mut Effects) {
        for row in self.timers.on_completion(now_ms, completion) {
            match row.key.kind {
                TimerKind::SCHEDULED_SEND | TimerKind::SCHEDULE_FAILED => {
                    self.scheduler.on_due(now_ms, &row, &mut self.timers, effects);
                }
                TimerKind::MESSAGE_EXPIRY
                | TimerKind::EXPIRY_START
                | TimerKind::DELIVERY_END
                | TimerKind::MUTE_END
                | TimerKind::BAN_END
                | TimerKind::DELIVERED => self.expirer.on_due(now_ms, row, &mut self.timers, effects),
                TimerKind::REMINDER => self.reminders.on_due(&row, &mut self.timers, effects),
                kind => {
                    tracing::error!(key = ?row.key, ?kind, "a timer of an unknown kind; it is left in the store");
                    self.timers.done(&row.key);
                }
            }
        }
    }

    pub(super) fn answer(
        &mut self,
        now_ms: u64,
        to: ReplyAddress,
        body: Result<Body, Refusal>,
        known: Option<(ConversationId, Seq)>,
        effects: &mut Effects,
    ) {
        self.request_done(to.session);
        let Some(session) = self.sessions.get_mut(&to.session) else { return };
        let body = body.and_then(|mut body| {
            let Some(reader) = session.reader() else { return Ok(body) };
            let handout = expiry::hand_out(now_ms, reader, &mut body)?;
            for (conversation, seq, deliver_by_ms) in handout.awaited {
                session.awaited.add(conversation, seq, deliver_by_ms);
            }
            Ok(body)
        });
        if let Some((conversation, seq)) = known {
            session.deliveries.on_reply(conversation, seq);
        }
        let body = body.unwrap_or_else(|refusal| frames::error(&refusal));
        if to.request_id != 0 {
            effects.output.push((to.session, Output::Reply(to.channel, frames::reply(to.request_id, body))));
        }
    }

    fn request_done(&mut self, session: SessionId) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.requests_in_flight -= 1;
        }
    }
}
