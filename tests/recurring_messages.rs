//! Messages that are sent again and again: each once and none early, whatever dies when. The clock is the test's.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "support/one_core.rs"]
mod one_core;
#[path = "support/pair.rs"]
mod pair;

use godwit::router::{Limits, ScheduleLimits};
use godwit_proto::{
    ConversationId,
    v1::{
        CancelScheduledRequest, ChangeScheduledRequest, CreateGroupRequest, ErrorCode, Recurrence, RemoveMemberRequest,
        ScheduledMessage, SendScheduledRequest, client_frame::Body as Request, scheduled_push::Change,
        server_frame::Body,
    },
};
use one_core::{code, id};
use pair::{MINUTE_MS, NOON_MS, Pair, pushed, texts};
use std::collections::HashSet;

const DAY_MS: u64 = 24 * 60 * MINUTE_MS;

fn every(rrule: &str) -> Option<Recurrence> {
    Some(Recurrence { rrule: rrule.into(), time_zone: "UTC".into(), ..Recurrence::default() })
}

fn schedule(pair: &mut Pair, now_ms: u64, due_ms: u64, rrule: &str) -> Body {
    let Request::Schedule(request) = pair.request(1, due_ms) else { panic!() };
    let request = godwit_proto::v1::ScheduleRequest { recurrence: every(rrule), ..request };
    pair.server.ask(now_ms, pair.alice, Request::Schedule(request))
}

fn change(pair: &mut Pair, now_ms: u64, change: ChangeScheduledRequest) -> Body {
    let change = ChangeScheduledRequest { schedule_id: id(1), ..change };
    pair.server.ask(now_ms, pair.alice, Request::ChangeScheduled(change))
}

fn send_now(pair: &mut Pair, now_ms: u64, client_msg_id: bytes::Bytes) -> Body {
    let request = SendScheduledRequest { schedule_id: id(1), client_msg_id };
    pair.server.ask(now_ms, pair.alice, Request::SendScheduled(request))
}

/// The series, while it goes on.
fn next(pair: &mut Pair, now_ms: u64) -> ScheduledMessage {
    let list = pair.list(now_ms, false);
    assert_eq!(list.len(), 1, "{list:?}");
    list.into_iter().next().unwrap()
}

fn told(message: &ScheduledMessage) -> &Recurrence {
    message.recurrence.as_ref().unwrap()
}

/// How long after noon each was sent.
fn sent_after_noon(pair: &mut Pair, now_ms: u64) -> Vec<u64> {
    let log = pair.log(now_ms);
    let ids: HashSet<_> = log.iter().map(|entry| entry.client_msg_id.clone()).collect();
    assert_eq!(ids.len(), log.len(), "each has an id of its own");
    log.iter().map(|entry| entry.sent_ms - NOON_MS).collect()
}

#[test]
fn it_is_sent_at_each_time_and_its_author_is_told_the_next_one() {
    let mut pair = Pair::new();
    let Body::Schedule(first) = schedule(&mut pair, NOON_MS, NOON_MS + MINUTE_MS, "FREQ=DAILY;COUNT=3") else {
        panic!()
    };
    let first = first.scheduled.unwrap();
    assert_eq!((first.revision, told(&first).local_time.as_str()), (1, "2027-01-15T08:01:00"));
    pair.server.settle(NOON_MS + MINUTE_MS - 1);
    assert_eq!(pair.log(NOON_MS).len(), 0);
    pair.server.take(pair.alice);
    pair.server.settle(NOON_MS + MINUTE_MS);
    let second = next(&mut pair, NOON_MS + MINUTE_MS);
    assert_eq!((second.due_ms, second.revision), (NOON_MS + MINUTE_MS + DAY_MS, 2));
    assert_eq!((told(&second).passed, told(&second).missed), (1, 0));
    let seen = pair.server.take(pair.alice);
    assert_eq!(pushed(&seen), pair.log(NOON_MS + MINUTE_MS));
    let is_told =
        |body: &Body| matches!(body, Body::Scheduled(push) if push.change == Some(Change::Saved(second.clone())));
    assert!(seen.iter().any(is_told), "{seen:?}");

    for day in 0..9 {
        pair.server.settle(NOON_MS + MINUTE_MS + day * DAY_MS);
    }
    let now_ms = NOON_MS + 9 * DAY_MS;
    assert_eq!(sent_after_noon(&mut pair, now_ms), [0, 1, 2].map(|day| MINUTE_MS + day * DAY_MS));
    assert_eq!((pair.list(now_ms, false), pair.list(now_ms, true)), (Vec::new(), Vec::new()));
    let seen = pair.server.take(pair.alice);
    let ended = |body: &Body| matches!(body, Body::Scheduled(push) if push.change == Some(Change::Ended(id(1))));
    assert!(seen.iter().any(ended), "{seen:?}");
}

