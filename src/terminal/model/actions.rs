//! What the user does.

use super::{Awaited, Model, Now, Overlay, PENDING_MAX};
use crate::terminal::{
    commands::{self, Command, Line, Target},
    conversation::{Anchor, Conversation, Outgoing, OutgoingState},
    effects::{Effect, MemberChange},
    expiry::Expire,
    flow::Flow,
    sanitize,
};
use godwit_client::{ConversationId, Expiry};

/// What a key means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Type this at the cursor.
    Insert(String),
    /// Move or delete in the input line.
    Edit(Edit),
    /// Send the line, or do what it says.
    Enter,
    /// Select the conversation this many rows down the list, or up.
    Move(isize),
    /// Select the next conversation with something unread.
    NextUnread,
    /// Scroll by a page: back in time, or forward.
    Page {
        /// Back in time.
        up: bool,
    },
    /// To the newest message.
    ScrollToEnd,
    /// Close what covers the messages, or go to the newest one.
    Escape,
    /// Show the commands.
    Help,
    /// End.
    Quit,
}

/// A movement or deletion in the input line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit {
    /// One character to the left.
    Left,
    /// One character to the right.
    Right,
    /// One word to the left.
    WordLeft,
    /// One word to the right.
    WordRight,
    /// To the beginning.
    Home,
    /// To the end.
    End,
    /// Delete before the cursor.
    Backspace,
    /// Delete after the cursor.
    Delete,
    /// Delete the word before the cursor.
    DeleteWord,
    /// Delete all before the cursor.
    DeleteToStart,
    /// Delete all after the cursor.
    DeleteToEnd,
}

/// Lines of a list or of the help that a page key scrolls by.
const OVERLAY_STEP: usize = 10;

impl Model {
    /// The user did something.
    pub fn on_action(&mut self, action: Action, now: Now) {
        if action != Action::Quit {
            self.quit_was_confirmed = false;
        }
        if let (Action::Page { up }, true) = (&action, self.overlay.is_some()) {
            self.overlay_top = match up {
                true => self.overlay_top.saturating_sub(OVERLAY_STEP),
                false => (self.overlay_top + OVERLAY_STEP).min(self.drawn.overlay_top_max),
            };
            return;
        }
        // The lists are there to be read while `/cancel` or `/dismiss` is typed.
        let is_typing = matches!(action, Action::Insert(_) | Action::Edit(_));
        let stays = is_typing && matches!(self.overlay, Some(Overlay::Planned | Overlay::Reminders));
        let covered = !stays && self.overlay.take().is_some();
        if !stays {
            self.overlay_top = 0;
        }
        match action {
            Action::Escape if covered => {}
            Action::Insert(text) => {
                if !self.input.insert(&text) {
                    self.fail("the message is too long; the rest was left out", now);
                }
            }
            Action::Edit(edit) => self.edit(edit),
            Action::Enter if covered && self.input.is_empty() => {}
            Action::Enter => self.enter(now),
            Action::Move(rows) => self.move_selection(rows),
            Action::NextUnread => self.select_unread(now),
            Action::Page { up } => self.scroll(up, now),
            Action::Escape if self.awaited.take().is_some() => self.notice = None,
            Action::ScrollToEnd | Action::Escape => self.scroll_to_end(),
            Action::Help => self.overlay = (!covered).then_some(Overlay::Help),
            Action::Quit => self.quit(now),
        }
        if is_typing {
            self.typing.on_own(self.selected, self.input.text());
        }
    }

    fn edit(&mut self, edit: Edit) {
        let input = &mut self.input;
        match edit {
            Edit::Left => input.left(),
            Edit::Right => input.right(),
            Edit::WordLeft => input.word_left(),
            Edit::WordRight => input.word_right(),
            Edit::Home => input.home(),
            Edit::End => input.end(),
            Edit::Backspace => input.backspace(),
            Edit::Delete => input.delete(),
            Edit::DeleteWord => input.delete_word(),
            Edit::DeleteToStart => input.delete_to_start(),
            Edit::DeleteToEnd => input.delete_to_end(),
        }
    }

