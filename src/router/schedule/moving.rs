//! How a series goes from one time to the next.

use super::{Effects, ScheduleCompletion, ScheduledMessage, Scheduler, Timers, completion, series::PassedOver, work};
use crate::{
    chat::Refusal,
    store::{DueTimer, StoreError, TimerChange},
};
use futures_util::FutureExt;
use godwit_proto::v1::ErrorCode;

impl Scheduler {
    /// It was sent because it was due.
    pub(super) fn move_on(&mut self, message: ScheduledMessage, effects: &mut Effects) {
        match message.sent_once(&self.limits.schedule) {
            Ok(Some(next)) => self.settle_moved(next, effects),
            Ok(None) => self.settle_sent(message, effects),
            // The time zone is gone from the database.
            Err(why) => self.fail(message, &why, effects),
        }
    }

    /// It is due again already, or too late. The first one may have been sent in time, and the process have died before the row
    /// moved on: then it was not missed.
    pub(super) fn look_for_first(&self, message: ScheduledMessage, passed: PassedOver, effects: &mut Effects) {
        let found = self.services.store.find_send(message.conversation, message.author, message.entry_id());
        effects.tasks.push(completion(found.map(move |found| {
            let sent = found.map(|entry| entry.is_some());
            ScheduleCompletion::PassedOver(Box::new((message, passed)), sent)
        })));
    }

    pub(super) fn on_passed_over(
        &mut self,
        (message, PassedOver { missed, next }): (ScheduledMessage, PassedOver),
        sent: &Result<bool, StoreError>,
        timers: &mut Timers,
        effects: &mut Effects,
    ) {
        let sent = match sent {
            Ok(sent) => u32::from(*sent),
            Err(_) => return timers.look_again(message.key()),
        };
        match next {
            Some(next) => self.settle_moved(next.with_missed(|all| all - sent), effects),
            None if missed == sent => self.settle_sent(message, effects),
            None => {
                let why = format!("it was due {} times while the server was away, and then no more", missed - sent);
                let message = message.with_missed(|all| all.saturating_add(missed - sent));
                self.fail(message, &Refusal::new(ErrorCode::ScheduleMissed, why), effects);
            }
        }
    }

    fn settle_moved(&self, next: ScheduledMessage, effects: &mut Effects) {
        let moved = TimerChange::Put(work::pending_row(&next));
        let settled = work::settle(self.services.store.clone(), next.key(), moved);
        effects.tasks.push(completion(settled.map(|result| ScheduleCompletion::MovedOn(Box::new(next), result))));
    }

    /// It is written; or it will be, or not: then its row says what is to be done once more, and that comes to the same.
    pub(super) fn on_moved_on(
        &self,
        next: &ScheduledMessage,
        result: &Result<(), Refusal>,
        timers: &mut Timers,
        effects: &mut Effects,
    ) {
        let key = next.key();
        if result.is_err() {
            return timers.look_again(key);
        }
        timers.done(&key);
        timers.arm(DueTimer { due_ms: next.due_ms, key });
        self.push(next, None, effects);
    }
}
