//! Reminders: once to every device, never early, and listed until they are dismissed. The clock is the test's.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "support/one_core.rs"]
mod one_core;
#[path = "support/pair.rs"]
mod pair;

use godwit::router::{Channel, Limits, ScheduleLimits, SessionId};
use godwit_proto::{
    ConversationId,
    v1::{
        CreateGroupRequest, DismissReminderRequest, ErrorCode, ListRemindersRequest, Reminder, RemoveMemberRequest,
        SetReminderRequest, client_frame::Body as Request, reminder_push::Change, server_frame::Body,
    },
};
use one_core::{code, id};
use pair::{MINUTE_MS, NOON_MS, Pair};

const DAY_MS: u64 = 24 * 60 * MINUTE_MS;

/// Alice and Bob, who has written something.
fn talking() -> Pair {
    let mut pair = Pair::new();
    assert_eq!((1..=3).map(|number| pair.bob_says(NOON_MS, number)).collect::<Vec<_>>(), [1, 2, 3]);
    pair
}

fn request(pair: &Pair, seq: u64, due_ms: u64) -> Request {
    let (conversation_id, note) = (pair.chat.to_bytes(), "call back".into());
    Request::SetReminder(SetReminderRequest { conversation_id, seq, due_ms, note })
}

fn remind(pair: &mut Pair, now_ms: u64, seq: u64, due_ms: u64) -> Body {
    let request = request(pair, seq, due_ms);
    pair.server.ask(now_ms, pair.alice, request)
}

fn dismiss(pair: &mut Pair, now_ms: u64, session: SessionId, seq: u64) {
    let request = DismissReminderRequest { conversation_id: pair.chat.to_bytes(), seq };
    let body = pair.server.ask(now_ms, session, Request::DismissReminder(request));
    assert!(matches!(body, Body::DismissReminder(_)), "{body:?}");
}

fn list(pair: &mut Pair, now_ms: u64, session: SessionId) -> Vec<Reminder> {
    match pair.server.ask_bulk(now_ms, session, Request::ListReminders(ListRemindersRequest {})) {
        Body::ListReminders(list) => list.reminders,
        other => panic!("no list: {other:?}"),
    }
}

/// What a session was told about reminders.
fn told(pair: &mut Pair, session: SessionId) -> Vec<Change> {
    let change = |body| if let Body::Reminder(push) = body { push.change } else { None };
    pair.server.take(session).into_iter().filter_map(change).collect()
}

fn is_due(change: &Change, seq: u64) -> bool {
    matches!(change, Change::Saved(reminder) if reminder.is_due && reminder.seq == seq)
}

#[test]
fn it_is_due_once_to_every_device_and_not_before() {
    let mut pair = talking();
    let phone = pair.log_in(NOON_MS, "alice", 2);
    let due_ms = NOON_MS + MINUTE_MS;
    let Body::SetReminder(set) = remind(&mut pair, NOON_MS, 2, due_ms) else { panic!() };
    let set = set.reminder.unwrap();
    assert_eq!((set.seq, set.due_ms, set.note.as_str(), set.is_due), (2, due_ms, "call back", false));
    assert_eq!(told(&mut pair, phone), [Change::Saved(set.clone())], "the other device hears of it");
    let alice = pair.alice;
    pair.server.settle(due_ms - 1);
    assert_eq!((told(&mut pair, alice), told(&mut pair, phone)), (Vec::new(), Vec::new()));
    pair.server.settle(due_ms);
    let due = Reminder { is_due: true, ..set };
    for session in [alice, phone] {
        assert_eq!(told(&mut pair, session), [Change::Saved(due.clone())]);
    }
    for minute in 2..10 {
        pair.server.settle(NOON_MS + minute * MINUTE_MS);
    }
    assert_eq!(told(&mut pair, alice), []);
    let bob = pair.bob;
    assert_eq!((told(&mut pair, bob), list(&mut pair, due_ms, bob)), (Vec::new(), Vec::new()), "it is hers");
    // Until it is dismissed, on any device.
    assert_eq!(list(&mut pair, due_ms, phone), [due]);
    dismiss(&mut pair, due_ms, phone, 2);
    assert!(matches!(&told(&mut pair, alice)[..], [Change::Dismissed(place)] if place.seq == 2));
    assert_eq!(list(&mut pair, due_ms, alice), []);
    dismiss(&mut pair, due_ms, phone, 2);
    assert_eq!(told(&mut pair, alice), [], "it was gone");
}

