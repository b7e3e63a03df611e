//! What a crash, a former owner or a rush leaves of timers.

use super::{
    blob,
    counters::Counters,
    no_log::NoLog,
    open,
    owner::{Owner, Turn, fence, fence_from},
    store_suite::{build::*, wait},
};
use godwit::{
    store::{
        DueTimer, StoreError, TimerChange, TimerKey, TimerOutcome, TimerOwner, TimerRow, TimerStore,
        scylla::timers::{Swept, TimerLimits, Timers},
    },
    telemetry::metric::STORE_STATEMENT_SECONDS,
};
use godwit_proto::{Vshard, VshardSet};
use std::{ops::Range, sync::OnceLock};

const BUCKET_MS: u64 = 300_000;

fn change(store: &NoLog, changes: Vec<TimerChange>) {
    let count = changes.len();
    assert_eq!(wait(store.put_timers(changes)), vec![TimerOutcome::Durable; count]);
}

fn put(store: &NoLog, rows: &[TimerRow]) {
    change(store, rows.iter().cloned().map(TimerChange::Put).collect());
}

fn remove(store: &NoLog, rows: &[TimerRow]) {
    change(store, rows.iter().map(|row| TimerChange::Remove(row.key)).collect());
}

fn due(store: &NoLog, due_ms: Range<u64>) -> Vec<DueTimer> {
    let mut due = wait(store.due_timers(Vshard::all().collect(), due_ms, None, usize::MAX)).unwrap();
    due.sort_unstable();
    due
}

/// That these are all the timers of their owner, however one asks.
fn assert_all(store: &NoLog, owner: TimerOwner, rows: &[TimerRow]) {
    assert_eq!(due(store, 0..u64::MAX), rows.iter().map(TimerRow::due).collect::<Vec<_>>());
    assert_eq!(wait(store.timers_of(REMINDER, owner, None, usize::MAX)).unwrap(), rows);
    assert_eq!(wait(store.count_timers(REMINDER, owner)), Ok(rows.len() as u64));
}

/// A conversation's timer.
fn timer_of_group(id: u64, due_ms: u64) -> TimerRow {
    let row = timer(1, id, due_ms);
    TimerRow { key: TimerKey { owner: TimerOwner::Conversation(group(1)), ..row.key }, ..row }
}

fn key_bytes(key: TimerKey) -> Vec<u8> {
    [owner_bytes(key), key.id.0.to_vec()].concat()
}

fn owner_bytes(key: TimerKey) -> Vec<u8> {
    match key.owner {
        TimerOwner::User(user) => [&[key.kind.0, 1][..], &user.as_u64().to_be_bytes(), &[0; 8]].concat(),
        TimerOwner::Conversation(conversation) => [&[key.kind.0, 2][..], conversation.as_bytes()].concat(),
    }
}

/// What a server writes first that puts a timer: what leads to it.
fn index_by_hand(turn: &Turn, row: &TimerRow, timestamp_us: i64) {
    let slice = row.key.owner.vshard().index() / 64;
    let bucket = row.due_ms / BUCKET_MS;
    let due = blob(&[row.due_ms.to_be_bytes().to_vec(), key_bytes(row.key)].concat());
    let owner = blob(&owner_bytes(row.key));
    let due_of = blob(&[&row.due_ms.to_be_bytes()[..], &row.key.id.0].concat());
    let bucket_of = if matches!(row.key.owner, TimerOwner::User(_)) { 0 } else { bucket };
    let at = format!("USING TIMESTAMP {timestamp_us}");
    turn.owner.run(async {
        for cql in [
            format!("INSERT INTO due_buckets (slice, bucket, live) VALUES ({slice}, {bucket}, true) {at}"),
            format!("INSERT INTO buckets_of (owner, bucket, live) VALUES ({owner}, {bucket_of}, true) {at}"),
            format!("INSERT INTO timers_due (slice, bucket, due, live) VALUES ({slice}, {bucket}, {due}, true) {at}"),
            format!(
                "INSERT INTO timers_of (owner, bucket, due, live) VALUES ({owner}, {bucket_of}, {due_of}, true) {at}"
            ),
        ] {
            turn.owner.execute(cql).await;
        }
    });
}

