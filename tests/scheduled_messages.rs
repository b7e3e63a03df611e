//! Scheduled messages: sent once, never early, whatever dies when. The clock is the test's.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "support/one_core.rs"]
mod one_core;
#[path = "support/pair.rs"]
mod pair;

use godwit::router::{Channel, Limits, ScheduleLimits};
use godwit_proto::{
    ConversationId,
    v1::{
        CancelScheduledRequest, ChangeScheduledRequest, CreateGroupRequest, ErrorCode, ListScheduledRequest,
        RemoveMemberRequest, SendRequest, SendScheduledRequest, client_frame::Body as Request, entry::Content,
        scheduled_push::Change, server_frame::Body,
    },
};
use one_core::{code, id};
use pair::{MINUTE_MS, NOON_MS, Pair, pushed, texts};

#[test]
fn it_is_sent_when_it_is_due_and_not_before() {
    let mut pair = Pair::new();
    let due_ms = NOON_MS + MINUTE_MS;
    assert!(matches!(pair.schedule(NOON_MS, 1, due_ms), Body::Schedule(_)));
    pair.server.settle(due_ms - 1);
    assert_eq!((pair.log(due_ms - 1).len(), pair.server.next_turn_ms()), (0, Some(due_ms)));

    pair.server.settle(due_ms);
    let log = pair.log(due_ms);
    assert_eq!(texts(&log), ["scheduled 1"]);
    let Some(Content::Message(message)) = &log[0].content else { panic!() };
    assert!(message.scheduled && log[0].client_msg_id == id(1) && log[0].sent_ms == due_ms);
    // To all sessions, the author's included; and it is on no list any more.
    assert_eq!(pushed(&pair.server.take(pair.alice)), log);
    assert_eq!(pushed(&pair.server.take(pair.bob)), log);
    assert_eq!(pair.list(due_ms, false), []);
    pair.server.settle(due_ms + MINUTE_MS);
    assert_eq!(pair.log(due_ms).len(), 1);
}

#[test]
fn it_is_unread_for_others_and_neither_unread_nor_a_sign_of_reading_for_its_author() {
    let mut pair = Pair::new();
    pair.schedule(NOON_MS, 1, NOON_MS + 20);
    let hello = SendRequest {
        conversation_id: pair.chat.to_bytes(),
        client_msg_id: id(77),
        body: "hello".into(),
        ..SendRequest::default()
    };
    assert!(matches!(pair.server.ask(NOON_MS + 10, pair.bob, Request::Send(hello)), Body::Send(_)));
    pair.server.settle(NOON_MS + 20);
    assert_eq!(texts(&pair.log(NOON_MS + 20)), ["hello", "scheduled 1"]);
    assert_eq!(pair.unread(NOON_MS + 20, pair.alice), 1, "Bob's, which Alice has not read");
    assert_eq!(pair.unread(NOON_MS + 20, pair.bob), 1, "Alice's");
}

#[test]
fn it_is_sent_with_its_author_offline_and_after_a_restart() {
    let mut pair = Pair::new();
    pair.schedule(NOON_MS, 1, NOON_MS + 10 * MINUTE_MS);
    pair.server.close(NOON_MS, pair.alice);
    pair.server.restart();
    pair.server.settle(NOON_MS + 9 * MINUTE_MS);
    pair.come_back(NOON_MS + 9 * MINUTE_MS);
    pair.server.close(NOON_MS + 9 * MINUTE_MS, pair.alice);
    assert_eq!(pair.log(NOON_MS + 9 * MINUTE_MS).len(), 0);
    // Minute by minute, so that it is read into the wheel.
    for minute in 9..=10 {
        pair.server.settle(NOON_MS + minute * MINUTE_MS);
    }
    assert_eq!(texts(&pair.log(NOON_MS + 10 * MINUTE_MS)), ["scheduled 1"]);
}

