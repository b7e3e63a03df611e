#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use super::*;
use crate::terminal::{
    effects::Reply,
    fixture::{ALICE, BOB, Desk, TODAY_MS, direct, message, summary},
    model::Action,
};
use godwit_client::{
    ConnectionState, Event, Refusal, Seq,
    v1::{self, Entry, ErrorCode, entry::Content},
};
use jiff::tz::TimeZone;

const MINUTE_MS: u64 = 60_000;

fn refused(code: ErrorCode) -> RequestError {
    RequestError::Refused(Refusal { code, message: String::new(), retry_after: None })
}

fn scheduled(id: u8, text: &str, due_ms: u64) -> ScheduledMessage {
    ScheduledMessage {
        schedule_id: vec![id; 16].into(),
        conversation_id: direct(BOB).to_bytes(),
        body: text.to_owned().into(),
        due_ms,
        revision: 1,
        ..ScheduledMessage::default()
    }
}

fn failed(id: u8, text: &str, due_ms: u64) -> ScheduledMessage {
    let failure = v1::Error { code: ErrorCode::NotAMember.into(), ..v1::Error::default() };
    ScheduledMessage { failure: Some(failure), ..scheduled(id, text, due_ms) }
}

/// Types a line that schedules something, and takes what is asked for.
fn asked(desk: &mut Desk, line: &str) -> Scheduling {
    desk.enter(line);
    match desk.effects.pop() {
        Some(Effect::Schedule(asked)) => asked,
        other => panic!("{line}: {other:?}"),
    }
}

fn notice(desk: &Desk) -> &str {
    &desk.model.notice.as_ref().expect("nothing was said").text
}

#[test]
fn a_message_for_later_goes_to_the_server_at_once_and_the_answer_names_its_time() {
    let mut desk = Desk::connected();
    let bob = desk.open(BOB, "bob");
    let asked = asked(&mut desk, "/schedule 14:20 tea?");
    assert_eq!((asked.conversation, asked.body.as_str()), (bob, "tea?"));
    assert_eq!(asked.due_ms, TODAY_MS + 20 * MINUTE_MS);
    assert!(desk.model.input.is_empty() && desk.model.selected().unwrap().outgoing.is_empty());
    let result = Ok(scheduled(1, "tea?", asked.due_ms));
    desk.reply(Reply::Scheduled { asked, result });
    assert_eq!(notice(&desk), "to bob, to be sent at 14:20");
    let later = self::asked(&mut desk, "/schedule 13:00 tea?");
    let result = Ok(scheduled(1, "tea?", later.due_ms));
    desk.reply(Reply::Scheduled { asked: later, result });
    assert_eq!(notice(&desk), "to bob, to be sent at 13:00, Sunday, 22 November 2026");
}

#[test]
fn a_time_that_comes_twice_says_which_one_was_taken() {
    let mut desk = Desk::connected();
    desk.model.session.zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
    desk.open(BOB, "bob");
    let asked = asked(&mut desk, "/schedule 2027-10-31 02:30 hi");
    let result = Ok(scheduled(1, "hi", asked.due_ms));
    desk.reply(Reply::Scheduled { asked, result });
    assert!(notice(&desk).contains("02:30 twice then, and the first one was taken, at UTC+02"), "{}", notice(&desk));
}

#[test]
fn a_line_that_cannot_be_scheduled_stays_to_be_corrected() {
    let mut desk = Desk::connected();
    let tried = |desk: &mut Desk, line: &str, why: &str| {
        desk.enter(line);
        assert!(notice(desk).contains(why), "{line}: {}", notice(desk));
        assert_eq!(desk.model.input.take(), line);
    };
    tried(&mut desk, "/schedule 18:30 hi", "choose a conversation");
    desk.open(BOB, "bob");
    tried(&mut desk, "/schedule 25:00 hi", "is no time");
    tried(&mut desk, "/schedule 2026-11-21 13:00 hi", "has passed");
    tried(&mut desk, "/schedule in 5000000d hi", "too far");
    let long = "x".repeat(desk.model.session.message_bytes_max + 1);
    desk.enter(&format!("/schedule 18:30 {long}"));
    assert!(notice(&desk).contains("1001 bytes") && desk.effects.is_empty());
}

#[test]
fn a_line_that_the_server_refused_comes_back_unless_another_is_being_typed() {
    let mut desk = Desk::connected();
    desk.open(BOB, "bob");
    let line = "/schedule in 3000d hi";
    let first = asked(&mut desk, line);
    desk.reply(Reply::Scheduled { asked: first, result: Err(refused(ErrorCode::DueOutOfRange)) });
    assert!(notice(&desk).contains("not scheduled: the server takes no such time"), "{}", notice(&desk));
    assert_eq!(desk.model.input.text(), line);
    desk.model.input.take();
    let second = asked(&mut desk, line);
    desk.act(Action::Insert("oh".into()));
    desk.reply(Reply::Scheduled { asked: second, result: Err(refused(ErrorCode::DueOutOfRange)) });
    assert_eq!(desk.model.input.text(), "oh");
    desk.model.input.take();
    let third = asked(&mut desk, line);
    desk.reply(Reply::Busy(Effect::Schedule(third)));
    assert_eq!(desk.model.input.text(), line);
}

