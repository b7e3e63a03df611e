//! Mutes and bans that end: in force to the millisecond, ended once, whatever dies when. The clock is the test's.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "support/one_core.rs"]
mod one_core;

use godwit::router::{Limits, SessionId};
use godwit_proto::{
    ConversationId, UserId,
    v1::{
        AddMembersRequest, Ban, BanMemberRequest, CreateGroupRequest, Direction, ErrorCode, HistoryRequest,
        ListBansRequest, ListMembersRequest, ListScheduledRequest, LoginRequest, MuteMemberRequest, ScheduleRequest,
        SendRequest, SyncRequest, client_frame::Body as Request, entry::Content, server_frame::Body,
    },
};
use one_core::{OneCore, code, id, user};

const NOON_MS: u64 = 1_800_000_000_000;
const MINUTE_MS: u64 = 60_000;
const SOON_MS: u64 = NOON_MS + MINUTE_MS;

/// Alice, Bob and Carol; a group of Alice's with Bob in it.
struct Group {
    server: OneCore,
    sessions: Vec<SessionId>,
    ids: Vec<UserId>,
    group: ConversationId,
    requests: u8,
}

const PEOPLE: [&str; 3] = ["alice", "bob", "carol"];
const ALICE: usize = 0;
const BOB: usize = 1;
const CAROL: usize = 2;

impl Group {
    fn new() -> Self {
        let mut server = OneCore::new(Limits::default());
        let (sessions, ids): (Vec<_>, Vec<UserId>) =
            PEOPLE.map(|name| server.register(NOON_MS, name)).into_iter().map(|(at, who)| (at, user(&who))).unzip();
        let create =
            CreateGroupRequest { client_msg_id: id(200), title: "g".into(), member_ids: vec![ids[BOB].as_u64()] };
        let Body::CreateGroup(group) = server.ask(NOON_MS, sessions[ALICE], Request::CreateGroup(create)) else {
            panic!()
        };
        let group = ConversationId::from_slice(&group.conversation_id).unwrap();
        Self { server, sessions, ids, group, requests: 0 }
    }

    fn ask(&mut self, now_ms: u64, who: usize, request: Request) -> Body {
        self.server.ask(now_ms, self.sessions[who], request)
    }

    fn mute(&mut self, now_ms: u64, whom: usize, until_ms: u64) -> Body {
        self.requests += 1;
        let request = MuteMemberRequest {
            conversation_id: self.group.to_bytes(),
            client_msg_id: id(self.requests),
            user_id: self.ids[whom].as_u64(),
            until_ms,
        };
        self.ask(now_ms, ALICE, Request::MuteMember(request))
    }

    fn ban(&mut self, now_ms: u64, whom: usize, until_ms: u64) -> Body {
        let user_id = self.ids[whom].as_u64();
        self.requests += 1;
        let (conversation_id, client_msg_id) = (self.group.to_bytes(), id(self.requests));
        let request = BanMemberRequest { conversation_id, client_msg_id, user_id, until_ms };
        self.ask(now_ms, ALICE, Request::BanMember(request))
    }

    fn add(&mut self, now_ms: u64, whom: usize) -> Body {
        self.requests += 1;
        let (conversation_id, client_msg_id) = (self.group.to_bytes(), id(self.requests));
        let user_ids = vec![self.ids[whom].as_u64()];
        self.ask(now_ms, ALICE, Request::AddMembers(AddMembersRequest { conversation_id, client_msg_id, user_ids }))
    }

    fn send(&mut self, now_ms: u64, who: usize) -> Body {
        self.requests += 1;
        let (conversation_id, client_msg_id) = (self.group.to_bytes(), id(self.requests));
        let request = SendRequest { conversation_id, client_msg_id, body: "hi".into(), ..SendRequest::default() };
        self.ask(now_ms, who, Request::Send(request))
    }

    /// What the log says of mutes and bans: what, whose, by whom, and when.
    fn log(&mut self, now_ms: u64) -> Vec<(&'static str, usize, usize, u64)> {
        let conversation_id = self.group.to_bytes();
        let request = HistoryRequest { conversation_id, from_seq: 1, direction: Direction::Forward.into(), limit: 0 };
        let Body::History(page) = self.server.ask_bulk(now_ms, self.sessions[ALICE], Request::History(request)) else {
            panic!("no log")
        };
        let index = |raw: u64| self.ids.iter().position(|id| id.as_u64() == raw).unwrap();
        let said = page.entries.iter().filter_map(|entry| {
            let (what, whose) = match entry.content.as_ref()? {
                Content::MemberMuted(muted) => ("muted", muted.member_id),
                Content::MemberUnmuted(unmuted) => ("unmuted", unmuted.member_id),
                Content::MemberBanned(banned) => ("banned", banned.member_id),
                Content::MemberUnbanned(unbanned) => ("unbanned", unbanned.member_id),
                _ => return None,
            };
            Some((what, index(whose), index(entry.sender_id), entry.sent_ms))
        });
        said.collect()
    }