#[test]
fn it_is_sent_once_whenever_the_process_dies() {
    // Every number of steps of the firing, until a run needs no more.
    for steps in 0.. {
        let mut pair = Pair::new();
        pair.schedule(NOON_MS, 1, NOON_MS + 10);
        pair.server.settle(NOON_MS);
        let died = (0..steps).all(|_| pair.server.step(NOON_MS + 10));
        pair.server.restart();
        pair.server.settle(NOON_MS + 10);
        pair.come_back(NOON_MS + 10);
        pair.server.settle(NOON_MS + 10);
        assert_eq!(texts(&pair.log(NOON_MS + 10)), ["scheduled 1"], "it died after {steps} steps");
        assert_eq!(pair.list(NOON_MS + 10, false), []);
        if !died {
            assert!(steps > 3, "nothing was interrupted");
            return;
        }
    }
}

#[test]
fn a_repeated_request_schedules_nothing_twice() {
    let mut pair = Pair::new();
    let Body::Schedule(first) = pair.schedule(NOON_MS, 1, NOON_MS + 10) else { panic!() };
    let Body::Schedule(again) = pair.schedule(NOON_MS + 1, 1, NOON_MS + 10) else { panic!() };
    assert_eq!(first, again);
    pair.server.settle(NOON_MS + 10);
    // Its answer was lost: it was sent meanwhile.
    pair.schedule(NOON_MS + 20, 1, NOON_MS + 10);
    pair.server.settle(NOON_MS + 20);
    assert_eq!(pair.log(NOON_MS + 20).len(), 1);
    assert_eq!(pair.list(NOON_MS + 20, false), []);
}

#[test]
fn it_can_be_changed_cancelled_and_sent_at_once() {
    let mut pair = Pair::new();
    (1..=3).for_each(|number| drop(pair.schedule(NOON_MS, number, NOON_MS + 1_000 * u64::from(number))));
    let phone = pair.log_in(NOON_MS, "alice", 2);
    let later = ChangeScheduledRequest {
        schedule_id: id(1),
        body: Some("changed".into()),
        due_ms: Some(NOON_MS + 5_000),
        ..ChangeScheduledRequest::default()
    };
    let Body::Schedule(changed) = pair.server.ask(NOON_MS, pair.alice, Request::ChangeScheduled(later)) else {
        panic!()
    };
    assert_eq!(changed.scheduled.as_ref().unwrap().revision, 2);
    let cancel = || Request::CancelScheduled(CancelScheduledRequest { schedule_id: id(2) });
    assert!(matches!(pair.server.ask(NOON_MS, pair.alice, cancel()), Body::CancelScheduled(_)));
    assert!(matches!(pair.server.ask(NOON_MS, pair.alice, cancel()), Body::CancelScheduled(_)), "once more");
    let now = Request::SendScheduled(SendScheduledRequest { schedule_id: id(3), ..SendScheduledRequest::default() });
    assert!(matches!(pair.server.ask(NOON_MS, pair.alice, now), Body::Send(sent) if sent.seq == 1));

    let seen = pair.server.take(phone);
    let changes: Vec<_> = seen
        .iter()
        .filter_map(|body| if let Body::Scheduled(push) = body { push.change.clone() } else { None })
        .collect();
    assert_eq!(changes, [Change::Saved(changed.scheduled.unwrap()), Change::Cancelled(id(2))]);
    (1..=6).for_each(|second| pair.server.settle(NOON_MS + 1_000 * second));
    assert_eq!(texts(&pair.log(NOON_MS + 6_000)), ["scheduled 3", "changed"]);
    assert_eq!(pair.log(NOON_MS + 6_000)[1].sent_ms, NOON_MS + 5_000);
    let late = ChangeScheduledRequest {
        schedule_id: id(1),
        due_ms: Some(NOON_MS + 9_000),
        ..ChangeScheduledRequest::default()
    };
    let body = pair.server.ask(NOON_MS + 6_000, pair.alice, Request::ChangeScheduled(late));
    assert_eq!(code(&body), Some(ErrorCode::ScheduleNotFound));
}

