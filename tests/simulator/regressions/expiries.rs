//! Messages that disappear, and deliveries that end. Their timers are durable before they are, on a cluster, and may be although
//! they are not.

use super::case::Case;
use crate::store::Script;
use godwit::router::{Limits, SessionId};
use godwit_proto::{
    ConversationId,
    v1::{self, entry::Content},
};

/// When something that is not in the log is looked for once more.
const MISSING_KEPT_MS: u64 = 60_000;

/// A user's session, and the conversation with oneself.
fn alone(case: &mut Case) -> (SessionId, ConversationId) {
    let (session, alice, _) = case.register(1);
    (session, ConversationId::direct(alice, alice))
}

fn delivered_by(deliver_by_ms: u64) -> v1::SendRequest {
    v1::SendRequest { deliver_by_ms, ..Default::default() }
}

/// Sends a message whose delivery ends in a second, which is not written, though its timer may be, and in the last moment another
/// one, which is on its way.
fn sent_again(case: &mut Case, leaves_timers: bool, deliver_by_ms: u64) -> ConversationId {
    let (session, conversation) = alone(case);
    let end_ms = case.now_ms + 1_000;
    case.send_with(session, conversation, 1, delivered_by(end_ms));
    case.script(Script { fail_change: Some(1), leaves_timers, ..Script::default() });
    case.turn();
    assert_eq!(case.entry(conversation, 1), None);
    case.now_ms = end_ms - 1;
    case.send_with(session, conversation, 2, delivered_by(deliver_by_ms));
    case.script(Script { holds_writes: true, ..Script::default() });
    case.turn();
    case.now_ms = end_ms;
    conversation
}

fn has_ended(case: &Case, conversation: ConversationId, seq: usize) -> bool {
    match case.entry(conversation, seq).and_then(|entry| entry.content) {
        Some(Content::Message(message)) => message.delivery_ended,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_timer_that_is_put_while_its_row_is_looked_for_fires() {
    let mut case = Case::new(Limits::default());
    let end_ms = case.now_ms + 1_000;
    let conversation = sent_again(&mut case, false, end_ms);
    // The row is looked for, and is not there yet; the answer comes when it is.
    case.script(Script { answers: Some(0), looks_at_once: true, holds_writes: true, ..Script::default() });
    case.turn();
    case.script(Script { answers: Some(0), ..Script::default() });
    case.turn();
    assert!(!has_ended(&case, conversation, 1));
    case.script(Script::default());
    case.turn();
    assert!(has_ended(&case, conversation, 1));
}

#[test]
fn a_delivery_whose_end_comes_before_its_message_ends_when_that_is_looked_for_again() {
    let mut case = Case::new(Limits::default());
    let end_ms = case.now_ms + 1_000;
    let conversation = sent_again(&mut case, true, end_ms);
    // The message is looked for, and is not there yet.
    case.turn();
    case.script(Script::default());
    case.turn();
    assert!(!has_ended(&case, conversation, 1));
    case.now_ms += MISSING_KEPT_MS;
    case.turn();
    assert!(has_ended(&case, conversation, 1));
}

#[test]
fn what_is_left_of_a_message_that_was_not_written_does_not_concern_the_next_one() {
    for after_ms in [5_000, 2 * MISSING_KEPT_MS] {
        let mut case = Case::new(Limits::default());
        let end_ms = case.now_ms + after_ms;
        let conversation = sent_again(&mut case, true, end_ms);
        case.turn();
        case.script(Script::default());
        while case.now_ms + 1_000 < end_ms {
            case.now_ms += 1_000;
            case.turn();
            assert!(!has_ended(&case, conversation, 1), "{} ms too early", end_ms - case.now_ms);
        }
        case.now_ms = end_ms;
        case.turn();
        assert!(has_ended(&case, conversation, 1), "it ends in time");
        assert_eq!(case.store.lock().disk.pending(0).len(), usize::from(after_ms < MISSING_KEPT_MS));
    }
}