    fn enter(&mut self, now: Now) {
        match commands::parse(self.input.text()) {
            Ok(Line::Empty) => {}
            Ok(Line::Text(text)) => self.write(text, None, now),
            Ok(Line::Command(Command::Expire(Expire::Send { expiry, text }))) => self.write(text, Some(expiry), now),
            Ok(Line::Command(Command::Schedule { when, text })) => self.schedule(when, text, now),
            Ok(Line::Command(Command::Remind { when, seq, note })) => self.remind(when, seq, note, now),
            Ok(Line::Command(Command::Reschedule { which, when, text })) => self.reschedule(&which, when, text, now),
            Ok(Line::Command(command)) => {
                self.input.take();
                self.notice = None;
                self.command(command, now);
            }
            // The line stays, to be corrected.
            Err(error) => self.fail(&error.to_string(), now),
        }
    }

    fn write(&mut self, text: String, expiry: Option<Expiry>, now: Now) {
        let id = match self.addressee(&text) {
            Ok(id) => id,
            Err(why) => return self.fail(&why, now),
        };
        if self.conversations.values().map(|one| one.pending()).sum::<usize>() >= PENDING_MAX {
            return self.fail("too many messages wait for the server; try again later", now);
        }
        let client_msg_id = self.next_msg_id();
        let shown = Outgoing {
            client_msg_id,
            text: sanitize::text(&text),
            typed_ms: now.unix_ms,
            state: OutgoingState::Pending,
        };
        self.update(id, |conversation| {
            conversation.outgoing.push_back(shown);
            conversation.active_ms = conversation.active_ms.max(now.unix_ms);
        });
        self.scroll_to_end();
        self.input.take();
        self.notice = None;
        self.effects.push(Effect::Send { conversation: id, client_msg_id, body: text, expiry });
    }

    /// Where a message would go, or why it may not.
    pub(super) fn addressee(&self, text: &str) -> Result<ConversationId, String> {
        if let Some(awaited) = self.awaited() {
            return Err(format!("not sent: still waiting for {awaited}; Esc gives it up"));
        }
        let limit = self.session.message_bytes_max;
        if text.len() > limit {
            return Err(format!("the message has {} bytes; the server takes {limit}", text.len()));
        }
        self.selected.ok_or_else(|| "choose a conversation first: /to NAME".to_owned())
    }

    fn command(&mut self, command: Command, now: Now) {
        match command {
            Command::To(target) => self.go_to(target, now),
            Command::Group { title, names } => {
                self.awaited = Some(Awaited::Group(title.clone()));
                self.effects.push(Effect::CreateGroup { title, names });
            }
            Command::Add(names) => self.change_members(MemberChange::Add(names), now),
            Command::Remove(names) => self.change_members(MemberChange::Remove(names), now),
            Command::Leave => self.change_members(MemberChange::Leave, now),
            Command::Sanction(change) => self.change_members(MemberChange::Sanction(change), now),
            Command::Members => match self.selected() {
                Some(group) if group.is_group() => {
                    let group = group.id;
                    self.effects.push(Effect::ListMembers(group));
                }
                Some(direct) => {
                    let name = direct.name(self.session.me, &self.people);
                    self.notify(format!("you and {name}"), false, now);
                }
                None => self.fail("choose a conversation first: /to NAME", now),
            },
            Command::Read => {
                self.mark_read();
                if let Some(conversation) = self.selected.and_then(|id| self.conversations.get_mut(&id)) {
                    conversation.new_after = None;
                }
            }
            // What was typed stays until it is understood, so they have a way of their own.
            Command::Schedule { .. }
            | Command::Reschedule { .. }
            | Command::Remind { .. }
            | Command::Expire(Expire::Send { .. }) => {}
            Command::Reminders => self.effects.push(Effect::ListReminders),
            Command::Dismiss(number) => self.dismiss(number, now),
            Command::Expire(Expire::Show) => self.show_expiry(now),
            Command::Expire(Expire::Set(expiry)) => self.set_expiry(expiry, now),
            Command::Scheduled => self.effects.push(Effect::ListScheduled),
            Command::Cancel(which) => self.cancel(&which, now),
            Command::SendNow(which) => self.send_now(&which, now),
            Command::Logout => self.effects.push(Effect::Logout),
            Command::Help => self.overlay = Some(Overlay::Help),
            Command::Quit => self.quit(now),
        }
        if !self.is_up() && !self.effects.is_empty() {
            self.notify("this waits until the server is back", false, now);
        }
    }

