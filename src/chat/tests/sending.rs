use super::*;

#[test]
fn seqs_and_ordinals_count_up_and_the_clock_may_be_set_back() {
    let mut talk = Talk::direct();
    talk.send(ALICE, 1);
    talk.now_ms -= 60_000;
    talk.send(BOB, 2);
    talk.commit();
    talk.commit();
    let entries: Vec<_> = talk.log.iter().map(|entry| (entry.seq.as_u64(), entry.ordinal, entry.sent_ms)).collect();
    assert_eq!(entries, [(1, 1, NOW_MS), (2, 2, NOW_MS)]);
}

#[test]
fn nothing_is_answered_or_pushed_before_it_is_durable() {
    let mut talk = Talk::direct();
    let ticket = talk.send(ALICE, 1);
    assert_eq!((talk.reply(ticket), talk.pushed.len()), (None, 0));
    talk.commit();
    assert_eq!(talk.seq_of(ticket), Some(1));
    assert_eq!(talk.pushed, [(1, vec![ALICE, BOB], Some(ticket))]);
}

#[test]
fn a_retried_send_keeps_its_seq() {
    let mut talk = Talk::direct();
    let first = talk.send(ALICE, 1);
    talk.commit();
    talk.send(BOB, 2);
    talk.commit();
    let again = talk.ask(ALICE, message(1, false, None));
    assert_eq!((talk.seq_of(first), talk.seq_of(again)), (Some(1), Some(1)));
    assert!(talk.commits.is_empty() && talk.pushed.len() == 2);
}

#[test]
fn a_retry_of_a_pending_send_waits_until_it_is_durable() {
    let mut talk = Talk::direct();
    let first = talk.send(ALICE, 1);
    let again = talk.ask(ALICE, message(1, false, None));
    assert_eq!((talk.commits.len(), talk.reply(again)), (1, None));
    talk.commit();
    assert_eq!((talk.seq_of(first), talk.seq_of(again)), (Some(1), Some(1)));
    assert_eq!(talk.pushed.len(), 1);
}

#[test]
fn the_same_id_from_another_sender_is_another_message() {
    let mut talk = Talk::direct();
    talk.send(ALICE, 1);
    let other = talk.send(BOB, 1);
    talk.commit();
    talk.commit();
    assert_eq!(talk.seq_of(other), Some(2));
}

#[test]
fn a_message_that_would_overtake_a_refused_one_is_refused() {
    let mut talk = Talk::direct();
    let second = talk.ask(ALICE, message(2, true, Some(1)));
    assert_eq!(talk.refusal_of(second), Some(ErrorCode::OutOfOrder));
    talk.send(ALICE, 1);
    talk.ask(ALICE, message(2, false, Some(1)));
    assert_eq!(talk.commits.len(), 2);
}

#[test]
fn a_message_after_one_that_is_pending_is_taken_and_fails_with_it() {
    let mut talk = Talk::direct();
    let first = talk.send(ALICE, 1);
    let second = talk.ask(ALICE, message(2, true, Some(1)));
    assert_eq!(talk.commits[1].after, Seq(1));
    talk.fail();
    talk.fail();
    let unavailable = Some(ErrorCode::StoreUnavailable);
    assert_eq!((talk.refusal_of(first), talk.refusal_of(second)), (unavailable, unavailable));
}

#[test]
fn a_stranger_is_refused() {
    let mut talk = Talk::direct();
    let ticket = talk.send(CAROL, 1);
    assert_eq!(talk.refusal_of(ticket), Some(ErrorCode::NotAMember));
    assert!(talk.commits.is_empty());
}

#[test]
fn a_refusal_that_rests_on_a_pending_change_waits_for_it() {
    let mut talk = Talk::group(&[BOB]);
    talk.ask(ALICE, Action::RemoveMember { client_msg_id: msg(7), member: user(BOB) });
    let ticket = talk.send(BOB, 1);
    assert_eq!(talk.reply(ticket), None);
    talk.fail();
    // The removal failed, so Bob is told to try again and not that he is out.
    assert_eq!(talk.refusal_of(ticket), Some(ErrorCode::StoreUnavailable));
}

#[test]
fn the_windows_edge_asks_the_store() {
    let mut talk = Talk::with_window(ConversationId::direct(user(ALICE), user(BOB)), 2);
    for id in 1..=3 {
        talk.send(ALICE, id);
        talk.commit();
    }
    let question = Question::FindSend(user(ALICE), msg(1));
    assert_eq!(talk.try_ask(ALICE, message(1, false, None)), Err(question));
    talk.conversation.on_found(user(ALICE), msg(1), Some(&talk.log[0]));
    let again = talk.ask(ALICE, message(1, false, None));
    assert_eq!(talk.seq_of(again), Some(1));
    // What is promised to be new is not looked for, and what is in the window is found in it.
    assert!(talk.try_ask(ALICE, message(4, true, None)).is_ok());
    assert!(talk.try_ask(ALICE, message(3, false, None)).is_ok());
}

#[test]
fn what_the_store_does_not_find_is_new() {
    let mut talk = Talk::with_window(ConversationId::direct(user(ALICE), user(BOB)), 1);
    for id in 1..=2 {
        talk.send(ALICE, id);
        talk.commit();
    }
    assert!(talk.try_ask(ALICE, message(3, false, None)).is_err());
    talk.conversation.on_found(user(ALICE), msg(3), None);
    talk.ask(ALICE, message(3, false, None));
    talk.commit();
    // The answer was for that one input: the next one asks again.
    assert!(talk.try_ask(ALICE, message(4, false, None)).is_err());
}

#[test]
fn an_entry_that_is_not_durable_stays_in_the_window_however_small_it_is() {
    let mut talk = Talk::with_window(ConversationId::direct(user(ALICE), user(BOB)), 1);
    let first = talk.send(ALICE, 1);
    for id in 2..=5 {
        talk.send(ALICE, id);
    }
    // The store cannot have it yet, so asking the store would send it twice.
    let again = talk.ask(ALICE, message(1, false, None));
    assert_eq!(talk.commits.len(), 5);
    talk.commit();
    assert_eq!((talk.seq_of(first), talk.seq_of(again)), (Some(1), Some(1)));
    assert!(talk.try_ask(ALICE, message(1, false, None)).is_err());
}

#[test]
fn those_who_wait_for_one_change_are_bounded() {
    let mut talk = Talk::direct();
    talk.send(ALICE, 1);
    let tickets: Vec<Ticket> = (0..10_000).map(|_| talk.ask(ALICE, message(1, false, None))).collect();
    let waiting = tickets.iter().filter(|ticket| talk.reply(**ticket).is_none()).count();
    assert!(waiting < 1_000, "{waiting} answers wait");
    assert_eq!(talk.refusal_of(tickets[9_999]), Some(ErrorCode::Overloaded));
}
