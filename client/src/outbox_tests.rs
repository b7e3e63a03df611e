#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use super::*;
use godwit_proto::UserId;
use proptest::prelude::*;
use std::{collections::BTreeMap, time::Duration};

/// Without jitter, so that deadlines are exact.
fn outbox(in_flight_max: usize, per_conversation_max: usize) -> Outbox<u8> {
    Outbox::new(in_flight_max, per_conversation_max, Backoff { base: Duration::ZERO, max: Duration::ZERO })
}

fn conversation(raw: u64) -> ConversationId {
    ConversationId::direct(UserId::new(1).unwrap(), UserId::new(raw).unwrap())
}

fn id(raw: u8) -> ClientMsgId {
    ClientMsgId([raw; 16])
}

fn message(raw: u8) -> Pending<u8> {
    message_in(conversation(2), raw)
}

fn message_in(conversation: ConversationId, raw: u8) -> Pending<u8> {
    Pending {
        conversation,
        client_msg_id: id(raw),
        body: Bytes::new(),
        content_type: String::new(),
        repeated: false,
        expiry: None,
        deliver_by_ms: 0,
        reply: raw,
    }
}

fn refusal(code: ErrorCode, retry_after_ms: u64) -> Refusal {
    let retry_after = (retry_after_ms > 0).then(|| Duration::from_millis(retry_after_ms));
    Refusal { code, message: String::new(), retry_after }
}

/// What leaves now: id, whether it is a first attempt, and the id that it follows.
fn sends(outbox: &mut Outbox<u8>, now: Instant) -> Vec<(u8, bool, Option<u8>)> {
    std::iter::from_fn(|| outbox.next_send(now))
        .map(|send| (send.client_msg_id[0], send.first_attempt, send.after_client_msg_id.first().copied()))
        .collect()
}

#[test]
fn messages_are_pipelined_and_each_names_the_unacknowledged_one_before_it() {
    let (mut outbox, now) = (outbox(9, 9), Instant::now());
    (1..=3).for_each(|raw| outbox.push(message(raw)));
    assert_eq!(sends(&mut outbox, now), [(1, true, None), (2, true, Some(1)), (3, true, Some(2))]);
    (1..=3).for_each(|raw| assert_eq!(outbox.accepted(conversation(2), id(raw)).unwrap().reply, raw));
    outbox.push(message(4));
    assert_eq!(sends(&mut outbox, now), [(4, true, None)]);
}

#[test]
fn a_lost_connection_sends_everything_unacknowledged_again_in_order_and_says_so() {
    let (mut outbox, now) = (outbox(9, 9), Instant::now());
    (1..=3).for_each(|raw| outbox.push(message(raw)));
    sends(&mut outbox, now);
    outbox.accepted(conversation(2), id(1)).unwrap();
    outbox.on_connection_lost();
    outbox.push(message(4));
    assert_eq!(sends(&mut outbox, now), [(2, false, None), (3, false, Some(2)), (4, true, Some(3))]);
}

#[test]
fn a_message_refused_for_now_is_sent_again_after_the_hint_and_before_its_successors() {
    let (mut outbox, now) = (outbox(9, 9), Instant::now());
    (1..=2).for_each(|raw| outbox.push(message(raw)));
    sends(&mut outbox, now);
    assert!(matches!(outbox.refused(conversation(2), id(1), &refusal(ErrorCode::Overloaded, 50), now), Refused::Again));
    assert!(matches!(outbox.refused(conversation(2), id(2), &refusal(ErrorCode::OutOfOrder, 0), now), Refused::Again));
    outbox.push(message(3));
    assert_eq!(sends(&mut outbox, now), []);
    let later = outbox.next_deadline().unwrap();
    assert_eq!(later, now + Duration::from_millis(50));
    assert_eq!(sends(&mut outbox, later), [(1, false, None), (2, false, Some(1)), (3, true, Some(2))]);
}

#[test]
fn a_message_that_overtook_its_refused_predecessor_is_held_until_that_one_was_sent_again() {
    let (mut outbox, now) = (outbox(9, 9), Instant::now());
    (1..=2).for_each(|raw| outbox.push(message(raw)));
    sends(&mut outbox, now);
    outbox.refused(conversation(2), id(2), &refusal(ErrorCode::OutOfOrder, 0), now);
    assert_eq!(sends(&mut outbox, now), [], "the predecessor's own answer is still on its way");
    outbox.refused(conversation(2), id(1), &refusal(ErrorCode::StoreUnavailable, 10), now);
    assert_eq!(sends(&mut outbox, now + Duration::from_millis(10)), [(1, false, None), (2, false, Some(1))]);
}

#[test]
fn a_message_refused_for_good_lets_its_successors_go_on() {
    let (mut outbox, now) = (outbox(9, 9), Instant::now());
    (1..=2).for_each(|raw| outbox.push(message(raw)));
    sends(&mut outbox, now);
    let refused = outbox.refused(conversation(2), id(1), &refusal(ErrorCode::MessageTooLarge, 0), now);
    assert!(matches!(refused, Refused::ForGood(Pending { reply: 1, .. })));
    outbox.refused(conversation(2), id(2), &refusal(ErrorCode::OutOfOrder, 0), now);
    assert_eq!(sends(&mut outbox, now), [(2, false, None)]);
}

