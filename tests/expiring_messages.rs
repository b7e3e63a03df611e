//! Messages that disappear and deliveries that end: on time, once, and handed to nobody afterwards, whatever dies when. The clock
//! is the test's.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "support/one_core.rs"]
mod one_core;

use godwit::router::{Channel, Limits, SessionId};
use godwit_proto::{
    ConversationId, UserId,
    v1::{
        AckRequest, ConversationPosition, ConversationSummary, CreateGroupRequest, Direction, Entry, ErrorCode,
        Expired, Expiry, ExpiryStart, HistoryRequest, ListConversationsRequest, LoginRequest, MarkReadRequest, Message,
        SendRequest, SetExpiryRequest, Undelivered, Withdrawn, WithdrawnReason, client_frame::Body as Request,
        entry::Content, server_frame::Body,
    },
};
use one_core::{OneCore, code, id, user};

const NOON_MS: u64 = 1_800_000_000_000;
const MINUTE_MS: u64 = 60_000;
const PEOPLE: [&str; 3] = ["alice", "bob", "carol"];

/// Alice, Bob and Carol, in a group of Alice's; or Alice and Bob alone.
struct Circle {
    server: OneCore,
    sessions: Vec<SessionId>,
    ids: Vec<UserId>,
    chat: ConversationId,
}

const ALICE: usize = 0;
const BOB: usize = 1;
const CAROL: usize = 2;

impl Circle {
    fn pair() -> Self {
        let mut server = OneCore::new(Limits::default());
        let (sessions, ids): (Vec<_>, Vec<_>) =
            PEOPLE.map(|name| server.register(NOON_MS, name)).into_iter().map(|(at, who)| (at, user(&who))).unzip();
        let chat = ConversationId::direct(ids[ALICE], ids[BOB]);
        Self { server, sessions, ids, chat }
    }

    fn group() -> Self {
        let mut circle = Self::pair();
        let member_ids = circle.ids[1..].iter().map(|id| id.as_u64()).collect();
        let create = CreateGroupRequest { client_msg_id: id(200), title: "birds".into(), member_ids };
        let Body::CreateGroup(group) = circle.ask(NOON_MS, ALICE, Request::CreateGroup(create)) else { panic!() };
        circle.chat = ConversationId::from_slice(&group.conversation_id).unwrap();
        circle.forget();
        circle
    }

    fn ask(&mut self, now_ms: u64, who: usize, request: Request) -> Body {
        self.server.ask(now_ms, self.sessions[who], request)
    }

    fn message(&self, number: u8) -> SendRequest {
        SendRequest {
            conversation_id: self.chat.to_bytes(),
            client_msg_id: id(number),
            body: format!("message {number}").into(),
            ..SendRequest::default()
        }
    }

    fn send(&mut self, now_ms: u64, who: usize, number: u8) {
        let message = self.message(number);
        assert!(matches!(self.ask(now_ms, who, Request::Send(message)), Body::Send(_)));
    }

    fn send_expiring(&mut self, now_ms: u64, number: u8, after_ms: u64, start: ExpiryStart) {
        let message = SendRequest { expiry: Some(Expiry { after_ms, start: start.into() }), ..self.message(number) };
        assert!(matches!(self.ask(now_ms, ALICE, Request::Send(message)), Body::Send(_)));
    }

    fn send_in_time(&mut self, now_ms: u64, number: u8, deliver_by_ms: u64) -> Body {
        let message = SendRequest { deliver_by_ms, ..self.message(number) };
        self.ask(now_ms, ALICE, Request::Send(message))
    }

    fn read(&mut self, now_ms: u64, who: usize, seq: u64) {
        let request = MarkReadRequest { conversation_id: self.chat.to_bytes(), seq };
        assert!(matches!(self.ask(now_ms, who, Request::MarkRead(request)), Body::MarkRead(_)));
    }

    fn ack(&mut self, now_ms: u64, who: usize, seq: u64) {
        let positions = vec![ConversationPosition { conversation_id: self.chat.to_bytes(), seq }];
        self.server.put(now_ms, self.sessions[who], Channel::Session, Request::Ack(AckRequest { positions }));
        self.server.settle(now_ms);
    }