/// What it writes then: the timer.
fn timer_by_hand(turn: &Turn, row: &TimerRow, timestamp_us: i64) {
    let (key, due_ms, payload) = (blob(&key_bytes(row.key)), row.due_ms, blob(&row.payload));
    turn.owner.run(turn.owner.execute(format!(
        "INSERT INTO timers (timer, due_ms, payload, live) VALUES ({key}, {due_ms}, {payload}, true) \
         USING TIMESTAMP {timestamp_us}"
    )));
}

#[test]
fn a_timer_that_is_only_in_the_indexes_is_not_there() {
    let Some(turn) = Owner::turn() else { return };
    let former = fence();
    // Whoever meets one puts the indexes right, so there is one for each question.
    for row in [timer_of_group(1, 100), timer(1, 1, 100), timer(2, 1, 100)] {
        index_by_hand(&turn, &row, former.timestamp().unwrap());
    }
    let store = open(&turn, fence());
    let row = timer_of_group(1, 100);
    assert_eq!(wait(store.timers_of(REMINDER, row.key.owner, None, 9)), Ok(vec![]));
    assert_eq!(wait(store.count_timers(REMINDER, owner(1))), Ok(0));
    assert_eq!(due(&store, 0..999), []);
    assert_eq!(wait(store.timers(vec![row.key])), Ok(vec![None]));
    put(&store, std::slice::from_ref(&row));
    assert_all(&store, row.key.owner, &[row]);
}

#[test]
fn a_timer_that_was_moved_by_half_is_due_when_its_row_says() {
    let Some(turn) = Owner::turn() else { return };
    let former = fence();
    let store = open(&turn, former.clone());
    put(&store, &[timer(1, 1, 100), timer(1, 2, 200)]);
    // The first was moved, and its old rows were not overwritten. The second was about to be.
    let moved = TimerRow { due_ms: 7 * BUCKET_MS, ..timer(1, 1, 0) };
    index_by_hand(&turn, &moved, former.timestamp().unwrap());
    timer_by_hand(&turn, &moved, former.timestamp().unwrap());
    index_by_hand(&turn, &timer(1, 2, 300), former.timestamp().unwrap());
    let store = open(&turn, fence());
    let first = wait(store.due_timers(Vshard::all().collect(), 0..u64::MAX, None, 1));
    assert_eq!(first, Ok(vec![timer(1, 2, 200).due()]), "the first one that there is");
    assert_all(&store, owner(1), &[timer(1, 2, 200), moved]);
}

#[test]
fn a_sweep_puts_right_what_a_crash_left_and_what_comes_late_is_not_there() {
    let Some(turn) = Owner::turn() else { return };
    let former = fence();
    let store = open(&turn, former.clone());
    let (there, moved, new) = (timer_of_group(1, 100), timer_of_group(2, 200), timer_of_group(3, 300));
    put(&store, &[there.clone(), moved.clone()]);
    // On its way when the server died: one is moved, and there is a new one.
    let late = TimerRow { due_ms: 9 * BUCKET_MS, ..moved.clone() };
    index_by_hand(&turn, &late, former.timestamp().unwrap());
    index_by_hand(&turn, &new, former.timestamp().unwrap());
    let late_us = former.timestamp().unwrap();
    let store = open(&turn, fence_from(late_us + 1));
    let swept = wait(store.0.timers.sweep()).unwrap();
    assert_eq!(swept.repaired, 2);
    // The two buckets of the one that would have been moved.
    assert_eq!(wait(store.0.timers.sweep()).unwrap(), Swept { closed: 0, repaired: 0 });
    timer_by_hand(&turn, &late, late_us);
    timer_by_hand(&turn, &new, late_us);
    assert_eq!(wait(store.timers(vec![late.key, new.key])), Ok(vec![Some(moved.clone()), None]));
    assert_all(&store, there.key.owner, &[there, moved]);
}

