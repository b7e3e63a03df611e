#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use super::*;
use godwit_proto::v1::{MembersAdded, Message};
use proptest::prelude::*;

const ME: u64 = 7;

fn unread() -> Unread {
    Unread::new(UserId::new(ME).unwrap())
}

fn message(seq: u64, ordinal: u64, sender_id: u64) -> Entry {
    Entry { seq, ordinal, sender_id, content: Some(Content::Message(Message::default())), ..Entry::default() }
}

#[test]
fn messages_of_others_are_unread_until_the_position_passes_them() {
    let mut unread = unread();
    (1..=3).for_each(|seq| unread.on_entry(&message(seq, seq, 9)));
    assert_eq!(unread.count(), 3);
    assert!(unread.on_read(Seq(2), 2));
    assert_eq!(unread.count(), 1);
    assert!(!unread.on_read(Seq(1), 1), "a position never moves back");
    assert_eq!(unread.count(), 1);
}

#[test]
fn an_own_message_reads_what_is_before_it() {
    let mut unread = unread();
    unread.on_entry(&message(1, 1, 9));
    unread.on_entry(&message(2, 2, ME));
    assert_eq!(unread.count(), 0);
    unread.on_entry(&message(1, 1, 9));
    assert_eq!(unread.count(), 0, "an entry that comes again changes nothing");
}

#[test]
fn what_was_said_before_joining_is_not_unread() {
    let mut unread = unread();
    let added = Content::MembersAdded(MembersAdded { member_ids: vec![ME] });
    unread.on_entry(&Entry { seq: 5, ordinal: 4, sender_id: 9, content: Some(added), ..Entry::default() });
    unread.on_entry(&message(6, 5, 9));
    assert_eq!(unread.count(), 1);
}

#[test]
fn adding_a_member_reads_nothing() {
    let mut unread = unread();
    unread.on_entry(&message(1, 1, 9));
    let added = Content::MembersAdded(MembersAdded { member_ids: vec![11] });
    unread.on_entry(&Entry { seq: 2, ordinal: 1, sender_id: ME, content: Some(added), ..Entry::default() });
    assert_eq!(unread.count(), 1);
}

/// What the server would say of a log, whose entries are numbered from 1, to somebody at this position.
fn told(log: &[Entry], position: u64) -> ConversationSummary {
    let last = &log[log.len() - 1];
    let read_ordinal = if position == 0 { 0 } else { log[position as usize - 1].ordinal };
    ConversationSummary {
        last_seq: last.seq,
        last_ordinal: last.ordinal,
        read_seq: position,
        read_ordinal,
        unread: recounted(log, position),
        ..ConversationSummary::default()
    }
}

fn is_own_scheduled(entry: &Entry) -> bool {
    matches!(&entry.content, Some(Content::Message(message)) if message.scheduled) && entry.sender_id == ME
}

/// Messages after the position, less the own scheduled ones.
fn recounted(log: &[Entry], position: u64) -> u64 {
    let counts = |entry: &&Entry| matches!(entry.content, Some(Content::Message(_))) && !is_own_scheduled(entry);
    log.iter().filter(|entry| entry.seq > position).filter(counts).count() as u64
}

fn scheduled(seq: u64, ordinal: u64, sender_id: u64) -> Entry {
    let content = Some(Content::Message(Message { scheduled: true, ..Message::default() }));
    Entry { content, ..message(seq, ordinal, sender_id) }
}

#[test]
fn an_own_scheduled_message_is_not_unread_and_reads_nothing() {
    let mut unread = unread();
    unread.on_entry(&message(1, 1, 9));
    unread.on_entry(&scheduled(2, 2, ME));
    assert_eq!((unread.count(), unread.read_seq()), (1, Seq::ZERO));
    unread.on_entry(&scheduled(2, 2, ME));
    unread.on_entry(&message(3, 3, 9));
    assert_eq!(unread.count(), 2, "an entry that comes again changes nothing");
    unread.on_read(Seq(1), 1);
    assert_eq!(unread.count(), 1);
    unread.on_entry(&message(4, 4, ME));
    assert_eq!(unread.count(), 0);
}