    fn history(&mut self, now_ms: u64, who: usize) -> Body {
        let request = HistoryRequest {
            conversation_id: self.chat.to_bytes(),
            from_seq: 1,
            direction: Direction::Forward.into(),
            limit: 0,
        };
        self.server.ask_bulk(now_ms, self.sessions[who], Request::History(request))
    }

    fn log(&mut self, now_ms: u64, who: usize) -> Vec<String> {
        match self.history(now_ms, who) {
            Body::History(page) => page.entries.iter().map(|entry| self.tell(entry)).collect(),
            other => panic!("no log: {other:?}"),
        }
    }

    fn line(&mut self, now_ms: u64, who: usize) -> ConversationSummary {
        let request = Request::ListConversations(ListConversationsRequest::default());
        match self.server.ask_bulk(now_ms, self.sessions[who], request) {
            Body::ListConversations(list) => list.conversations[0].clone(),
            other => panic!("no list: {other:?}"),
        }
    }

    /// The entries that a session was pushed since it was looked at.
    fn pushed(&mut self, who: usize) -> Vec<String> {
        let bodies = self.server.take(self.sessions[who]);
        let entries =
            bodies.iter().flat_map(|body| if let Body::Entries(push) = body { &push.entries[..] } else { &[] });
        entries.map(|entry| self.tell(entry)).collect()
    }

    /// Everybody has looked at what they were pushed.
    fn forget(&mut self) {
        for session in self.sessions.clone() {
            self.server.take(session);
        }
    }

    fn tell(&self, entry: &Entry) -> String {
        match entry.content.as_ref().unwrap() {
            Content::Message(Message { body, .. }) => String::from_utf8(body.to_vec()).unwrap(),
            Content::Withdrawn(Withdrawn { reason, .. }) if *reason == WithdrawnReason::Expired as i32 => "gone".into(),
            Content::Withdrawn(_) => "missed".into(),
            Content::Expired(Expired { seqs }) => format!("expired {seqs:?}"),
            Content::Undelivered(Undelivered { seq, member_ids }) => {
                let name = |id: &u64| PEOPLE[self.ids.iter().position(|other| other.as_u64() == *id).unwrap()];
                format!("undelivered {seq} {:?}", member_ids.iter().map(name).collect::<Vec<_>>())
            }
            Content::ExpiryChanged(_) => "expiry".into(),
            _ => "group".into(),
        }
    }

    /// Minute by minute, so that what is far away is read into the wheel.
    fn settle_until(&mut self, from_ms: u64, until_ms: u64) {
        (from_ms..until_ms).step_by(30_000).for_each(|now_ms| self.server.settle(now_ms));
        self.server.settle(until_ms);
    }

    fn come_back(&mut self, now_ms: u64) {
        for who in [ALICE, BOB, CAROL] {
            self.sessions[who] = self.log_in(now_ms, who, 1);
        }
    }

    fn log_in(&mut self, now_ms: u64, who: usize, device: u8) -> SessionId {
        let session = self.server.connect(now_ms, device);
        let login = LoginRequest { username: PEOPLE[who].into(), password: "long enough".into() };
        assert!(matches!(self.server.ask(now_ms, session, Request::Login(login)), Body::Authenticate(_)));
        session
    }
}

#[test]
fn a_message_disappears_for_everybody_when_its_time_has_come_and_not_before() {
    let mut pair = Circle::pair();
    pair.send(NOON_MS, ALICE, 1);
    pair.send_expiring(NOON_MS, 2, MINUTE_MS, ExpiryStart::Sent);
    assert_eq!(pair.pushed(BOB), ["message 1", "message 2"]);
    let at_ms = NOON_MS + MINUTE_MS;
    pair.server.settle(at_ms - 1);
    assert_eq!(pair.server.next_turn_ms(), Some(at_ms));
    assert_eq!(pair.log(at_ms - 1, BOB), ["message 1", "message 2"]);
    assert_eq!(pair.line(at_ms - 1, BOB).unread, 2);

    pair.server.settle(at_ms);
    for who in [ALICE, BOB] {
        assert_eq!(pair.pushed(who), ["expired [2]"]);
        assert_eq!(pair.log(at_ms, who), ["message 1", "gone", "expired [2]"]);
    }
    let line = pair.line(at_ms, BOB);
    assert_eq!((line.unread, line.last_seq, line.last_ordinal), (1, 3, 2));
    assert_eq!(pair.tell(&line.last_entry.unwrap()), "message 1");
    pair.server.settle(at_ms + MINUTE_MS);
    assert_eq!(pair.log(at_ms + MINUTE_MS, BOB).len(), 3);
}

