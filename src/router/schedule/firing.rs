//! What happens when a scheduled message is due.

use super::{
    DueTimer, Effects, ScheduleCompletion, ScheduledMessage, Scheduler, Timers, completion, message::REPORT_KEPT_MS,
    reply, work,
};
use crate::{
    chat::{Action, Input, NewMessage, Refusal, Reply, SentBy},
    router::{Channel, Completion, Mail, ReplyKind, ReplyTo, SessionRef, frames},
    store::{StoreError, TimerChange, TimerKind, TimerRow},
};
use futures_util::FutureExt;
use godwit_proto::{
    ClientMsgId,
    v1::{self, ErrorCode, server_frame::Body},
};

/// One whose conversation was asked to send it.
pub struct Firing {
    message: ScheduledMessage,
    /// Who wanted it sent before it was due.
    reply_to: Option<ReplyTo>,
}

impl Scheduler {
    /// It is due, and its row says so.
    pub fn on_due(&mut self, now_ms: u64, row: &TimerRow, timers: &mut Timers, effects: &mut Effects) {
        let message = match ScheduledMessage::from_row(row) {
            Ok(message) if row.key.kind == TimerKind::SCHEDULED_SEND => message,
            // A report that is old enough.
            Ok(_) => {
                timers.done(&row.key);
                let removed = self.services.store.put_timers(vec![TimerChange::Remove(row.key)]);
                effects.tasks.push(removed.map(|_| Completion::Noted).boxed());
                return;
            }
            Err(error) => {
                tracing::error!(key = ?row.key, %error, "a scheduled message cannot be read; it is left in the store");
                timers.done(&row.key);
                return;
            }
        };
        let late_ms = now_ms - row.due_ms;
        // Nearer than that nothing of a series is due again.
        if message.recurrence.is_some()
            && late_ms >= self.limits.schedule.recurrence_ms_min.min(self.limits.schedule.late_ms_max)
        {
            match message.passed_over(now_ms, &self.limits.schedule) {
                Ok(None) => {}
                Ok(Some(passed)) => return self.look_for_first(message, passed, effects),
                Err(why) => return self.fail(message, &why, effects),
            }
        } else if late_ms > self.limits.schedule.late_ms_max {
            // It may have been sent in time, and the process have died before it was taken out of the list.
            let found = self.services.store.find_send(message.conversation, message.author, message.id);
            let found = found.map(move |found| {
                let sent = found.map(|entry| entry.is_some());
                ScheduleCompletion::Late(Box::new(message), late_ms, sent)
            });
            return effects.tasks.push(completion(found));
        }
        let id = message.entry_id();
        self.fire(message, id, None, effects);
    }

    /// It is too late for one to be sent. Was it?
    pub(super) fn on_late(
        &mut self,
        message: ScheduledMessage,
        late_ms: u64,
        sent: &Result<bool, StoreError>,
        timers: &mut Timers,
        effects: &mut Effects,
    ) {
        match sent {
            Ok(true) => self.settle_sent(message, effects),
            Ok(false) => {
                let why = format!("it was due {} s before the server could send it", late_ms / 1_000);
                self.fail(message, &Refusal::new(ErrorCode::ScheduleMissed, why), effects);
            }
            Err(_) => timers.look_again(message.key()),
        }
    }

    /// Asks the conversation to send it.
    pub(super) fn fire(
        &mut self,
        message: ScheduledMessage,
        client_msg_id: ClientMsgId,
        reply_to: Option<ReplyTo>,
        effects: &mut Effects,
    ) {
        self.firings_begun += 1;
        let answer = ReplyTo {
            at: SessionRef::none(self.core),
            channel: Channel::Session,
            request_id: self.firings_begun,
            kind: ReplyKind::Scheduled,
        };
        let send = NewMessage {
            client_msg_id,
            content: message.content.clone(),
            // It may have been sent before the process that began it died.
            first_attempt: false,
            after: None,
            by: SentBy::Schedule,
            expiry: None,
            deliver_by_ms: 0,
        };
        let input = Input { reply_to: answer, user: message.author, action: Action::Send(send) };
        let conversation = message.conversation;
        self.firings.insert(self.firings_begun, Firing { message, reply_to });
        effects.mail.push((self.placement.of_conversation(conversation), Mail::Request(conversation, input)));
    }

    /// The conversation has sent it, or refuses to.
    pub fn on_fired(&mut self, now_ms: u64, number: u64, answer: Reply, timers: &mut Timers, effects: &mut Effects) {
        let Some(Firing { message, reply_to }) = self.firings.remove(&number) else {
            unreachable!("a conversation answers what it was asked, once")
        };
        let key = message.key();
        match answer {
            Reply::Accepted(accepted) => {
                self.meters.fired.increment(1);
                if reply_to.is_none() {
                    self.meters.lag_seconds.record(accepted.sent_ms.saturating_sub(message.due_ms) as f64 / 1e3);
                }
                let (position, sent_ms) = (accepted.position, accepted.sent_ms);
                let sent = v1::SendResponse { seq: position.seq.as_u64(), ordinal: position.ordinal, sent_ms };
                reply_to.iter().for_each(|to| reply(to, Body::Send(sent), effects));
                if reply_to.is_some() && message.recurrence.is_some() {
                    // That one was in between. It may have become due meanwhile, and have been passed over as busy.
                    return timers.look_again(key);
                }
                self.move_on(message, effects);
            }
            Reply::Refused(refusal) => {
                if refusal.retry_after_ms == 0 && reply_to.is_none() {
                    return self.fail(message, &refusal, effects);
                }
                if message.due_ms > now_ms {
                    timers.done(&key);
                    timers.arm(DueTimer { due_ms: message.due_ms, key });
                } else {
                    timers.look_again_after(key, refusal.retry_after_ms.into());
                }
                reply_to.iter().for_each(|to| reply(to, frames::error(&refusal), effects));
            }
            Reply::Unchanged | Reply::Read { .. } => unreachable!("that is no answer to a send"),
        }
    }

    /// Moves it to the list of those that could not be sent.
    pub(super) fn fail(&mut self, message: ScheduledMessage, why: &Refusal, effects: &mut Effects) {
        self.meters.failed.increment(1);
        let failed = message.failed(why);
        let report = failed.row(TimerKind::SCHEDULE_FAILED, failed.due_ms.saturating_add(REPORT_KEPT_MS));
        let settled = work::settle_failed(self.services.store.clone(), failed.key(), report);
        effects.tasks.push(completion(settled.map(|result| ScheduleCompletion::Settled(Box::new(failed), result))));
    }

    /// It is in the log.
    pub(super) fn settle_sent(&self, message: ScheduledMessage, effects: &mut Effects) {
        let key = message.key();
        let settled = work::settle(self.services.store.clone(), key, TimerChange::Remove(key));
        effects.tasks.push(completion(settled.map(|result| ScheduleCompletion::Settled(Box::new(message), result))));
    }

    /// It is written, or will be: it is still in the list then, and comes to the same once more.
    pub(super) fn on_settled(
        &mut self,
        message: &ScheduledMessage,
        result: &Result<(), Refusal>,
        timers: &mut Timers,
        effects: &mut Effects,
    ) {
        if result.is_err() {
            return timers.look_again(message.key());
        }
        timers.done(&message.key());
        if message.failure.is_some() {
            self.push(message, None, effects);
        } else if message.recurrence.is_some() {
            self.push_change(message, v1::scheduled_push::Change::Ended(message.id.to_bytes()), None, effects);
        }
    }
}
