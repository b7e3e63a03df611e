#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use super::*;
use godwit_proto::v1::{Expired, MembersAdded, Message, Undelivered, Withdrawn, WithdrawnReason};
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

/// Messages after the position that are still there, less the own scheduled ones.
fn recounted(log: &[Entry], position: u64) -> u64 {
    let counts = |entry: &&Entry| matches!(entry.content, Some(Content::Message(_))) && !is_own_scheduled(entry);
    log.iter().filter(|entry| entry.seq > position).filter(counts).count() as u64
}

/// A log as this user reads it: with markers in the places of the messages that its notes say are gone.
fn as_read(log: &[Entry]) -> Vec<Entry> {
    let mut read = log.to_vec();
    for note in log {
        let (gone, reason) = match &note.content {
            Some(Content::Expired(expired)) => (expired.seqs.clone(), WithdrawnReason::Expired),
            Some(Content::Undelivered(missed)) if missed.member_ids.contains(&ME) => {
                (vec![missed.seq], WithdrawnReason::Undelivered)
            }
            _ => continue,
        };
        for seq in gone {
            let entry = &mut read[seq as usize - 1];
            if let Some(Content::Message(Message { scheduled, .. })) = entry.content {
                entry.content = Some(Content::Withdrawn(Withdrawn { reason: reason.into(), scheduled }));
            }
        }
    }
    read
}

fn expired(seq: u64, ordinal: u64, seqs: &[u64]) -> Entry {
    Entry { content: Some(Content::Expired(Expired { seqs: seqs.to_vec() })), ..message(seq, ordinal, 9) }
}