#[test]
fn what_has_expired_is_handed_to_nobody_even_before_the_server_has_come_to_it() {
    let mut pair = Circle::pair();
    pair.send_expiring(NOON_MS, 1, 1_000, ExpiryStart::Sent);
    // The page is asked for before the message expires, and read before that is known; it leaves afterwards.
    let request = HistoryRequest {
        conversation_id: pair.chat.to_bytes(),
        from_seq: 1,
        direction: Direction::Forward.into(),
        limit: 0,
    };
    pair.forget();
    pair.server.put(NOON_MS + 999, pair.sessions[BOB], Channel::Bulk(0), Request::History(request));
    pair.server.step(NOON_MS + 1_000);
    pair.server.step(NOON_MS + 1_000);
    let bodies = pair.server.take(pair.sessions[BOB]);
    let Some(Body::History(page)) = bodies.iter().find(|body| matches!(body, Body::History(_))) else { panic!() };
    assert_eq!(page.entries.iter().map(|entry| pair.tell(entry)).collect::<Vec<_>>(), ["gone"]);
}

#[test]
fn a_push_that_comes_too_late_is_left_out() {
    let mut pair = Circle::pair();
    pair.send(NOON_MS, ALICE, 1);
    pair.forget();
    let expiry = Some(Expiry { after_ms: 1_000, start: ExpiryStart::Sent.into() });
    let message = SendRequest { expiry, ..pair.message(2) };
    pair.server.put(NOON_MS, pair.sessions[ALICE], Channel::Session, Request::Send(message));
    // The disk takes its time.
    pair.server.settle(NOON_MS + 1_500);
    assert_eq!(pair.pushed(BOB), ["expired [2]"]);
    assert_eq!(pair.log(NOON_MS + 1_500, BOB), ["message 1", "gone", "expired [2]"]);
}

#[test]
fn a_message_disappears_once_whenever_the_process_dies() {
    for steps in 0.. {
        let mut pair = Circle::pair();
        pair.send_expiring(NOON_MS, 1, 1_000, ExpiryStart::Sent);
        pair.send_expiring(NOON_MS, 2, 1_000, ExpiryStart::Sent);
        let died = (0..steps).all(|_| pair.server.step(NOON_MS + 1_000));
        pair.server.restart();
        pair.come_back(NOON_MS + 1_000);
        pair.server.settle(NOON_MS + 1_300);
        let log = pair.log(NOON_MS + 1_300, BOB);
        let notes = log.iter().filter(|entry| entry.starts_with("expired")).count();
        assert_eq!(&log[..2], ["gone", "gone"], "it died after {steps} steps");
        assert!(notes == log.len() - 2 && (1..=2).contains(&notes), "it died after {steps} steps: {log:?}");
        assert_eq!(pair.line(NOON_MS + 1_300, BOB).unread, 0);
        if !died {
            assert!(steps > 3, "nothing was interrupted");
            return;
        }
    }
}

#[test]
fn what_expired_while_the_server_was_away_is_gone_when_it_is_back() {
    let mut pair = Circle::pair();
    pair.send_expiring(NOON_MS, 1, MINUTE_MS, ExpiryStart::Sent);
    pair.server.restart();
    let back_ms = NOON_MS + 7 * 24 * 60 * MINUTE_MS;
    // Somebody asks before the server has come to it.
    pair.come_back(back_ms);
    assert_eq!(pair.log(back_ms, BOB)[0], "gone");
    pair.server.settle(back_ms);
    assert_eq!(pair.log(back_ms, BOB), ["gone", "expired [1]"]);
}

#[test]
fn many_that_expire_at_once_share_few_entries() {
    let mut pair = Circle::pair();
    (1..=100).for_each(|number| pair.send_expiring(NOON_MS, number, 1_000, ExpiryStart::Sent));
    pair.server.settle(NOON_MS + 1_000);
    let log = pair.log(NOON_MS + 1_000, BOB);
    assert!(log[..100].iter().all(|entry| entry == "gone"), "{log:?}");
    assert!(log.len() <= 103, "{:?}", &log[100..]);
}