#[test]
fn quitting_before_a_schedule_is_durable_asks_first() {
    let mut desk = Desk::connected();
    desk.open(BOB, "bob");
    let reason = String::new();
    let retry_in = std::time::Duration::from_secs(3);
    desk.event(Event::State(ConnectionState::Reconnecting { attempt: 1, retry_in, reason }));
    let asked = asked(&mut desk, "/schedule 18:30 hi");
    assert_eq!(notice(&desk), "this waits until the server is back");
    desk.act(Action::Quit);
    assert!(!desk.model.is_over && notice(&desk).starts_with("1 of your messages"));
    let result = Ok(scheduled(1, "hi", asked.due_ms));
    desk.reply(Reply::Scheduled { asked, result });
    desk.act(Action::Quit);
    assert!(desk.model.is_over);
}

#[test]
fn the_list_is_numbered_and_stays_while_a_number_is_typed() {
    let mut desk = Desk::connected();
    desk.open(BOB, "bob");
    desk.enter("/scheduled");
    assert_eq!(desk.effects.pop(), Some(Effect::ListScheduled));
    let all = [
        scheduled(0xa1, "tea?\nor coffee", TODAY_MS + 5 * MINUTE_MS),
        scheduled(0xa2, "\u{1b}[2J", TODAY_MS + 33 * 1440 * MINUTE_MS),
        failed(0xa3, "bye", TODAY_MS - 1440 * MINUTE_MS),
    ];
    desk.reply(Reply::Planned(Ok(all.map(|one| Planned::new(one).unwrap()).into())));
    desk.act(Action::Insert("/cancel".into()));
    let rows = desk.screen(80, 12);
    let seen: Vec<&str> = rows.iter().filter_map(|row| row.split_once("│ ")).map(|(_, right)| right).collect();
    let expected = [
        "Scheduled; /cancel, /reschedule or /sendnow NUMBER",
        " 1  14:05  bob: tea? or coffee                a1a1a1a1",
        " 2  24 Dec 14:00  bob: ␛[2J                   a2a2a2a2",
        " 3  20 Nov 14:00  bob: bye                    a3a3a3a3",
        "    not sent: you are not in this conversation",
    ];
    assert_eq!(seen[..5], expected, "\n{}", rows.join("\n"));
    desk.act(Action::Insert(" 3".into()));
    desk.act(Action::Enter);
    assert_eq!(desk.effects.pop(), Some(Effect::CancelScheduled("a3".repeat(16))));
    assert_eq!(desk.model.overlay, None);
    desk.reply(Reply::Cancelled(Ok(ClientMsgId([0xa3; 16]))));
    assert_eq!(notice(&desk), "cancelled, unless it was sent already: bye");
    desk.enter("/cancel 4");
    assert_eq!(notice(&desk), "there is no number 4 in the last list, which has 3");
    desk.enter("/cancel A2a2");
    assert_eq!(desk.effects.pop(), Some(Effect::CancelScheduled("a2a2".into())));
}

#[test]
fn an_empty_list_says_so_and_a_number_without_a_list_says_what_to_do() {
    let mut desk = Desk::connected();
    desk.enter("/cancel 1");
    assert!(notice(&desk).contains("/scheduled"));
    desk.reply(Reply::Planned(Ok(Vec::new())));
    assert!(desk.seen(80, 12).contains("Nothing is scheduled"));
    desk.act(Action::Escape);
    assert_eq!(desk.model.overlay, None);
    desk.reply(Reply::Planned(Err(refused(ErrorCode::UnknownRequest))));
    assert_eq!((desk.model.overlay.as_ref(), notice(&desk)), (None, "UNKNOWN_REQUEST"));
}

#[test]
fn an_own_message_that_a_schedule_sent_is_marked_and_reads_nothing() {
    let mut desk = Desk::connected();
    let bob = desk.open(BOB, "bob");
    desk.says(bob, 1, BOB, "are you there?");
    for (seq, sender) in [(2, ALICE), (3, BOB)] {
        let mut entry = message(seq, sender, "good morning");
        if let Some(Content::Message(message)) = &mut entry.content {
            message.scheduled = true;
        }
        desk.event(Event::Entry { conversation: bob, entry, live: true });
    }
    assert_eq!(desk.model.selected().unwrap().unread_count(), Some(2));
    let rows = desk.screen(80, 12);
    assert!(rows.iter().any(|row| row.ends_with("alice  good morning  (scheduled)")), "{rows:#?}");
    assert_eq!(rows.iter().filter(|row| row.contains("(scheduled)")).count(), 1, "{rows:#?}");
    let narrow = desk.screen(20, 14);
    assert!(narrow.iter().any(|row| row == "(scheduled)"), "{narrow:#?}");
}

