//! Entries that take the place of older ones, and what comes with them.

use super::{Harness, build::*, wait};
use godwit::{
    chat::{Expiry, LogEntry, Member, MemberChange},
    store::{
        Commit, CommitOutcome::*, ConversationDetails, Direction, LogStore, PageLimit, SHOWN_LOOK_BACK, StoredSummary,
        TimerChange, TimerRow, TimerStore,
    },
};
use godwit_proto::{Seq, Vshard};

const ALL: PageLimit = PageLimit { entries: usize::MAX, bytes: usize::MAX };

fn commit(store: &impl LogStore, commits: Vec<Commit>) {
    let count = commits.len();
    assert_eq!(wait(store.commit(commits)), vec![Durable; count]);
}

fn read(store: &impl LogStore, from: u64, direction: Direction, limit: PageLimit) -> Vec<LogEntry> {
    wait(store.read(group(1), Seq(from), direction, limit)).unwrap()
}

fn summary(store: &impl LogStore) -> StoredSummary {
    wait(store.summaries(vec![(group(1), user(1))])).unwrap().remove(0).unwrap()
}

fn timers(store: &impl TimerStore) -> Vec<TimerRow> {
    wait(store.timers_of(REMINDER, owner(1), None, 99)).unwrap()
}

/// The log up to `head`, in which some are withdrawn.
fn log(head: u64, withdrawn: &[u64]) -> Vec<LogEntry> {
    (1..=head).map(|seq| if withdrawn.contains(&seq) { marker(seq) } else { entry(seq) }).collect()
}

fn check(store: &impl LogStore, head: u64, withdrawn: &[u64]) {
    let expected = log(head, withdrawn);
    let slice = |from: u64, to: u64| &expected[from as usize - 1..to as usize];
    assert_eq!(read(store, 1, Direction::Forward, ALL), expected);
    for count in [1, 2, 7, 200] {
        let limit = PageLimit { entries: count as usize, bytes: usize::MAX };
        for seq in withdrawn.iter().copied().chain([1, head]) {
            let forward = read(store, seq, Direction::Forward, limit);
            assert_eq!(forward, slice(seq, head.min(seq + count - 1)), "forward from {seq}");
            let backward = read(store, seq, Direction::Backward, limit);
            assert_eq!(backward, slice((seq + 1).saturating_sub(count).max(1), seq), "backward from {seq}");
        }
        let tail = wait(store.load(group(1), count as usize)).unwrap().unwrap().tail;
        assert_eq!(tail, slice((head + 1).saturating_sub(count).max(1), head));
    }
    for seq in withdrawn.iter().copied().chain([1, head]) {
        let found = wait(store.find_send(group(1), user(1), msg(seq))).unwrap();
        assert_eq!(found.as_ref(), Some(&expected[seq as usize - 1]));
    }
    let summary = summary(store);
    assert_eq!(summary.last.as_ref(), expected.last());
    assert_eq!(summary.shown.as_ref(), expected.iter().rev().find(|entry| entry.is_shown));
}

pub fn a_rewritten_entry_is_read_everywhere<H: Harness>(h: &H) {
    let store = h.open();
    commit(&store, vec![Commit { members: vec![put(1)], ..append(group(1), 1..=300) }]);
    let store = h.between(store);
    commit(&store, vec![append(group(1), 301..=310)]);
    let withdrawn = [1, 2, 128, 129, 300, 301, 305, 310];
    // In no order, some of them beside a new entry.
    let (first, second) = ([310, 1, 129], [300, 2, 305, 301, 128]);
    commit(&store, vec![rewrite(group(1), 310, first.map(marker).to_vec())]);
    commit(&store, vec![Commit { rewritten: second.map(marker).to_vec(), ..append(group(1), 311..=311) }]);
    check(&store, 311, &withdrawn);
    let store = h.between(store);
    check(&store, 311, &withdrawn);
    commit(&store, vec![rewrite(group(1), 311, vec![marker(311)])]);
    check(&store, 311, &[&withdrawn[..], &[311]].concat());
    let store = h.between(store);
    check(&store, 311, &[&withdrawn[..], &[311]].concat());
    commit(&store, vec![append(group(1), 312..=312)]);
    check(&h.between(store), 312, &[&withdrawn[..], &[311]].concat());
}

