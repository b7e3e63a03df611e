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

/// Sends a message whose delivery ends in a second, which is not written, and in the last moment another one, which is. The
/// first one's timer is left when `script` says so.
fn sent_again(case: &mut Case, script: Script, deliver_by_ms: u64) -> ConversationId {
    let (session, conversation) = alone(case);
    let end_ms = case.now_ms + 1_000;
    case.send_with(session, conversation, 1, delivered_by(end_ms));
    case.script(Script { fail_change: Some(1), ..script });
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
    let conversation = sent_again(&mut case, Script::default(), end_ms);
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
    let conversation = sent_again(&mut case, Script { leaves_timers: true, ..Script::default() }, end_ms);
    // The message is looked for, and is not there yet.
    case.turn();
    case.script(Script::default());
    case.turn();
    assert!(!has_ended(&case, conversation, 1));
    case.now_ms += MISSING_KEPT_MS;
    case.turn();
    assert!(has_ended(&case, conversation, 1));
}
