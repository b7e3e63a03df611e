#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
use super::*;
use crate::replay::{corpus::Message, faults::FaultCounts};
use godwit_client::v1;

/// A pair that says five things, and a group of three people that does.
fn expected() -> Expected {
    let message = |from, to, text: &'static str| Message { from, to, text: text.into() };
    let messages = vec![
        message(1, Some(2), "same"),
        message(2, Some(1), "same"),
        message(1, Some(2), "same"),
        message(2, Some(1), "你好"),
        message(1, Some(2), ""),
        message(3, None, "a"),
        message(1, None, "b"),
    ];
    let corpus = Corpus { name: "test".into(), messages };
    let plan = Plan::new(&corpus, 0, 1);
    let users = (0..3).map(user).collect();
    Expected { corpus, plan, ids: MessageIds::new(1), users }
}

const PAIR: usize = 0;
const GROUP: usize = 1;

fn user(account: u64) -> UserId {
    UserId::new(100 + account).unwrap()
}

/// The entry of a message, as a server without faults would number it.
fn entry(expected: &Expected, message: usize, seq: u64, ordinal: u64) -> Entry {
    let body = expected.corpus.messages[message].text.clone();
    Entry {
        seq,
        ordinal,
        sender_id: expected.users[expected.plan.places[message].sender].as_u64(),
        sent_ms: 1000 + seq,
        client_msg_id: expected.ids.id(message).to_bytes(),
        content: Some(Content::Message(v1::Message { body, ..v1::Message::default() })),
    }
}

fn pair_log(expected: &Expected) -> Vec<Entry> {
    (0..5).map(|message| entry(expected, message, message as u64 + 1, message as u64 + 1)).collect()
}

fn group_log(expected: &Expected) -> Vec<Entry> {
    let created = Content::GroupCreated(v1::GroupCreated { title: "all".into(), member_ids: vec![] });
    let added = Content::MembersAdded(v1::MembersAdded { member_ids: vec![102] });
    let membership = |seq, content| Entry { seq, sender_id: 100, content: Some(content), ..Entry::default() };
    vec![membership(1, created), membership(2, added), entry(expected, 5, 3, 1), entry(expected, 6, 4, 2)]
}

fn check(expected: &Expected, conversation: usize, reader: usize, log: &[Entry]) -> FaultCounts {
    let mut faults = Faults::default();
    let mut check = LogCheck::new(expected, conversation, reader, "live");
    for entry in log {
        check.on_entry(expected, entry, &mut faults);
    }
    check.finish(expected, &mut faults);
    assert_eq!(faults.counts == FaultCounts::default(), faults.described.is_empty());
    faults.counts
}

/// What breaking the pair's log gives.
fn broken(break_it: impl FnOnce(&mut Vec<Entry>)) -> FaultCounts {
    let expected = expected();
    let mut log = pair_log(&expected);
    break_it(&mut log);
    check(&expected, PAIR, 0, &log)
}

fn body_of(entry: &mut Entry) -> &mut v1::Message {
    match &mut entry.content {
        Some(Content::Message(message)) => message,
        _ => panic!("no message"),
    }
}

#[test]
fn a_faithful_log_has_no_fault_although_texts_repeat() {
    assert_eq!(broken(|_| {}), FaultCounts::default());
}

#[test]
fn members_of_a_group_begin_where_they_joined() {
    let expected = expected();
    let log = group_log(&expected);
    assert_eq!(check(&expected, GROUP, 0, &log), FaultCounts::default());
    assert_eq!(check(&expected, GROUP, 2, &log[1..]), FaultCounts::default());
    assert_eq!(check(&expected, GROUP, 2, &log).seq_gaps, 1, "an entry from before they joined");
    assert_eq!(check(&expected, GROUP, 2, &log[2..]).seq_gaps, 1, "their own joining is missing");
}

#[test]
fn a_lost_message_is_lost_even_if_the_seqs_close_up() {
    let counts = broken(|log| {
        log.remove(2);
        (log[2].seq, log[2].ordinal) = (3, 3);
        (log[3].seq, log[3].ordinal) = (4, 4);
    });
    assert_eq!(counts, FaultCounts { lost: 1, ..FaultCounts::default() });
}

