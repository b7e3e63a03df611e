//! Conversations.

use super::{Harness, build::*, wait};
use godwit::{
    chat::{LogEntry, Member, MemberChange, Position, Role},
    store::{
        Commit, CommitOutcome::*, ConversationDetails, Direction, LoadedConversation, LogStore, PageLimit,
        StoredSummary,
    },
};
use godwit_proto::{ConversationId, Seq};

const ALL: PageLimit = PageLimit { entries: usize::MAX, bytes: usize::MAX };

fn commit(store: &impl LogStore, commits: Vec<Commit>) -> Vec<godwit::store::CommitOutcome> {
    wait(store.commit(commits))
}

fn log(store: &impl LogStore, conversation: ConversationId) -> Vec<LogEntry> {
    wait(store.read(conversation, Seq::FIRST, Direction::Forward, ALL)).unwrap()
}

fn load(store: &impl LogStore, conversation: ConversationId, tail: usize) -> Option<LoadedConversation> {
    wait(store.load(conversation, tail)).unwrap()
}

fn summary(store: &impl LogStore, conversation: ConversationId, of: u64) -> Option<StoredSummary> {
    wait(store.summaries(vec![(conversation, user(of))])).unwrap().remove(0)
}

fn seqs(entries: &[LogEntry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.seq.0).collect()
}

pub fn a_commit_is_there_once_it_is_answered<H: Harness>(h: &H) {
    let store = h.open();
    assert_eq!(commit(&store, vec![append(group(1), 1..=3)]), [Durable]);
    let store = h.between(store);
    assert_eq!(log(&store, group(1)), entries(1..=3));
}

pub fn the_same_commit_again_is_already_durable<H: Harness>(h: &H) {
    let store = h.open();
    commit(&store, vec![append(group(1), 1..=2)]);
    commit(&store, vec![append(group(1), 3..=5)]);
    let store = h.between(store);
    assert_eq!(commit(&store, vec![append(group(1), 3..=5)]), [AlreadyDurable]);
    assert_eq!(log(&store, group(1)), entries(1..=5));
}

pub fn an_old_commit_again_is_already_durable<H: Harness>(h: &H) {
    let store = h.open();
    commit(&store, vec![append(group(1), 1..=4)]);
    let store = h.between(store);
    commit(&store, vec![append(group(1), 5..=9)]);
    assert_eq!(commit(&store, vec![append(group(1), 3..=6)]), [AlreadyDurable]);
    assert_eq!(commit(&store, vec![append(group(1), 1..=9)]), [AlreadyDurable]);
    assert_eq!(commit(&store, vec![append(group(1), 8..=10)]), [Conflict]);
    assert_eq!(log(&store, group(1)), entries(1..=9));
}

pub fn a_commit_from_elsewhere_conflicts_and_writes_nothing<H: Harness>(h: &H) {
    let store = h.open();
    commit(&store, vec![append(group(1), 1..=3)]);
    let store = h.between(store);
    let ahead = Commit { members: vec![put(9)], ..append(group(1), 5..=5) };
    let other = Commit { entries: vec![sized_entry(3, 99)], ..nothing(group(1), 2) };
    assert_eq!(commit(&store, vec![ahead]), [Conflict]);
    assert_eq!(commit(&store, vec![other]), [Conflict]);
    assert_eq!(commit(&store, vec![append(group(2), 2..=2)]), [Conflict]);
    let store = h.between(store);
    assert_eq!(log(&store, group(1)), entries(1..=3));
    assert_eq!(load(&store, group(1), 1).unwrap().members, []);
    assert_eq!(load(&store, group(2), 1), None);
}

pub fn a_commit_of_members_alone_conflicts_too<H: Harness>(h: &H) {
    let store = h.open();
    commit(&store, vec![append(group(1), 1..=2)]);
    let store = h.between(store);
    assert_eq!(commit(&store, vec![change(group(1), 1, vec![put(5)])]), [Conflict]);
    assert_eq!(commit(&store, vec![change(group(1), 3, vec![put(5)])]), [Conflict]);
    assert_eq!(commit(&store, vec![change(group(1), 2, vec![put(5)])]), [Durable]);
    let store = h.between(store);
    assert_eq!(load(&store, group(1), 1).unwrap().members, [member(5)]);
}

