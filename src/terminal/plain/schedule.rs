//! Scheduled messages, line by line.

use super::{Plain, lines};
use crate::terminal::{
    local_time,
    planned::{self, Planned, Which},
    when::When,
    wording,
};
use godwit_client::{ClientMsgId, ConversationId, ScheduleOptions, UserId, v1::ScheduledMessage};
use std::time::{SystemTime, UNIX_EPOCH};

impl Plain<'_> {
    pub(super) async fn schedule(&self, when: When, text: String, number: u64) {
        let Some(conversation) = self.current.get() else {
            return self.error("NO_CONVERSATION", "no conversation is chosen: /to NAME", number).await;
        };
        let due = match when.resolve(now_ms(), &self.zone) {
            Ok(due) => due,
            Err(error) => return self.error("INVALID_TIME", &error.to_string(), number).await,
        };
        if let Some(choice) = due.choice {
            self.output.print(lines::note(&choice.to_string(), number)).await;
        }
        let options = ScheduleOptions { repeat: due.repeat, ..ScheduleOptions::default() };
        match self.client.schedule_with(conversation, text, due.unix_ms, options).await {
            Ok(scheduled) => self.print_saved(scheduled, Some(number)).await,
            Err(error) => self.request_failed(&error.into(), number).await,
        }
    }

    pub(super) async fn reschedule(&self, which: &Which, when: When, text: Option<String>, number: u64) {
        let due = match when.resolve(now_ms(), &self.zone) {
            Ok(due) => due,
            Err(error) => return self.error("INVALID_TIME", &error.to_string(), number).await,
        };
        if let Some(choice) = due.choice {
            self.output.print(lines::note(&choice.to_string(), number)).await;
        }
        let hex = which.hex(&self.listed.borrow());
        let changed = match hex {
            Ok(hex) => planned::change(self.client, &hex, planned::change_to(due, text)).await,
            Err(error) => Err(error),
        };
        match changed {
            Ok(scheduled) => self.print_saved(scheduled, Some(number)).await,
            Err(error) => self.request_failed(&error, number).await,
        }
    }

    pub(super) async fn send_now(&self, which: &Which, number: u64) {
        let hex = which.hex(&self.listed.borrow());
        let sent = match hex {
            Ok(hex) => planned::send_now(self.client, &hex).await,
            Err(error) => Err(error),
        };
        match sent {
            Ok(_) => self.output.print(format!("done\t{number}")).await,
            Err(error) => self.request_failed(&error, number).await,
        }
    }

    /// A scheduled message was saved: by line `number`, or on another device; or it was due and could not be sent.
    pub(super) async fn print_saved(&self, scheduled: ScheduledMessage, number: Option<u64>) {
        let Some(planned) = Planned::new(scheduled) else { return };
        self.learn(self.peer(planned.conversation)).await;
        let (name, due) = (self.name(planned.conversation), local_time::iso(planned.due_ms, &self.zone));
        let line = match &planned.failure {
            None => lines::scheduled(&name, planned.id, &due, number),
            Some(why) => lines::unsent(&name, planned.id, &wording::code_name(why.code), &wording::refusal(why)),
        };
        self.output.print(line).await;
        if let Some(recurrence) = planned.recurrence {
            self.output.print(lines::repeats(planned.id, &recurrence)).await;
        }
    }

    pub(super) async fn list_scheduled(&self, number: u64) {
        let planned = match planned::list(self.client).await {
            Ok(planned) => planned,
            Err(error) => return self.request_failed(&error.into(), number).await,
        };
        *self.listed.borrow_mut() = planned.iter().map(|one| one.id).collect();
        self.learn(planned.iter().filter_map(|one| self.peer(one.conversation))).await;
        for (index, one) in planned.iter().enumerate() {
            let due = local_time::iso(one.due_ms, &self.zone);
            self.output.print(lines::listed(index + 1, &self.name(one.conversation), &due, one)).await;
            if let Some(recurrence) = &one.recurrence {
                self.output.print(lines::repeats(one.id, recurrence)).await;
            }
        }
        self.output.print(format!("done\t{number}")).await;
    }

    pub(super) async fn cancel(&self, which: &Which, number: u64) {
        let hex = which.hex(&self.listed.borrow());
        let cancelled = match hex {
            Ok(hex) => planned::cancel(self.client, &hex).await,
            Err(error) => Err(error),
        };
        match cancelled {
            Ok(id) => self.print_cancelled(id, Some(number)).await,
            Err(error) => self.request_failed(&error, number).await,
        }
    }

    pub(super) async fn print_cancelled(&self, id: ClientMsgId, number: Option<u64>) {
        self.output.print(lines::cancelled(id, number)).await;
    }

    pub(super) fn peer(&self, conversation: ConversationId) -> Option<u64> {
        conversation.peer_of(self.client.user_id()).map(UserId::as_u64)
    }
}

pub(super) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}