#[test]
fn each_is_sent_once_whenever_the_process_dies() {
    let due_ms = [NOON_MS + 10, NOON_MS + 10 + MINUTE_MS];
    for firing in 0..2 {
        for steps in 0.. {
            let mut pair = Pair::new();
            schedule(&mut pair, NOON_MS, due_ms[0], "FREQ=MINUTELY;COUNT=2");
            pair.server.settle(NOON_MS);
            due_ms[..firing].iter().for_each(|due_ms| pair.server.settle(*due_ms));
            let died = (0..steps).all(|_| pair.server.step(due_ms[firing]));
            pair.server.restart();
            due_ms[firing..].iter().for_each(|due_ms| pair.server.settle(*due_ms));
            pair.come_back(due_ms[1]);
            pair.server.settle(due_ms[1]);
            let sent = sent_after_noon(&mut pair, due_ms[1]);
            assert_eq!(sent.len(), 2, "it died after {steps} steps of firing {firing}: {sent:?}");
            assert_eq!((pair.list(due_ms[1], false), pair.list(due_ms[1], true)), (Vec::new(), Vec::new()));
            if !died {
                assert!(steps > 3, "nothing was interrupted");
                break;
            }
        }
    }
}

#[test]
fn of_what_was_missed_the_latest_is_sent_and_the_rest_is_counted() {
    let limits =
        Limits { schedule: ScheduleLimits { late_ms_max: DAY_MS, ..ScheduleLimits::default() }, ..Limits::default() };
    let mut pair = Pair::with(limits);
    schedule(&mut pair, NOON_MS, NOON_MS + MINUTE_MS, "FREQ=HOURLY");
    pair.server.settle(NOON_MS + MINUTE_MS);
    pair.server.restart();
    // Three days and half an hour later: 72 more were due, the latest half an hour ago.
    let back_ms = NOON_MS + 3 * DAY_MS + 31 * MINUTE_MS;
    pair.server.settle(back_ms);
    pair.come_back(back_ms);
    assert_eq!(sent_after_noon(&mut pair, back_ms), [MINUTE_MS, 3 * DAY_MS + 31 * MINUTE_MS]);
    let after = next(&mut pair, back_ms);
    assert_eq!((after.due_ms, told(&after).missed), (NOON_MS + 3 * DAY_MS + 61 * MINUTE_MS, 71));
    assert_eq!(pair.list(back_ms, true), []);
    // A change takes note of that.
    let text = ChangeScheduledRequest { body: Some("changed".into()), ..ChangeScheduledRequest::default() };
    assert!(matches!(change(&mut pair, back_ms, text), Body::Schedule(_)));
    assert_eq!((told(&next(&mut pair, back_ms)).missed, told(&next(&mut pair, back_ms)).passed), (0, 73));
}

#[test]
fn a_time_that_is_too_late_is_skipped_and_the_series_goes_on() {
    let limits = Limits {
        schedule: ScheduleLimits { late_ms_max: MINUTE_MS, ..ScheduleLimits::default() },
        ..Limits::default()
    };
    let mut pair = Pair::with(limits);
    schedule(&mut pair, NOON_MS, NOON_MS + MINUTE_MS, "FREQ=DAILY;COUNT=3");
    let back_ms = NOON_MS + DAY_MS + 5 * MINUTE_MS;
    pair.server.settle(back_ms);
    let last = next(&mut pair, back_ms);
    assert_eq!((last.due_ms, told(&last).missed, pair.log(back_ms).len()), (NOON_MS + 2 * DAY_MS + MINUTE_MS, 2, 0));
    // Too late for the last one, too: now there is a report.
    let back_ms = NOON_MS + 9 * DAY_MS;
    pair.server.settle(back_ms);
    let failed = pair.list(back_ms, true);
    assert_eq!((failed.len(), told(&failed[0]).missed), (1, 3));
    assert_eq!(failed[0].failure.as_ref().unwrap().code(), ErrorCode::ScheduleMissed);
    assert_eq!((pair.list(back_ms, false), pair.log(back_ms).len()), (Vec::new(), 0));
}

