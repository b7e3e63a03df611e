//! Messages that disappear, and deliveries that end.

use super::*;
use godwit_proto::v1::{WithdrawnReason, entry::Content};

const HOUR: Expiry = Expiry { after_ms: 3_600_000, from_reading: false };
const HOUR_AFTER_READING: Expiry = Expiry { after_ms: 3_600_000, from_reading: true };
const NEVER: Expiry = Expiry { after_ms: 0, from_reading: false };

fn expiring(id: u128, expiry: Expiry) -> Action {
    Action::Send(NewMessage { expiry: Some(expiry), ..new_message(id, SentBy::Hand) })
}

fn set_expiry(id: u128, expiry: Expiry) -> Action {
    Action::SetExpiry { client_msg_id: msg(id), expiry }
}

fn in_time(id: u128, deliver_by_ms: u64) -> Action {
    Action::Send(NewMessage { deliver_by_ms, ..new_message(id, SentBy::Hand) })
}

impl Talk {
    fn commit_all(&mut self) {
        while !self.commits.is_empty() {
            self.commit();
        }
    }

    fn entry(&self, seq: usize) -> LogEntry {
        self.log[seq - 1].clone()
    }

    fn content(&self, seq: usize) -> Content {
        self.entry(seq).to_proto().content.unwrap()
    }

    fn message(&self, seq: usize) -> v1::Message {
        match self.content(seq) {
            Content::Message(message) => message,
            other => panic!("entry {seq} is {other:?}"),
        }
    }

    /// The server finds that these are due.
    fn expire(&mut self, seqs: &[usize]) -> Ticket {
        let entries: Vec<_> = seqs.iter().map(|seq| self.entry(*seq)).collect();
        let ticket = self.ask(entries[0].sender.as_u64(), Action::Expire(entries));
        self.commit_all();
        ticket
    }

    fn end_delivery(&mut self, seq: usize, missed: &[u64]) -> Ticket {
        let entry = self.entry(seq);
        let missed = missed.iter().copied().map(user).collect();
        let ticket = self.ask(entry.sender.as_u64(), Action::EndDelivery { entry, missed });
        self.commit_all();
        ticket
    }
}

#[test]
fn a_message_expires_as_it_says_or_else_as_the_conversation_does() {
    let mut talk = Talk::direct();
    talk.send(ALICE, 1);
    talk.ask(BOB, set_expiry(2, HOUR));
    talk.send(ALICE, 3);
    talk.ask(ALICE, expiring(4, NEVER));
    talk.ask(ALICE, expiring(5, HOUR_AFTER_READING));
    talk.commit_all();
    let says = |seq| (talk.message(seq).expires_ms, talk.message(seq).expires_after_read_ms);
    assert_eq!([1, 3, 4, 5].map(says), [(0, 0), (NOW_MS + 3_600_000, 0), (0, 0), (0, 3_600_000)]);
    assert_eq!(talk.content(2), Content::ExpiryChanged(v1::ExpiryChanged { expiry: Some(HOUR.to_proto()) }));
    assert_eq!(talk.waits, [Wait { due_ms: NOW_MS + 3_600_000, event: WaitFor::Expiry(Seq(3)) }]);
    assert_eq!(talk.details.expires_from_reading, Seq(5));
}

#[test]
fn what_expired_is_a_marker_in_its_place_and_everybody_is_told() {
    let mut talk = Talk::direct();
    for id in 1..=3 {
        talk.ask(ALICE, expiring(id, HOUR));
    }
    talk.commit_all();
    talk.now_ms += 3_600_000;
    talk.expire(&[1, 3]);
    let marker = Content::Withdrawn(v1::Withdrawn { reason: WithdrawnReason::Expired.into(), scheduled: false });
    assert_eq!((talk.content(1), talk.content(3)), (marker.clone(), marker));
    assert_eq!(talk.message(2).body, "message 2");
    let (was, is) = (talk.entry(2), talk.entry(1));
    assert_eq!((is.ordinal, is.sender, is.client_msg_id, is.sent_ms), (1, was.sender, msg(1), was.sent_ms));
    assert_eq!(talk.content(4), Content::Expired(v1::Expired { seqs: vec![1, 3] }));
    assert_eq!(talk.pushed.last().unwrap(), &(4, vec![ALICE, BOB], None), "no session has it from an answer");
}