    fn bans(&mut self, now_ms: u64, who: usize) -> Body {
        let request = ListBansRequest { conversation_id: self.group.to_bytes(), after_user_id: 0 };
        self.ask(now_ms, who, Request::ListBans(request))
    }

    fn muted_until_ms(&mut self, now_ms: u64, whom: usize) -> u64 {
        let request = ListMembersRequest { conversation_id: self.group.to_bytes(), after_user_id: 0 };
        let Body::ListMembers(page) = self.ask(now_ms, ALICE, Request::ListMembers(request)) else { panic!() };
        page.members.iter().find(|member| member.user_id == self.ids[whom].as_u64()).unwrap().muted_until_ms
    }

    /// The process dies; everybody comes back.
    fn restart(&mut self, now_ms: u64) {
        self.server.restart();
        self.server.settle(now_ms);
        for (session, name) in self.sessions.iter_mut().zip(PEOPLE) {
            *session = self.server.connect(now_ms, 1);
            let login = LoginRequest { username: name.into(), password: "long enough".into() };
            assert!(matches!(self.server.ask(now_ms, *session, Request::Login(login)), Body::Authenticate(_)));
        }
    }
}

#[test]
fn a_mute_ends_by_itself_when_it_is_due_and_not_before() {
    let mut group = Group::new();
    assert!(matches!(group.mute(NOON_MS, BOB, SOON_MS), Body::ChangeMembers(_)));
    assert_eq!(group.muted_until_ms(NOON_MS, BOB), SOON_MS);
    group.server.settle(SOON_MS - 1);
    assert_eq!(code(&group.send(SOON_MS - 1, BOB)), Some(ErrorCode::Muted));
    assert_eq!(group.server.next_turn_ms(), Some(SOON_MS));
    assert_eq!(group.log(SOON_MS - 1).len(), 1);
    group.server.settle(SOON_MS);
    assert_eq!(group.log(SOON_MS), [("muted", BOB, ALICE, NOON_MS), ("unmuted", BOB, BOB, SOON_MS)]);
    assert_eq!(group.muted_until_ms(SOON_MS, BOB), 0);
    assert!(matches!(group.send(SOON_MS, BOB), Body::Send(_)));
}

#[test]
fn a_ban_ends_by_itself_after_a_restart_and_is_listed_for_the_owner_until_then() {
    let mut group = Group::new();
    assert!(matches!(group.ban(NOON_MS, BOB, SOON_MS), Body::ChangeMembers(_)));
    let sync = Request::Sync(SyncRequest::default());
    let Body::Sync(page) = group.server.ask_bulk(NOON_MS, group.sessions[BOB], sync) else { panic!() };
    assert!(page.changed.is_empty(), "the group is none of his");
    group.restart(NOON_MS + 1);
    let Body::ListBans(list) = group.bans(NOON_MS + 1, ALICE) else { panic!() };
    assert_eq!((list.bans, list.more), (vec![Ban { user_id: group.ids[BOB].as_u64(), until_ms: SOON_MS }], false));
    assert_eq!(code(&group.add(SOON_MS - 1, BOB)), Some(ErrorCode::Banned));
    group.server.settle(SOON_MS);
    assert_eq!(group.log(SOON_MS), [("banned", BOB, ALICE, NOON_MS), ("unbanned", BOB, BOB, SOON_MS)]);
    let Body::ListBans(list) = group.bans(SOON_MS, ALICE) else { panic!() };
    assert!(list.bans.is_empty());
    assert!(matches!(group.add(SOON_MS, BOB), Body::ChangeMembers(_)));
    assert_eq!(code(&group.bans(SOON_MS, BOB)), Some(ErrorCode::Forbidden));
}

#[test]
fn both_end_once_whenever_the_process_dies() {
    // Every number of steps of the end, until a run needs no more.
    for steps in 0.. {
        let mut group = Group::new();
        group.mute(NOON_MS, BOB, SOON_MS);
        group.ban(NOON_MS, CAROL, SOON_MS);
        group.server.settle(SOON_MS - 1);
        let died = (0..steps).all(|_| group.server.step(SOON_MS));
        group.restart(SOON_MS);
        group.server.settle(SOON_MS);
        let mut ends = group.log(SOON_MS).split_off(2);
        ends.sort_unstable();
        let expected = [("unbanned", CAROL, CAROL, SOON_MS), ("unmuted", BOB, BOB, SOON_MS)];
        assert_eq!(ends, expected, "it died after {steps} steps");
        group.server.settle(SOON_MS + MINUTE_MS);
        assert_eq!(group.log(SOON_MS + MINUTE_MS).len(), 4);
        if !died {
            assert!(steps > 6, "nothing was interrupted");
            return;
        }
    }
}

