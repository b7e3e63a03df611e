//! The simulated cluster itself: what it promises, whatever goes wrong in it, and that things do go wrong.

use crate::{
    rng::Rng,
    simulated_cluster::{Cluster, Faults, Tables, driven},
};
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use godwit::store::{
    Direction,
    scylla::tables::{LogHead, LogRow, LogState, LogTables, MemberCell, MembershipState, Mutation, Rows, Written},
};
use godwit_proto::{ConversationId, Seq, UserId};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

const SEEDS: u64 = 100;

fn group() -> ConversationId {
    ConversationId::group([1; 16])
}

fn user(n: u64) -> UserId {
    UserId::new(n).unwrap()
}

fn wait<T: Send + 'static>(tables: &Tables, future: BoxFuture<'static, T>) -> T {
    let driven = driven(&tables.cluster, future);
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(driven)
}

/// Three entries and a head that says so, all with the timestamp in them.
fn append(timestamp_us: i64) -> Mutation {
    let entry = Bytes::from(timestamp_us.to_string());
    let state = LogState { head: Seq(3), epoch: timestamp_us as u64, pending: entry.clone() };
    let entries = (1..=3).map(|seq| LogRow { seq: Seq(seq), entry: entry.clone() }).collect();
    Mutation { timestamp_us, rows: Rows::Log { conversation: group(), bucket: 0, state: Some(state), entries } }
}

/// Which mutation is read, which is read whole or not at all.
fn whole(head: Option<LogHead>) -> i64 {
    let Some(head) = head else { return 0 };
    let timestamp_us = head.state.epoch as i64;
    let Rows::Log { state, mut entries, .. } = append(timestamp_us).rows else { unreachable!() };
    entries.reverse();
    assert_eq!((Some(head.state), head.rows), (state, entries));
    timestamp_us
}

fn newest(tables: &Tables) -> Option<i64> {
    wait(tables, tables.log_head(group(), 0, 10)).ok().map(whole)
}

#[test]
fn what_is_done_is_read_and_whole_whatever_else_is_on_its_way() {
    let (mut unknown, mut late) = (0, 0);
    for seed in 1..=SEEDS {
        let mut rng = Rng::new(seed);
        let cluster = Cluster::new(Faults::draw(&mut rng), rng.fork());
        cluster.set_faulty(true);
        let tables = cluster.start();
        let mut done = 0;
        for timestamp_us in 1..=20 {
            match wait(&tables, tables.write(append(timestamp_us))) {
                Written::Done => done = timestamp_us,
                Written::Unknown => unknown += 1,
                Written::NotWritten(_) => {}
            }
            if rng.chance(100) {
                cluster.set_down(rng.chance(500).then(|| rng.index(3)));
            }
            if let Some(read) = newest(&tables) {
                assert!(read >= done, "seed {seed}: {done} was done, and {read} is read");
            }
        }
        late += cluster.happened().late;
    }
    assert!(unknown > SEEDS && late > SEEDS / 2, "{unknown} unknown, {late} late");
}

#[test]
fn what_was_not_written_never_comes() {
    let faults = Faults { not_written: 1_000, doubled: 1_000, late: 1_000, late_ms_max: 100, ..Faults::NONE };
    let cluster = Cluster::new(faults, Rng::new(1));
    cluster.set_faulty(true);
    let tables = cluster.start();
    assert!(matches!(wait(&tables, tables.write(append(1))), Written::NotWritten(_)));
    while cluster.step() {}
    assert_eq!(newest(&tables), Some(0));
}

#[test]
fn the_later_timestamp_counts_in_whatever_order_they_arrive() {
    for seed in 1..=SEEDS {
        let cluster = Cluster::new(Faults { delay_ms_max: 50, doubled: 500, ..Faults::NONE }, Rng::new(seed));
        cluster.set_faulty(true);
        let tables = cluster.start();
        for timestamp_us in [2, 9, 4, 7] {
            let write = tables.write(append(timestamp_us));
            tables.spawn(write.map(drop).boxed());
        }
        while cluster.step() {}
        assert_eq!(newest(&tables), Some(9), "seed {seed}");
    }
}

