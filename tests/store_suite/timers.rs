//! Timers.

use super::{Harness, build::*, wait};
use bytes::Bytes;
use godwit::store::{
    DueTimer, TIMER_PAYLOAD_BYTES_MAX, TimerChange, TimerId, TimerKey, TimerKind, TimerOutcome, TimerOwner, TimerRow,
    TimerStore,
};
use godwit_proto::{Vshard, VshardSet};

fn change(store: &impl TimerStore, changes: Vec<TimerChange>) {
    let count = changes.len();
    assert_eq!(wait(store.put_timers(changes)), vec![TimerOutcome::Durable; count]);
}

fn put(store: &impl TimerStore, rows: &[TimerRow]) {
    change(store, rows.iter().cloned().map(TimerChange::Put).collect());
}

fn find(store: &impl TimerStore, key: TimerKey) -> Option<TimerRow> {
    wait(store.timers(vec![key])).unwrap().remove(0)
}

fn all_of(store: &impl TimerStore, of: u64) -> Vec<TimerRow> {
    wait(store.timers_of(REMINDER, owner(of), None, usize::MAX)).unwrap()
}

fn count(store: &impl TimerStore, of: u64) -> u64 {
    wait(store.count_timers(REMINDER, owner(of))).unwrap()
}

/// What is due in all vshards, in the order of times and keys.
fn due(store: &impl TimerStore, due_ms: std::ops::Range<u64>) -> Vec<DueTimer> {
    let mut due = wait(store.due_timers(Vshard::all().collect(), due_ms, None, usize::MAX)).unwrap();
    due.sort_unstable();
    due
}

fn dues(rows: &[TimerRow]) -> Vec<DueTimer> {
    let mut dues: Vec<_> = rows.iter().map(TimerRow::due).collect();
    dues.sort_unstable();
    dues
}

pub fn a_timer_is_there_once_it_is_answered<H: Harness>(h: &H) {
    let store = h.open();
    let of_conversation = TimerKey { owner: TimerOwner::Conversation(group(1)), ..timer(1, 1, 0).key };
    let rows = [timer(1, 1, 500), timer(2, 1, 400), TimerRow { key: of_conversation, ..timer(1, 1, 450) }];
    put(&store, &rows);
    let store = h.between(store);
    for row in &rows {
        assert_eq!(find(&store, row.key).as_ref(), Some(row));
    }
    assert_eq!(due(&store, 0..1_000), dues(&rows));
    assert_eq!(all_of(&store, 1), rows[..1]);
    assert_eq!(wait(store.timers_of(REMINDER, of_conversation.owner, None, 9)).unwrap(), rows[2..]);
}

pub fn timers_come_in_the_order_asked<H: Harness>(h: &H) {
    let store = h.open();
    let rows: Vec<_> = (1..=3).map(|n| timer(n, n, 10)).collect();
    put(&store, &rows);
    let store = h.between(store);
    let wanted = [&rows[2], &timer(1, 9, 10), &rows[0], &rows[2]];
    let found = wait(store.timers(wanted.iter().map(|row| row.key).collect())).unwrap();
    assert_eq!(found, [Some(rows[2].clone()), None, Some(rows[0].clone()), Some(rows[2].clone())]);
    assert_eq!(wait(store.timers(vec![])).unwrap(), []);
}

pub fn a_timer_that_is_put_again_is_due_at_its_new_time_alone<H: Harness>(h: &H) {
    for new_due_ms in [200, 300, 400] {
        let id = new_due_ms;
        let store = h.open();
        put(&store, &[timer(1, id, 300)]);
        let store = h.between(store);
        let moved = TimerRow { payload: Bytes::from_static(b"new"), ..timer(1, id, new_due_ms) };
        put(&store, std::slice::from_ref(&moved));
        let check = |store: &H::Store| {
            assert_eq!(due(store, 0..1_000), dues(std::slice::from_ref(&moved)));
            assert_eq!(all_of(store, 1), std::slice::from_ref(&moved));
            assert_eq!(count(store, 1), 1);
            assert_eq!(find(store, moved.key), Some(moved.clone()));
        };
        check(&store);
        let store = h.between(store);
        check(&store);
        change(&store, vec![TimerChange::Remove(moved.key)]);
    }
}

pub fn a_removed_timer_is_gone<H: Harness>(h: &H) {
    let store = h.open();
    let rows: Vec<_> = (1..=4).map(|id| timer(1, id, 10 * id)).collect();
    put(&store, &rows);
    let store = h.between(store);
    change(&store, vec![TimerChange::Remove(rows[0].key), TimerChange::Remove(rows[2].key)]);
    let left = [rows[1].clone(), rows[3].clone()];
    let check = |store: &H::Store| {
        assert_eq!(due(store, 0..1_000), dues(&left));
        assert_eq!(all_of(store, 1), left);
        assert_eq!(count(store, 1), 2);
        assert_eq!(find(store, rows[0].key), None);
    };
    check(&store);
    let store = h.between(store);
    check(&store);
    put(&store, &rows[..1]);
    let store = h.between(store);
    assert_eq!(count(&store, 1), 3);
    assert_eq!(due(&store, 0..11), dues(&rows[..1]));
}

