//! Two people who talk with each other on a server of one core, for tests of what is sent later.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use crate::one_core::{OneCore, code, id, user};
use godwit::router::{Limits, SessionId};
use godwit_proto::{
    ConversationId, UserId,
    v1::{
        Direction, Entry, ErrorCode, HistoryRequest, ListConversationsRequest, ListScheduledRequest, LoginRequest,
        ScheduleRequest, ScheduledMessage, SendRequest, client_frame::Body as Request, entry::Content,
        server_frame::Body,
    },
};

pub const NOON_MS: u64 = 1_800_000_000_000;
pub const MINUTE_MS: u64 = 60_000;

/// Alice and Bob, who talk with each other.
pub struct Pair {
    pub server: OneCore,
    pub alice: SessionId,
    pub bob: SessionId,
    pub alice_id: UserId,
    pub chat: ConversationId,
}

impl Pair {
    pub fn new() -> Self {
        Self::with(Limits::default())
    }

    pub fn with(limits: Limits) -> Self {
        let mut server = OneCore::new(limits);
        let (alice, alices) = server.register(NOON_MS, "alice");
        let (bob, bobs) = server.register(NOON_MS, "bob");
        let (alice_id, chat) = (user(&alices), ConversationId::direct(user(&alices), user(&bobs)));
        Self { server, alice, bob, alice_id, chat }
    }

    pub fn schedule(&mut self, now_ms: u64, number: u8, due_ms: u64) -> Body {
        self.server.ask(now_ms, self.alice, self.request(number, due_ms))
    }

    pub fn request(&self, number: u8, due_ms: u64) -> Request {
        Request::Schedule(ScheduleRequest {
            schedule_id: id(number),
            conversation_id: self.chat.to_bytes(),
            body: format!("scheduled {number}").into(),
            content_type: String::new(),
            due_ms,
            recurrence: None,
        })
    }

    /// Everybody's sessions ended with the process.
    pub fn come_back(&mut self, now_ms: u64) {
        self.alice = self.log_in(now_ms, "alice", 1);
        self.bob = self.log_in(now_ms, "bob", 1);
    }

    pub fn log_in(&mut self, now_ms: u64, name: &str, device: u8) -> SessionId {
        let session = self.server.connect(now_ms, device);
        let login = LoginRequest { username: name.into(), password: "long enough".into() };
        assert!(matches!(self.server.ask(now_ms, session, Request::Login(login)), Body::Authenticate(_)));
        session
    }

    /// The whole log.
    pub fn log(&mut self, now_ms: u64) -> Vec<Entry> {
        let request = HistoryRequest {
            conversation_id: self.chat.to_bytes(),
            from_seq: 1,
            direction: Direction::Forward.into(),
            limit: 0,
        };
        match self.server.ask_bulk(now_ms, self.bob, Request::History(request)) {
            Body::History(page) => page.entries,
            // A direct conversation begins with its first message.
            body => {
                assert_eq!(code(&body), Some(ErrorCode::NotAMember));
                Vec::new()
            }
        }
    }

    pub fn list(&mut self, now_ms: u64, failed: bool) -> Vec<ScheduledMessage> {
        let request = ListScheduledRequest { failed, ..ListScheduledRequest::default() };
        match self.server.ask_bulk(now_ms, self.alice, Request::ListScheduled(request)) {
            Body::ListScheduled(page) => page.scheduled,
            other => panic!("no list: {other:?}"),
        }
    }

    pub fn unread(&mut self, now_ms: u64, session: SessionId) -> u64 {
        match self.server.ask_bulk(now_ms, session, Request::ListConversations(ListConversationsRequest::default())) {
            Body::ListConversations(list) => list.unread_total,
            other => panic!("no list: {other:?}"),
        }
    }
}

impl Pair {
    /// A message that Bob writes: its seq.
    pub fn bob_says(&mut self, now_ms: u64, number: u8) -> u64 {
        let send = SendRequest {
            conversation_id: self.chat.to_bytes(),
            client_msg_id: id(number),
            body: "remember this".into(),
            ..SendRequest::default()
        };
        match self.server.ask(now_ms, self.bob, Request::Send(send)) {
            Body::Send(sent) => sent.seq,
            other => panic!("not sent: {other:?}"),
        }
    }
}

pub fn texts(entries: &[Entry]) -> Vec<String> {
    let text = |entry: &Entry| match &entry.content {
        Some(Content::Message(message)) => String::from_utf8(message.body.to_vec()).unwrap(),
        other => format!("{other:?}"),
    };
    entries.iter().map(text).collect()
}

pub fn pushed(bodies: &[Body]) -> Vec<Entry> {
    let entries = |body: &Body| match body {
        Body::Entries(push) => push.entries.clone(),
        _ => Vec::new(),
    };
    bodies.iter().flat_map(entries).collect()
}