/// Reads until one sees less than what is done.
fn finds_stale(faults: Faults) -> bool {
    (1..=SEEDS).any(|seed| {
        let cluster = Cluster::new(Faults { lost: 300, timeout_ms: 50, ..faults }, Rng::new(seed));
        cluster.set_faulty(true);
        let tables = cluster.start();
        wait(&tables, tables.write(append(1))) == Written::Done && newest(&tables) == Some(0)
    })
}

#[test]
fn a_quorum_is_needed_on_both_sides() {
    assert!(!finds_stale(Faults::NONE));
    assert!(finds_stale(Faults { read_from: 1, ..Faults::NONE }));
    assert!(finds_stale(Faults { written_to: 1, ..Faults::NONE }));
}

/// Writes something that gets to few replicas, and reads a part of it, so that a replica is told of that part.
fn torn_by_a_repair(seed: u64, limit: usize) -> bool {
    let faults = Faults { lost: 500, read_repair: true, timeout_ms: 10, ..Faults::NONE };
    let cluster = Cluster::new(faults, Rng::new(seed));
    cluster.set_faulty(true);
    let tables = cluster.start();
    wait(&tables, tables.write(append(1)));
    let _ = wait(&tables, tables.log_head(group(), 0, limit));
    let head = wait(&tables, tables.log_head(group(), 0, 10)).unwrap();
    head.is_some_and(|head| head.rows.len() < 3)
}

#[test]
fn a_read_of_a_part_may_repair_that_part_alone() {
    assert!((1..=SEEDS).any(|seed| torn_by_a_repair(seed, 1)));
    assert!(!(1..=SEEDS).any(|seed| torn_by_a_repair(seed, 3)));
}

#[test]
fn a_row_that_says_that_somebody_left_is_gone_after_a_while_and_uncovers_nothing() {
    let cluster = Cluster::new(Faults { left_ms: Some(100), ..Faults::NONE }, Rng::new(1));
    let tables = cluster.start();
    let write = |timestamp_us, rows| wait(&tables, tables.write(Mutation { timestamp_us, rows }));
    let membership = |state| Rows::Membership { user: user(1), conversation: group(), state };
    let member = |member| {
        let members = vec![MemberCell { user: user(1), member: Bytes::from_static(member) }];
        Rows::Conversation { conversation: group(), meta: None, members }
    };
    write(1, membership(MembershipState::Member));
    write(2, member(b"somebody"));
    write(3, membership(MembershipState::Left));
    write(4, member(b""));
    let listed = || wait(&tables, tables.memberships(user(1), None, 9)).unwrap().len();
    let rows = || wait(&tables, tables.members(group())).unwrap().len();
    assert_eq!((listed(), rows()), (1, 1));
    cluster.advance(cluster.now_ms() + 200);
    assert_eq!((listed(), rows()), (0, 0));
}

#[test]
fn rows_are_cut_at_the_end_that_was_asked_for() {
    let cluster = Cluster::new(Faults::NONE, Rng::new(1));
    let tables = cluster.start();
    cluster.preload(&append(1));
    let seqs = |direction, limit| {
        let rows = wait(&tables, tables.log_rows(group(), 0, (Seq(1), Seq(9)), direction, limit)).unwrap();
        rows.iter().map(|row| row.seq.0).collect::<Vec<_>>()
    };
    assert_eq!(seqs(Direction::Forward, 2), [1, 2]);
    assert_eq!(seqs(Direction::Backward, 2), [2, 3]);
}

#[test]
fn a_stopped_process_goes_on_where_it_was_and_a_killed_one_does_not() {
    let cluster = Cluster::new(Faults::NONE, Rng::new(1));
    let tables = cluster.start();
    let beats = Arc::new(AtomicU64::new(0));
    let (counted, beating) = (beats.clone(), tables.clone());
    tables.spawn(
        async move {
            loop {
                beating.sleep(10).await;
                counted.fetch_add(1, Ordering::Relaxed);
            }
        }
        .boxed(),
    );
    let after = |ms| {
        cluster.advance(cluster.now_ms() + ms);
        beats.load(Ordering::Relaxed)
    };
    assert_eq!(after(35), 3);
    cluster.stop(tables.process);
    assert_eq!(after(100), 3);
    cluster.resume(tables.process);
    assert_eq!(after(0), 4);
    cluster.kill(tables.process);
    assert_eq!(after(100), 4);
}