#[test]
fn what_expired_is_not_unread_any_more_for_whoever_had_not_read_it() {
    let mut talk = Talk::group(&[BOB, CAROL]);
    for id in 1..=3 {
        talk.ask(ALICE, expiring(id, HOUR));
    }
    talk.commit_all();
    talk.ask(CAROL, Action::MarkRead(Seq(3)));
    talk.commit_all();
    talk.now_ms += 3_600_000;
    talk.expire(&[2, 3]);
    assert_eq!((talk.unread(ALICE), talk.unread(BOB), talk.unread(CAROL)), (0, 1, 1));
    talk.reload();
    assert_eq!((talk.unread(ALICE), talk.unread(BOB), talk.unread(CAROL)), (0, 1, 1));
}

#[test]
fn nothing_expires_early_or_twice() {
    let mut talk = Talk::direct();
    talk.ask(ALICE, expiring(1, HOUR));
    talk.commit_all();
    let stale = talk.entry(1);
    talk.now_ms += 3_599_999;
    let early = talk.expire(&[1]);
    assert_eq!((talk.refusal_of(early), talk.log.len()), (Some(ErrorCode::Overloaded), 1), "it is looked at again");
    talk.now_ms += 1;
    talk.expire(&[1]);
    let twice = talk.ask(ALICE, Action::Expire(vec![stale.clone()]));
    let started = talk.ask(ALICE, Action::StartExpiry { entries: vec![stale], read_ms: talk.now_ms });
    assert_eq!((talk.reply(twice), talk.reply(started)), (Some(&Reply::Unchanged), Some(&Reply::Unchanged)));
    assert_eq!((talk.log.len(), talk.unread(BOB)), (2, 0));
}

#[test]
fn an_own_scheduled_message_that_expires_is_subtracted_once() {
    let mut talk = Talk::direct();
    let scheduled = NewMessage { expiry: Some(HOUR), ..new_message(1, SentBy::Schedule) };
    talk.ask(ALICE, Action::Send(scheduled));
    talk.send(BOB, 2);
    talk.commit_all();
    assert_eq!(talk.unread(ALICE), 1);
    talk.now_ms += 3_600_000;
    talk.expire(&[1]);
    assert_eq!(talk.unread(ALICE), 1);
}

#[test]
fn a_repeated_send_of_what_expired_is_answered_and_stores_nothing() {
    let mut talk = Talk::direct();
    let sent = talk.ask(ALICE, expiring(1, HOUR));
    talk.commit_all();
    talk.now_ms += 3_600_000;
    talk.expire(&[1]);
    talk.reload();
    let again = talk.ask(ALICE, expiring(1, HOUR));
    assert_eq!((talk.reply(again), talk.log.len()), (talk.reply(sent), 2));
}

#[test]
fn what_expires_from_being_read_begins_to_when_somebody_else_reads_it() {
    let mut talk = Talk::group(&[BOB, CAROL]);
    talk.ask(ALICE, expiring(1, HOUR_AFTER_READING));
    talk.ask(ALICE, expiring(2, HOUR_AFTER_READING));
    talk.send(ALICE, 3);
    talk.commit_all();
    assert_eq!(talk.waits, [], "its author has read them, and nobody else");
    talk.now_ms += 5;
    talk.ask(BOB, Action::MarkRead(Seq(2)));
    talk.send(CAROL, 4);
    talk.commit_all();
    let start = |reader, upto| {
        let event = WaitFor::ExpiryStart { reader: user(reader), after: Seq(1), upto: Seq(upto) };
        Wait { due_ms: NOW_MS + 5, event }
    };
    assert_eq!(talk.waits, [start(BOB, 2), start(CAROL, 3)]);
    talk.waits.clear();
    let entries = vec![talk.entry(2)];
    talk.ask(ALICE, Action::StartExpiry { entries, read_ms: NOW_MS + 5 });
    talk.commit_all();
    let due_ms = NOW_MS + 5 + 3_600_000;
    assert_eq!((talk.message(2).expires_ms, talk.message(3).expires_ms), (due_ms, 0));
    assert_eq!(talk.waits, [Wait { due_ms, event: WaitFor::Expiry(Seq(2)) }]);
    let again = talk.ask(ALICE, Action::StartExpiry { entries: vec![talk.entry(2)], read_ms: NOW_MS + 99 });
    assert_eq!((talk.reply(again), talk.log.len()), (Some(&Reply::Unchanged), 5));
}

#[test]
fn a_note_to_oneself_expires_from_being_sent() {
    let mut talk = Talk::with_window(ConversationId::direct(user(ALICE), user(ALICE)), 128);
    talk.ask(ALICE, expiring(1, HOUR_AFTER_READING));
    talk.commit_all();
    assert_eq!(talk.message(1).expires_ms, NOW_MS + 3_600_000);
}