pub fn removing_what_is_not_there_is_fine<H: Harness>(h: &H) {
    let store = h.open();
    put(&store, &[timer(1, 1, 10)]);
    change(&store, vec![TimerChange::Remove(timer(1, 2, 10).key), TimerChange::Remove(timer(2, 1, 10).key)]);
    let store = h.between(store);
    assert_eq!(due(&store, 0..100), dues(&[timer(1, 1, 10)]));
    change(&store, vec![TimerChange::Remove(timer(1, 1, 0).key)]);
    let store = h.between(store);
    change(&store, vec![TimerChange::Remove(timer(1, 1, 0).key)]);
    assert_eq!(due(&store, 0..100), []);
}

pub fn changes_of_one_call_take_effect_in_order<H: Harness>(h: &H) {
    let store = h.open();
    put(&store, &[timer(1, 1, 10), timer(1, 2, 20)]);
    let store = h.between(store);
    let remove = |id| TimerChange::Remove(timer(1, id, 0).key);
    let put = |id, due_ms| TimerChange::Put(timer(1, id, due_ms));
    change(
        &store,
        vec![remove(1), put(3, 30), put(1, 40), put(2, 50), put(3, 35), remove(2), put(4, 5), remove(4), put(1, 15)],
    );
    let left = [timer(1, 1, 15), timer(1, 3, 35)];
    let check = |store: &H::Store| {
        assert_eq!(due(store, 0..1_000), dues(&left));
        assert_eq!(all_of(store, 1), left);
        assert_eq!(count(store, 1), 2);
    };
    check(&store);
    check(&h.between(store));
}

pub fn timers_of_calls_change_in_the_order_they_were_made<H: Harness>(h: &H) {
    let store = h.open();
    let calls: Vec<_> = (1..=200).map(|ms| store.put_timers(vec![TimerChange::Put(timer(1, 1, ms))])).collect();
    // Waited for in the wrong order: what counts is when the call was made.
    for call in calls.into_iter().rev() {
        assert_eq!(wait(call), [TimerOutcome::Durable]);
    }
    let store = h.between(store);
    assert_eq!(due(&store, 0..1_000), dues(&[timer(1, 1, 200)]));
}

pub fn due_are_those_from_the_start_up_to_the_end<H: Harness>(h: &H) {
    let store = h.open();
    let rows: Vec<_> = [0, 99, 100, 101, 199, 200, u64::MAX - 1].map(|due_ms| timer(1, due_ms, due_ms)).to_vec();
    put(&store, &rows);
    let store = h.between(store);
    assert_eq!(due(&store, 100..200), dues(&rows[2..5]));
    assert_eq!(due(&store, 0..u64::MAX), dues(&rows));
    assert_eq!(due(&store, 0..0), []);
    assert_eq!(due(&store, 102..199), []);
    #[allow(clippy::reversed_empty_ranges)]
    let backwards = 200..100;
    assert_eq!(due(&store, backwards), []);
}

pub fn due_are_those_of_the_vshards_asked_for<H: Harness>(h: &H) {
    let store = h.open();
    let rows: Vec<_> = (1..=300).map(|of| timer(of, 1, 1_000 + of)).collect();
    // Some in rows and some in memory, where there is such a thing.
    put(&store, &rows[..200]);
    let store = h.between(store);
    put(&store, &rows[200..]);
    change(&store, (100..150).map(|of| TimerChange::Remove(timer(of, 1, 0).key)).collect());
    for cores in [1, 3, 64] {
        for core in 0..cores.min(4) {
            let is_owned = |vshard: &Vshard| vshard.index() % cores == core;
            let vshards: VshardSet = Vshard::all().filter(is_owned).collect();
            let owned = rows.iter().filter(|row| is_owned(&row.key.owner.vshard()));
            let owned = owned.filter(|row| !(1_100..1_150).contains(&row.due_ms));
            let mut found = wait(store.due_timers(vshards, 0..2_000, None, 1_000)).unwrap();
            found.sort_unstable();
            assert_eq!(found, owned.map(TimerRow::due).collect::<Vec<_>>(), "core {core} of {cores}");
        }
    }
    let none: VshardSet = [].into_iter().collect();
    assert_eq!(wait(store.due_timers(none, 0..2_000, None, 1_000)).unwrap(), []);
}