pub fn commits_of_one_call_build_on_each_other<H: Harness>(h: &H) {
    let store = h.open();
    let commits = vec![
        append(group(1), 1..=2),
        append(group(2), 1..=1),
        append(group(1), 3..=3),
        change(group(1), 3, vec![put(4)]),
        append(group(1), 5..=5),
        change(group(1), 5, vec![put(6)]),
        append(group(1), 4..=4),
    ];
    let outcomes = commit(&store, commits);
    assert_eq!(outcomes, [Durable, Durable, Durable, Durable, Conflict, Conflict, Durable]);
    let store = h.between(store);
    assert_eq!(log(&store, group(1)), entries(1..=4));
    assert_eq!(load(&store, group(1), 1).unwrap().members, [member(4)]);
    assert_eq!(log(&store, group(2)), entries(1..=1));
}

pub fn commits_of_different_conversations_stand_apart<H: Harness>(h: &H) {
    let store = h.open();
    commit(&store, vec![append(group(2), 1..=1)]);
    let store = h.between(store);
    let outcomes = commit(&store, vec![append(group(1), 1..=1), append(group(2), 1..=1), append(group(3), 9..=9)]);
    assert_eq!(outcomes, [Durable, AlreadyDurable, Conflict]);
    let store = h.between(store);
    assert_eq!(log(&store, group(1)), entries(1..=1));
    assert_eq!(log(&store, group(3)), []);
}

pub fn a_duplicate_within_one_call_is_already_durable<H: Harness>(h: &H) {
    let store = h.open();
    commit(&store, vec![append(group(1), 1..=1)]);
    let store = h.between(store);
    let outcomes = commit(
        &store,
        vec![append(group(1), 2..=3), append(group(1), 2..=3), append(group(1), 1..=3), append(group(1), 3..=4)],
    );
    assert_eq!(outcomes, [Durable, AlreadyDurable, AlreadyDurable, Conflict]);
    let store = h.between(store);
    assert_eq!(log(&store, group(1)), entries(1..=3));
}

pub fn calls_commit_in_the_order_they_were_made<H: Harness>(h: &H) {
    let store = h.open();
    let calls: Vec<_> = (1..=200).map(|seq| store.commit(vec![append(group(1), seq..=seq)])).collect();
    // Waited for in the wrong order: what counts is when the call was made.
    for call in calls.into_iter().rev() {
        assert_eq!(wait(call), [Durable]);
    }
    let store = h.between(store);
    assert_eq!(log(&store, group(1)), entries(1..=200));
}

pub fn an_unknown_conversation_is_empty<H: Harness>(h: &H) {
    let store = h.open();
    commit(&store, vec![append(group(1), 1..=3), append(group(3), 1..=3)]);
    let store = h.between(store);
    assert_eq!(load(&store, group(2), 10), None);
    assert_eq!(log(&store, group(2)), []);
    assert_eq!(wait(store.read(group(2), Seq(9), Direction::Backward, ALL)).unwrap(), []);
    assert_eq!(summary(&store, group(2), 1), None);
    assert_eq!(wait(store.find_send(group(2), user(1), msg(1))).unwrap(), None);
    assert_eq!(wait(store.conversations_of(user(1), None, 10)).unwrap(), []);
}

pub fn pages_run_forward_and_backward_through_a_long_log<H: Harness>(h: &H) {
    const LAST: u64 = 3_000;
    let store = h.open();
    let mut next = 1;
    // Batches of many sizes, some of which are rows by the time of the next one.
    for size in [1, 2, 700, 3, 1, 1_000, 93, 500].into_iter().cycle() {
        if next > LAST {
            break;
        }
        let end = LAST.min(next + size - 1);
        assert_eq!(commit(&store, vec![append(group(1), next..=end)]), [Durable]);
        next = end + 1;
    }
    commit(&store, vec![append(group(0), 1..=5), append(group(2), 1..=5)]);
    let store = h.between(store);
    let read = |from, direction, entries| {
        wait(store.read(group(1), Seq(from), direction, PageLimit { entries, bytes: usize::MAX })).unwrap()
    };
    for (from, count) in [(1, 1), (1, 200), (2, 7), (700, 10), (703, 1), (2_990, 11), (3_000, 5), (1_234, 1_500)] {
        let last = LAST.min(from + count - 1);
        assert_eq!(read(from, Direction::Forward, count as usize), entries(from..=last), "forward from {from}");
    }
    assert_eq!(read(LAST + 1, Direction::Forward, 10), []);
    for (from, count) in [(1, 1), (1, 9), (2, 1), (LAST, 200), (703, 4), (704, 1), (2_000, 1_999), (1_234, 1_500)] {
        let first = (from + 1_u64).saturating_sub(count).max(1);
        assert_eq!(read(from, Direction::Backward, count as usize), entries(first..=from), "backward from {from}");
    }
    assert_eq!(read(u64::MAX, Direction::Backward, 3), entries(LAST - 2..=LAST));
    assert_eq!(read(LAST + 1, Direction::Backward, 1), entries(LAST..=LAST));
    assert_eq!(read(0, Direction::Backward, 3), []);
    assert_eq!(seqs(&read(0, Direction::Forward, 3)), [1, 2, 3]);
    let (mut from, mut all) = (1, Vec::new());
    while from <= LAST {
        let page = read(from, Direction::Forward, 177);
        from = page.last().unwrap().seq.0 + 1;
        all.extend(page);
    }
    assert_eq!(all, entries(1..=LAST));
}