#[test]
fn what_was_sent_just_before_the_process_died_was_not_missed() {
    for steps in 0.. {
        let mut pair = Pair::new();
        schedule(&mut pair, NOON_MS, NOON_MS + MINUTE_MS, "FREQ=HOURLY");
        pair.server.settle(NOON_MS);
        let died = (0..steps).all(|_| pair.server.step(NOON_MS + MINUTE_MS));
        pair.server.restart();
        let back_ms = NOON_MS + 125 * MINUTE_MS;
        pair.server.settle(back_ms);
        pair.come_back(back_ms);
        let (sent, missed) = (pair.log(back_ms).len(), told(&next(&mut pair, back_ms)).missed);
        assert_eq!(sent + missed as usize, 3, "of 1:00, 2:00 and 3:00, the last is made up for: {steps}");
        if !died {
            assert_eq!(sent, 2);
            return;
        }
    }
}

#[test]
fn thousands_of_missed_minutes_are_counted_bit_by_bit() {
    let mut pair = Pair::new();
    schedule(&mut pair, NOON_MS, NOON_MS + MINUTE_MS, "FREQ=MINUTELY");
    let back_ms = NOON_MS + 10 * DAY_MS;
    pair.server.settle(back_ms);
    assert_eq!(sent_after_noon(&mut pair, back_ms), [10 * DAY_MS]);
    assert_eq!(told(&next(&mut pair, back_ms)).missed, 10 * 24 * 60 - 1);
}

#[test]
fn a_series_whose_author_may_not_write_any_more_stops_with_a_report() {
    let mut pair = Pair::new();
    let alice_id = pair.alice_id.as_u64();
    let create = CreateGroupRequest { client_msg_id: id(50), title: "birds".into(), member_ids: vec![alice_id] };
    let Body::CreateGroup(group) = pair.server.ask(NOON_MS, pair.bob, Request::CreateGroup(create)) else { panic!() };
    pair.chat = ConversationId::from_slice(&group.conversation_id).unwrap();
    assert!(matches!(schedule(&mut pair, NOON_MS, NOON_MS + 100, "FREQ=DAILY"), Body::Schedule(_)));
    let remove =
        RemoveMemberRequest { conversation_id: group.conversation_id, client_msg_id: id(51), user_id: alice_id };
    pair.server.ask(NOON_MS, pair.bob, Request::RemoveMember(remove));
    pair.server.settle(NOON_MS + 100);
    let failed = pair.list(NOON_MS + 100, true);
    assert_eq!(failed[0].failure.as_ref().unwrap().code(), ErrorCode::NotAMember);
    assert_eq!((told(&failed[0]).rrule.as_str(), pair.list(NOON_MS + 100, false)), ("FREQ=DAILY", Vec::new()));
}

#[test]
fn one_is_sent_at_once_and_the_series_goes_on_as_before() {
    let mut pair = Pair::new();
    schedule(&mut pair, NOON_MS, NOON_MS + MINUTE_MS, "FREQ=DAILY");
    let before = next(&mut pair, NOON_MS);
    assert!(matches!(send_now(&mut pair, NOON_MS, id(90)), Body::Send(sent) if sent.seq == 1));
    assert!(matches!(send_now(&mut pair, NOON_MS, id(90)), Body::Send(sent) if sent.seq == 1), "the same again");
    assert!(matches!(send_now(&mut pair, NOON_MS, id(91)), Body::Send(sent) if sent.seq == 2), "another one");
    assert_eq!(code(&send_now(&mut pair, NOON_MS, bytes::Bytes::new())), Some(ErrorCode::InvalidArgument));
    assert_eq!(next(&mut pair, NOON_MS), before);
    pair.server.settle(NOON_MS + MINUTE_MS);
    assert_eq!(sent_after_noon(&mut pair, NOON_MS + MINUTE_MS), [0, 0, MINUTE_MS]);
}