#[test]
fn a_lost_last_message_is_lost() {
    assert_eq!(broken(|log| drop(log.pop())).lost, 1);
    assert_eq!(broken(Vec::clear).lost, 5);
}

#[test]
fn a_hole_in_the_seqs_is_a_gap_and_a_loss() {
    let counts = broken(|log| drop(log.remove(2)));
    assert_eq!((counts.lost, counts.seq_gaps), (1, 1));
}

#[test]
fn a_message_that_is_there_twice_is_duplicated() {
    let handed_over_again = broken(|log| log.insert(3, log[2].clone()));
    assert_eq!(handed_over_again, FaultCounts { duplicated: 1, ..FaultCounts::default() });
    let appended_again = broken(|log| log.push(Entry { seq: 6, ordinal: 6, sent_ms: 2000, ..log[0].clone() }));
    assert_eq!(appended_again, FaultCounts { duplicated: 1, ..FaultCounts::default() });
}

#[test]
fn a_seq_that_two_messages_have_is_duplicated() {
    let counts = broken(|log| log.iter_mut().skip(3).for_each(|entry| entry.seq -= 1));
    assert_eq!(counts.duplicated, 1);
}

#[test]
fn a_membership_entry_that_is_there_twice_is_duplicated() {
    let expected = expected();
    let mut log = group_log(&expected);
    log.insert(2, log[1].clone());
    assert_eq!(check(&expected, GROUP, 0, &log), FaultCounts { duplicated: 1, ..FaultCounts::default() });
}

#[test]
fn messages_in_another_order_are_reordered() {
    let in_the_log = broken(|log| {
        log.swap(1, 2);
        (log[1].seq, log[1].ordinal, log[1].sent_ms) = (2, 2, 1002);
        (log[2].seq, log[2].ordinal, log[2].sent_ms) = (3, 3, 1003);
    });
    assert_eq!(in_the_log, FaultCounts { reordered: 1, ..FaultCounts::default() });
    let on_the_way = broken(|log| log.swap(1, 2));
    assert_eq!((on_the_way.reordered, on_the_way.lost), (1, 0));
    assert!(on_the_way.seq_gaps > 0);
}

#[test]
fn a_log_that_does_not_begin_at_1_has_a_gap() {
    let counts = broken(|log| log.iter_mut().for_each(|entry| entry.seq += 1));
    assert_eq!(counts, FaultCounts { seq_gaps: 1, ..FaultCounts::default() });
}

#[test]
fn another_text_sender_ordinal_or_time_is_an_altered_message() {
    assert_eq!(broken(|log| body_of(&mut log[3]).body = "你坏".into()).altered, 1);
    assert_eq!(broken(|log| body_of(&mut log[4]).body = "x".into()).altered, 1);
    assert_eq!(broken(|log| log[1].sender_id = 100).altered, 1);
    assert_eq!(broken(|log| log[4].ordinal = 4).altered, 1);
    assert_eq!(broken(|log| log[4].sent_ms = 1).altered, 1);
}

#[test]
fn an_entry_that_nobody_sent_is_unexpected() {
    let foreign = broken(|log| {
        let client_msg_id = MessageIds::new(99).id(0).to_bytes();
        log.push(Entry { seq: 6, ordinal: 6, sent_ms: 2000, client_msg_id, ..log[0].clone() });
    });
    assert_eq!(foreign, FaultCounts { unexpected: 1, ..FaultCounts::default() });
    let expected = expected();
    let mut log = pair_log(&expected);
    log.push(Entry { sent_ms: 2000, ..entry(&expected, 5, 6, 6) });
    assert_eq!(check(&expected, PAIR, 0, &log).unexpected, 1, "a message of another conversation");
    log[5] = Entry { seq: 6, ordinal: 5, sent_ms: 2000, ..Entry::default() };
    assert_eq!(check(&expected, PAIR, 0, &log).unexpected, 1, "an entry without content");
}