#[test]
fn what_was_due_while_the_server_was_away_is_sent_late_or_reported() {
    let mut pair = Pair::new();
    let late_ms_max = ScheduleLimits::default().late_ms_max;
    pair.schedule(NOON_MS, 1, NOON_MS + 1_000);
    pair.schedule(NOON_MS, 2, NOON_MS + 2_000);
    pair.server.restart();
    let back_ms = NOON_MS + 1_500 + late_ms_max;
    pair.server.settle(back_ms);
    pair.come_back(back_ms);
    assert_eq!(texts(&pair.log(back_ms)), ["scheduled 2"]);
    assert_eq!(pair.list(back_ms, false), []);
    let failed = pair.list(back_ms, true);
    assert_eq!(failed[0].failure.as_ref().unwrap().code(), ErrorCode::ScheduleMissed);
    assert_eq!((failed.len(), &failed[0].schedule_id), (1, &id(1)));

    // A new time schedules it anew.
    let again =
        ChangeScheduledRequest { schedule_id: id(1), due_ms: Some(back_ms + 10), ..ChangeScheduledRequest::default() };
    assert!(matches!(pair.server.ask(back_ms, pair.alice, Request::ChangeScheduled(again)), Body::Schedule(_)));
    pair.server.settle(back_ms + 10);
    assert_eq!(texts(&pair.log(back_ms + 10)), ["scheduled 2", "scheduled 1"]);
    assert_eq!(pair.list(back_ms + 10, true), []);
}

#[test]
fn an_author_who_was_removed_meanwhile_is_told_why_it_was_not_sent() {
    let mut pair = Pair::new();
    let (group, alice_id) = (id(50), pair.alice_id.as_u64());
    let create = CreateGroupRequest { client_msg_id: group, title: "birds".into(), member_ids: vec![alice_id] };
    let Body::CreateGroup(group) = pair.server.ask(NOON_MS, pair.bob, Request::CreateGroup(create)) else { panic!() };
    pair.chat = ConversationId::from_slice(&group.conversation_id).unwrap();
    assert!(matches!(pair.schedule(NOON_MS, 1, NOON_MS + 100), Body::Schedule(_)));
    let remove =
        RemoveMemberRequest { conversation_id: group.conversation_id, client_msg_id: id(51), user_id: alice_id };
    assert!(matches!(pair.server.ask(NOON_MS, pair.bob, Request::RemoveMember(remove)), Body::ChangeMembers(_)));

    pair.server.take(pair.alice);
    pair.server.settle(NOON_MS + 100);
    let failed = pair.list(NOON_MS + 100, true);
    assert_eq!(failed[0].failure.as_ref().unwrap().code(), ErrorCode::NotAMember);
    let told = pair.server.take(pair.alice);
    assert!(
        told.iter()
            .any(|body| matches!(body, Body::Scheduled(push) if push.change == Some(Change::Saved(failed[0].clone()))))
    );
    // Nobody can schedule where they are no member.
    assert_eq!(code(&pair.schedule(NOON_MS + 200, 2, NOON_MS + 300)), Some(ErrorCode::NotAMember));
}

#[test]
fn one_that_failed_comes_back_only_if_there_is_room_for_it() {
    let schedule = ScheduleLimits { per_user_max: 1, late_ms_max: 1_000, ..ScheduleLimits::default() };
    let mut pair = Pair::with(Limits { schedule, ..Limits::default() });
    pair.schedule(NOON_MS, 1, NOON_MS + 10);
    pair.server.restart();
    let back_ms = NOON_MS + MINUTE_MS;
    pair.server.settle(back_ms);
    pair.come_back(back_ms);
    assert_eq!(pair.list(back_ms, true).len(), 1, "it failed");
    assert!(matches!(pair.schedule(back_ms, 2, back_ms + MINUTE_MS), Body::Schedule(_)));
    let anew = ChangeScheduledRequest {
        schedule_id: id(1),
        due_ms: Some(back_ms + MINUTE_MS),
        ..ChangeScheduledRequest::default()
    };
    let body = pair.server.ask(back_ms, pair.alice, Request::ChangeScheduled(anew));
    assert_eq!(code(&body), Some(ErrorCode::TooManyScheduled));
    assert_eq!((pair.list(back_ms, true).len(), pair.list(back_ms, false).len()), (1, 1));
}