#[test]
fn what_a_former_owner_writes_late_does_not_bring_a_timer_back() {
    let Some(turn) = Owner::turn() else { return };
    let former = fence();
    let store = open(&turn, former.clone());
    let (row, unseen) = (timer(1, 1, 100), timer(1, 2, 200));
    put(&store, std::slice::from_ref(&row));
    let late_us = former.timestamp().unwrap();
    let store = open(&turn, fence_from(late_us + 1));
    // The second one is not there yet: it is removed all the same.
    remove(&store, &[row.clone(), unseen.clone()]);
    for late in [&row, &unseen] {
        index_by_hand(&turn, late, late_us);
        timer_by_hand(&turn, late, late_us);
    }
    assert_all(&store, owner(1), &[]);
}

#[test]
fn ten_thousand_timers_may_be_due_within_the_same_minutes() {
    let Some(turn) = Owner::turn() else { return };
    let store = open(&turn, fence());
    let rows: Vec<_> = (0..10_000).map(|n| timer(1 + n % 97, n, 1_000 + n * 7_919 % 60_000)).collect();
    put(&store, &rows);
    let (mut found, mut after): (Vec<DueTimer>, _) = (Vec::new(), None);
    loop {
        let page = wait(store.due_timers(Vshard::all().collect(), 0..BUCKET_MS, after, 4_096)).unwrap();
        found.extend_from_slice(&page);
        after = page.last().copied();
        if page.len() < 4_096 {
            break;
        }
    }
    for of in 1..=97 {
        let its = |due: &&DueTimer| due.key.owner == owner(of);
        assert!(found.iter().filter(its).is_sorted());
    }
    found.sort_unstable();
    let mut expected: Vec<_> = rows.iter().map(TimerRow::due).collect();
    expected.sort_unstable();
    assert!(found == expected, "{} of {}", found.len(), expected.len());
    let one_core: VshardSet = Vshard::all().filter(|vshard| vshard.index() % 4 == 1).collect();
    let of_core = expected.iter().filter(|due| one_core.contains(due.key.owner.vshard())).count();
    let found = wait(store.due_timers(one_core, 0..BUCKET_MS, None, usize::MAX)).unwrap();
    assert_eq!(found.len(), of_core);
}

fn statements(name: &str) -> u64 {
    static COUNTERS: OnceLock<&'static Counters> = OnceLock::new();
    COUNTERS.get_or_init(Counters::install).get(STORE_STATEMENT_SECONDS, name)
}

#[test]
fn a_start_after_thousands_of_timers_have_fired_reads_none_of_their_partitions() {
    statements("");
    let Some(turn) = Owner::turn() else { return };
    let store = open(&turn, fence());
    let rows: Vec<_> = (0..2_000).map(|n| timer(1 + n % 5, n, n / 20 * BUCKET_MS)).collect();
    let of_group: Vec<_> = (0..100).map(|n| timer_of_group(n, n * BUCKET_MS)).collect();
    put(&store, &rows);
    put(&store, &of_group);
    remove(&store, &rows);
    remove(&store, &of_group[..99]);
    // Five users are in as many slices at most, and so is the conversation.
    let slices: std::collections::BTreeSet<_> =
        rows.iter().chain(&of_group).map(|row| row.key.owner.vshard().index() / 64).collect();
    let swept = wait(store.0.timers.sweep()).unwrap();
    assert!(swept.repaired == 0 && swept.closed >= 99 + 100, "{swept:?} of {slices:?}");
    let store = open(&turn, fence());
    let [directories, buckets] = ["due_buckets", "timers_due"].map(|name| (name, statements(name)));
    assert_eq!(due(&store, 0..u64::MAX), [of_group[99].due()]);
    assert_eq!(statements(directories.0) - directories.1, 64, "one question a slice");
    assert_eq!(statements(buckets.0) - buckets.1, 1, "what has fired is read");
    let before = statements("timers_of");
    assert_eq!(wait(store.timers_of(REMINDER, of_group[0].key.owner, None, 9)).unwrap(), of_group[99..]);
    assert_eq!(statements("timers_of") - before, 1);
}

