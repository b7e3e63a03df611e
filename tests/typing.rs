//! Typing: told to the others who are there, and over by itself. The clocks are the test's.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "support/one_core.rs"]
mod one_core;

use godwit::{
    router::{Limits, SessionId, TYPING_INTERVAL_MS, TYPING_MS},
    timer::Tick,
};
use godwit_proto::{
    ConversationId, UserId,
    v1::{
        CreateGroupRequest, LoginRequest, MuteMemberRequest, RemoveMemberRequest, SendRequest, TypingPush,
        TypingRequest, client_frame::Body as Request, server_frame::Body,
    },
};
use one_core::{OneCore, code, id, user};

const NOON_MS: u64 = 1_800_000_000_000;
const LASTS_MS: u64 = TYPING_MS as u64;
const PEOPLE: [&str; 4] = ["alice", "bob", "carol", "dave"];
const ALICE: usize = 0;
const BOB: usize = 1;
const CAROL: usize = 2;
const DAVE: usize = 3;

/// A group of Alice, Bob and Carol; Dave is outside. Everybody is online, Bob on two devices.
struct Room {
    server: OneCore,
    sessions: Vec<SessionId>,
    tablet: SessionId,
    ids: Vec<UserId>,
    group: ConversationId,
    now_ms: u64,
    sent: u8,
}

impl Room {
    fn new() -> Self {
        let mut server = OneCore::new(Limits::default());
        let (sessions, ids): (Vec<_>, Vec<UserId>) =
            PEOPLE.map(|name| server.register(NOON_MS, name)).into_iter().map(|(at, who)| (at, user(&who))).unzip();
        let member_ids = ids[BOB..=CAROL].iter().map(|id| id.as_u64()).collect();
        let create = CreateGroupRequest { client_msg_id: id(200), title: "g".into(), member_ids };
        let Body::CreateGroup(group) = server.ask(NOON_MS, sessions[ALICE], Request::CreateGroup(create)) else {
            panic!()
        };
        let group = ConversationId::from_slice(&group.conversation_id).unwrap();
        let tablet = server.connect(NOON_MS, 2);
        let login = LoginRequest { username: "bob".into(), password: "long enough".into() };
        assert!(matches!(server.ask(NOON_MS, tablet, Request::Login(login)), Body::Authenticate(_)));
        let mut room = Self { server, sessions, tablet, ids, group, now_ms: 0, sent: 0 };
        room.at(10_000);
        room
    }

    /// Both clocks go on to so many milliseconds after noon.
    fn at(&mut self, ms: u64) {
        self.now_ms = ms;
        self.server.set_tick(Tick(ms));
        self.server.settle(NOON_MS + ms);
    }

    fn say(&mut self, session: SessionId, conversation: ConversationId, ended: bool) {
        let request = TypingRequest { conversation_id: conversation.to_bytes(), ended };
        self.server.put_datagram(NOON_MS + self.now_ms, session, Request::Typing(request));
    }

    fn types(&mut self, who: usize) {
        self.say(self.sessions[who], self.group, false);
    }

    fn ask(&mut self, who: usize, request: Request) -> Body {
        self.server.ask(NOON_MS + self.now_ms, self.sessions[who], request)
    }

    fn send(&mut self, who: usize) {
        self.sent += 1;
        let (conversation_id, client_msg_id) = (self.group.to_bytes(), id(self.sent));
        let request = SendRequest { conversation_id, client_msg_id, body: "hi".into(), ..SendRequest::default() };
        assert!(matches!(self.ask(who, Request::Send(request)), Body::Send(_)));
    }

    /// Who is said to be typing, with how long it lasts, since this session was looked at.
    fn heard(&mut self, session: SessionId) -> Vec<(usize, u32)> {
        let bodies = self.server.take_datagrams(session);
        bodies.into_iter().map(|body| self.read(body)).collect()
    }

    fn read(&self, body: Body) -> (usize, u32) {
        let Body::Typing(TypingPush { conversation_id, user_id, lasts_ms }) = body else { panic!("{body:?}") };
        assert_eq!(conversation_id, self.group.to_bytes());
        (self.ids.iter().position(|id| id.as_u64() == user_id).unwrap(), lasts_ms)
    }

    fn heard_by(&mut self, who: usize) -> Vec<(usize, u32)> {
        self.heard(self.sessions[who])
    }
}

#[test]
fn the_others_are_told_and_neither_the_typists_own_devices_nor_people_outside() {
    let mut room = Room::new();
    room.types(BOB);
    assert_eq!(room.heard_by(ALICE), [(BOB, TYPING_MS)]);
    assert_eq!(room.heard_by(CAROL), [(BOB, TYPING_MS)]);
    assert_eq!((room.heard_by(BOB), room.heard(room.tablet), room.heard_by(DAVE)), (vec![], vec![], vec![]));
    // Nor can somebody outside be seen typing there.
    room.types(DAVE);
    assert_eq!(room.heard_by(ALICE), []);
}

