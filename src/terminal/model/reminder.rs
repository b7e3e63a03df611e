//! Messages that the user is reminded of.

use super::{Model, Now, Overlay};
use crate::terminal::{
    effects::Effect,
    reminders::{self, Reminding},
    requests::ActionError,
    when::When,
    wording,
};
use godwit_client::{ConversationId, RequestError, Seq, v1::Reminder};

impl Model {
    /// Has the server remind the user. What was typed stays if it cannot.
    pub(super) fn remind(&mut self, when: When, seq: Option<Seq>, note: Option<String>, now: Now) {
        let conversation = match self.addressee("") {
            Ok(id) => id,
            Err(why) => return self.fail(&why, now),
        };
        let due = match when.resolve(now.unix_ms, &self.session.zone) {
            Ok(due) => due,
            Err(error) => return self.fail(&error.to_string(), now),
        };
        self.input.take();
        self.notice = None;
        self.effects.push(Effect::Remind(Reminding { conversation, seq, due_ms: due.unix_ms, note }));
        if !self.is_up() {
            self.notify("this waits until the server is back", false, now);
        }
    }

    pub(super) fn on_reminding(&mut self, result: Result<Reminder, ActionError>, now: Now) {
        match result {
            Ok(reminder) => {
                let when = self.session.stamp(reminder.due_ms).time_and_day(&self.session.stamp(now.unix_ms));
                self.notify(format!("you will be reminded at {when}: {}", reminders::what(&reminder)), false, now);
            }
            Err(error) => self.fail(&format!("no reminder: {error}"), now),
        }
    }

    /// One is due, or was set on another device.
    pub(super) fn on_reminder(&mut self, reminder: &Reminder, now: Now) {
        if reminder.is_due {
            let (name, what) = (self.place_of(reminder), reminders::what(reminder));
            self.notify(format!("reminder, {name}: {what}; see /reminders"), false, now);
        }
    }

    pub(super) fn on_reminders(&mut self, result: Result<Vec<Reminder>, RequestError>, now: Now) {
        match result {
            Ok(listed) => {
                let conversations =
                    listed.iter().filter_map(|one| ConversationId::from_slice(&one.conversation_id).ok());
                let peers = conversations.filter_map(|id| id.peer_of(self.session.me));
                self.people.want(peers.map(|peer| peer.as_u64()));
                self.overlay = Some(Overlay::Reminders);
                self.reminders = listed;
            }
            Err(error) => self.fail(&wording::request_error(&error), now),
        }
    }

    /// After a connect. A server that knows no reminders has none.
    pub(super) fn on_due_counted(&mut self, due: usize, now: Now) {
        match due {
            0 => {}
            1 => self.notify("a reminder is due; see /reminders", false, now),
            due => self.notify(format!("{due} reminders are due; see /reminders"), false, now),
        }
    }

    pub(super) fn dismiss(&mut self, number: usize, now: Now) {
        match reminders::numbered(&self.reminders, number) {
            Ok(reminder) => self.effects.push(Effect::Dismiss(reminder.clone())),
            Err(error) => self.fail(&error.to_string(), now),
        }
    }

    /// What the conversation of a reminder is called.
    pub fn place_of(&self, reminder: &Reminder) -> String {
        ConversationId::from_slice(&reminder.conversation_id).map(|id| self.name_of(id)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;
    use crate::terminal::{
        effects::Reply,
        fixture::{BOB, Desk, TODAY_MS, direct},
        model::Action,
    };
    use godwit_client::Event;

    const HOUR_MS: u64 = 3_600_000;

    fn reminder(seq: u64, due_ms: u64, note: &str, is_due: bool) -> Reminder {
        let conversation_id = direct(BOB).to_bytes();
        Reminder { conversation_id, seq, due_ms, note: note.into(), is_due, ..Reminder::default() }
    }

    fn notice(desk: &Desk) -> &str {
        &desk.model.notice.as_ref().expect("nothing was said").text
    }

    #[test]
    fn a_reminder_is_of_the_newest_message_or_a_chosen_one() {
        let mut desk = Desk::connected();
        desk.enter("/remind 2h");
        assert!(notice(&desk).contains("choose a conversation") && desk.model.input.take() == "/remind 2h");
        let bob = desk.open(BOB, "bob");
        for (line, seq, note) in [
            ("/remind 2h", None, None),
            ("/remind in 2h #41", Some(Seq(41)), None),
            ("/remind 2h #41 call  back", Some(Seq(41)), Some("call  back".to_owned())),
            ("/remind 2h # is no number", None, Some("# is no number".to_owned())),
        ] {
            desk.enter(line);
            let asked = Reminding { conversation: bob, seq, due_ms: TODAY_MS + 2 * HOUR_MS, note };
            assert_eq!(desk.effects.pop(), Some(Effect::Remind(asked)), "{line}");
        }
        desk.reply(Reply::Reminding(Ok(reminder(41, TODAY_MS + 2 * HOUR_MS, "tea?", false))));
        assert_eq!(notice(&desk), "you will be reminded at 16:00: tea?");
    }

    #[test]
    fn what_is_due_is_told_and_what_another_device_set_is_not() {
        let mut desk = Desk::connected();
        desk.event(Event::Reminder(Box::new(reminder(4, TODAY_MS, "tea?", false))));
        assert_eq!(desk.model.notice, None);
        desk.event(Event::Reminder(Box::new(reminder(4, TODAY_MS, "tea?\u{1b}", true))));
        assert_eq!(notice(&desk), "reminder, bob: tea?␛; see /reminders");
        desk.reply(Reply::DueCounted(2));
        assert_eq!(notice(&desk), "2 reminders are due; see /reminders");
    }

    #[test]
    fn the_list_stays_while_a_number_is_typed_and_one_of_it_is_dismissed() {
        let mut desk = Desk::connected();
        desk.open(BOB, "bob");
        desk.enter("/reminders");
        assert_eq!(desk.effects.pop(), Some(Effect::ListReminders));
        let all = vec![reminder(4, TODAY_MS - HOUR_MS, "tea?", true), reminder(9, TODAY_MS + HOUR_MS, "", false)];
        desk.reply(Reply::Reminders(Ok(all.clone())));
        desk.act(Action::Insert("/dismiss".into()));
        let seen = desk.seen(80, 12);
        for row in ["Reminders; /dismiss NUMBER", " 1  13:00  bob: tea?", " 2  15:00  bob: message #9"] {
            assert!(seen.contains(row), "{row}\n{seen}");
        }
        assert_eq!(seen.matches(" due").count(), 1, "{seen}");
        desk.act(Action::Insert(" 1".into()));
        desk.act(Action::Enter);
        assert_eq!(desk.effects.pop(), Some(Effect::Dismiss(all[0].clone())));
        desk.enter("/dismiss 3");
        assert!(notice(&desk).contains("no number 3"));
    }
}