#[test]
fn what_others_scheduled_is_unread() {
    let mut unread = unread();
    unread.on_entry(&scheduled(1, 1, 9));
    assert_eq!(unread.count(), 1);
}

#[test]
fn own_scheduled_messages_that_only_a_summary_knows_are_not_unread() {
    let log = [message(1, 1, 9), scheduled(2, 2, ME), scheduled(3, 3, ME), message(4, 4, 9)];
    let mut unread = unread();
    unread.on_summary(&told(&log, 0));
    assert_eq!(unread.count(), 2);
    unread.on_entry(&log[1]);
    assert_eq!(unread.count(), 2, "it is one of those that the summary counted");
    unread.on_entry(&scheduled(5, 5, ME));
    assert_eq!(unread.count(), 2, "it is another one");
    unread.on_summary(&told(&log[..2], 0));
    assert_eq!(unread.count(), 2, "a summary that was overtaken changes nothing");
    unread.on_read(Seq(4), 4);
    assert_eq!(unread.count(), 0);
}

proptest! {
    /// Whatever of a log comes in whatever order, how often and with which summaries in between: what is unread is what a
    /// recount of the log gives.
    #[test]
    fn unread_is_what_a_recount_of_the_log_gives(
        kinds in prop::collection::vec(0u8..6, 1..30),
        reads in prop::collection::vec(0usize..30, 0..4),
        order in prop::collection::vec((0u8..4, 0usize..30), 0..60),
    ) {
        let (mut log, mut ordinal) = (Vec::new(), 0);
        for (at, kind) in kinds.iter().enumerate() {
            let seq = at as u64 + 1;
            ordinal += u64::from(*kind < 5);
            log.push(match kind {
                0 | 1 => message(seq, ordinal, 9),
                2 => scheduled(seq, ordinal, 9),
                3 => scheduled(seq, ordinal, ME),
                4 => message(seq, ordinal, ME),
                _ => {
                    let added = Content::MembersAdded(MembersAdded { member_ids: vec![11] });
                    Entry { content: Some(added), ..message(seq, ordinal, 9) }
                }
            });
        }
        let reads: Vec<u64> = reads.iter().map(|at| (at % log.len()) as u64 + 1).collect();
        let own = |log: &[Entry]| {
            let by_hand = |entry: &&Entry| {
                entry.sender_id == ME && !is_own_scheduled(entry) && matches!(entry.content, Some(Content::Message(_)))
            };
            log.iter().rfind(by_hand).map_or(0, |entry| entry.seq)
        };
        let mut unread = unread();
        let read = |unread: &mut Unread, seq: u64| {
            unread.on_read(Seq(seq), log[seq as usize - 1].ordinal);
        };
        for (step, at) in order {
            match step {
                0 | 1 => unread.on_entry(&log[at % log.len()]),
                2 => if let Some(&seq) = reads.get(at) {
                    read(&mut unread, seq);
                },
                // The server says how it is, or was: it had no more of the log then, and knew no later reads.
                _ => {
                    let then = &log[..=at % log.len()];
                    let newest = then.len() as u64;
                    let position = reads.iter().copied().filter(|&seq| seq <= newest).max().unwrap_or(0).max(own(then));
                    unread.on_summary(&told(then, position));
                }
            }
        }
        let position = reads.iter().copied().max().unwrap_or(0).max(own(&log));
        // Either the newest summary or every entry of the log has the whole truth.
        let mut by_summary = unread.clone();
        by_summary.on_summary(&told(&log, position));
        reads.iter().for_each(|&seq| read(&mut by_summary, seq));
        prop_assert_eq!(by_summary.count(), recounted(&log, position));
        log.iter().rev().for_each(|entry| unread.on_entry(entry));
        reads.iter().for_each(|&seq| read(&mut unread, seq));
        prop_assert_eq!((unread.count(), unread.read_seq()), (recounted(&log, position), Seq(position)));
    }
}