pub fn a_page_ends_at_its_bytes_but_is_never_empty<H: Harness>(h: &H) {
    let store = h.open();
    let sizes = [100, 30_000, 100, 100, 60_000, 100];
    for (seq, size) in (1..).zip(sizes) {
        let sized = Commit { entries: vec![sized_entry(seq, size)], ..nothing(group(1), seq - 1) };
        commit(&store, vec![sized]);
    }
    let store = h.between(store);
    let read = |from, direction, bytes| {
        seqs(&wait(store.read(group(1), Seq(from), direction, PageLimit { entries: 100, bytes })).unwrap())
    };
    assert_eq!(read(1, Direction::Forward, 0), [1]);
    assert_eq!(read(2, Direction::Forward, 10), [2]);
    assert_eq!(read(1, Direction::Forward, 29_000), [1]);
    assert_eq!(read(1, Direction::Forward, 31_000), [1, 2, 3, 4]);
    assert_eq!(read(3, Direction::Forward, 200_000), [3, 4, 5, 6]);
    assert_eq!(read(6, Direction::Backward, 0), [6]);
    assert_eq!(read(5, Direction::Backward, 10), [5]);
    assert_eq!(read(6, Direction::Backward, 61_000), [3, 4, 5, 6]);
    assert_eq!(read(4, Direction::Backward, 1_000), [3, 4]);
    let exact = sized_entry(3, 100).encoded.len();
    assert_eq!(read(3, Direction::Forward, 2 * exact), [3, 4]);
    assert_eq!(read(3, Direction::Forward, 2 * exact - 1), [3]);
    let none = PageLimit { entries: 0, bytes: 0 };
    assert_eq!(seqs(&wait(store.read(group(1), Seq(2), Direction::Forward, none)).unwrap()), [2]);
}

pub fn a_page_never_skips_an_entry_that_does_not_fit<H: Harness>(h: &H) {
    let store = h.open();
    for (seq, size) in [(1, 100), (2, 100), (3, 50_000), (4, 100)] {
        let sized = Commit { entries: vec![sized_entry(seq, size)], ..nothing(group(1), seq - 1) };
        assert_eq!(commit(&store, vec![sized]), [Durable]);
    }
    // The first two lie in rows by now, the others perhaps not yet.
    let store = h.between(store);
    for (seq, size) in [(5, 100), (6, 50_000), (7, 100)] {
        let sized = Commit { entries: vec![sized_entry(seq, size)], ..nothing(group(1), seq - 1) };
        assert_eq!(commit(&store, vec![sized]), [Durable]);
    }
    let read = |from, direction| {
        seqs(&wait(store.read(group(1), Seq(from), direction, PageLimit { entries: 9, bytes: 1_000 })).unwrap())
    };
    assert_eq!(read(7, Direction::Backward), [7]);
    assert_eq!(read(5, Direction::Backward), [4, 5]);
    assert_eq!(read(4, Direction::Backward), [4]);
    assert_eq!(read(1, Direction::Forward), [1, 2]);
    assert_eq!(read(4, Direction::Forward), [4, 5]);
}

pub fn an_entry_is_found_by_what_its_sender_called_it<H: Harness>(h: &H) {
    let store = h.open();
    commit(&store, vec![append(group(1), 1..=700)]);
    let store = h.between(store);
    commit(&store, vec![append(group(1), 701..=710)]);
    for seq in [1, 2, 350, 700, 701, 710] {
        assert_eq!(wait(store.find_send(group(1), user(1), msg(seq))).unwrap(), Some(entry(seq)));
    }
    assert_eq!(wait(store.find_send(group(1), user(1), msg(711))).unwrap(), None);
    assert_eq!(wait(store.find_send(group(1), user(2), msg(1))).unwrap(), None);
    assert_eq!(wait(store.find_send(group(2), user(1), msg(1))).unwrap(), None);
}