#[test]
fn counted_from_reading_it_disappears_some_time_after_the_other_has_read_it() {
    let mut pair = Circle::pair();
    let set = SetExpiryRequest {
        conversation_id: pair.chat.to_bytes(),
        client_msg_id: id(9),
        expiry: Some(Expiry { after_ms: MINUTE_MS, start: ExpiryStart::Read.into() }),
    };
    pair.send(NOON_MS, ALICE, 1);
    assert!(matches!(pair.ask(NOON_MS, BOB, Request::SetExpiry(set)), Body::SetExpiry(response) if response.seq == 2));
    pair.send(NOON_MS, ALICE, 3);
    pair.send(NOON_MS, ALICE, 4);
    let read_ms = NOON_MS + 20 * MINUTE_MS;
    pair.settle_until(NOON_MS, read_ms);
    assert_eq!(pair.log(read_ms, BOB), ["message 1", "expiry", "message 3", "message 4"]);
    pair.read(read_ms, BOB, 3);
    pair.settle_until(read_ms, read_ms + MINUTE_MS - 1);
    assert_eq!(pair.log(read_ms + MINUTE_MS - 1, ALICE), ["message 1", "expiry", "message 3", "message 4"]);
    pair.server.settle(read_ms + MINUTE_MS);
    let expected = ["message 1", "expiry", "gone", "message 4", "expired [3]"];
    assert_eq!(pair.log(read_ms + MINUTE_MS, ALICE), expected);
    assert_eq!(pair.line(read_ms + MINUTE_MS, BOB).unread, 1);
}

#[test]
fn reading_starts_the_clock_whenever_the_process_dies() {
    for steps in 0.. {
        let mut pair = Circle::pair();
        (1..=3).for_each(|number| pair.send_expiring(NOON_MS, number, 1_000, ExpiryStart::Read));
        let request = MarkReadRequest { conversation_id: pair.chat.to_bytes(), seq: 3 };
        pair.server.put(NOON_MS + 10, pair.sessions[BOB], Channel::Session, Request::MarkRead(request));
        let died = (0..steps).all(|_| pair.server.step(NOON_MS + 10));
        pair.server.restart();
        pair.come_back(NOON_MS + 10);
        // If the mark was lost, it is made again.
        pair.read(NOON_MS + 10, BOB, 3);
        pair.server.settle(NOON_MS + 10);
        assert_eq!(pair.log(NOON_MS + 1_009, ALICE)[..3], ["message 1", "message 2", "message 3"]);
        pair.server.settle(NOON_MS + 1_009);
        pair.server.settle(NOON_MS + 1_300);
        assert_eq!(pair.log(NOON_MS + 1_300, ALICE)[..3], ["gone", "gone", "gone"], "it died after {steps} steps");
        if !died {
            assert!(steps > 3, "nothing was interrupted");
            return;
        }
    }
}

#[test]
fn who_has_not_acknowledged_in_time_does_not_get_it_and_the_sender_is_told() {
    let mut group = Circle::group();
    group.server.close(NOON_MS, group.sessions[CAROL]);
    let until_ms = NOON_MS + MINUTE_MS;
    assert!(matches!(group.send_in_time(NOON_MS, 1, until_ms), Body::Send(_)));
    group.send(NOON_MS, ALICE, 2);
    assert_eq!(group.pushed(BOB), ["message 1", "message 2"]);
    group.ack(until_ms - 1, BOB, 3);
    group.server.settle(until_ms);
    assert_eq!(group.pushed(ALICE), ["undelivered 2 [\"carol\"]"]);
    group.sessions[CAROL] = group.log_in(until_ms, CAROL, 1);
    let rest = ["message 2", "undelivered 2 [\"carol\"]"];
    for (who, first, unread) in [(ALICE, "message 1", 0), (BOB, "message 1", 2), (CAROL, "missed", 1)] {
        let log = group.log(until_ms, who);
        assert_eq!((&log[1], &log[2..]), (&first.to_string(), &rest.map(String::from)[..]), "{}", PEOPLE[who]);
        assert_eq!(group.line(until_ms, who).unread, unread, "{}", PEOPLE[who]);
    }
    // On every device, and after a restart.
    group.server.restart();
    group.sessions[BOB] = group.log_in(until_ms + 1, BOB, 2);
    group.sessions[CAROL] = group.log_in(until_ms + 1, CAROL, 2);
    assert_eq!((&*group.log(until_ms + 1, BOB)[1], &*group.log(until_ms + 1, CAROL)[1]), ("message 1", "missed"));
}