#[test]
fn timers_are_waited_for_even_if_nobody_knows_whether_they_are_there() {
    let mut talk = Talk::direct();
    talk.ask(ALICE, expiring(1, HOUR));
    talk.fail();
    assert_eq!(talk.waits, [Wait { due_ms: NOW_MS + 3_600_000, event: WaitFor::Expiry(Seq(1)) }]);
}

#[test]
fn who_did_not_get_a_message_in_time_does_not_count_it() {
    let mut talk = Talk::group(&[BOB, CAROL]);
    talk.ask(ALICE, in_time(1, NOW_MS + 10));
    talk.send(ALICE, 2);
    talk.commit_all();
    assert_eq!(talk.waits, [Wait { due_ms: NOW_MS + 10, event: WaitFor::DeliveryEnd(Seq(2)) }]);
    talk.now_ms += 10;
    talk.end_delivery(2, &[CAROL]);
    assert_eq!((talk.unread(BOB), talk.unread(CAROL)), (2, 1));
    assert_eq!(talk.content(4), Content::Undelivered(v1::Undelivered { seq: 2, member_ids: vec![CAROL] }));
    assert!(talk.message(2).delivery_ended && talk.rows[&user(CAROL)].missed.contains(1));
    let again = talk.end_delivery(2, &[BOB]);
    assert_eq!((talk.reply(again), talk.unread(BOB)), (Some(&Reply::Unchanged), 2), "it is decided");
}

#[test]
fn a_delivery_that_reached_everybody_ends_without_a_word() {
    let mut talk = Talk::direct();
    talk.ask(ALICE, in_time(1, NOW_MS + 10));
    talk.commit_all();
    talk.end_delivery(1, &[]);
    assert_eq!((talk.log.len(), talk.message(1).delivery_ended, talk.unread(BOB)), (1, true, 1));
}

#[test]
fn a_message_that_was_missed_and_expires_is_subtracted_once() {
    let mut talk = Talk::direct();
    let message = NewMessage { expiry: Some(HOUR), deliver_by_ms: NOW_MS + 10, ..new_message(1, SentBy::Hand) };
    talk.ask(ALICE, Action::Send(message));
    talk.send(ALICE, 2);
    talk.commit_all();
    talk.end_delivery(1, &[BOB]);
    assert_eq!(talk.unread(BOB), 1);
    talk.now_ms += 3_600_000;
    talk.expire(&[1]);
    assert_eq!(talk.unread(BOB), 1);
}

#[test]
fn a_delivery_that_is_over_before_it_begins_is_refused_and_one_that_was_accepted_is_not() {
    let mut talk = Talk::direct();
    let sent = talk.ask(ALICE, in_time(1, NOW_MS + 10));
    talk.commit_all();
    talk.now_ms += 10;
    let late = talk.ask(ALICE, in_time(2, NOW_MS + 10));
    let again = talk.ask(ALICE, in_time(1, NOW_MS + 10));
    assert_eq!(talk.refusal_of(late), Some(ErrorCode::DeadlinePassed));
    assert_eq!(talk.reply(again), talk.reply(sent));
}

#[test]
fn the_owner_says_how_a_groups_messages_expire() {
    let mut talk = Talk::group(&[BOB]);
    let bob = talk.ask(BOB, set_expiry(1, HOUR));
    assert_eq!(talk.refusal_of(bob), Some(ErrorCode::Forbidden));
    let alice = talk.ask(ALICE, set_expiry(2, HOUR));
    talk.commit_all();
    let again = talk.ask(ALICE, set_expiry(3, HOUR));
    assert_eq!((talk.seq_of(alice), talk.reply(again)), (Some(2), Some(&Reply::Unchanged)));
    assert_eq!((talk.unread(BOB), talk.details.expiry), (0, HOUR));
}

#[test]
fn what_a_mark_was_to_start_is_started_by_the_next_one_if_the_first_fails() {
    let mut talk = Talk::direct();
    (1..=2).for_each(|id| {
        talk.ask(ALICE, expiring(id, HOUR_AFTER_READING));
    });
    talk.commit_all();
    talk.ask(BOB, Action::MarkRead(Seq(1)));
    talk.ask(BOB, Action::MarkRead(Seq(2)));
    talk.fail();
    talk.waits.clear();
    talk.commit();
    let event = WaitFor::ExpiryStart { reader: user(BOB), after: Seq::ZERO, upto: Seq(2) };
    assert_eq!(talk.waits, [Wait { due_ms: NOW_MS, event }]);
}