    fn go_to(&mut self, target: Target, now: Now) {
        let found = match target {
            Target::User(name) => match self.known_direct(&name) {
                Some(id) => Some(id),
                None => {
                    self.awaited = Some(Awaited::User(name.clone()));
                    return self.effects.push(Effect::Open(name));
                }
            },
            Target::Id(id) => self.conversations.contains_key(&id).then_some(id),
            Target::Title(title) => {
                let title = sanitize::line(&title).to_lowercase();
                let named = |one: &&str| one.to_lowercase() == title;
                self.list().find(|one| one.title.as_deref().as_ref().is_some_and(named)).map(|one| one.id)
            }
        };
        match found {
            Some(id) => self.select(id),
            None => self.fail("you are in no such conversation", now),
        }
    }

    /// The conversation with somebody of exactly this name, which needs no server. Others may still be found by it: the
    /// server compares more forgivingly.
    fn known_direct(&self, name: &str) -> Option<ConversationId> {
        let name = name.to_lowercase();
        let is_peer = |one: &&Conversation| {
            let peer = one.id.peer_of(self.session.me);
            peer.is_some_and(|peer| self.people.name(peer.as_u64()).to_lowercase() == name)
        };
        self.list().find(is_peer).map(|one| one.id)
    }

    fn change_members(&mut self, change: MemberChange, now: Now) {
        match self.selected().filter(|one| one.is_group()).map(|one| one.id) {
            Some(group) => self.effects.push(Effect::ChangeMembers { group, change }),
            None => self.fail("choose a group first: /to #TITLE", now),
        }
    }

    fn move_selection(&mut self, rows: isize) {
        let Some(last) = self.list_len().checked_sub(1) else { return };
        let target = match self.selected_index() {
            Some(index) => index.saturating_add_signed(rows).min(last),
            None => 0,
        };
        let id = self.list().nth(target).map(|one| one.id);
        if let Some(id) = id {
            self.select(id);
        }
    }

    fn select_unread(&mut self, now: Now) {
        let unread = |one: &&Conversation| one.unread_count() != Some(0) && Some(one.id) != self.selected;
        let next = self.list().find(unread).map(|one| one.id);
        match next {
            Some(id) => self.select(id),
            None => self.notify("nothing is unread elsewhere", false, now),
        }
    }

    fn scroll(&mut self, up: bool, now: Now) {
        let Some(conversation) = self.selected() else { return };
        let flow = Flow::new(self, conversation, self.drawn.width, now.server_ms);
        let page = self.drawn.height.saturating_sub(1).max(1);
        let anchor = flow.scrolled(conversation.anchor, up, page, self.drawn.height);
        self.set_anchor(anchor);
    }

    fn scroll_to_end(&mut self) {
        if let Some(conversation) = self.selected.and_then(|id| self.conversations.get_mut(&id))
            && !conversation.timeline.reaches_end()
        {
            conversation.timeline.close();
            conversation.timeline.open();
        }
        self.set_anchor(Anchor::End);
    }

    fn set_anchor(&mut self, anchor: Anchor) {
        if let Some(conversation) = self.selected.and_then(|id| self.conversations.get_mut(&id)) {
            conversation.anchor = anchor;
        }
    }

    fn quit(&mut self, now: Now) {
        let pending = self.scheduling + self.conversations.values().map(|one| one.pending()).sum::<usize>();
        if pending == 0 || self.quit_was_confirmed {
            self.is_over = true;
        } else {
            self.quit_was_confirmed = true;
            self.fail(
                &format!("{pending} of your messages did not reach the server yet; quit again to give them up"),
                now,
            );
        }
    }
}