pub fn what_is_rewritten_before_it_is_a_row_is_read_as_it_is_now<H: Harness>(h: &H) {
    let store = h.open();
    let first = Commit { members: vec![put(1)], ..append(group(1), 1..=5) };
    commit(&store, vec![first, rewrite(group(1), 5, vec![marker(2), marker(5)]), append(group(1), 6..=6)]);
    commit(&store, vec![rewrite(group(1), 6, vec![marker(6)])]);
    check(&store, 6, &[2, 5, 6]);
    check(&h.between(store), 6, &[2, 5, 6]);
}

pub fn an_entry_may_be_rewritten_again<H: Harness>(h: &H) {
    let store = h.open();
    commit(&store, vec![Commit { members: vec![put(1)], ..append(group(1), 1..=3) }]);
    let store = h.between(store);
    commit(&store, vec![rewrite(group(1), 3, vec![sized_entry(2, 90)]), rewrite(group(1), 3, vec![marker(3)])]);
    let store = h.between(store);
    commit(&store, vec![rewrite(group(1), 3, vec![sized_entry(2, 9), marker(2)])]);
    // The same again is fine.
    commit(&store, vec![rewrite(group(1), 3, vec![marker(2)])]);
    check(&store, 3, &[2, 3]);
    check(&h.between(store), 3, &[2, 3]);
}

pub fn a_page_counts_the_bytes_of_what_stands_there_now<H: Harness>(h: &H) {
    let store = h.open();
    commit(&store, vec![Commit { entries: vec![entry(1), sized_entry(2, 9_000), entry(3)], ..nothing(group(1), 0) }]);
    let store = h.between(store);
    commit(&store, vec![rewrite(group(1), 3, vec![marker(2)])]);
    let limit = PageLimit { entries: 9, bytes: 1_000 };
    assert_eq!(read(&store, 1, Direction::Forward, limit), log(3, &[2]));
    let store = h.between(store);
    assert_eq!(read(&store, 3, Direction::Backward, limit), log(3, &[2]));
}

pub fn a_commit_that_was_rewritten_since_is_not_there_any_more<H: Harness>(h: &H) {
    let store = h.open();
    commit(&store, vec![append(group(1), 1..=3)]);
    let store = h.between(store);
    let again = || append(group(1), 2..=3);
    let outcomes = wait(store.commit(vec![again(), rewrite(group(1), 3, vec![marker(2)]), again()]));
    assert_eq!(outcomes, [AlreadyDurable, Durable, Conflict]);
    let store = h.between(store);
    let as_it_is = Commit { entries: vec![marker(2), entry(3)], ..nothing(group(1), 1) };
    assert_eq!(wait(store.commit(vec![again(), as_it_is])), [Conflict, AlreadyDurable]);
}

pub fn timers_come_with_a_commit<H: Harness>(h: &H) {
    let store = h.open();
    let put = |id, due_ms| TimerChange::Put(timer(1, id, due_ms));
    let with = |timers, commit| Commit { timers, ..commit };
    commit(&store, vec![with(vec![put(1, 10), put(2, 20)], append(group(1), 1..=1))]);
    let store = h.between(store);
    assert_eq!(timers(&store), [timer(1, 1, 10), timer(1, 2, 20)]);
    // Changes of one timer, by a commit and by itself, take effect in the order in which they were made.
    let of_commit = vec![put(1, 30), TimerChange::Remove(timer(1, 2, 0).key), put(3, 5), put(3, 6)];
    let calls =
        store.commit(vec![with(of_commit, nothing(group(1), 1)), with(vec![put(1, 40)], append(group(1), 2..=2))]);
    let by_itself = store.put_timers(vec![TimerChange::Remove(timer(1, 3, 0).key), put(4, 50)]);
    assert_eq!(wait(calls), [Durable, Durable]);
    wait(by_itself);
    let check = |store: &H::Store| {
        assert_eq!(timers(store), [timer(1, 1, 40), timer(1, 4, 50)]);
        let due = wait(store.due_timers(Vshard::all().collect(), 0..99, None, 99)).unwrap();
        assert_eq!(due, [timer(1, 1, 40).due(), timer(1, 4, 50).due()]);
    };
    check(&store);
    check(&h.between(store));
}