pub fn loading_gives_details_members_and_tail<H: Harness>(h: &H) {
    let store = h.open();
    let mut owner = Member::new(user(3), Role::Owner, Position { seq: Seq(1), ordinal: 0 });
    owner.read = Position { seq: Seq(4), ordinal: 3 };
    owner.own = Position { seq: Seq(5), ordinal: 4 };
    let first = Commit {
        members: vec![put(9), MemberChange::Put(owner.clone()), put(1)],
        details: Some(titled("Watts")),
        ..append(group(1), 1..=6)
    };
    commit(&store, vec![first]);
    let store = h.between(store);
    commit(&store, vec![append(group(1), 7..=8)]);
    let loaded = |tail| LoadedConversation {
        details: titled("Watts"),
        members: vec![member(1), owner.clone(), member(9)],
        tail: entries(tail),
    };
    assert_eq!(load(&store, group(1), 4), Some(loaded(5..=8)));
    assert_eq!(load(&store, group(1), 100), Some(loaded(1..=8)));
    assert_eq!(load(&store, group(1), 1), Some(loaded(8..=8)));
    // "Empty only if the log is."
    assert_eq!(load(&store, group(1), 0), Some(loaded(8..=8)));
    commit(&store, vec![change(group(2), 0, vec![put(1)])]);
    let store = h.between(store);
    let members_only =
        LoadedConversation { details: ConversationDetails::default(), members: vec![member(1)], tail: vec![] };
    assert_eq!(load(&store, group(2), 5), Some(members_only));
}

pub fn a_member_is_overwritten_and_removed<H: Harness>(h: &H) {
    let store = h.open();
    commit(&store, vec![Commit { members: vec![put(1), put(2), put(3)], ..append(group(1), 1..=1) }]);
    let store = h.between(store);
    let read = Member { read: Position { seq: Seq(1), ordinal: 1 }, ..member(2) };
    commit(&store, vec![change(group(1), 1, vec![MemberChange::Put(read.clone()), take(1)])]);
    assert_eq!(load(&store, group(1), 1).unwrap().members, [read.clone(), member(3)]);
    let store = h.between(store);
    assert_eq!(load(&store, group(1), 1).unwrap().members, [read.clone(), member(3)]);
    assert_eq!(wait(store.conversations_of(user(1), None, 9)).unwrap(), []);
    assert_eq!(summary(&store, group(1), 1), None);
    commit(&store, vec![change(group(1), 1, vec![put(1), take(77)])]);
    let store = h.between(store);
    assert_eq!(load(&store, group(1), 1).unwrap().members, [member(1), read, member(3)]);
    assert_eq!(wait(store.conversations_of(user(1), None, 9)).unwrap(), [group(1)]);
}

pub fn what_schedules_sent_for_a_member_is_part_of_the_row<H: Harness>(h: &H) {
    let store = h.open();
    let scheduled = |seqs: &[u64]| Member { scheduled: seqs.iter().map(|seq| Seq(*seq)).collect(), ..member(2) };
    let some = scheduled(&[2, 3, 300, 1 << 40]);
    commit(&store, vec![Commit { members: vec![put(1), put(2)], ..append(group(1), 1..=3) }]);
    let store = h.between(store);
    commit(&store, vec![change(group(1), 3, vec![MemberChange::Update(some.clone())])]);
    let store = h.between(store);
    assert_eq!(load(&store, group(1), 1).unwrap().members, [member(1), some.clone()]);
    assert_eq!(summary(&store, group(1), 2).unwrap().member, some);
    // As many as a member may have, and then none: the row is written whole.
    let many = scheduled(&(1..=256).map(|n| n * 1_000_000_007).collect::<Vec<_>>());
    commit(&store, vec![change(group(1), 3, vec![MemberChange::Update(many.clone())])]);
    let store = h.between(store);
    assert_eq!(summary(&store, group(1), 2).unwrap().member, many);
    commit(&store, vec![change(group(1), 3, vec![MemberChange::Update(member(2))])]);
    let store = h.between(store);
    assert_eq!(load(&store, group(1), 1).unwrap().members, [member(1), member(2)]);
}

