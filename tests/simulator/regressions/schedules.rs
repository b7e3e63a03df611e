//! Messages that are sent later.

use super::case::Case;
use crate::store::Script;
use godwit::router::{Channel, Limits, SessionId};
use godwit_proto::{
    ClientMsgId, ConversationId,
    v1::{self, ErrorCode, client_frame::Body as Request, server_frame::Body},
};

/// Later than a message may be sent.
const LATE_MS: u64 = 25 * 3_600_000;

/// A scheduled message to oneself, due in a second, and its author's session and conversation.
fn scheduled(case: &mut Case) -> (SessionId, ConversationId) {
    // Simulated time stands still here, so whatever a test makes of the time, the clock may have said it.
    case.store.lock().disk.schedules.clock.set(0, 2 * LATE_MS as i64);
    let (session, alice, _) = case.register(1);
    let conversation = ConversationId::direct(alice, alice);
    let request = v1::ScheduleRequest {
        schedule_id: ClientMsgId([7; 16]).to_bytes(),
        conversation_id: conversation.to_bytes(),
        body: "1 0".into(),
        content_type: String::new(),
        due_ms: case.now_ms + 1_000,
        recurrence: None,
    };
    case.ask(session, Channel::Session, Request::Schedule(request));
    case.turn();
    (session, conversation)
}

/// What could not be sent, of those that the list has.
fn failed(case: &mut Case, session: SessionId) -> Vec<ErrorCode> {
    let list = v1::ListScheduledRequest { failed: true, ..Default::default() };
    let list = case.ask(session, Channel::Bulk(1), Request::ListScheduled(list));
    case.turn();
    let Some(Body::ListScheduled(page)) = case.answer(session, list) else { panic!("no list") };
    page.scheduled.iter().map(|message| message.failure.as_ref().unwrap().code()).collect()
}

#[test]
fn a_message_that_was_sent_in_time_is_not_said_to_have_missed_it() {
    let mut case = Case::new(Limits::default());
    let (session, conversation) = scheduled(&mut case);
    case.now_ms += 1_000;
    // Its entry, and the removal of its timer.
    case.script(Script { fail_change: Some(2), ..Default::default() });
    case.turn();
    assert_eq!((case.pushed(session), case.store.lock().disk.pending(0).len()), (vec![1], 1));
    case.now_ms += LATE_MS;
    case.turn();
    assert_eq!((failed(&mut case, session), case.store.lock().disk.pending(0).len()), (vec![], 0));
    assert_eq!(case.store.lock().disk.conversations[&conversation].log.len(), 1);
}

#[test]
fn a_message_that_is_refused_just_when_the_clock_is_set_forward_is_tried_again() {
    for completions in 0..4 {
        let mut case = Case::new(Limits::default());
        let (session, _) = scheduled(&mut case);
        case.now_ms += 1_000;
        case.script(Script { fail_change: Some(1), ..Default::default() });
        case.forward = Some((completions, 3_600_000));
        case.turn();
        for _ in 0..2 {
            case.now_ms += 1_000;
            case.turn();
        }
        assert_eq!((completions, case.pushed(session)), (completions, vec![1]));
    }
}

#[test]
fn a_message_whose_report_is_not_written_is_not_forgotten() {
    let mut case = Case::new(Limits::default());
    let (session, _) = scheduled(&mut case);
    case.now_ms += LATE_MS;
    case.script(Script { fail_change: Some(1), ..Default::default() });
    case.turn();
    assert_eq!((failed(&mut case, session), case.store.lock().disk.pending(0).len()), (vec![], 1));
    case.now_ms += 1_000;
    case.turn();
    assert_eq!(
        (failed(&mut case, session), case.store.lock().disk.pending(0).len()),
        (vec![ErrorCode::ScheduleMissed], 0)
    );
}

#[test]
fn a_message_that_is_sent_after_all_is_not_said_to_have_failed() {
    let mut case = Case::new(Limits::default());
    let (session, _) = scheduled(&mut case);
    case.now_ms += 1_000 + LATE_MS;
    case.turn();
    assert_eq!(failed(&mut case, session), [ErrorCode::ScheduleMissed]);
    let due_ms = Some(case.now_ms + 1_000);
    let change =
        v1::ChangeScheduledRequest { schedule_id: ClientMsgId([7; 16]).to_bytes(), due_ms, ..Default::default() };
    case.ask(session, Channel::Session, Request::ChangeScheduled(change));
    // The timer, and the removal of the report.
    case.script(Script { fail_change: Some(2), ..Default::default() });
    case.turn();
    case.now_ms += 1_000;
    case.turn();
    assert_eq!((failed(&mut case, session), case.pushed(session)), (vec![], vec![1]));
    case.store.lock().disk.schedules.check_settled();
}

/// What is answered to a change of that message to some time later.
fn put_off(case: &mut Case, session: SessionId) -> Option<ErrorCode> {
    let due_ms = Some(case.now_ms + 60_000);
    let change =
        v1::ChangeScheduledRequest { schedule_id: ClientMsgId([7; 16]).to_bytes(), due_ms, ..Default::default() };
    let change = case.ask(session, Channel::Session, Request::ChangeScheduled(change));
    case.turn();
    match case.answer(session, change) {
        Some(Body::Schedule(_)) => None,
        Some(Body::Error(error)) => Some(error.code()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_that_may_have_been_sent_is_not_put_off_nor_cancelled() {
    let mut case = Case::new(Limits::default());
    let (session, conversation) = scheduled(&mut case);
    case.now_ms += 1_000;
    // Its entry is written, and nobody is told.
    case.script(Script { unknown_changes: 1, ..Default::default() });
    case.turn();
    assert_eq!(case.store.lock().disk.pending(0).len(), 1);
    // The list is read, and the log is not.
    case.script(Script { fail_read: Some(2), ..Default::default() });
    assert_eq!(put_off(&mut case, session), Some(ErrorCode::StoreUnavailable));
    case.script(Script { fail_read: Some(2), ..Default::default() });
    let cancel = v1::CancelScheduledRequest { schedule_id: ClientMsgId([7; 16]).to_bytes() };
    let cancel = case.ask(session, Channel::Session, Request::CancelScheduled(cancel));
    case.turn();
    assert_eq!(case.refusal(session, cancel), Some(ErrorCode::StoreUnavailable));
    assert_eq!(case.store.lock().disk.pending(0).len(), 1);
    case.script(Script::default());
    assert_eq!(put_off(&mut case, session), Some(ErrorCode::ScheduleNotFound));
    let inner = case.store.lock();
    assert_eq!((inner.disk.pending(0).len(), inner.disk.conversations[&conversation].log.len()), (0, 1));
}

#[test]
fn a_message_that_was_not_sent_when_it_was_due_is_put_off() {
    let mut case = Case::new(Limits::default());
    let (session, _) = scheduled(&mut case);
    case.now_ms += 1_000;
    case.script(Script { fail_change: Some(1), ..Default::default() });
    case.turn();
    assert_eq!((case.pushed(session), put_off(&mut case, session)), (vec![], None));
    case.now_ms += 59_000;
    case.turn();
    assert!(case.pushed(session).is_empty());
    case.now_ms += 1_000;
    case.turn();
    assert_eq!(case.pushed(session), [1]);
}
