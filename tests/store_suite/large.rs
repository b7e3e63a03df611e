//! Much of everything: what is cut into parts somewhere is one thing to whoever asks.

use super::{Harness, build::*, wait};
use futures_util::future::{join, join_all};
use godwit::{
    chat::{Member, MemberChange, Position},
    store::{Commit, CommitOutcome::*, Direction, LogStore, PageLimit, TimerChange, TimerOutcome, TimerStore},
};
use godwit_proto::{Seq, Vshard};
use std::collections::BTreeSet;

const ALL: PageLimit = PageLimit { entries: usize::MAX, bytes: usize::MAX };

pub fn a_log_of_thousands_is_one_log<H: Harness>(h: &H) {
    let store = h.open();
    let commit = |store: &H::Store, commit: Commit| assert_eq!(wait(store.commit(vec![commit])), [Durable]);
    commit(&store, Commit { members: vec![put(1)], ..append(group(1), 1..=4_000) });
    let store = h.between(store);
    // By ones, by a few and by many over a power of two, where somebody may have cut.
    commit(&store, append(group(1), 4_001..=4_094));
    (4_095..=4_097).for_each(|seq| commit(&store, append(group(1), seq..=seq)));
    let store = h.between(store);
    commit(&store, append(group(1), 4_098..=8_190));
    commit(&store, append(group(1), 8_191..=8_193));
    let store = h.between(store);
    commit(&store, rewrite(group(1), 8_193, [4_095, 8_192, 1, 4_096].map(marker).to_vec()));
    let expected: Vec<_> =
        (1..=8_193).map(|seq| if [1, 4_095, 4_096, 8_192].contains(&seq) { marker(seq) } else { entry(seq) }).collect();
    let check = |store: &H::Store| {
        let read = |from, direction, entries| {
            wait(store.read(group(1), Seq(from), direction, PageLimit { entries, ..ALL })).unwrap()
        };
        for from in [1, 4_094, 4_095, 4_096, 4_097, 8_190, 8_191, 8_192, 8_193] {
            for count in [1, 2, 5, 4_096] {
                let forward = read(from, Direction::Forward, count as usize);
                let to = 8_193.min(from + count - 1);
                assert_eq!(forward, expected[from as usize - 1..to as usize], "{count} from {from}");
                let backward = read(from, Direction::Backward, count as usize);
                let first = (from + 1).saturating_sub(count).max(1);
                assert_eq!(backward, expected[first as usize - 1..from as usize], "{count} back from {from}");
            }
            let found = wait(store.find_send(group(1), user(1), msg(from))).unwrap();
            assert_eq!(found.as_ref(), Some(&expected[from as usize - 1]));
        }
        for tail in [1, 2, 3, 4_098, 4_099, 9_000] {
            let loaded = wait(store.load(group(1), tail)).unwrap().unwrap();
            assert_eq!(loaded.tail, expected[8_193_usize.saturating_sub(tail)..], "a tail of {tail}");
        }
        let again = append(group(1), 4_097..=4_100);
        assert_eq!(wait(store.commit(vec![again, append(group(1), 4_096..=4_097)])), [AlreadyDurable, Conflict]);
    };
    check(&store);
    check(&h.between(store));
}

pub fn a_group_of_hundreds_is_one_group<H: Harness>(h: &H) {
    let store = h.open();
    let mut expected: BTreeSet<u64> = (1..=400).collect();
    let first = Commit { members: (1..=400).map(put).collect(), ..append(group(1), 1..=1) };
    assert_eq!(wait(store.commit(vec![first])), [Durable]);
    let store = h.between(store);
    // Some leave, some of whom come back, some come who are there; all in one commit, and in several.
    let changes = |step: usize| {
        let leave = (1..=400).step_by(step).map(take);
        leave.chain((1..=400).step_by(2 * step).map(put)).chain((401..=420).map(put)).collect()
    };
    for step in [3, 7] {
        expected.retain(|n| (n - 1) % step != 0 || (n - 1) % (2 * step) == 0);
        expected.extend((1..=400).step_by(2 * step as usize));
        expected.extend(401..=420);
        assert_eq!(wait(store.commit(vec![change(group(1), 1, changes(step as usize))])), [Durable]);
    }
    let check = |store: &H::Store| {
        let members = wait(store.load(group(1), 1)).unwrap().unwrap().members;
        assert_eq!(members, expected.iter().copied().map(member).collect::<Vec<_>>());
        let asked: Vec<_> = (1..=421).map(|n| (group(1), user(n))).collect();
        let summaries = wait(store.summaries(asked)).unwrap();
        for (n, summary) in (1..).zip(summaries) {
            let count = summary.map(|summary| (summary.member.user, summary.member_count as usize));
            assert_eq!(count, expected.contains(&n).then_some((user(n), expected.len())), "user {n}");
        }
    };
    check(&store);
    let store = h.between(store);
    check(&store);
    for n in [1, 2, 4, 400, 420] {
        let listed = wait(store.conversations_of(user(n), None, 9)).unwrap();
        assert_eq!(listed.is_empty(), !expected.contains(&n), "user {n}");
    }
}