#[test]
fn a_bucket_of_which_no_sweep_knows_is_read_once() {
    statements("");
    let Some(turn) = Owner::turn() else { return };
    let owner = blob(&owner_bytes(timer_of_group(1, 0).key));
    let insert = format!("INSERT INTO buckets_of (owner, bucket, live) VALUES ({owner}, 7, true) USING TIMESTAMP 1");
    turn.owner.run(turn.owner.execute(insert));
    let store = open(&turn, fence());
    let read = || {
        let before = statements("timers_of");
        assert_eq!(wait(store.timers_of(REMINDER, timer_of_group(1, 0).key.owner, None, 9)), Ok(vec![]));
        statements("timers_of") - before
    };
    assert!(read() > 0);
    assert_eq!(read(), 0);
}

#[test]
fn a_bucket_that_was_closed_takes_timers_again() {
    let Some(turn) = Owner::turn() else { return };
    let store = open(&turn, fence());
    let (first, second, third) = (timer_of_group(1, 100), timer_of_group(2, 200), timer_of_group(3, 300));
    put(&store, std::slice::from_ref(&first));
    remove(&store, std::slice::from_ref(&first));
    assert_eq!(wait(store.0.timers.sweep()).unwrap(), Swept { closed: 2, repaired: 0 });
    put(&store, std::slice::from_ref(&second));
    assert_all(&store, second.key.owner, std::slice::from_ref(&second));
    let store = open(&turn, fence());
    put(&store, std::slice::from_ref(&third));
    assert_all(&store, second.key.owner, &[second, third]);
}

#[test]
fn what_is_put_while_its_bucket_is_closed_is_there() {
    let Some(turn) = Owner::turn() else { return };
    let store = open(&turn, fence());
    let row = timer(1, 1, 100);
    let its_slice: VshardSet = [row.key.owner.vshard()].into_iter().collect();
    let closed = std::thread::scope(|scope| {
        let rounds = scope.spawn(|| {
            for _ in 0..150 {
                put(&store, std::slice::from_ref(&row));
                assert_eq!(wait(store.due_timers(its_slice.clone(), 0..999, None, 9)), Ok(vec![row.due()]));
                remove(&store, std::slice::from_ref(&row));
            }
        });
        let mut closed = 0;
        while !rounds.is_finished() {
            closed += wait(store.0.timers.sweep()).unwrap().closed;
        }
        closed
    });
    assert!(closed > 0, "no bucket was closed meanwhile");
}

#[test]
fn changes_that_wait_are_limited() {
    let Some(turn) = Owner::turn() else { return };
    // Nobody works on this runtime.
    let idle = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let limits = TimerLimits { queue_changes_max: 2, ..TimerLimits::default() };
    let store = turn.owner.run(Timers::open(turn.owner.cql.clone(), fence(), idle.handle().clone(), limits)).unwrap();
    let put = |id| TimerChange::Put(timer(1, id, 10));
    let _waits = store.put_timers(vec![put(1)]);
    let refused = TimerOutcome::NotWritten(StoreError::Overloaded);
    assert_eq!(wait(store.put_timers(vec![put(2), put(3)])), [refused.clone(), refused]);
}

#[test]
fn no_timer_is_written_or_found_past_the_fence() {
    let Some(turn) = Owner::turn() else { return };
    let fence = fence();
    let store = open(&turn, fence.clone());
    put(&store, &[timer(1, 1, 10)]);
    fence.end();
    let outcomes = wait(store.put_timers(vec![TimerChange::Put(timer(1, 2, 20))]));
    assert!(matches!(&outcomes[..], [TimerOutcome::NotWritten(_)]), "{outcomes:?}");
    assert!(wait(store.due_timers(Vshard::all().collect(), 0..99, None, 9)).is_err());
    assert!(wait(store.timers(vec![timer(1, 1, 10).key])).is_err());
    let store = open(&turn, super::fence());
    assert_all(&store, owner(1), &[timer(1, 1, 10)]);
}