#[test]
fn it_ends_by_itself_once_and_not_early() {
    let mut room = Room::new();
    room.types(BOB);
    room.heard_by(ALICE);
    room.heard_by(CAROL);
    room.at(10_000 + LASTS_MS - 1);
    assert_eq!(room.heard_by(ALICE), []);
    assert_eq!(room.server.next_deadline(), Some(Tick(10_000 + LASTS_MS)));
    room.at(10_000 + LASTS_MS);
    assert_eq!((room.heard_by(ALICE), room.heard_by(CAROL)), (vec![(BOB, 0)], vec![(BOB, 0)]));
    room.at(10_000 + 3 * LASTS_MS);
    assert_eq!(room.heard_by(ALICE), []);
}

#[test]
fn a_refresh_keeps_it() {
    let mut room = Room::new();
    room.types(BOB);
    room.at(14_000);
    room.types(BOB);
    assert_eq!(room.heard_by(ALICE), [(BOB, TYPING_MS), (BOB, TYPING_MS)]);
    room.at(14_000 + LASTS_MS - 1);
    assert_eq!(room.heard_by(ALICE), []);
    room.at(14_000 + LASTS_MS);
    assert_eq!(room.heard_by(ALICE), [(BOB, 0)]);
}

#[test]
fn what_comes_too_soon_is_dropped() {
    let mut room = Room::new();
    room.types(BOB);
    room.at(10_000 + TYPING_INTERVAL_MS - 1);
    room.types(BOB);
    assert_eq!(room.heard_by(ALICE).len(), 1);
    room.at(10_000 + LASTS_MS);
    assert_eq!(room.heard_by(ALICE), [(BOB, 0)]);
}

#[test]
fn a_message_of_theirs_ends_it_and_one_of_somebody_else_does_not() {
    let mut room = Room::new();
    room.types(BOB);
    room.send(CAROL);
    assert_eq!(room.heard_by(ALICE), [(BOB, TYPING_MS)]);
    room.send(BOB);
    assert_eq!(room.heard_by(ALICE), [(BOB, 0)]);
    room.at(10_000 + LASTS_MS);
    assert_eq!(room.heard_by(ALICE), []);
}

#[test]
fn the_end_of_the_session_ends_it_and_that_of_another_device_does_not() {
    let mut room = Room::new();
    room.types(BOB);
    room.heard_by(ALICE);
    room.server.close(NOON_MS + 10_001, room.tablet);
    assert_eq!(room.heard_by(ALICE), []);
    room.server.close(NOON_MS + 10_001, room.sessions[BOB]);
    assert_eq!(room.heard_by(ALICE), [(BOB, 0)]);
}

#[test]
fn the_typist_says_when_it_ends_and_types_in_one_place_at_a_time() {
    let mut room = Room::new();
    room.types(BOB);
    room.say(room.sessions[BOB], room.group, true);
    room.say(room.sessions[BOB], room.group, true);
    assert_eq!(room.heard_by(ALICE), [(BOB, TYPING_MS), (BOB, 0)]);
    room.at(20_000);
    room.types(BOB);
    room.at(24_000);
    room.say(room.sessions[BOB], ConversationId::direct(room.ids[BOB], room.ids[DAVE]), false);
    assert_eq!(room.heard_by(ALICE), [(BOB, TYPING_MS), (BOB, 0)]);
    // There is no message in that conversation yet, so Dave knows nothing of it.
    assert_eq!(room.heard_by(DAVE), []);
}

#[test]
fn whoever_may_not_write_is_not_typing() {
    let mut room = Room::new();
    let mute = MuteMemberRequest {
        conversation_id: room.group.to_bytes(),
        client_msg_id: id(100),
        user_id: room.ids[BOB].as_u64(),
        until_ms: NOON_MS + 60_000,
    };
    assert!(matches!(room.ask(ALICE, Request::MuteMember(mute)), Body::ChangeMembers(_)));
    let remove = RemoveMemberRequest {
        conversation_id: room.group.to_bytes(),
        client_msg_id: id(101),
        user_id: room.ids[CAROL].as_u64(),
    };
    assert!(matches!(room.ask(ALICE, Request::RemoveMember(remove)), Body::ChangeMembers(_)));
    room.types(BOB);
    room.types(CAROL);
    assert_eq!(room.heard_by(ALICE), []);
}

#[test]
fn after_a_restart_it_is_told_as_soon_as_the_conversation_is_in_memory() {
    let mut room = Room::new();
    room.server.restart();
    room.at(20_000);
    for (session, name) in room.sessions.iter_mut().zip(PEOPLE) {
        *session = room.server.connect(NOON_MS + 20_000, 1);
        let login = LoginRequest { username: name.into(), password: "long enough".into() };
        let reply = room.server.ask(NOON_MS + 20_000, *session, Request::Login(login));
        assert!(matches!(reply, Body::Authenticate(_)));
    }
    room.types(BOB);
    assert_eq!(room.heard_by(ALICE), [], "it is being loaded");
    room.at(20_000 + TYPING_INTERVAL_MS);
    room.types(BOB);
    assert_eq!(room.heard_by(ALICE), [(BOB, TYPING_MS)]);
}

#[test]
fn on_a_stream_it_is_refused() {
    let mut room = Room::new();
    let request = TypingRequest { conversation_id: room.group.to_bytes(), ended: false };
    let refused = room.ask(BOB, Request::Typing(request));
    assert_eq!(code(&refused), Some(godwit_proto::v1::ErrorCode::WrongStream));
}