#[test]
fn cancelling_ends_the_series() {
    let mut pair = Pair::new();
    schedule(&mut pair, NOON_MS, NOON_MS + MINUTE_MS, "FREQ=DAILY");
    pair.server.settle(NOON_MS + MINUTE_MS);
    let cancel = Request::CancelScheduled(CancelScheduledRequest { schedule_id: id(1) });
    pair.server.ask(NOON_MS + MINUTE_MS, pair.alice, cancel);
    for day in 0..5 {
        pair.server.settle(NOON_MS + day * DAY_MS + MINUTE_MS);
    }
    assert_eq!(pair.log(NOON_MS + 5 * DAY_MS).len(), 1);
}

#[test]
fn a_series_can_be_moved_and_become_one_message_and_the_other_way_round() {
    let mut pair = Pair::new();
    schedule(&mut pair, NOON_MS, NOON_MS + MINUTE_MS, "FREQ=DAILY;COUNT=2");
    pair.server.settle(NOON_MS + MINUTE_MS);
    // Counted anew from there.
    let now_ms = NOON_MS + 2 * MINUTE_MS;
    let later = ChangeScheduledRequest { due_ms: Some(now_ms + DAY_MS), ..ChangeScheduledRequest::default() };
    assert!(matches!(change(&mut pair, now_ms, later), Body::Schedule(_)));
    assert_eq!((told(&next(&mut pair, now_ms)).passed, next(&mut pair, now_ms).due_ms), (0, now_ms + DAY_MS));
    let once = ChangeScheduledRequest { recurrence: Some(Recurrence::default()), ..ChangeScheduledRequest::default() };
    assert!(matches!(change(&mut pair, now_ms, once), Body::Schedule(_)));
    assert_eq!(next(&mut pair, now_ms).recurrence, None);
    let weekly =
        ChangeScheduledRequest { recurrence: every("FREQ=WEEKLY;COUNT=2"), ..ChangeScheduledRequest::default() };
    assert!(matches!(change(&mut pair, now_ms, weekly), Body::Schedule(_)));
    for day in 0..30 {
        pair.server.settle(now_ms + day * DAY_MS);
    }
    let expected = [MINUTE_MS, 2 * MINUTE_MS + DAY_MS, 2 * MINUTE_MS + 8 * DAY_MS];
    assert_eq!(sent_after_noon(&mut pair, now_ms + 30 * DAY_MS), expected);
}

#[test]
fn a_rule_that_cannot_be_used_is_refused_with_what_could() {
    let mut pair = Pair::new();
    for (rrule, expected) in [("FREQ=SECONDLY", "MINUTELY"), ("FREQ=DAILY;BYMONTH=2", "no time at"), ("daily", "FREQ=")]
    {
        let Body::Error(error) = schedule(&mut pair, NOON_MS, NOON_MS + MINUTE_MS, rrule) else { panic!("{rrule}") };
        assert_eq!((error.code(), error.message.contains(expected)), (ErrorCode::InvalidRecurrence, true), "{error:?}");
    }
    schedule(&mut pair, NOON_MS, NOON_MS + MINUTE_MS, "FREQ=WEEKLY;BYDAY=FR");
    let saturday = ChangeScheduledRequest { due_ms: Some(NOON_MS + DAY_MS), ..ChangeScheduledRequest::default() };
    assert_eq!(code(&change(&mut pair, NOON_MS, saturday)), Some(ErrorCode::InvalidRecurrence));
}

#[test]
fn a_clock_that_is_set_back_sends_nothing_early_and_nothing_twice() {
    let mut pair = Pair::new();
    schedule(&mut pair, NOON_MS, NOON_MS + MINUTE_MS, "FREQ=HOURLY");
    pair.server.settle(NOON_MS + MINUTE_MS);
    for minute in 0..=61 {
        pair.server.settle(NOON_MS - 10 * MINUTE_MS + minute * MINUTE_MS);
    }
    assert_eq!(pair.log(NOON_MS).len(), 1);
    for minute in 51..=61 {
        pair.server.settle(NOON_MS + minute * MINUTE_MS);
    }
    assert_eq!(sent_after_noon(&mut pair, NOON_MS + 61 * MINUTE_MS), [MINUTE_MS, 61 * MINUTE_MS]);
    assert_eq!(texts(&pair.log(NOON_MS)), ["scheduled 1", "scheduled 1"]);
}