#[test]
fn out_of_order_for_a_message_that_follows_nothing_is_for_good() {
    let (mut outbox, now) = (outbox(9, 9), Instant::now());
    outbox.push(message(1));
    sends(&mut outbox, now);
    let refused = outbox.refused(conversation(2), id(1), &refusal(ErrorCode::OutOfOrder, 0), now);
    assert!(matches!(refused, Refused::ForGood(_)));
}

#[test]
fn windows_bound_what_is_under_way_and_conversations_take_turns() {
    let (mut outbox, now) = (outbox(3, 2), Instant::now());
    (1..=3).for_each(|raw| outbox.push(message_in(conversation(2), raw)));
    (4..=6).for_each(|raw| outbox.push(message_in(conversation(3), raw)));
    assert_eq!(sends(&mut outbox, now).iter().map(|send| send.0).collect::<Vec<_>>(), [1, 4, 2]);
    outbox.accepted(conversation(2), id(1)).unwrap();
    assert_eq!(sends(&mut outbox, now).len(), 1);
}

#[test]
fn a_reply_to_nothing_under_way_changes_nothing() {
    let (mut outbox, now) = (outbox(9, 9), Instant::now());
    outbox.push(message(1));
    assert!(outbox.accepted(conversation(2), id(1)).is_none());
    assert!(outbox.accepted(conversation(3), id(9)).is_none());
    assert_eq!(sends(&mut outbox, now), [(1, true, None)]);
}

/// A server that keeps the rules of `after_client_msg_id`: what it accepted, in order.
#[derive(Default)]
struct Server {
    accepted: BTreeMap<ConversationId, Vec<u8>>,
    seen: Vec<u8>,
}

impl Server {
    fn handle(&mut self, send: &SendRequest, busy: bool) -> Result<(), Refusal> {
        let raw = send.client_msg_id[0];
        assert_eq!(send.first_attempt, !self.seen.contains(&raw), "the promise of a first attempt is kept");
        self.seen.push(raw);
        let log = self.accepted.entry(ConversationId::from_slice(&send.conversation_id).unwrap()).or_default();
        if log.contains(&raw) {
            return Ok(());
        }
        if send.after_client_msg_id.first().is_some_and(|after| !log.contains(after)) {
            return Err(refusal(ErrorCode::OutOfOrder, 3));
        }
        if busy {
            return Err(refusal(ErrorCode::Overloaded, 5));
        }
        log.push(raw);
        Ok(())
    }
}

proptest! {
    /// Whatever the server refuses for now, and whenever the connection is lost: all messages arrive, once, in order.
    #[test]
    fn everything_is_accepted_once_and_in_order(
        busy in prop::collection::vec(any::<bool>(), 0..40),
        // Per step: what happens to the oldest request or reply that is on its way.
        steps in prop::collection::vec(0u8..12, 0..150),
        count in 1u8..24,
        window in 1usize..5,
    ) {
        let mut outbox = outbox(window * 2, window);
        for raw in 0..count {
            outbox.push(message_in(conversation(2 + u64::from(raw % 3)), raw));
        }
        let mut server = Server::default();
        let (mut now, mut busy) = (Instant::now(), busy.into_iter());
        let (mut requests, mut replies) = (VecDeque::new(), VecDeque::new());
        for step in steps.into_iter().chain(std::iter::repeat_n([1, 5], 1000).flatten()) {
            requests.extend(std::iter::from_fn(|| outbox.next_send(now)));
            match step {
                0 => {
                    outbox.on_connection_lost();
                    // What was written may have arrived all the same.
                    for send in requests.drain(..) {
                        let _ = server.handle(&send, false);
                    }
                    replies.clear();
                }
                1..=4 => if let Some(send) = requests.pop_front() {
                    let answer = server.handle(&send, busy.next().unwrap_or(false));
                    replies.push_back((send, answer));
                },
                _ => if let Some((send, answer)) = replies.pop_front() {
                    let conversation = ConversationId::from_slice(&send.conversation_id).unwrap();
                    match answer {
                        Ok(()) => prop_assert!(outbox.accepted(conversation, id(send.client_msg_id[0])).is_some()),
                        Err(refusal) => {
                            let refused = outbox.refused(conversation, id(send.client_msg_id[0]), &refusal, now);
                            prop_assert!(matches!(refused, Refused::Again));
                        }
                    }
                },
            }
            now += Duration::from_millis(1);
        }
        prop_assert_eq!(outbox.conversations.len(), 0);
        for (at, log) in [0u8, 1, 2].into_iter().map(|at| (at, &server.accepted)) {
            let expected: Vec<u8> = (0..count).filter(|raw| raw % 3 == at).collect();
            let log = log.get(&conversation(2 + u64::from(at))).cloned().unwrap_or_default();
            prop_assert_eq!(log, expected);
        }
    }
}
