#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use super::*;
use godwit_proto::v1::{HistoryResponse, MemberBanned, MemberRemoved, MembersAdded, Message};
use proptest::prelude::*;

const ME: u64 = 1;

fn conversation(raw: u64) -> ConversationId {
    ConversationId::direct(UserId::new(ME).unwrap(), UserId::new(raw).unwrap())
}

fn entry(seq: u64) -> Entry {
    Entry { seq, ordinal: seq, sender_id: 9, content: Some(Content::Message(Message::default())), ..Entry::default() }
}

fn entries(seqs: std::ops::RangeInclusive<u64>) -> Vec<Entry> {
    seqs.map(entry).collect()
}

fn conversations(catch_up: CatchUp) -> Conversations {
    Conversations::new(UserId::new(ME).unwrap(), catch_up, ClientLimits::default(), &[])
}

/// One that is past its first sync.
fn synced() -> (Conversations, Instant) {
    let (mut conversations, now) = (conversations(CatchUp::FromNewest), Instant::now());
    conversations.on_sync_walked(now);
    (conversations, now)
}

fn summary(id: ConversationId, last_seq: u64) -> ConversationSummary {
    let conversation_id = id.to_bytes();
    ConversationSummary { conversation_id, last_seq, first_seq: 1, ..ConversationSummary::default() }
}

fn page(log: &[Entry], fetch: Fetch) -> HistoryResponse {
    let entries: Vec<_> =
        log.iter().filter(|entry| entry.seq >= fetch.from.0).take(fetch.limit as usize).cloned().collect();
    HistoryResponse { entries, first_seq: 1, last_seq: log.len() as u64, ..HistoryResponse::default() }
}

/// The seqs of the entries that were handed over since the last call.
fn handed_over(conversations: &mut Conversations) -> Vec<u64> {
    std::iter::from_fn(|| conversations.backlog.pop())
        .filter_map(|event| match event {
            Event::Entry { entry, .. } => Some(entry.seq),
            _ => None,
        })
        .collect()
}

#[test]
fn a_gap_is_fetched_only_if_it_lasts() {
    let (mut conversations, now) = synced();
    let id = conversation(2);
    conversations.on_push(id, entries(1..=1), now);
    conversations.on_push(id, entries(3..=3), now);
    assert_eq!(conversations.next_fetch(now, 200), None);
    let later = conversations.fetch_due().unwrap();
    assert_eq!(conversations.next_fetch(later, 200), Some(Fetch { conversation: id, from: Seq(2), limit: 1 }));
    conversations.on_page(id, page(&entries(1..=3), Fetch { conversation: id, from: Seq(2), limit: 1 }), later);
    assert_eq!(handed_over(&mut conversations), [1, 2, 3]);
    assert_eq!(conversations.next_fetch(later + FETCH_RETRY, 200), None);
}

#[test]
fn a_gap_that_closes_by_itself_is_not_fetched() {
    let (mut conversations, now) = synced();
    conversations.on_push(conversation(2), entries(2..=2), now);
    conversations.on_push(conversation(2), entries(1..=1), now);
    assert_eq!(conversations.next_fetch(now + FETCH_RETRY, 200), None);
    assert_eq!(handed_over(&mut conversations), [1, 2]);
}

#[test]
fn a_sync_from_the_newest_hands_over_only_what_happens_afterwards() {
    let (mut conversations, now) = (conversations(CatchUp::FromNewest), Instant::now());
    conversations.on_summary(conversation(2), summary(conversation(2), 40), now);
    conversations.on_sync_walked(now);
    assert!(conversations.caught_up());
    conversations.on_push(conversation(2), entries(41..=41), now);
    assert_eq!(handed_over(&mut conversations), [41]);
}

#[test]
fn a_push_that_overtook_the_first_sync_is_handed_over() {
    let (mut conversations, now) = (conversations(CatchUp::FromNewest), Instant::now());
    conversations.on_push(conversation(2), entries(40..=40), now);
    assert_eq!(conversations.next_fetch(now + FETCH_RETRY, 200), None, "the sync will say where it begins");
    conversations.on_summary(conversation(2), summary(conversation(2), 40), now);
    assert_eq!(handed_over(&mut conversations), [40]);
}

#[test]
fn a_sync_from_the_start_fetches_everything_and_says_when_it_is_done() {
    let (mut conversations, now) = (conversations(CatchUp::FromStart), Instant::now());
    let (id, log) = (conversation(2), entries(1..=5));
    conversations.on_summary(id, summary(id, 5), now);
    conversations.on_sync_walked(now);
    while let Some(fetch) = conversations.next_fetch(now, 2) {
        assert!(!conversations.caught_up());
        conversations.on_page(id, page(&log, fetch), now);
    }
    assert!(conversations.caught_up());
    assert_eq!(handed_over(&mut conversations), [1, 2, 3, 4, 5]);
    assert_eq!(conversations.take_acks(Instant::now())[0].seq, 5);
}

