//! Messages that are sent later.

use super::{Model, Now, Overlay};
use crate::terminal::{
    effects::{Effect, Scheduling},
    every,
    planned::{self, Planned, Which},
    requests::ActionError,
    when::{Choice, When},
    wording,
};
use godwit_client::{ClientMsgId, ConversationId, RequestError, v1::ScheduledMessage};

/// The most characters of a message that are repeated in a notice.
const QUOTE_CHARS_MAX: usize = 40;

impl Model {
    /// Has a message sent later. What was typed stays until it is clear where it goes, and when.
    pub(super) fn schedule(&mut self, when: When, text: String, now: Now) {
        let conversation = match self.addressee(&text) {
            Ok(id) => id,
            Err(why) => return self.fail(&why, now),
        };
        let due = match when.resolve(now.unix_ms, &self.session.zone) {
            Ok(due) => due,
            Err(error) => return self.fail(&error.to_string(), now),
        };
        self.notice = None;
        self.scheduling += 1;
        let line = self.input.take();
        let asked =
            Scheduling { conversation, body: text, due_ms: due.unix_ms, repeat: due.repeat, choice: due.choice, line };
        self.effects.push(Effect::Schedule(asked));
        if !self.is_up() {
            self.notify("this waits until the server is back", false, now);
        }
    }

    pub(super) fn on_scheduled(
        &mut self,
        asked: &Scheduling,
        result: Result<ScheduledMessage, RequestError>,
        now: Now,
    ) {
        let scheduled = match result {
            Ok(scheduled) => scheduled,
            Err(error) => {
                self.take_back(asked);
                return self.fail(&format!("not scheduled: {}", wording::request_error(&error)), now);
            }
        };
        self.scheduling = self.scheduling.saturating_sub(1);
        self.tell_scheduled(scheduled, asked.choice, now);
    }

    /// Where it goes, when, and whether again.
    fn tell_scheduled(&mut self, scheduled: ScheduledMessage, choice: Option<Choice>, now: Now) {
        let Some(planned) = Planned::new(scheduled) else { return };
        let stamp = self.session.stamp(planned.due_ms);
        let when = match stamp.same_day(&self.session.stamp(now.unix_ms)) {
            true => stamp.time(),
            false => format!("{}, {}", stamp.time(), stamp.long_date()),
        };
        let mut said = format!("to {}, to be sent at {when}", self.name_of(planned.conversation));
        if let Some(recurrence) = &planned.recurrence {
            said = format!("{said}, and {}", every::words(recurrence, &self.session.zone));
        }
        match choice {
            Some(choice) => self.notify(format!("{said} ({choice})"), false, now),
            None => self.notify(said, false, now),
        }
    }

    /// Has a scheduled message sent at another time. What was typed stays if it cannot be.
    pub(super) fn reschedule(&mut self, which: &Which, when: When, text: Option<String>, now: Now) {
        let due = match when.resolve(now.unix_ms, &self.session.zone) {
            Ok(due) => due,
            Err(error) => return self.fail(&error.to_string(), now),
        };
        let hex = match which.hex(&self.listed()) {
            Ok(hex) => hex,
            Err(error) => return self.fail(&error.to_string(), now),
        };
        self.input.take();
        self.notice = None;
        self.effects.push(Effect::Reschedule { hex, choice: due.choice, change: planned::change_to(due, text) });
        if !self.is_up() {
            self.notify("this waits until the server is back", false, now);
        }
    }

    pub(super) fn on_rescheduled(
        &mut self,
        choice: Option<Choice>,
        result: Result<ScheduledMessage, ActionError>,
        now: Now,
    ) {
        match result {
            Ok(scheduled) => self.tell_scheduled(scheduled, choice, now),
            Err(error) => self.fail(&format!("not changed: {error}"), now),
        }
    }

    pub(super) fn send_now(&mut self, which: &Which, now: Now) {
        match which.hex(&self.listed()) {
            Ok(hex) => self.effects.push(Effect::SendNow(hex)),
            Err(error) => self.fail(&error.to_string(), now),
        }
    }

    /// It will not be scheduled: the line comes back, unless the user is typing another one.
    pub(super) fn take_back(&mut self, asked: &Scheduling) {
        self.scheduling = self.scheduling.saturating_sub(1);
        if self.input.is_empty() && self.selected == Some(asked.conversation) {
            self.input.insert(&asked.line);
        }
    }

    /// A scheduled message changed on another device, or could not be sent.
    pub(super) fn on_planned(&mut self, scheduled: ScheduledMessage, now: Now) {
        let Some(planned) = Planned::new(scheduled) else { return };
        if let Some(failure) = &planned.failure {
            let name = self.name_of(planned.conversation);
            let why = wording::refusal(failure);
            self.fail(&format!("the scheduled message to {name} was not sent: {why}; see /scheduled"), now);
        }
    }

    pub(super) fn on_listed(&mut self, result: Result<Vec<Planned>, RequestError>, now: Now) {
        match result {
            Ok(planned) => {
                let peers = planned.iter().filter_map(|one| one.conversation.peer_of(self.session.me));
                self.people.want(peers.map(|peer| peer.as_u64()));
                self.overlay = Some(Overlay::Planned);
                self.planned = planned;
            }
            Err(error) => self.fail(&wording::request_error(&error), now),
        }
    }

    pub(super) fn cancel(&mut self, which: &Which, now: Now) {
        match which.hex(&self.listed()) {
            Ok(hex) => self.effects.push(Effect::CancelScheduled(hex)),
            Err(error) => self.fail(&error.to_string(), now),
        }
    }

    pub(super) fn on_cancelled(&mut self, result: Result<ClientMsgId, ActionError>, now: Now) {
        match result {
            Ok(id) => {
                let text = self.planned.iter().find(|one| one.id == id).map(Planned::text).unwrap_or_default();
                let quote: String = text.chars().take(QUOTE_CHARS_MAX).collect();
                let what = if quote.is_empty() { String::new() } else { format!(": {}", quote.replace('\n', " ")) };
                self.notify(format!("cancelled, unless it was sent already{what}"), false, now);
            }
            Err(error) => self.fail(&error.to_string(), now),
        }
    }

    fn listed(&self) -> Vec<ClientMsgId> {
        self.planned.iter().map(|one| one.id).collect()
    }

    /// What a conversation is called, also one that is not in the list.
    pub fn name_of(&self, id: ConversationId) -> String {
        let (me, people) = (self.session.me, &self.people);
        match (self.conversations.get(&id), id.peer_of(me)) {
            (Some(known), _) => known.name(me, people),
            (None, Some(peer)) => people.full_name(peer.as_u64()),
            (None, None) => "#…".to_owned(),
        }
    }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
