//! What the tests of the model and of the drawing start from: alice at her terminal.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use super::{
    draw::draw,
    effects::{Effect, Reply},
    model::{Action, Model, Now, Session},
};
use godwit_client::{
    ConnectionState, ConversationId, Event, UserId,
    v1::{self, ConversationSummary, Entry, GroupCreated, HistoryResponse, Message, UserProfile, entry::Content},
};
use jiff::tz::TimeZone;
use ratatui::{Terminal, backend::TestBackend};
use std::time::{Duration, Instant};

pub const ALICE: u64 = 1;
pub const BOB: u64 = 2;
pub const XIAOMING: u64 = 3;

/// 2026-11-21 14:00:00 UTC.
pub const TODAY_MS: u64 = 1_795_269_600_000;

/// Alice's terminal, with a clock that the test moves.
pub struct Desk {
    pub model: Model,
    pub now: Now,
    pub effects: Vec<Effect>,
}

impl Desk {
    pub fn new() -> Self {
        let session = Session {
            me: user(ALICE),
            username: "alice".into(),
            server: "127.0.0.1:4433".into(),
            message_bytes_max: 1000,
            msg_id_prefix: [9; 12],
            zone: TimeZone::UTC,
        };
        let now = Now { instant: Instant::now(), unix_ms: TODAY_MS, server_ms: TODAY_MS };
        Self { model: Model::new(session), now, effects: Vec::new() }
    }

    /// Connected, with everybody's name known.
    pub fn connected() -> Self {
        let mut desk = Self::new();
        for (user_id, name) in [(ALICE, "alice"), (BOB, "bob"), (XIAOMING, "小明")] {
            desk.model.people.learn(&profile(user_id, name));
        }
        desk.event(Event::State(ConnectionState::Connected));
        desk.event(Event::Synced);
        // Nobody asked for that.
        desk.effects.retain(|effect| *effect != Effect::CountDue);
        desk
    }

    pub fn event(&mut self, event: Event) {
        self.model.on_event(event, self.now);
        self.collect();
    }

    pub fn reply(&mut self, reply: Reply) {
        self.model.on_reply(reply, self.now);
        self.collect();
    }

    pub fn act(&mut self, action: Action) {
        self.model.on_action(action, self.now);
        self.collect();
    }

    /// Types a line and presses Enter.
    pub fn enter(&mut self, line: &str) {
        self.act(Action::Insert(line.into()));
        self.act(Action::Enter);
    }

    /// Opens the direct conversation with a user, as `/to` does.
    pub fn open(&mut self, id: u64, name: &str) -> ConversationId {
        let conversation = direct(id);
        self.enter(&format!("/to {name}"));
        if self.effects.last() == Some(&Effect::Open(name.into())) {
            self.effects.pop();
            self.reply(Reply::Opened { name: name.into(), result: Ok((conversation, profile(id, name))) });
        }
        conversation
    }

    pub fn says(&mut self, conversation: ConversationId, seq: u64, sender: u64, text: &str) {
        let entry = message(seq, sender, text);
        self.event(Event::Entry { conversation, entry, live: true });
    }

    pub fn pass(&mut self, time: Duration) {
        self.now.instant += time;
        self.now.unix_ms += time.as_millis() as u64;
        self.now.server_ms += time.as_millis() as u64;
        self.model.on_tick(self.now);
        self.collect();
    }

    /// Draws, and returns the rows without the spaces at their ends.
    pub fn screen(&mut self, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let mut drawn = None;
        terminal.draw(|frame| drawn = Some(draw(frame, &self.model, self.now))).unwrap();
        self.model.on_drawn(drawn.unwrap(), self.now);
        self.collect();
        rows(&terminal)
    }

    /// [`screen`](Self::screen) as one text, for looking for something.
    pub fn seen(&mut self, width: u16, height: u16) -> String {
        self.screen(width, height).join("\n")
    }

    /// Answers the pages that were asked for from this log.
    pub fn serve(&mut self, log: &[Entry], page_max: usize) {
        for effect in std::mem::take(&mut self.effects) {
            let Effect::Load { conversation, from, direction } = effect else { continue };
            let from = from.as_u64();
            let mut entries: Vec<Entry> = match direction {
                v1::Direction::Forward => log.iter().filter(|one| one.seq >= from).take(page_max).cloned().collect(),
                _ => log.iter().rev().filter(|one| from == 0 || one.seq <= from).take(page_max).cloned().collect(),
            };
            entries.sort_by_key(|entry| entry.seq);
            let last_seq = log.last().map_or(0, |entry| entry.seq);
            let page = HistoryResponse { entries, first_seq: 1, last_seq, ..HistoryResponse::default() };
            self.reply(Reply::Page { conversation, direction, result: Ok(page) });
        }
    }

    fn collect(&mut self) {
        self.effects.extend(self.model.take_effects());
    }
}

fn rows(terminal: &Terminal<TestBackend>) -> Vec<String> {
    let buffer = terminal.backend().buffer();
    let mut rows = Vec::new();
    for y in 0..buffer.area.height {
        let mut row = String::new();
        let mut x = 0;
        while x < buffer.area.width {
            let symbol = buffer[(x, y)].symbol();
            row.push_str(symbol);
            // The cell behind a wide character shows nothing of its own.
            x += super::sanitize::cells(symbol).max(1) as u16;
        }
        rows.push(row.trim_end().to_owned());
    }
    rows
}

pub fn user(id: u64) -> UserId {
    UserId::new(id).unwrap()
}

pub fn direct(peer: u64) -> ConversationId {
    ConversationId::direct(user(ALICE), user(peer))
}

pub fn group(number: u8) -> ConversationId {
    ConversationId::group([number; 16])
}

pub fn profile(user_id: u64, username: &str) -> UserProfile {
    UserProfile { user_id, username: username.into(), display_name: username.into() }
}

/// A message that was said `seq` minutes after [`TODAY_MS`].
pub fn message(seq: u64, sender_id: u64, text: &str) -> Entry {
    let message =
        Message { body: text.to_owned().into(), content_type: String::new(), scheduled: false, ..Message::default() };
    entry(seq, sender_id, Content::Message(message))
}

pub fn entry(seq: u64, sender_id: u64, content: Content) -> Entry {
    let id = [&[sender_id as u8; 8][..], &seq.to_be_bytes()].concat();
    let client_msg_id = id.into();
    Entry { seq, ordinal: seq, sender_id, sent_ms: TODAY_MS + seq * 60_000, client_msg_id, content: Some(content) }
}

pub fn created(title: &str, members: &[u64]) -> Entry {
    entry(1, BOB, Content::GroupCreated(GroupCreated { title: title.into(), member_ids: members.to_vec() }))
}

/// A conversation with this newest message, of which `unread` were not read.
pub fn summary(id: ConversationId, title: &str, last: Entry, unread: u64) -> Event {
    Event::Summary(Box::new(ConversationSummary {
        conversation_id: id.to_bytes(),
        title: title.into(),
        last_seq: last.seq,
        last_ordinal: last.ordinal,
        read_seq: last.seq - unread,
        read_ordinal: last.ordinal - unread,
        unread,
        first_seq: 1,
        last_entry: Some(last),
        ..ConversationSummary::default()
    }))
}