pub fn due_timers_come_in_pages_and_in_order_within_a_vshard<H: Harness>(h: &H) {
    let store = h.open();
    // Many at the same time, so that pages end among equals.
    let rows: Vec<_> = (0..240).map(|n| timer(1 + n % 60, n, 1_000 + n % 7)).collect();
    put(&store, &rows[..120]);
    let store = h.between(store);
    put(&store, &rows[120..]);
    change(&store, rows.iter().step_by(5).map(|row| TimerChange::Remove(row.key)).collect());
    let left: Vec<_> = rows.iter().enumerate().filter(|(n, _)| n % 5 != 0).map(|(_, row)| row.clone()).collect();
    for limit in [1, 7, 191, 192, 500] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = wait(store.due_timers(Vshard::all().collect(), 1_000..1_007, after, limit)).unwrap();
            assert!(page.len() <= limit && found.len() <= rows.len(), "pages go on and on");
            found.extend_from_slice(&page);
            if page.len() < limit {
                break;
            }
            after = page.last().copied();
        }
        for vshard in Vshard::all() {
            let of_vshard = |due: &&DueTimer| due.key.owner.vshard() == vshard;
            assert!(found.iter().filter(of_vshard).is_sorted(), "limit {limit}");
        }
        found.sort_unstable();
        assert_eq!(found, dues(&left), "limit {limit}");
    }
    assert_eq!(wait(store.due_timers(Vshard::all().collect(), 0..2_000, None, 0)).unwrap(), []);
}

pub fn a_page_of_due_timers_starts_where_both_bounds_say<H: Harness>(h: &H) {
    let store = h.open();
    let rows: Vec<_> = (1..=5).map(|n| timer(1, n, 10 * n)).collect();
    put(&store, &rows);
    let store = h.between(store);
    let after = |start, after: &TimerRow| {
        wait(store.due_timers(Vshard::all().collect(), start..50, Some(after.due()), 9)).unwrap()
    };
    assert_eq!(after(0, &rows[1]), dues(&rows[2..4]));
    assert_eq!(after(40, &rows[1]), dues(&rows[3..4]));
    assert_eq!(after(20, &timer(1, 1, 20)), dues(&rows[1..4]), "after one that is gone");
    assert_eq!(after(0, &rows[3]), []);
    assert_eq!(after(0, &rows[4]), []);
}

pub fn timers_of_an_owner_come_in_pages_by_due_time_and_id<H: Harness>(h: &H) {
    let store = h.open();
    let rows: Vec<_> = (0..90).map(|n| timer(7, n * 31 % 90, 1_000 + n / 4)).collect();
    let other_kind = TimerRow { key: TimerKey { kind: TimerKind(200), ..rows[0].key }, ..rows[0].clone() };
    put(&store, &[timer(6, 1, 1_001), timer(8, 1, 1_001), other_kind.clone()]);
    put(&store, &rows[..45]);
    let store = h.between(store);
    put(&store, &rows[45..]);
    change(&store, rows.iter().step_by(4).map(|row| TimerChange::Remove(row.key)).collect());
    let left = rows.iter().enumerate().filter(|(n, _)| n % 4 != 0).map(|(_, row)| row.clone());
    let mut left: Vec<_> = left.collect();
    left.sort_unstable_by_key(|row| (row.due_ms, row.key.id));
    for limit in [1, 10, 67, 68, 100] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = wait(store.timers_of(REMINDER, owner(7), after, limit)).unwrap();
            after = page.last().map(|row| (row.due_ms, row.key.id));
            assert!(page.len() <= limit && found.len() <= rows.len(), "pages go on and on");
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        assert_eq!(found, left, "limit {limit}");
    }
    assert_eq!(wait(store.timers_of(TimerKind(200), owner(7), None, 9)).unwrap(), [other_kind]);
    let in_between = Some((1_003, TimerId([u8::MAX; 16])));
    assert_eq!(wait(store.timers_of(REMINDER, owner(7), in_between, 1)).unwrap()[0].due_ms, 1_004);
    assert_eq!(all_of(&store, 9), []);
}

pub fn an_owners_timers_are_counted_by_kind<H: Harness>(h: &H) {
    let store = h.open();
    put(&store, &(0..30).map(|id| timer(1, id, id)).collect::<Vec<_>>());
    put(&store, &[timer(2, 1, 5)]);
    let store = h.between(store);
    let other_kind = TimerKey { kind: TimerKind(200), ..timer(1, 1, 5).key };
    put(&store, &[timer(1, 3, 99), timer(1, 77, 5), TimerRow { key: other_kind, ..timer(1, 1, 5) }]);
    change(&store, vec![TimerChange::Remove(timer(1, 4, 0).key), TimerChange::Remove(timer(1, 500, 0).key)]);
    assert_eq!(count(&store, 1), 30);
    assert_eq!(count(&store, 2), 1);
    assert_eq!(count(&store, 3), 0);
    assert_eq!(wait(store.count_timers(TimerKind(200), owner(1))).unwrap(), 1);
}

pub fn a_timer_may_carry_nothing_or_as_much_as_allowed<H: Harness>(h: &H) {
    let store = h.open();
    let sized = |id, bytes| TimerRow { payload: Bytes::from(vec![7; bytes]), ..timer(1, id, 5) };
    let rows = [sized(1, 0), sized(2, TIMER_PAYLOAD_BYTES_MAX)];
    put(&store, &rows);
    let store = h.between(store);
    assert_eq!(all_of(&store, 1), rows);
    let larger = vec![TimerChange::Put(sized(3, TIMER_PAYLOAD_BYTES_MAX + 1))];
    let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(store.put_timers(larger))));
    assert!(refused.is_err());
}