#[test]
fn own_scheduled_messages_from_before_are_not_unread_once_their_page_was_fetched() {
    let mut desk = Desk::connected();
    let mut log: Vec<Entry> = (1..=6).map(|seq| message(seq, if seq % 2 == 0 { ALICE } else { BOB }, "x")).collect();
    for entry in &mut log {
        if let Some(Content::Message(message)) = &mut entry.content {
            message.scheduled = entry.sender_id == ALICE;
        }
    }
    let Event::Summary(mut listed) = summary(direct(BOB), "", log[5].clone(), 6) else { unreachable!() };
    listed.unread = 3;
    desk.event(Event::Summary(listed));
    desk.act(Action::Move(1));
    assert_eq!(desk.model.selected().unwrap().unread_count(), Some(3));
    desk.event(Event::Read { conversation: direct(BOB), read_seq: Seq(3), read_ordinal: 3 });
    desk.screen(80, 12);
    desk.serve(&log, 50);
    assert_eq!(desk.model.selected().unwrap().unread_count(), Some(1), "the one after the position that bob wrote");
}

#[test]
fn what_could_not_be_sent_is_told_and_what_another_device_saved_is_not() {
    let mut desk = Desk::connected();
    desk.event(Event::Scheduled(Box::new(scheduled(1, "hi", TODAY_MS))));
    desk.event(Event::ScheduleCancelled { schedule_id: ClientMsgId([1; 16]) });
    assert_eq!(desk.model.notice, None);
    desk.event(Event::Scheduled(Box::new(failed(1, "hi", TODAY_MS))));
    let said = "the scheduled message to bob was not sent: you are not in this conversation; see /scheduled";
    assert_eq!(notice(&desk), said);
}

/// In a time zone that has a name, which a series needs.
fn connected_in_berlin() -> Desk {
    let mut desk = Desk::connected();
    desk.model.session.zone = TimeZone::get("Europe/Berlin").unwrap();
    desk
}

#[test]
fn a_series_says_so_and_is_listed_with_what_was_missed() {
    let mut desk = connected_in_berlin();
    desk.open(BOB, "bob");
    let asked = asked(&mut desk, "/schedule every monday 9:00 stand-up");
    let repeat = asked.repeat.clone().unwrap();
    assert_eq!((repeat.rrule.as_str(), asked.body.as_str()), ("FREQ=WEEKLY", "stand-up"));
    let recurrence =
        v1::Recurrence { rrule: repeat.rrule, time_zone: repeat.time_zone, missed: 3, ..v1::Recurrence::default() };
    let series = ScheduledMessage { recurrence: Some(recurrence), ..scheduled(1, "stand-up", asked.due_ms) };
    desk.reply(Reply::Scheduled { asked, result: Ok(series.clone()) });
    assert_eq!(notice(&desk), "to bob, to be sent at 09:00, Monday, 23 November 2026, and every week");
    desk.reply(Reply::Planned(Ok(vec![Planned::new(series).unwrap()])));
    let seen = desk.seen(100, 12);
    assert!(seen.contains(" 1  23 Nov 09:00  bob: stand-up"), "{seen}");
    assert!(seen.contains("every week; missed 3 times while the server was away"), "{seen}");
}

#[test]
fn one_of_the_list_is_moved_or_sent_now() {
    let mut desk = connected_in_berlin();
    desk.open(BOB, "bob");
    desk.reply(Reply::Planned(Ok(vec![Planned::new(scheduled(0xa1, "tea?", TODAY_MS + MINUTE_MS)).unwrap()])));
    let changed = |desk: &mut Desk, line: &str| {
        desk.enter(line);
        match desk.effects.pop() {
            Some(Effect::Reschedule { hex, change, choice: None }) if hex == "a1".repeat(16) => change,
            other => panic!("{line}: {other:?}"),
        }
    };
    let moved = changed(&mut desk, "/reschedule 1 in 1h");
    assert_eq!((moved.due_ms, moved.body, moved.repeat), (Some(TODAY_MS + 60 * MINUTE_MS), None, None));
    let moved = changed(&mut desk, "/reschedule 1 every day 9:00 coffee?");
    assert_eq!(
        (moved.body.as_deref(), moved.repeat.flatten().unwrap().rrule.as_str()),
        (Some(&b"coffee?"[..]), "FREQ=DAILY")
    );
    desk.reply(Reply::Rescheduled { choice: None, result: Ok(scheduled(0xa1, "tea?", TODAY_MS + 60 * MINUTE_MS)) });
    assert_eq!(notice(&desk), "to bob, to be sent at 16:00");
    desk.enter("/reschedule 2 in 1h");
    assert!(notice(&desk).contains("no number 2") && desk.model.input.take() == "/reschedule 2 in 1h");
    desk.enter("/sendnow 1");
    assert_eq!(desk.effects.pop(), Some(Effect::SendNow("a1".repeat(16))));
}