pub fn what_was_left_does_not_shorten_a_page<H: Harness>(h: &H) {
    let store = h.open();
    let join_in = |n| change(group(n), 0, vec![put(1), put(2)]);
    assert!(wait(store.commit((0..=120).map(join_in).collect())).iter().all(|outcome| *outcome == Durable));
    let store = h.between(store);
    let leave = |n| change(group(n), 0, vec![take(1)]);
    let left = (0..=120).filter(|n| n % 40 != 3);
    assert!(wait(store.commit(left.map(leave).collect())).iter().all(|outcome| *outcome == Durable));
    let check = |store: &H::Store| {
        let page = |after, limit| wait(store.conversations_of(user(1), after, limit)).unwrap();
        assert_eq!(page(None, 2), [group(3), group(43)]);
        assert_eq!(page(Some(group(3)), 9), [group(43), group(83)]);
        assert_eq!(page(Some(group(83)), 9), []);
    };
    check(&store);
    check(&h.between(store));
}

pub fn commits_of_many_conversations_at_once_stand_apart<H: Harness>(h: &H) {
    let store = h.open();
    let call = |seqs: std::ops::RangeInclusive<u64>| {
        let one = |n: u8| match n % 10 {
            // After an entry that is not there.
            7 => append(group(n), seqs.start() + 1..=seqs.end() + 1),
            _ => append(group(n), seqs.clone()),
        };
        store.commit((0..100).map(one).collect())
    };
    let calls = [call(1..=2), call(3..=3), call(4..=9)];
    for outcomes in wait(join_all(calls)) {
        for (n, outcome) in outcomes.into_iter().enumerate() {
            assert_eq!(outcome, if n % 10 == 7 { Conflict } else { Durable }, "conversation {n}");
        }
    }
    let store = h.between(store);
    let pages = (0..100).map(|n| store.read(group(n), Seq::FIRST, Direction::Forward, ALL));
    for (n, page) in wait(join_all(pages)).into_iter().enumerate() {
        assert_eq!(page.unwrap(), if n % 10 == 7 { vec![] } else { entries(1..=9) }, "conversation {n}");
    }
}

pub fn whoever_reads_sees_a_commit_whole_or_not_at_all<H: Harness>(h: &H) {
    let store = h.open();
    let at = |seq| Position { seq: Seq(seq), ordinal: seq };
    // Three entries each, that a member has read, and the title says which.
    let commit = |seq: u64| Commit {
        members: vec![MemberChange::Put(Member { read: at(seq), ..member(1) })],
        details: Some(titled(&seq.to_string())),
        ..append(group(1), seq - 2..=seq)
    };
    for round in 0..20 {
        let seqs = [9 * round + 3, 9 * round + 6, 9 * round + 9];
        let outcomes = join_all(seqs.map(|seq| store.commit(vec![commit(seq)])));
        let loads = join_all((0..5).map(|_| store.load(group(1), 2)));
        let summaries = join_all((0..5).map(|_| store.summaries(vec![(group(1), user(1))])));
        let (outcomes, (loads, summaries)) = wait(join(outcomes, join(loads, summaries)));
        assert_eq!(outcomes, vec![vec![Durable]; 3]);
        let check = |last: u64, title: &str, read: Position| {
            assert_eq!(last % 3, 0);
            assert_eq!((title, read), (&*last.to_string(), at(last)));
        };
        for loaded in loads.into_iter().filter_map(|loaded| loaded.unwrap()) {
            check(loaded.tail.last().unwrap().seq.0, &loaded.details.title, loaded.members[0].read);
        }
        for summary in summaries.into_iter().filter_map(|summary| summary.unwrap().remove(0)) {
            check(summary.last.unwrap().seq.0, &summary.details.title, summary.member.read);
        }
        let now = wait(store.load(group(1), 1)).unwrap().unwrap();
        assert_eq!(now.tail, [entry(seqs[2])]);
    }
}