#[test]
fn it_survives_the_process_whenever_that_dies() {
    for steps in 0.. {
        let mut pair = talking();
        remind(&mut pair, NOON_MS, 1, NOON_MS + 10);
        pair.server.settle(NOON_MS);
        let died = (0..steps).all(|_| pair.server.step(NOON_MS + 10));
        pair.server.restart();
        pair.come_back(NOON_MS + 9);
        let alice = pair.alice;
        pair.server.settle(NOON_MS + 10);
        let pushed = told(&mut pair, alice);
        assert!(pushed.len() <= 1, "it died after {steps} steps: {pushed:?}");
        let listed = list(&mut pair, NOON_MS + 10, alice);
        assert!(listed.len() == 1 && listed[0].is_due, "it died after {steps} steps: {listed:?}");
        if !died {
            assert!(steps > 2, "nothing was interrupted");
            return;
        }
    }
}

#[test]
fn it_is_due_as_soon_as_the_server_is_back_and_kept_for_ninety_days() {
    let mut pair = talking();
    remind(&mut pair, NOON_MS, 1, NOON_MS + MINUTE_MS);
    pair.server.restart();
    let back_ms = NOON_MS + 30 * DAY_MS;
    pair.come_back(back_ms);
    let alice = pair.alice;
    // Nobody was there to be told, so it is listed.
    assert!(list(&mut pair, back_ms, alice)[0].is_due);
    let kept_until_ms = NOON_MS + MINUTE_MS + 90 * DAY_MS;
    pair.server.settle(kept_until_ms - 1);
    assert_eq!(list(&mut pair, kept_until_ms - 1, alice).len(), 1);
    pair.server.settle(kept_until_ms);
    assert_eq!(list(&mut pair, kept_until_ms, alice), []);
}

#[test]
fn what_was_dismissed_is_not_due() {
    let mut pair = talking();
    remind(&mut pair, NOON_MS, 1, NOON_MS + 10);
    remind(&mut pair, NOON_MS, 2, NOON_MS + 10);
    let alice = pair.alice;
    dismiss(&mut pair, NOON_MS, alice, 1);
    told(&mut pair, alice);
    pair.server.settle(NOON_MS + 10);
    let pushed = told(&mut pair, alice);
    assert!(pushed.len() == 1 && is_due(&pushed[0], 2), "{pushed:?}");
}

#[test]
fn a_new_reminder_of_the_same_entry_replaces_the_old_one() {
    let mut pair = talking();
    remind(&mut pair, NOON_MS, 1, NOON_MS + 10);
    remind(&mut pair, NOON_MS, 1, NOON_MS + MINUTE_MS);
    let alice = pair.alice;
    pair.server.settle(NOON_MS + 10);
    assert_eq!(told(&mut pair, alice), []);
    pair.server.settle(NOON_MS + MINUTE_MS);
    assert_eq!(told(&mut pair, alice).len(), 1);
    // The answer to the same request, repeated, is what it is now.
    let Body::SetReminder(again) = remind(&mut pair, NOON_MS + MINUTE_MS, 1, NOON_MS + MINUTE_MS) else { panic!() };
    assert!(again.reminder.unwrap().is_due);
    // Later once more.
    remind(&mut pair, NOON_MS + MINUTE_MS, 1, NOON_MS + 2 * MINUTE_MS);
    assert!(!list(&mut pair, NOON_MS + MINUTE_MS, alice)[0].is_due);
    pair.server.settle(NOON_MS + 2 * MINUTE_MS);
    assert_eq!(told(&mut pair, alice).len(), 1);
}

#[test]
fn those_that_are_due_are_listed_first_and_each_kind_by_time() {
    let mut pair = talking();
    for (seq, minutes) in [(1, 3), (2, 1), (3, 2)] {
        remind(&mut pair, NOON_MS, seq, NOON_MS + minutes * MINUTE_MS);
    }
    let now_ms = NOON_MS + 2 * MINUTE_MS;
    pair.server.settle(now_ms);
    let alice = pair.alice;
    let listed: Vec<_> = list(&mut pair, now_ms, alice).iter().map(|one| (one.seq, one.is_due)).collect();
    assert_eq!(listed, [(2, true), (3, true), (1, false)]);
}

