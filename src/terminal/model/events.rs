//! What the client reports.

use super::{Awaited, Link, Model, Now, Overlay, READ_RETRY};
use crate::terminal::{
    conversation::{Anchor, OutgoingState},
    effects::{Effect, Reply},
    sanitize, wording,
};
use godwit_client::{
    ClientMsgId, ConnectionState, ConversationId, Event, Seq,
    v1::{ConversationSummary, Role},
};

impl Model {
    /// Something happened in a conversation, or to the connection.
    pub fn on_event(&mut self, event: Event, now: Now) {
        match event {
            Event::State(state) => self.on_state(state, now),
            Event::Synced => {
                self.link = Link::Connected;
                self.effects.push(Effect::CountDue);
            }
            Event::Summary(summary) => self.on_summary(&summary),
            Event::Read { conversation, read_seq, read_ordinal } => {
                self.update(conversation, |one| one.unread.on_read(read_seq, read_ordinal));
            }
            Event::Scheduled(scheduled) => self.on_planned(*scheduled, now),
            // Whoever looks at the list asked for it as it was.
            Event::ScheduleCancelled { .. } | Event::ScheduleEnded { .. } => {}
            Event::ReminderDismissed { .. } => {}
            Event::Reminder(reminder) => self.on_reminder(&reminder, now),
            Event::Typing { conversation, user, is_typing } => {
                self.people.want([user.as_u64()]);
                self.typing.on_other(conversation, user.as_u64(), is_typing);
            }
            Event::Removed { conversation } => {
                if let Some(left) = self.conversations.get(&conversation) {
                    let name = left.name(self.session.me, &self.people);
                    self.notify(format!("you are no longer in {name}"), false, now);
                }
                self.remove(conversation);
            }
            Event::Entry { conversation, entry, .. } => {
                let (lost_newest, is_described) =
                    self.update(conversation, |one| (one.on_entry(&entry), one.is_described));
                let item = crate::terminal::timeline::Item::new(&entry);
                self.people.want(item.people());
                if !is_described || lost_newest {
                    self.describe();
                }
            }
        }
    }

    /// The client answered.
    pub fn on_reply(&mut self, reply: Reply, now: Now) {
        match reply {
            Reply::Sent { conversation, client_msg_id, result } => {
                let state = match result {
                    Ok(_) => OutgoingState::Sent,
                    Err(error) => OutgoingState::Failed(wording::send_error(&error)),
                };
                self.on_sent(conversation, client_msg_id, state);
            }
            Reply::NoRoom { conversation, client_msg_id } => {
                let why = "too many messages wait for the server".to_owned();
                self.on_sent(conversation, client_msg_id, OutgoingState::Failed(why));
            }
            Reply::Read { conversation, result } => {
                self.is_marking_read = false;
                match result {
                    Ok(read) if self.conversations.contains_key(&conversation) => {
                        let (seq, ordinal) = (Seq(read.read_seq), read.read_ordinal);
                        self.update(conversation, |one| one.unread.on_read(seq, ordinal));
                    }
                    Ok(_) => {}
                    Err(error) => {
                        self.read_at = Some(now.instant + READ_RETRY);
                        self.fail(&wording::request_error(&error), now);
                    }
                }
            }
            Reply::Page { conversation, direction, result } => {
                let Some(open) = self.conversations.get_mut(&conversation) else { return };
                match result {
                    Ok(page) => {
                        open.on_page(direction, &page);
                        let people: Vec<u64> = open.timeline.items().flat_map(|item| item.people()).collect();
                        self.people.want(people);
                    }
                    Err(error) => {
                        open.timeline.on_page_failed(now.instant);
                        self.fail(&wording::request_error(&error), now);
                    }
                }
            }
            Reply::People { asked, result } => match result {
                Ok(profiles) => profiles.iter().for_each(|profile| self.people.learn(profile)),
                Err(error) => {
                    self.people.forget_asked(&asked);
                    self.fail(&wording::request_error(&error), now);
                }
            },
            Reply::Described(result) => {
                self.is_describing = false;
                match result {
                    Ok(summaries) => summaries.iter().for_each(|summary| self.on_summary(summary)),
                    Err(error) => self.fail(&wording::request_error(&error), now),
                }
            }
            Reply::Opened { name, result: Ok((conversation, profile)) } => {
                self.people.learn(&profile);
                // The user gave up waiting, or asked for another one meanwhile.
                if self.awaited != Some(Awaited::User(name)) {
                    return;
                }
                self.update(conversation, |one| {
                    if one.timeline.last_seq() == Seq::ZERO {
                        // Nothing was said yet. It stands on top of the list until something is.
                        one.is_described = true;
                        one.active_ms = now.unix_ms;
                    }
                });
                self.select(conversation);
            }
            Reply::Opened { name, result: Err(error) } => {
                self.give_up(&Awaited::User(name));
                self.fail(&wording::request_error(&error), now);
            }
            Reply::Created { title, result } => match result {
                Ok(group) => {
                    let is_awaited = self.awaited == Some(Awaited::Group(title.clone()));
                    self.update(group, |one| {
                        one.title.get_or_insert(sanitize::line(&title));
                        one.active_ms = one.active_ms.max(now.unix_ms);
                    });
                    if is_awaited {
                        self.select(group);
                    }
                }
                Err(error) => {
                    self.give_up(&Awaited::Group(title));
                    self.fail(&error.to_string(), now);
                }
            },
            Reply::Members { group, result } => match result {
                Ok(members) => {
                    self.people.want(members.iter().map(|member| member.user_id));
                    let members = members.iter().map(|one| (one.user_id, one.role() == Role::Owner)).collect();
                    self.overlay = Some(Overlay::Members { group, members });
                }
                Err(error) => self.fail(&wording::request_error(&error), now),
            },
            Reply::MembersChanged(Ok(())) => {}
            Reply::MembersChanged(Err(error)) => self.fail(&error.to_string(), now),
            Reply::Scheduled { asked, result } => self.on_scheduled(&asked, result, now),
            Reply::Planned(result) => self.on_listed(result, now),
            Reply::Cancelled(result) => self.on_cancelled(result, now),
            Reply::Rescheduled { choice, result } => self.on_rescheduled(choice, result, now),
            Reply::SentNow(Ok(_)) => self.notify("sent", false, now),
            Reply::SentNow(Err(error)) => self.fail(&error.to_string(), now),
            Reply::ExpirySet(Ok(())) => {}
            Reply::ExpirySet(Err(error)) => self.fail(&wording::request_error(&error), now),
            Reply::Reminding(result) => self.on_reminding(result, now),
            Reply::Reminders(result) => self.on_reminders(result, now),
            Reply::DueCounted(due) => self.on_due_counted(due, now),
            Reply::Dismissed(Ok(())) => self.notify("dismissed", false, now),
            Reply::Dismissed(Err(error)) => self.fail(&error.to_string(), now),
            Reply::LoggedOut(Ok(())) => (self.is_logged_out, self.is_over) = (true, true),
            Reply::LoggedOut(Err(error)) => self.fail(&wording::request_error(&error), now),
            Reply::Busy(effect) => self.on_busy(&effect, now),
        }
    }