pub fn summaries_of_many_conversations_are_of_each<H: Harness>(h: &H) {
    let store = h.open();
    let first = |n: u8| Commit {
        members: vec![put(1), put(2 + u64::from(n))],
        details: Some(titled(&n.to_string())),
        ..append(group(n), 1..=1 + u64::from(n))
    };
    assert!(wait(store.commit((0..200).map(first).collect())).iter().all(|outcome| *outcome == Durable));
    let check = |store: &H::Store| {
        let wanted = (0..200).rev().map(|n| (group(n), user(1))).collect();
        for (n, summary) in (0..200_u8).rev().zip(wait(store.summaries(wanted)).unwrap()) {
            let summary = summary.unwrap();
            assert_eq!(summary.last, Some(entry(1 + u64::from(n))));
            assert_eq!((summary.details, summary.member_count), (titled(&n.to_string()), 2));
        }
    };
    check(&store);
    check(&h.between(store));
}

pub fn timers_days_apart_are_due_in_order<H: Harness>(h: &H) {
    const MINUTE_MS: u64 = 60_000;
    let store = h.open();
    // Every seven minutes for weeks, put in no order, of several users.
    let mut rows: Vec<_> = (0..4_000).map(|n| timer(1 + n % 5, n, n * 1_237 % 4_000 * 7 * MINUTE_MS)).collect();
    for part in rows.chunks(500) {
        let outcomes = wait(store.put_timers(part.iter().cloned().map(TimerChange::Put).collect()));
        assert!(outcomes.iter().all(|outcome| *outcome == TimerOutcome::Durable));
    }
    let store = h.between(store);
    rows.sort_by_key(|row| row.due());
    let due = |due_ms, after, limit| wait(store.due_timers(Vshard::all().collect(), due_ms, after, limit)).unwrap();
    let between = |from: usize, to: usize| rows[from].due_ms..rows[to].due_ms;
    for (from, to) in [(0, 1), (0, 40), (17, 18), (1_000, 1_500), (3_990, 3_999)] {
        let mut found = due(between(from, to), None, 9_999);
        found.sort_unstable();
        assert_eq!(found, rows[from..to].iter().map(|row| row.due()).collect::<Vec<_>>());
    }
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = due(0..u64::MAX, after, 333);
        all.extend_from_slice(&page);
        after = page.last().copied();
        if page.len() < 333 {
            break;
        }
    }
    assert_eq!(all.len(), rows.len());
    for of in 1..=5 {
        let is_its = |due: &&godwit::store::DueTimer| due.key.owner == owner(of);
        let its: Vec<_> = rows.iter().map(|row| row.due()).filter(|due| is_its(&due)).collect();
        assert_eq!(all.iter().filter(is_its).copied().collect::<Vec<_>>(), its);
        let page = wait(store.timers_of(REMINDER, owner(of), None, 50)).unwrap();
        assert_eq!(page.iter().map(|row| row.due()).collect::<Vec<_>>(), its[..50]);
        assert_eq!(wait(store.count_timers(REMINDER, owner(of))).unwrap(), 800);
    }
    // From weeks away to now, and the other way round.
    let (last, first) = (rows.last().unwrap(), &rows[0]);
    let moved = [(last, 1), (first, 1 << 41)].map(|(row, due_ms)| godwit::store::TimerRow { due_ms, ..row.clone() });
    wait(store.put_timers(moved.iter().cloned().map(TimerChange::Put).collect()));
    let store = h.between(store);
    let due = |due_ms| wait(store.due_timers(Vshard::all().collect(), due_ms, None, 9)).unwrap();
    assert_eq!(due(0..MINUTE_MS), [moved[0].due()]);
    assert_eq!(due(last.due_ms..last.due_ms + 1), []);
    assert_eq!(due(1 << 40..1 << 42), [moved[1].due()]);
}