#[test]
fn a_new_group_begins_where_the_server_says_and_not_at_the_first_push() {
    let (mut conversations, now) = synced();
    let id = ConversationId::group([3; 16]);
    conversations.on_push(id, entries(7..=7), now);
    assert_eq!(handed_over(&mut conversations), []);
    let fetch = conversations.next_fetch(now, 200).unwrap();
    assert_eq!(fetch, Fetch { conversation: id, from: Seq(7), limit: 1 });
    let answer = HistoryResponse { entries: entries(7..=7), first_seq: 6, last_seq: 7, ..HistoryResponse::default() };
    conversations.on_page(id, answer, now);
    let fetch = conversations.next_fetch(now, 200).unwrap();
    assert_eq!((fetch.from, fetch.limit), (Seq(6), 1));
    let answer = HistoryResponse { entries: entries(6..=6), first_seq: 6, last_seq: 7, ..HistoryResponse::default() };
    conversations.on_page(id, answer, now);
    assert_eq!(handed_over(&mut conversations), [6, 7]);
}

#[test]
fn a_group_that_one_is_added_to_begins_at_that_entry() {
    let (mut conversations, now) = synced();
    let id = ConversationId::group([3; 16]);
    let added = Content::MembersAdded(MembersAdded { member_ids: vec![ME] });
    conversations.on_push(id, vec![Entry { content: Some(added), ..entry(7) }], now);
    assert_eq!(handed_over(&mut conversations), [7]);
    assert_eq!(conversations.next_fetch(now + FETCH_RETRY, 200), None);
}

#[test]
fn being_taken_in_again_during_a_sync_is_not_undone_by_its_answer() {
    let (mut conversations, now) = synced();
    let id = ConversationId::group([3; 16]);
    conversations.on_push(id, entries(1..=1), now);
    conversations.sync_request(None, 10);
    let added = Content::MembersAdded(MembersAdded { member_ids: vec![ME] });
    conversations.on_push(id, vec![Entry { content: Some(added), ..entry(9) }], now);
    assert!(!conversations.on_sync_removed(id), "another sync is due");
    assert_eq!(handed_over(&mut conversations), [1, 9]);
    conversations.sync_request(None, 10);
    assert!(conversations.on_sync_removed(id));
    assert_eq!(conversations.backlog.pop(), Some(Event::Removed { conversation: id }));
}

#[test]
fn the_walk_lists_what_is_held_in_pages_ascending_by_id() {
    let known: Vec<_> = (2..=6).rev().map(|raw| (conversation(raw), Seq(raw))).collect();
    let me = UserId::new(ME).unwrap();
    let mut conversations = Conversations::new(me, CatchUp::FromNewest, ClientLimits::default(), &known);
    let request = conversations.sync_request(None, 3);
    let listed: Vec<_> = request.known.iter().map(|known| known.seq).collect();
    assert_eq!((listed, request.known_continues), (vec![2, 3, 4], true));
    let request = conversations.sync_request(Some(conversation(4)), 3);
    let listed: Vec<_> = request.known.iter().map(|known| known.seq).collect();
    assert_eq!((listed, request.known_continues), (vec![5, 6], false));
}

#[test]
fn being_removed_ends_the_conversation_and_coming_back_begins_a_new_one() {
    let (mut conversations, now) = synced();
    let id = ConversationId::group([3; 16]);
    conversations.on_push(id, entries(1..=1), now);
    let removed = Content::MemberRemoved(MemberRemoved { member_id: ME, new_owner_id: 0 });
    conversations.on_push(id, vec![Entry { content: Some(removed), ..entry(2) }], now);
    let events: Vec<_> = std::iter::from_fn(|| conversations.backlog.pop()).collect();
    assert_eq!(events.len(), 3);
    assert_eq!(events[2], Event::Removed { conversation: id });
    conversations.on_push(id, entries(9..=9), now);
    assert_eq!(conversations.next_fetch(now, 200).unwrap().from, Seq(9));
}

#[test]
fn being_banned_ends_the_conversation_and_the_ban_of_an_outsider_does_not() {
    let (mut conversations, now) = synced();
    let id = ConversationId::group([3; 16]);
    conversations.on_push(id, entries(1..=1), now);
    let banned = |seq, member_id, removed| {
        let banned = MemberBanned { member_id, until_ms: u64::MAX, removed };
        vec![Entry { content: Some(Content::MemberBanned(banned)), ..entry(seq) }]
    };
    conversations.on_push(id, banned(2, ME + 1, true), now);
    conversations.on_push(id, banned(3, ME, false), now);
    let kept: Vec<_> = std::iter::from_fn(|| conversations.backlog.pop()).collect();
    assert_eq!(kept.len(), 3);
    conversations.on_push(id, banned(4, ME, true), now);
    let events: Vec<_> = std::iter::from_fn(|| conversations.backlog.pop()).collect();
    assert_eq!(events.last(), Some(&Event::Removed { conversation: id }));
}

