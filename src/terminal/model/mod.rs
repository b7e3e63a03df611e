//! What the screen shows and how it changes: pure, driven by events, keys and replies, with `now` passed in.

mod actions;
mod events;
mod expiry;
mod reminder;
mod schedule;
#[cfg(test)]
mod tests;

pub use actions::{Action, Edit};

use super::{
    conversation::{Anchor, Conversation},
    effects::Effect,
    input_line::InputLine,
    local_time::Stamp,
    people::People,
    planned::Planned,
    sanitize,
    typing::Typing,
};
use godwit_client::{
    ClientMsgId, ConversationId, UserId,
    v1::{Direction, Reminder},
};
use jiff::tz::TimeZone;
use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap, VecDeque},
    time::{Duration, Instant},
};

/// The most conversations in the list. Beyond it the one that was quiet the longest is dropped; it comes back when
/// something happens in it.
pub const CONVERSATIONS_MAX: usize = 10_000;

/// The most conversations whose entries are in memory: those that were selected last.
pub const OPEN_MAX: usize = 8;

/// The most own messages that wait for the server, in all conversations.
pub const PENDING_MAX: usize = 200;

/// What was on the screen for this long was read. Moving through the list reads nothing.
pub const READ_DELAY: Duration = Duration::from_millis(700);

/// The pause after the server refused a read position.
const READ_RETRY: Duration = Duration::from_secs(30);

/// How long a notice is shown.
const NOTICE_FOR: Duration = Duration::from_secs(8);

/// Who is chatting, and where.
#[derive(Debug, Clone)]
pub struct Session {
    /// The user.
    pub me: UserId,
    /// The user's name.
    pub username: String,
    /// The server's address, as it was given.
    pub server: String,
    /// The longest message that the server takes.
    pub message_bytes_max: usize,
    /// Random: ids of messages start with it, so that no other run has the same.
    pub msg_id_prefix: [u8; 12],
    /// Where the clock on the wall hangs.
    pub zone: TimeZone,
}

impl Session {
    /// A moment on that clock.
    pub fn stamp(&self, unix_ms: u64) -> Stamp {
        Stamp::new(unix_ms, &self.zone)
    }
}

/// The time, as the model needs it.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For waiting.
    pub instant: Instant,
    /// For showing: Unix time in milliseconds.
    pub unix_ms: u64,
    /// The same on the server's clock, as far as that is known: messages disappear by it.
    pub server_ms: u64,
}

/// How the connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// Being made for the first time.
    Connecting,
    /// Up, and what was missed is being fetched.
    CatchingUp,
    /// Up, and everything that happened is here.
    Connected,
    /// Lost.
    Reconnecting {
        /// When the next attempt starts.
        at: Instant,
        /// What went wrong.
        reason: String,
    },
    /// Lost for good.
    Closed {
        /// Why.
        reason: String,
    },
}

/// One line for the user that goes away by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What it says.
    pub text: String,
    /// Something went wrong.
    pub is_error: bool,
    until: Instant,
}

/// Something that covers the messages until the next key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Overlay {
    /// The commands and keys.
    Help,
    /// What is [`planned`](Model::planned). It stays while the user types, because it is what `/cancel` goes by.
    Planned,
    /// The [`reminders`](Model::reminders). They stay as well.
    Reminders,
    /// Who is in a group: user ids, the owner marked.
    Members {
        /// Which group.
        group: ConversationId,
        /// Each member, and whether it is the owner.
        members: Vec<(u64, bool)>,
    },
}

/// A conversation that a command asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Awaited {
    /// The direct conversation with this user.
    User(String),
    /// A group with this title, which is being made.
    Group(String),
}

/// What the last drawing showed; the model scrolls and reads by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drawn {
    /// Cells across the messages.
    pub width: usize,
    /// Lines of messages.
    pub height: usize,
    /// The first line held in memory is on the screen.
    pub shows_first: bool,
    /// The newest line is on the screen.
    pub shows_end: bool,
    /// When something of it is to be shown otherwise, or not any more, by the server's clock.
    pub changes_ms: Option<u64>,
    /// So many lines of what covers the messages can be scrolled out above.
    pub overlay_top_max: usize,
}