#[test]
fn limits_are_kept_and_say_what_to_do() {
    let limits =
        Limits { schedule: ScheduleLimits { per_user_max: 2, ..ScheduleLimits::default() }, ..Limits::default() };
    let mut pair = Pair::with(limits);
    for number in 1..=2 {
        assert!(matches!(pair.schedule(NOON_MS, number, NOON_MS + MINUTE_MS), Body::Schedule(_)));
    }
    assert_eq!(code(&pair.schedule(NOON_MS, 3, NOON_MS + MINUTE_MS)), Some(ErrorCode::TooManyScheduled));
    // Two at a time cannot slip through either.
    let cancel = Request::CancelScheduled(CancelScheduledRequest { schedule_id: id(1) });
    pair.server.ask(NOON_MS, pair.alice, cancel);
    for number in 4..=5 {
        let request = pair.request(number, NOON_MS + MINUTE_MS);
        pair.server.put(NOON_MS, pair.alice, Channel::Session, request);
    }
    pair.server.settle(NOON_MS);
    assert!(pair.list(NOON_MS, false).len() <= 2);

    let ahead_ms = limits.schedule.ahead_ms_max;
    assert_eq!(code(&pair.schedule(NOON_MS, 6, NOON_MS + ahead_ms + 1)), Some(ErrorCode::DueOutOfRange));
    assert_eq!(code(&pair.schedule(NOON_MS, 6, 0)), Some(ErrorCode::DueOutOfRange));
    let mut long = pair.request(6, NOON_MS + 1);
    if let Request::Schedule(request) = &mut long {
        request.body = vec![b'x'; limits.message_bytes_max + 1].into();
    }
    assert_eq!(code(&pair.server.ask(NOON_MS, pair.alice, long)), Some(ErrorCode::MessageTooLarge));
}

#[test]
fn what_is_due_all_at_once_is_sent_a_few_at_a_time() {
    let limits = Limits { timers_busy_max: 2, ..Limits::default() };
    let mut pair = Pair::with(limits);
    (1..=9).for_each(|number| drop(pair.schedule(NOON_MS, number, NOON_MS + 10)));
    pair.server.settle(NOON_MS + 10);
    assert_eq!(pair.log(NOON_MS + 10).len(), 9);
    assert_eq!(pair.list(NOON_MS + 10, false), []);
}

#[test]
fn a_core_that_works_on_as_many_as_it_may_takes_no_more_and_does_not_spin() {
    let mut pair = Pair::new();
    pair.schedule(NOON_MS, 1, NOON_MS + 10);
    let none = Limits { timers_busy_max: 0, ..Limits::default() };
    pair.server.restart_with(none);
    pair.server.settle(NOON_MS + 20);
    assert_eq!(pair.server.next_turn_ms(), None);
    pair.come_back(NOON_MS + 20);
    assert_eq!(pair.log(NOON_MS + 20).len(), 0);
}

#[test]
fn a_list_is_paged_in_the_order_of_time() {
    let mut pair = Pair::new();
    for number in (1..=7).rev() {
        pair.schedule(NOON_MS, number, NOON_MS + MINUTE_MS * u64::from(1 + number / 2));
    }
    let (mut after_due_ms, mut after_schedule_id, mut seen) = (0, bytes::Bytes::new(), Vec::new());
    loop {
        let request =
            ListScheduledRequest { limit: 3, after_due_ms, after_schedule_id, ..ListScheduledRequest::default() };
        let Body::ListScheduled(page) = pair.server.ask_bulk(NOON_MS, pair.alice, Request::ListScheduled(request))
        else {
            panic!()
        };
        let last = page.scheduled.last().unwrap();
        (after_due_ms, after_schedule_id) = (last.due_ms, last.schedule_id.clone());
        seen.extend(page.scheduled.iter().map(|message| message.schedule_id[0]));
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn a_clock_that_is_set_back_sends_nothing_early() {
    let mut pair = Pair::new();
    pair.schedule(NOON_MS, 1, NOON_MS + 1_000);
    let earlier_ms = NOON_MS - 3_600_000;
    pair.server.settle(earlier_ms);
    pair.schedule(earlier_ms, 2, earlier_ms + 500);
    pair.server.settle(earlier_ms + 500);
    assert_eq!(texts(&pair.log(earlier_ms + 500)), ["scheduled 2"]);
    pair.server.settle(NOON_MS + 999);
    assert_eq!(pair.log(NOON_MS + 999).len(), 1);
    pair.server.settle(NOON_MS + 1_000);
    assert_eq!(texts(&pair.log(NOON_MS + 1_000)), ["scheduled 2", "scheduled 1"]);
}