    fn on_state(&mut self, state: ConnectionState, now: Now) {
        self.link = match state {
            ConnectionState::Connecting => Link::Connecting,
            ConnectionState::Connected => Link::CatchingUp,
            ConnectionState::Reconnecting { retry_in, reason, .. } => {
                Link::Reconnecting { at: now.instant + retry_in, reason: wording::reason(&reason) }
            }
            ConnectionState::Closed { code, reason } => {
                let reason = match (code, reason.is_empty()) {
                    (Some(code), true) => wording::code_name(code),
                    (Some(code), false) => format!("{} ({})", wording::reason(&reason), wording::code_name(code)),
                    (None, _) => wording::reason(&reason),
                };
                Link::Closed { reason }
            }
        };
    }

    fn on_summary(&mut self, summary: &ConversationSummary) {
        let Ok(id) = ConversationId::from_slice(&summary.conversation_id) else { return };
        self.update(id, |one| one.on_summary(summary));
        if let Some(last) = &summary.last_entry {
            self.people.want([last.sender_id]);
        }
    }

    fn on_sent(&mut self, conversation: ConversationId, id: ClientMsgId, state: OutgoingState) {
        if let Some(conversation) = self.conversations.get_mut(&conversation) {
            if matches!(state, OutgoingState::Failed(_)) && Some(conversation.id) == self.selected {
                conversation.anchor = Anchor::End;
            }
            conversation.on_sent(id, state);
        }
    }

    /// A request was not made. What asks again by itself is told that it may.
    fn on_busy(&mut self, effect: &Effect, now: Now) {
        match effect {
            Effect::Load { conversation, .. } => {
                if let Some(open) = self.conversations.get_mut(conversation) {
                    open.timeline.on_page_failed(now.instant);
                }
            }
            Effect::MarkRead { .. } => self.is_marking_read = false,
            Effect::FindPeople(asked) => self.people.forget_asked(asked),
            Effect::Describe => self.is_describing = false,
            Effect::Open(_) | Effect::CreateGroup { .. } => self.awaited = None,
            Effect::Schedule(asked) => self.take_back(asked),
            _ => {}
        }
        let asked_by_user = !matches!(
            effect,
            Effect::Load { .. } | Effect::MarkRead { .. } | Effect::FindPeople(_) | Effect::Describe | Effect::CountDue
        );
        if asked_by_user {
            self.fail("too many requests wait for the server; try again", now);
        }
    }

    fn give_up(&mut self, awaited: &Awaited) {
        if self.awaited.as_ref() == Some(awaited) {
            self.awaited = None;
        }
    }

    fn describe(&mut self) {
        if !self.is_describing {
            self.is_describing = true;
            self.effects.push(Effect::Describe);
        }
    }

    pub(super) fn fail(&mut self, text: &str, now: Now) {
        self.notify(text, true, now);
    }
}