/// Everything that is shown.
#[derive(Debug)]
pub struct Model {
    /// Who, and where.
    pub session: Session,
    /// How the connection is.
    pub link: Link,
    /// Who is who.
    pub people: People,
    /// What is being typed.
    pub input: InputLine,
    /// What the user is told.
    pub notice: Option<Notice>,
    /// What covers the messages.
    pub overlay: Option<Overlay>,
    /// So many of its lines are scrolled out above.
    pub overlay_top: usize,
    /// What was scheduled, and what could not be sent, when the user last asked.
    pub planned: Vec<Planned>,
    /// The reminders, when the user last asked.
    pub reminders: Vec<Reminder>,
    /// Who is typing.
    pub typing: Typing,
    /// The end has come.
    pub is_over: bool,
    /// The token is revoked.
    pub is_logged_out: bool,
    conversations: HashMap<ConversationId, Conversation>,
    order: BTreeSet<(Reverse<u64>, ConversationId)>,
    selected: Option<ConversationId>,
    /// Selected lately, the newest last.
    open: VecDeque<ConversationId>,
    has_focus: bool,
    drawn: Drawn,
    read_at: Option<Instant>,
    /// A read position that is on its way to the server.
    is_marking_read: bool,
    is_describing: bool,
    /// The user asked for a conversation that is still being looked for. Until it is there, or given up, nothing is sent: it
    /// would go to the conversation before.
    awaited: Option<Awaited>,
    /// Messages that are to be scheduled and are not durable yet.
    scheduling: usize,
    /// The user was told what quitting gives up.
    quit_was_confirmed: bool,
    messages_written: u32,
    effects: Vec<Effect>,
}

impl Model {
    /// Before anything happened.
    pub fn new(session: Session) -> Self {
        Self {
            session,
            link: Link::Connecting,
            people: People::default(),
            input: InputLine::default(),
            notice: None,
            overlay: None,
            overlay_top: 0,
            planned: Vec::new(),
            reminders: Vec::new(),
            typing: Typing::default(),
            is_over: false,
            is_logged_out: false,
            conversations: HashMap::new(),
            order: BTreeSet::new(),
            selected: None,
            open: VecDeque::new(),
            has_focus: true,
            drawn: Drawn::default(),
            read_at: None,
            is_marking_read: false,
            is_describing: false,
            awaited: None,
            scheduling: 0,
            quit_was_confirmed: false,
            messages_written: 0,
            effects: Vec::new(),
        }
    }

    /// The conversations, the most recently active first.
    pub fn list(&self) -> impl Iterator<Item = &Conversation> {
        self.order.iter().filter_map(|(_, id)| self.conversations.get(id))
    }

    /// How many conversations there are.
    pub fn list_len(&self) -> usize {
        self.order.len()
    }

    /// The selected conversation's place in the list.
    pub fn selected_index(&self) -> Option<usize> {
        let selected = self.selected?;
        self.order.iter().position(|&(_, id)| id == selected)
    }

    /// The conversation whose messages are shown.
    pub fn selected(&self) -> Option<&Conversation> {
        self.conversations.get(&self.selected?)
    }

    /// What the user asked for and the server has not answered.
    pub fn awaited(&self) -> Option<String> {
        self.awaited.as_ref().map(|awaited| match awaited {
            Awaited::User(name) => sanitize::line(name),
            Awaited::Group(title) => format!("#{}", sanitize::line(title)),
        })
    }

    /// Unread messages in conversations that are not shown.
    pub fn unread_elsewhere(&self) -> u64 {
        let others = self.conversations.values().filter(|one| Some(one.id) != self.selected);
        others.filter_map(Conversation::unread_count).sum()
    }