fn undelivered(seq: u64, ordinal: u64, missed: u64, member_ids: &[u64]) -> Entry {
    let content = Content::Undelivered(Undelivered { seq: missed, member_ids: member_ids.to_vec() });
    Entry { content: Some(content), ..message(seq, ordinal, 9) }
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

#[test]
fn what_has_disappeared_is_not_unread() {
    let log = [message(1, 1, 9), message(2, 2, 9), expired(3, 2, &[1])];
    let mut unread = unread();
    log.iter().for_each(|entry| unread.on_entry(entry));
    assert_eq!(unread.count(), 1);
    as_read(&log).iter().for_each(|entry| unread.on_entry(entry));
    assert_eq!(unread.count(), 1, "the marker and the note speak of the same message");
    unread.on_read(Seq(1), 1);
    assert_eq!(unread.count(), 1);
}

#[test]
fn what_was_not_delivered_is_read_by_those_who_have_it() {
    let mut unread = unread();
    unread.on_entry(&message(1, 1, 9));
    unread.on_entry(&undelivered(2, 1, 1, &[10, 11]));
    assert_eq!(unread.count(), 1);
    unread.on_entry(&undelivered(3, 1, 1, &[ME]));
    assert_eq!(unread.count(), 0);
}

#[test]
fn an_own_scheduled_message_that_disappears_is_subtracted_once() {
    let mut unread = unread();
    let log = [message(1, 1, 9), scheduled(2, 2, ME), expired(3, 2, &[2])];
    log.iter().for_each(|entry| unread.on_entry(entry));
    assert_eq!(unread.count(), 1);
}

#[test]
fn an_own_message_that_has_disappeared_says_that_what_is_before_it_was_read() {
    let mut unread = unread();
    let log = as_read(&[message(1, 1, 9), message(2, 2, ME), message(3, 3, 9), expired(4, 3, &[2])]);
    log.iter().for_each(|entry| unread.on_entry(entry));
    assert_eq!((unread.count(), unread.read_seq()), (1, Seq(2)));
}

#[test]
fn what_disappears_after_a_summary_is_none_of_those_that_it_told_of() {
    let log = [message(1, 1, 9), message(2, 2, 9), message(3, 3, 9), expired(4, 3, &[1]), expired(5, 3, &[2])];
    let mut unread = unread();
    unread.on_summary(&told(&as_read(&log[..4]), 0));
    assert_eq!(unread.count(), 2);
    unread.on_entry(&log[4]);
    assert_eq!(unread.count(), 1);
    unread.on_entry(&log[3]);
    assert_eq!(unread.count(), 1, "the summary counted that one");
    as_read(&log).iter().for_each(|entry| unread.on_entry(entry));
    assert_eq!(unread.count(), 1);
}

#[test]
fn messages_that_disappear_unread_do_not_fill_the_memory() {
    let mut unread = unread();
    let count = 5 * EXCEPTED_MAX as u64;
    for at in 1..=count {
        unread.on_entry(&message(2 * at - 1, at, 9));
        unread.on_entry(&expired(2 * at, at, &[2 * at - 1]));
        assert!(unread.excepted.len() <= EXCEPTED_MAX);
        assert_eq!(unread.count(), 0);
    }
    unread.on_entry(&expired(2, 1, &[1]));
    assert_eq!(unread.count(), 0, "an entry that comes again changes nothing");
    unread.on_entry(&message(2 * count + 1, count + 1, 9));
    assert_eq!(unread.count(), 1);
}

/// A log out of what a property test draws: what each entry is, and which messages before it a note names.
fn log_of(kinds: &[(u8, usize)]) -> Vec<Entry> {
    let (mut log, mut ordinal) = (Vec::<Entry>::new(), 0);
    for (at, &(kind, which)) in kinds.iter().enumerate() {
        let seq = at as u64 + 1;
        let messages: Vec<&Entry> =
            log.iter().filter(|entry| matches!(entry.content, Some(Content::Message(_)))).collect();
        let named = messages.get(which % messages.len().max(1)).map(|entry| (entry.seq, entry.sender_id));
        let gone = |seq: u64| {
            log.iter().any(|note| matches!(&note.content, Some(Content::Expired(one)) if one.seqs.contains(&seq)))
        };
        ordinal += u64::from(kind < 5);
        let entry = match (kind, named) {
            (0 | 1, _) => message(seq, ordinal, 9),
            (2, _) => scheduled(seq, ordinal, 9),
            (3, _) => scheduled(seq, ordinal, ME),
            (4, _) => message(seq, ordinal, ME),
            (5 | 6, Some((first, _))) if !gone(first) => {
                let next = messages.iter().map(|entry| entry.seq).find(|&seq| seq > first && !gone(seq));
                expired(seq, ordinal, &[Some(first), next].into_iter().flatten().collect::<Vec<_>>())
            }
            (7, Some((missed, sender))) if !gone(missed) => {
                let missing = if sender == ME { vec![11] } else { vec![ME, 11] };
                undelivered(seq, ordinal, missed, &missing)
            }
            _ => {
                let added = Content::MembersAdded(MembersAdded { member_ids: vec![11] });
                Entry { content: Some(added), ..message(seq, ordinal, 9) }
            }
        };
        log.push(entry);
    }
    log
}

/// The last entry that shows its author at the keyboard.
fn own(log: &[Entry]) -> u64 {
    let by_hand = |entry: &&Entry| match &entry.content {
        Some(Content::Message(message)) => entry.sender_id == ME && !message.scheduled,
        Some(Content::Withdrawn(withdrawn)) => entry.sender_id == ME && !withdrawn.scheduled,
        _ => false,
    };
    log.iter().rfind(by_hand).map_or(0, |entry| entry.seq)
}

proptest! {
    /// Whatever of a log comes in whatever order, how often, before or after it was withdrawn, and with which summaries in
    /// between: what is unread is what a recount of the log gives.
    #[test]
    fn unread_is_what_a_recount_of_the_log_gives(
        kinds in prop::collection::vec((0u8..9, 0usize..30), 1..30),
        reads in prop::collection::vec(0usize..30, 0..4),
        order in prop::collection::vec((0u8..5, 0usize..30), 0..60),
    ) {
        let log = log_of(&kinds);
        let newest = as_read(&log);
        let reads: Vec<u64> = reads.iter().map(|at| (at % log.len()) as u64 + 1).collect();
        let mut unread = unread();
        let read = |unread: &mut Unread, seq: u64| {
            unread.on_read(Seq(seq), log[seq as usize - 1].ordinal);
        };
        for (step, at) in order {
            match step {
                0 | 1 => unread.on_entry(&log[at % log.len()]),
                2 => unread.on_entry(&newest[at % log.len()]),
                3 => if let Some(&seq) = reads.get(at) {
                    read(&mut unread, seq);
                },
                // The server says how it is, or was: it had no more of the log then, and knew no later reads.
                _ => {
                    let then = as_read(&log[..=at % log.len()]);
                    let last = then.len() as u64;
                    let position = reads.iter().copied().filter(|&seq| seq <= last).max().unwrap_or(0).max(own(&then));
                    unread.on_summary(&told(&then, position));
                }
            }
        }
        let position = reads.iter().copied().max().unwrap_or(0).max(own(&log));
        // Either the newest summary or every entry of the log has the whole truth.
        let mut by_summary = unread.clone();
        by_summary.on_summary(&told(&newest, position));
        reads.iter().for_each(|&seq| read(&mut by_summary, seq));
        prop_assert_eq!(by_summary.count(), recounted(&newest, position));
        newest.iter().rev().for_each(|entry| unread.on_entry(entry));
        reads.iter().for_each(|&seq| read(&mut unread, seq));
        prop_assert_eq!((unread.count(), unread.read_seq()), (recounted(&newest, position), Seq(position)));
    }

    /// A client that begins with a summary and hears everything from there on, in order, is right all the time, whatever it
    /// looks up of what was before. (It cannot know of a message that was excepted before and disappears later.)
    #[test]
    fn unread_stays_right_from_a_summary_on(
        kinds in prop::collection::vec((0u8..9, 0usize..30), 1..30),
        start in 0usize..30,
        looked_up in prop::collection::vec(0usize..30, 0..10),
        fold_at in prop::option::of(1usize..4),
    ) {
        let log = log_of(&kinds);
        let start = start % log.len();
        let first = as_read(&log[..=start]);
        let excepted = |seq: u64| {
            first.get(seq as usize - 1).is_some_and(|entry| {
                is_own_scheduled(entry) || matches!(entry.content, Some(Content::Withdrawn(_)))
            })
        };
        let is_unknowable = |note: &Entry| match &note.content {
            Some(Content::Expired(expired)) => expired.seqs.iter().any(|&seq| excepted(seq)),
            Some(Content::Undelivered(missed)) => excepted(missed.seq),
            _ => false,
        };
        let mut unread = Unread { fold_at: fold_at.unwrap_or(EXCEPTED_MAX), ..unread() };
        unread.on_summary(&told(&first, own(&first)));
        let mut looked_up = looked_up.into_iter();
        for upto in start..log.len() {
            if upto > start && is_unknowable(&log[upto]) {
                break;
            }
            unread.on_entry(&log[upto]);
            unread.fold_at = fold_at.unwrap_or(EXCEPTED_MAX);
            let now = as_read(&log[..=upto]);
            if let Some(at) = looked_up.next() {
                unread.on_entry(&now[at % now.len()]);
            }
            // Reading moves on from where the summary counted, and what it told of there cannot be told apart any more.
            if own(&now) > own(&first) {
                break;
            }
            prop_assert_eq!(unread.count(), recounted(&now, own(&now)));
        }
    }
}