#[test]
fn reading_on_another_device_is_told_once() {
    let (mut conversations, now) = synced();
    conversations.on_push(conversation(2), entries(1..=3), now);
    handed_over(&mut conversations);
    conversations.on_read(conversation(2), Seq(2), 2, true);
    conversations.on_read(conversation(2), Seq(2), 2, true);
    let read = Event::Read { conversation: conversation(2), read_seq: Seq(2), read_ordinal: 2 };
    assert_eq!(conversations.backlog.pop(), Some(read));
    assert!(conversations.backlog.is_empty());
}

#[test]
fn an_own_message_that_a_schedule_sent_does_not_move_the_position_that_a_sync_lists() {
    let (mut conversations, now) = synced();
    let own = |seq, scheduled| Entry {
        sender_id: ME,
        content: Some(Content::Message(Message { scheduled, ..Message::default() })),
        ..entry(seq)
    };
    let listed = |conversations: &mut Conversations| conversations.sync_request(None, 10).known[0].read_seq;
    conversations.on_push(conversation(2), vec![own(3, true), entry(4)], now);
    conversations.on_push(conversation(2), vec![own(1, false), entry(2)], now);
    assert_eq!(handed_over(&mut conversations), [1, 2, 3, 4]);
    assert_eq!(listed(&mut conversations), 1, "the push of the scheduled one came first");
    conversations.on_push(conversation(2), vec![own(5, false)], now);
    assert_eq!(listed(&mut conversations), 5);
}

#[test]
fn a_message_that_must_be_delivered_in_time_is_acknowledged_at_once() {
    let (mut conversations, now) = synced();
    conversations.on_push(conversation(2), entries(1..=1), now);
    assert!(conversations.acks_due().unwrap() > now);
    let message = |delivery_ended| Message { deliver_by_ms: 5000, delivery_ended, ..Message::default() };
    let urgent = |seq, ended| Entry { content: Some(Content::Message(message(ended))), ..entry(seq) };
    conversations.on_push(conversation(2), vec![urgent(2, true)], now);
    assert!(conversations.acks_due().unwrap() > now, "that is decided");
    conversations.on_push(conversation(2), vec![urgent(4, false)], now);
    assert!(conversations.acks_due().unwrap() > now, "one before it is missing");
    conversations.on_push(conversation(2), entries(3..=3), now);
    assert_eq!(conversations.acks_due(), Some(now));
}

#[test]
fn an_own_message_expires_as_the_conversation_says_at_its_place() {
    let (mut conversations, now) = synced();
    let id = conversation(2);
    let expiry = |after_ms| v1::Expiry { after_ms, start: v1::ExpiryStart::Sent.into() };
    let changed = |seq, after_ms| Entry {
        content: Some(Content::ExpiryChanged(v1::ExpiryChanged { expiry: Some(expiry(after_ms)) })),
        ..entry(seq)
    };
    let own = |seq| Entry { sender_id: ME, sent_ms: 1000, ..entry(seq) };
    conversations.on_own_entry(id, own(1), true, now);
    conversations.on_own_entry(id, own(3), true, now);
    conversations.on_push(id, vec![changed(4, 70)], now);
    conversations.on_own_entry(id, own(5), false, now);
    conversations.on_push(id, vec![changed(2, 50)], now);
    conversations.on_push(id, vec![Entry { sender_id: ME, ..entry(6) }], now);
    conversations.on_own_entry(id, own(6), true, now);
    conversations.on_own_entry(id, own(7), true, now);
    let expires = std::iter::from_fn(|| conversations.backlog.pop()).filter_map(|event| match event {
        Event::Entry { entry: Entry { content: Some(Content::Message(message)), seq, .. }, .. } => {
            Some((seq, message.expires_ms))
        }
        _ => None,
    });
    assert_eq!(expires.collect::<Vec<_>>(), [(1, 0), (3, 1050), (5, 0), (6, 0), (7, 1070)]);
    assert!(conversations.map.values().all(|one| one.own_by_default.is_empty()));
}