    /// What is to be done now.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        let wanted = self.people.take_wanted();
        if !wanted.is_empty() {
            self.effects.push(Effect::FindPeople(wanted));
        }
        std::mem::take(&mut self.effects)
    }

    /// Tells the user something.
    pub fn notify(&mut self, text: impl Into<String>, is_error: bool, now: Now) {
        self.notice = Some(Notice { text: text.into(), is_error, until: now.instant + NOTICE_FOR });
    }

    /// The terminal's window came to the front, or went to the back: what is shown there is not read.
    pub fn on_focus(&mut self, has_focus: bool) {
        self.has_focus = has_focus;
        self.read_at = None;
    }

    /// Something was drawn. What the user sees now decides what is fetched and what counts as read.
    pub fn on_drawn(&mut self, drawn: Drawn, now: Now) {
        self.drawn = drawn;
        let Some(conversation) = self.selected.and_then(|id| self.conversations.get_mut(&id)) else { return };
        if drawn.shows_first
            && let Some(from) = conversation.timeline.start_loading_older(now.instant)
        {
            self.effects.push(Effect::Load { conversation: conversation.id, from, direction: Direction::Backward });
        } else if drawn.shows_end
            && let Some(from) = conversation.timeline.start_loading_newer(now.instant)
        {
            let direction = Direction::Forward;
            self.effects.push(Effect::Load { conversation: conversation.id, from, direction });
        }
        let sees_unread = self.has_focus
            && self.overlay.is_none()
            && drawn.shows_end
            && conversation.timeline.reaches_end()
            && conversation.unread.last_seq() > conversation.unread.read_seq();
        match (sees_unread, self.read_at) {
            (false, _) => self.read_at = None,
            (true, None) => self.read_at = Some(now.instant + READ_DELAY),
            (true, Some(_)) => {}
        }
    }

    /// Time passed.
    pub fn on_tick(&mut self, now: Now) {
        if self.notice.as_ref().is_some_and(|notice| notice.until <= now.instant) {
            self.notice = None;
        }
        self.drawn.changes_ms = self.drawn.changes_ms.filter(|&at_ms| at_ms > now.server_ms);
        if self.read_at.is_some_and(|at| at <= now.instant) && !self.is_marking_read && self.is_up() {
            self.read_at = None;
            self.mark_read();
        }
    }

    /// When [`on_tick`](Self::on_tick) has something to do, or the screen something to count down.
    pub fn next_tick(&self, now: Now) -> Option<Instant> {
        let countdown = matches!(&self.link, Link::Reconnecting { at, .. } if *at > now.instant)
            .then(|| now.instant + Duration::from_millis(500));
        let read = self.read_at.filter(|_| !self.is_marking_read && self.is_up());
        let change = self.drawn.changes_ms;
        let change = change.map(|at_ms| now.instant + Duration::from_millis(at_ms.saturating_sub(now.server_ms)));
        [self.notice.as_ref().map(|notice| notice.until), read, countdown, change].into_iter().flatten().min()
    }

    fn is_up(&self) -> bool {
        matches!(self.link, Link::Connected | Link::CatchingUp)
    }

    fn mark_read(&mut self) {
        let Some(conversation) = self.selected() else { return };
        let seq = conversation.unread.last_seq();
        if seq > conversation.unread.read_seq() {
            let conversation = conversation.id;
            self.is_marking_read = true;
            self.effects.push(Effect::MarkRead { conversation, seq });
        }
    }

    /// The conversation, made if it is not there.
    fn conversation(&mut self, id: ConversationId) -> &mut Conversation {
        if !self.conversations.contains_key(&id) {
            self.make_room();
            self.order.insert((Reverse(0), id));
            self.people.want(id.peer_of(self.session.me).map(UserId::as_u64));
        }
        let me = self.session.me;
        self.conversations.entry(id).or_insert_with(|| Conversation::new(id, me))
    }

    /// Changes a conversation and keeps the list in order.
    fn update<T>(&mut self, id: ConversationId, change: impl FnOnce(&mut Conversation) -> T) -> T {
        let conversation = self.conversation(id);
        let before = conversation.active_ms;
        let result = change(conversation);
        let after = conversation.active_ms;
        if after != before {
            self.order.remove(&(Reverse(before), id));
            self.order.insert((Reverse(after), id));
        }
        result
    }

    fn make_room(&mut self) {
        while self.conversations.len() >= CONVERSATIONS_MAX {
            let idle = self.order.iter().rev().map(|&(_, id)| id).find(|id| {
                Some(*id) != self.selected && self.conversations.get(id).is_some_and(|one| one.outgoing.is_empty())
            });
            let Some(idle) = idle else { return };
            self.remove(idle);
        }
    }

    fn remove(&mut self, id: ConversationId) {
        if let Some(conversation) = self.conversations.remove(&id) {
            self.order.remove(&(Reverse(conversation.active_ms), id));
        }
        self.open.retain(|&open| open != id);
        if self.selected == Some(id) {
            self.selected = None;
            self.read_at = None;
        }
    }

    /// Shows a conversation. What was being typed stays with the conversation that it was typed for.
    fn select(&mut self, id: ConversationId) {
        if self.selected == Some(id) {
            return;
        }
        // Typed before the conversation was there, and so for this one.
        let is_for_this = self.awaited.take().is_some() || self.selected.is_none();
        let has_typed = is_for_this && !self.input.is_empty();
        if let Some(before) = self.selected.and_then(|id| self.conversations.get_mut(&id)) {
            before.new_after = None;
            if !has_typed {
                before.draft = std::mem::take(&mut self.input);
            }
        }
        let conversation = self.conversation(id);
        conversation.timeline.open();
        conversation.anchor = Anchor::End;
        if !conversation.timeline.reaches_end() {
            // The window ended somewhere in the past when the user went away; now it begins at the newest entry again.
            conversation.timeline.close();
            conversation.timeline.open();
        }
        let has_unread = conversation.unread_count().is_some_and(|count| count > 0);
        conversation.new_after = has_unread.then(|| conversation.unread.read_seq().as_u64());
        let draft = std::mem::take(&mut conversation.draft);
        if !has_typed {
            self.input = draft;
        }
        self.selected = Some(id);
        self.read_at = None;
        self.drawn = Drawn { shows_first: false, shows_end: false, ..self.drawn };
        self.open.retain(|&open| open != id);
        self.open.push_back(id);
        while self.open.len() > OPEN_MAX {
            let closed = self.open.pop_front().and_then(|id| self.conversations.get_mut(&id));
            if let Some(closed) = closed {
                closed.timeline.close();
            }
        }
    }

    fn next_msg_id(&mut self) -> ClientMsgId {
        let mut id = [0; 16];
        id[..12].copy_from_slice(&self.session.msg_id_prefix);
        id[12..].copy_from_slice(&self.messages_written.to_be_bytes());
        self.messages_written = self.messages_written.wrapping_add(1);
        ClientMsgId(id)
    }
}