#[test]
fn a_message_that_everybody_has_in_time_stays_and_nobody_is_told() {
    let mut pair = Circle::pair();
    pair.send_in_time(NOON_MS, 1, NOON_MS + 1_000);
    pair.ack(NOON_MS + 10, BOB, 1);
    pair.server.settle(NOON_MS + 1_000);
    assert_eq!((pair.log(NOON_MS + 1_000, BOB), pair.pushed(ALICE)), (vec!["message 1".to_string()], Vec::new()));
}

#[test]
fn what_was_fetched_and_acknowledged_counts_as_delivered_and_a_late_acknowledgement_does_not() {
    let mut pair = Circle::pair();
    pair.server.close(NOON_MS, pair.sessions[BOB]);
    pair.send_in_time(NOON_MS, 1, NOON_MS + 1_000);
    pair.send_in_time(NOON_MS, 2, NOON_MS + 2_000);
    pair.sessions[BOB] = pair.log_in(NOON_MS, BOB, 1);
    assert_eq!(pair.log(NOON_MS, BOB), ["message 1", "message 2"]);
    pair.ack(NOON_MS + 1_500, BOB, 2);
    pair.server.settle(NOON_MS + 2_000);
    let log = pair.log(NOON_MS + 2_000, BOB);
    assert_eq!((&*log[0], &*log[1], log.len()), ("missed", "message 2", 3));
}

#[test]
fn who_comes_just_when_a_delivery_ends_is_told_to_ask_again() {
    let mut pair = Circle::pair();
    pair.server.close(NOON_MS, pair.sessions[BOB]);
    pair.send_in_time(NOON_MS, 1, NOON_MS + 1_000);
    pair.sessions[BOB] = pair.log_in(NOON_MS + 999, BOB, 1);
    let early = pair.history(NOON_MS + 1_000, BOB);
    assert_eq!(code(&early), Some(ErrorCode::Overloaded));
    pair.ack(NOON_MS + 1_000, BOB, 1);
    assert_eq!(pair.log(NOON_MS + 1_000, BOB), ["missed", "undelivered 1 [\"bob\"]"]);
    assert_eq!(pair.line(NOON_MS + 1_000, BOB).unread, 0);
}

#[test]
fn a_delivery_ends_once_whenever_the_process_dies() {
    for steps in 0.. {
        let mut pair = Circle::pair();
        pair.send_in_time(NOON_MS, 1, NOON_MS + 1_000);
        let died = (0..steps).all(|_| pair.server.step(NOON_MS + 1_000));
        pair.server.restart();
        pair.server.settle(NOON_MS + 1_000);
        pair.come_back(NOON_MS + 1_000);
        pair.server.settle(NOON_MS + 1_300);
        let log = pair.log(NOON_MS + 1_300, BOB);
        assert_eq!(log, ["missed", "undelivered 1 [\"bob\"]"], "it died after {steps} steps");
        if !died {
            assert!(steps > 3, "nothing was interrupted");
            return;
        }
    }
}

#[test]
fn bad_expiries_are_refused_with_what_is_allowed() {
    let mut pair = Circle::pair();
    let most_ms = Limits::default().expiry_after_ms_max;
    for after_ms in [1, 999, most_ms + 1] {
        let expiry = Some(Expiry { after_ms, start: ExpiryStart::Sent.into() });
        let message = SendRequest { expiry, ..pair.message(1) };
        assert_eq!(code(&pair.ask(NOON_MS, ALICE, Request::Send(message))), Some(ErrorCode::InvalidArgument));
        let (conversation_id, client_msg_id) = (pair.chat.to_bytes(), id(1));
        let set = SetExpiryRequest { conversation_id, client_msg_id, expiry };
        assert_eq!(code(&pair.ask(NOON_MS, ALICE, Request::SetExpiry(set))), Some(ErrorCode::InvalidArgument));
    }
    assert_eq!(code(&pair.send_in_time(NOON_MS, 1, NOON_MS)), Some(ErrorCode::DeadlinePassed));
    assert_eq!(code(&pair.send_in_time(NOON_MS, 1, NOON_MS + most_ms + 1)), Some(ErrorCode::InvalidArgument));
}