#[test]
fn an_own_message_expires_as_a_sync_said() {
    let (mut conversations, now) = synced();
    let id = conversation(2);
    let expiry = Some(v1::Expiry { after_ms: 50, start: v1::ExpiryStart::Read.into() });
    conversations.on_summary(id, ConversationSummary { expiry, ..summary(id, 0) }, now);
    conversations.on_own_entry(id, Entry { sender_id: ME, ..entry(1) }, true, now);
    let handed_over = std::iter::from_fn(|| conversations.backlog.pop()).last();
    let Some(Event::Entry { entry: Entry { content: Some(Content::Message(message)), .. }, .. }) = handed_over else {
        panic!("{handed_over:?}")
    };
    assert_eq!((message.expires_ms, message.expires_after_read_ms), (0, 50));
}

#[test]
fn an_entry_that_comes_again_is_acknowledged_again() {
    let (mut conversations, now) = synced();
    conversations.on_push(conversation(2), entries(1..=1), now);
    assert_eq!(conversations.take_acks(Instant::now()).len(), 1);
    assert_eq!(conversations.take_acks(Instant::now()).len(), 0);
    conversations.on_push(conversation(2), entries(1..=1), now);
    assert_eq!(conversations.take_acks(Instant::now())[0].seq, 1);
    assert_eq!(handed_over(&mut conversations), [1]);
}

#[test]
fn a_page_that_brings_nothing_is_not_asked_for_in_a_tight_loop() {
    let (mut conversations, now) = synced();
    let id = conversation(2);
    conversations.on_push(id, entries(1..=1), now);
    conversations.on_exists(id, Seq(5), now);
    let due = conversations.fetch_due().unwrap();
    assert!(conversations.next_fetch(due, 200).is_some());
    conversations.on_page(id, HistoryResponse { last_seq: 5, first_seq: 1, ..HistoryResponse::default() }, due);
    assert_eq!(conversations.next_fetch(due, 200), None);
    assert!(conversations.next_fetch(due + FETCH_RETRY, 200).is_some());
}

proptest! {
    /// Pushes of several conversations lost, doubled and reordered, own acknowledgements, lost connections and syncs in
    /// any order: every conversation is handed over as 1..=n, once, and never more than the bound waits.
    #[test]
    fn every_conversation_is_handed_over_once_and_in_order(
        steps in prop::collection::vec((0u8..8, 0usize..3, 1u64..40), 0..200),
        page_max in 1u32..10,
        early_entries_max in 0usize..6,
    ) {
        let limits = ClientLimits { early_entries_max, ..ClientLimits::default() };
        let me = UserId::new(ME).unwrap();
        let mut all = Conversations::new(me, CatchUp::FromStart, limits, &[]);
        let mut now = Instant::now();
        all.on_sync_walked(now);
        let ids: Vec<_> = (2..5).map(conversation).collect();
        let mut logs: Vec<Vec<Entry>> = vec![Vec::new(); ids.len()];
        let mut seen: Vec<Vec<u64>> = vec![Vec::new(); ids.len()];
        let settle = (0..ids.len()).map(|which| (6, which, 1)).chain(std::iter::repeat_n((7, 0, 1), 200));
        for (step, which, seq) in steps.into_iter().chain(settle) {
            now += Duration::from_millis(500);
            let (id, log) = (ids[which], &mut logs[which]);
            match step {
                // A new entry is pushed, or its push is lost.
                0 | 1 => {
                    log.push(entry(log.len() as u64 + 1));
                    if step == 0 {
                        all.on_push(id, vec![log[log.len() - 1].clone()], now);
                    }
                }
                // An older one is pushed again, late or for the first time.
                2 | 3 => if let Some(old) = log.get(seq as usize % log.len().max(1)) {
                    all.on_push(id, vec![old.clone()], now);
                },
                4 => if let Some(own) = log.last() {
                    all.on_own_entry(id, own.clone(), true, now);
                },
                5 => all.on_connection_lost(),
                6 => if !log.is_empty() {
                    all.on_summary(id, summary(id, log.len() as u64), now);
                },
                _ => if let Some(fetch) = all.next_fetch(now, page_max) {
                    let which = ids.iter().position(|&id| id == fetch.conversation).unwrap();
                    all.on_page(fetch.conversation, page(&logs[which], fetch), now);
                },
            }
            let waiting: usize = all.map.values().map(|one| one.timeline.early_entries()).sum();
            prop_assert_eq!(waiting, all.early_entries);
            prop_assert!(waiting <= early_entries_max);
            while let Some(event) = all.backlog.pop() {
                if let Event::Entry { conversation, entry, .. } = event {
                    seen[ids.iter().position(|&id| id == conversation).unwrap()].push(entry.seq);
                }
            }
        }
        for (log, seen) in logs.iter().zip(&seen) {
            prop_assert_eq!(seen, &(1..=log.len() as u64).collect::<Vec<_>>());
        }
        prop_assert!(all.caught_up());
    }
}