#[test]
fn a_mute_stands_or_does_not_with_its_end_whenever_the_process_dies() {
    for steps in 0.. {
        let mut group = Group::new();
        let request = MuteMemberRequest {
            conversation_id: group.group.to_bytes(),
            client_msg_id: id(1),
            user_id: group.ids[BOB].as_u64(),
            until_ms: SOON_MS,
        };
        let session = group.sessions[ALICE];
        group.server.put(NOON_MS, session, godwit::router::Channel::Session, Request::MuteMember(request));
        let died = (0..steps).all(|_| group.server.step(NOON_MS));
        group.restart(NOON_MS);
        let began = group.log(NOON_MS).len();
        group.server.settle(SOON_MS);
        assert_eq!(group.log(SOON_MS).len(), 2 * began, "it died after {steps} steps");
        if !died {
            assert_eq!(began, 1);
            return;
        }
    }
}

#[test]
fn what_is_changed_ends_when_it_was_last_said_and_what_is_lifted_does_not_end_again() {
    let mut group = Group::new();
    group.mute(NOON_MS, BOB, SOON_MS);
    group.mute(NOON_MS + 1, BOB, SOON_MS + 5);
    group.ban(NOON_MS + 2, CAROL, SOON_MS);
    group.ban(NOON_MS + 3, CAROL, 0);
    group.server.settle(SOON_MS);
    assert_eq!(group.log(SOON_MS).len(), 4);
    assert_eq!(code(&group.send(SOON_MS + 4, BOB)), Some(ErrorCode::Muted));
    group.server.settle(SOON_MS + 5);
    let ends = group.log(SOON_MS + 5).split_off(3);
    assert_eq!(ends, [("unbanned", CAROL, ALICE, NOON_MS + 3), ("unmuted", BOB, BOB, SOON_MS + 5)]);
    assert!(matches!(group.add(SOON_MS + 5, CAROL), Body::ChangeMembers(_)));
}

#[test]
fn a_mute_that_begins_anew_while_the_old_one_ends_is_not_lost() {
    // The owner's request comes after every number of steps of the end.
    for steps in 0.. {
        let mut group = Group::new();
        group.mute(NOON_MS, BOB, SOON_MS);
        group.server.settle(SOON_MS - 1);
        let interrupted = (0..steps).all(|_| group.server.step(SOON_MS));
        group.mute(SOON_MS, BOB, SOON_MS + 5);
        group.server.settle(SOON_MS);
        assert_eq!(code(&group.send(SOON_MS + 4, BOB)), Some(ErrorCode::Muted), "after {steps} steps");
        group.server.settle(SOON_MS + 5);
        assert_eq!(group.log(SOON_MS + 5).last(), Some(&("unmuted", BOB, BOB, SOON_MS + 5)), "after {steps} steps");
        if !interrupted {
            return;
        }
    }
}

#[test]
fn a_message_that_was_scheduled_fails_while_its_author_is_muted_and_they_are_told_why() {
    let mut group = Group::new();
    let schedule = ScheduleRequest {
        schedule_id: id(77),
        conversation_id: group.group.to_bytes(),
        body: "later".into(),
        content_type: String::new(),
        due_ms: SOON_MS,
        ..ScheduleRequest::default()
    };
    assert!(matches!(group.ask(NOON_MS, BOB, Request::Schedule(schedule)), Body::Schedule(_)));
    group.mute(NOON_MS, BOB, SOON_MS + 1);
    group.server.settle(SOON_MS);
    let request = Request::ListScheduled(ListScheduledRequest { failed: true, ..ListScheduledRequest::default() });
    let Body::ListScheduled(page) = group.server.ask_bulk(SOON_MS, group.sessions[BOB], request) else { panic!() };
    assert_eq!(page.scheduled[0].failure.as_ref().unwrap().code(), ErrorCode::Muted);
}

#[test]
fn nobody_is_banned_who_does_not_exist() {
    let mut group = Group::new();
    group.ids[CAROL] = UserId::new(4_242).unwrap();
    assert_eq!(code(&group.ban(NOON_MS, CAROL, SOON_MS)), Some(ErrorCode::UserNotFound));
}