pub fn a_commit_that_is_not_written_writes_neither_timers_nor_rewritten_entries<H: Harness>(h: &H) {
    let store = h.open();
    commit(&store, vec![Commit { members: vec![put(1)], ..append(group(1), 1..=3) }]);
    let store = h.between(store);
    let with =
        |id, commit| Commit { rewritten: vec![marker(1)], timers: vec![TimerChange::Put(timer(1, id, id))], ..commit };
    let outcomes = wait(store.commit(vec![
        with(1, nothing(group(1), 2)),
        with(2, nothing(group(1), 4)),
        with(3, append(group(1), 2..=2)),
        with(4, append(group(2), 2..=2)),
    ]));
    // What is there already was done with all that came with it, and may have been undone since.
    assert_eq!(outcomes, [Conflict, Conflict, AlreadyDurable, Conflict]);
    assert_eq!(timers(&store), []);
    let store = h.between(store);
    assert_eq!(timers(&store), []);
    check(&store, 3, &[]);
}

pub fn a_summary_shows_the_newest_entry_that_there_is_something_to_show_of<H: Harness>(h: &H) {
    let store = h.open();
    commit(&store, vec![Commit { members: vec![put(1)], ..append(group(1), 1..=200) }]);
    assert_eq!(summary(&store).shown, Some(entry(200)));
    let store = h.between(store);
    commit(&store, vec![append(group(1), 201..=202)]);
    let withdraw = |seqs: std::ops::RangeInclusive<u64>| rewrite(group(1), 202, seqs.map(marker).collect());
    for (withdrawn, shown) in [(202..=202, 201), (200..=201, 199), (3..=199, 2), (1..=1, 2)] {
        commit(&store, vec![withdraw(withdrawn)]);
        assert_eq!(summary(&store).shown, Some(entry(shown)));
    }
    let store = h.between(store);
    assert_eq!(summary(&store).shown, Some(entry(2)));
    commit(&store, vec![withdraw(2..=2)]);
    assert_eq!(summary(&store).shown, None);
    let store = h.between(store);
    assert_eq!((summary(&store).shown, summary(&store).last), (None, Some(marker(202))));
    commit(&store, vec![append(group(1), 203..=203)]);
    assert_eq!(summary(&h.between(store)).shown, Some(entry(203)));
}

pub fn a_summary_looks_for_it_no_further_than_it_says<H: Harness>(h: &H) {
    let store = h.open();
    let look_back = SHOWN_LOOK_BACK as u64;
    let markers = |seqs: std::ops::RangeInclusive<u64>| seqs.map(marker).collect();
    let first = Commit { entries: markers(2..=look_back), ..nothing(group(1), 1) };
    commit(&store, vec![Commit { members: vec![put(1)], ..append(group(1), 1..=1) }, first]);
    let store = h.between(store);
    assert_eq!(summary(&store).shown, Some(entry(1)));
    let one_more = Commit { entries: vec![marker(look_back + 1)], ..nothing(group(1), look_back) };
    commit(&store, vec![one_more]);
    assert_eq!(summary(&store).shown, None);
    assert_eq!(summary(&h.between(store)).shown, None);
}

pub fn what_expires_is_part_of_details_and_members<H: Harness>(h: &H) {
    let store = h.open();
    let details = ConversationDetails {
        expiry: Expiry { after_ms: 86_400_000, from_reading: true },
        withdrawn: (3..=9_000).chain([1 << 40]).collect(),
        expires_from_reading: Seq(7),
        ..titled("gone by tomorrow")
    };
    let missed = Member { missed: [2, 5, 1 << 33].into_iter().collect(), ..member(1) };
    commit(&store, vec![Commit { members: vec![put(1), put(2)], ..append(group(1), 1..=1) }]);
    let store = h.between(store);
    let members = vec![MemberChange::Update(missed.clone())];
    commit(&store, vec![Commit { members, details: Some(details.clone()), ..nothing(group(1), 1) }]);
    let check = |store: &H::Store| {
        let loaded = wait(store.load(group(1), 1)).unwrap().unwrap();
        assert_eq!((loaded.details, loaded.members), (details.clone(), vec![missed.clone(), member(2)]));
        assert_eq!((summary(store).details, summary(store).member), (details.clone(), missed.clone()));
    };
    check(&store);
    let store = h.between(store);
    check(&store);
    // Both are written whole.
    let members = vec![MemberChange::Update(member(1))];
    commit(&store, vec![Commit { members, details: Some(titled("")), ..nothing(group(1), 1) }]);
    let store = h.between(store);
    assert_eq!((summary(&store).details, summary(&store).member), (titled(""), member(1)));
}