#[test]
fn only_members_are_reminded_and_only_of_what_they_may_read() {
    let mut pair = talking();
    assert_eq!(code(&remind(&mut pair, NOON_MS, 4, NOON_MS + 10)), Some(ErrorCode::SeqOutOfRange));
    assert_eq!(code(&remind(&mut pair, NOON_MS, 0, NOON_MS + 10)), Some(ErrorCode::InvalidArgument));
    let alice_id = pair.alice_id.as_u64();
    let create = CreateGroupRequest { client_msg_id: id(50), title: "birds".into(), member_ids: vec![alice_id] };
    let Body::CreateGroup(group) = pair.server.ask(NOON_MS, pair.bob, Request::CreateGroup(create)) else { panic!() };
    pair.chat = ConversationId::from_slice(&group.conversation_id).unwrap();
    assert!(matches!(remind(&mut pair, NOON_MS, 1, NOON_MS + 10), Body::SetReminder(_)));
    let remove =
        RemoveMemberRequest { conversation_id: group.conversation_id, client_msg_id: id(51), user_id: alice_id };
    pair.server.ask(NOON_MS, pair.bob, Request::RemoveMember(remove));
    let alice = pair.alice;
    told(&mut pair, alice);
    pair.server.settle(NOON_MS + 10);
    assert!(matches!(&told(&mut pair, alice)[..], [Change::Dismissed(place)] if place.seq == 1));
    assert_eq!(list(&mut pair, NOON_MS + 10, alice), []);
    assert_eq!(code(&remind(&mut pair, NOON_MS + 10, 1, NOON_MS + 20)), Some(ErrorCode::NotAMember));
}

#[test]
fn limits_are_kept() {
    let schedule = ScheduleLimits { reminders_per_user_max: 2, ..ScheduleLimits::default() };
    let mut pair = Pair::with(Limits { schedule, ..Limits::default() });
    for number in 1..=3 {
        pair.bob_says(NOON_MS, number);
    }
    // Several at a time cannot slip through.
    for seq in [1, 2, 3] {
        let request = request(&pair, seq, NOON_MS + 10);
        pair.server.put(NOON_MS, pair.alice, Channel::Session, request);
    }
    pair.server.settle(NOON_MS);
    let alice = pair.alice;
    assert!(list(&mut pair, NOON_MS, alice).len() <= 2);
    (1..=2).for_each(|seq| drop(remind(&mut pair, NOON_MS, seq, NOON_MS + 10)));
    let seqs: Vec<u64> = list(&mut pair, NOON_MS, alice).iter().map(|one| one.seq).collect();
    assert_eq!(seqs, [1, 2]);
    assert_eq!(code(&remind(&mut pair, NOON_MS, 3, NOON_MS + 10)), Some(ErrorCode::TooManyReminders));
    assert!(matches!(remind(&mut pair, NOON_MS, 2, NOON_MS + 20), Body::SetReminder(_)));
    // Those that were due count until they are dismissed.
    pair.server.settle(NOON_MS + 20);
    assert_eq!(code(&remind(&mut pair, NOON_MS + 20, 3, NOON_MS + 30)), Some(ErrorCode::TooManyReminders));
    dismiss(&mut pair, NOON_MS + 20, alice, 1);
    assert!(matches!(remind(&mut pair, NOON_MS + 20, 3, NOON_MS + 30), Body::SetReminder(_)));

    let too_late = NOON_MS + limits_ahead_ms() + 1;
    assert_eq!(code(&remind(&mut pair, NOON_MS, 2, too_late)), Some(ErrorCode::DueOutOfRange));
    let long = SetReminderRequest {
        conversation_id: pair.chat.to_bytes(),
        seq: 2,
        due_ms: NOON_MS + 10,
        note: "x".repeat(257),
    };
    let body = pair.server.ask(NOON_MS, pair.alice, Request::SetReminder(long));
    assert_eq!(code(&body), Some(ErrorCode::InvalidArgument));
}

fn limits_ahead_ms() -> u64 {
    ScheduleLimits::default().ahead_ms_max
}