pub fn a_member_changed_twice_in_one_commit_ends_as_the_last_says<H: Harness>(h: &H) {
    let store = h.open();
    let commits = vec![
        change(group(1), 0, vec![put(1), take(1), put(2), take(3), put(3)]),
        change(group(1), 0, vec![take(2), put(4)]),
        change(group(1), 0, vec![take(4), put(4)]),
    ];
    assert_eq!(commit(&store, commits), [Durable, Durable, Durable]);
    let store = h.between(store);
    assert_eq!(load(&store, group(1), 1).unwrap().members, [member(3), member(4)]);
    assert_eq!(summary(&store, group(1), 3).unwrap().member_count, 2);
}

pub fn summaries_come_in_the_order_asked<H: Harness>(h: &H) {
    let store = h.open();
    let first = Commit { members: vec![put(1), put(2)], details: Some(titled("a")), ..append(group(1), 1..=300) };
    let second = Commit { members: vec![put(2)], details: Some(titled("b")), ..nothing(group(2), 0) };
    commit(&store, vec![first, second]);
    let store = h.between(store);
    commit(&store, vec![append(group(1), 301..=302)]);
    let store = h.between(store);
    let wanted = vec![(group(2), user(2)), (group(1), user(3)), (group(1), user(1)), (group(9), user(1))];
    let b = StoredSummary { details: titled("b"), last: None, shown: None, member: member(2), member_count: 1 };
    let last = Some(entry(302));
    let a = StoredSummary { details: titled("a"), shown: last.clone(), last, member: member(1), member_count: 2 };
    assert_eq!(wait(store.summaries(wanted)).unwrap(), [Some(b), None, Some(a), None]);
    assert_eq!(wait(store.summaries(vec![])).unwrap(), []);
}

pub fn member_counts_follow_joins_and_leaves<H: Harness>(h: &H) {
    let mut store = h.open();
    let mut members = std::collections::BTreeSet::new();
    // User 0 does not exist, so 1 stays a member throughout.
    commit(&store, vec![change(group(1), 0, vec![put(1)])]);
    members.insert(1);
    for step in 0..40_u64 {
        let who = 2 + (step * 7) % 11;
        let joins = step % 3 != 0;
        if joins {
            members.insert(who)
        } else {
            members.remove(&who)
        };
        let changes = if joins { vec![put(who), put(1)] } else { vec![take(who)] };
        assert_eq!(commit(&store, vec![change(group(1), 0, changes)]), [Durable]);
        if step % 4 == 0 {
            store = h.between(store);
        }
        assert_eq!(summary(&store, group(1), 1).unwrap().member_count as usize, members.len(), "step {step}");
    }
}

pub fn conversations_of_a_user_come_in_pages<H: Harness>(h: &H) {
    let store = h.open();
    commit(&store, (0..20).step_by(2).map(|n| change(group(n), 0, vec![put(1), put(2)])).collect());
    let store = h.between(store);
    commit(&store, (1..20).step_by(2).map(|n| change(group(n), 0, vec![put(1)])).collect());
    commit(&store, vec![change(group(4), 0, vec![take(1)]), change(group(19), 0, vec![take(1)])]);
    let expected: Vec<_> = (0..19).filter(|n| *n != 4).map(group).collect();
    for limit in [1, 2, 5, 18, 100] {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = wait(store.conversations_of(user(1), after, limit)).unwrap();
            assert!(page.len() <= limit);
            let Some(last) = page.last() else { break };
            after = Some(*last);
            all.extend(page);
        }
        assert_eq!(all, expected, "pages of {limit}");
    }
    assert_eq!(wait(store.conversations_of(user(1), None, 0)).unwrap(), []);
    assert_eq!(wait(store.conversations_of(user(2), Some(group(17)), 9)).unwrap(), [group(18)]);
    assert_eq!(wait(store.conversations_of(user(3), None, 9)).unwrap(), []);
}

pub fn details_change<H: Harness>(h: &H) {
    let store = h.open();
    commit(&store, vec![Commit { details: Some(titled("old")), ..append(group(1), 1..=1) }]);
    let store = h.between(store);
    commit(&store, vec![Commit { details: Some(titled("neu: ü")), ..nothing(group(1), 1) }]);
    assert_eq!(load(&store, group(1), 1).unwrap().details, titled("neu: ü"));
    let store = h.between(store);
    commit(&store, vec![append(group(1), 2..=2)]);
    assert_eq!(load(&store, group(1), 1).unwrap().details, titled("neu: ü"));
}
