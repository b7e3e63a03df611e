//! One owner after the other: what the first has acknowledged is there, what it writes late is not.

use super::*;
use crate::store::scylla::tables::{BUCKET_ENTRIES, Rows};
use CommitOutcome::{Conflict, Durable};

#[test]
fn what_was_acknowledged_is_there_whoever_answers() {
    let house = House::new();
    let first = house.owner(1);
    house.replicas.plan(|_| Fate { now: vec![1, 2], late: vec![0], ..Fate::done() });
    let all = Commit { members: vec![put(1), put(2)], details: titled("a"), ..append(1..=5) };
    assert_eq!(first.commit(all), Durable);
    assert_eq!(first.commit(Commit { rewritten: vec![marker(2)], members: vec![take(2)], ..nothing(5) }), Durable);
    for (epoch, pair) in [(2, [0, 1]), (3, [2, 0]), (4, [1, 2])] {
        house.replicas.read_from(pair);
        let owner = house.owner(epoch);
        let loaded = owner.load(9).unwrap().unwrap();
        assert_eq!(loaded.details.title, "a");
        assert_eq!(loaded.members, [member(1)]);
        assert_eq!((loaded.tail.len(), &loaded.tail[1]), (5, &marker(2)));
        assert_eq!(owner.count(1), Some(1));
        assert_eq!((owner.conversations_of(1), owner.conversations_of(2)), (vec![group(1)], vec![]));
    }
}

#[test]
fn what_a_former_owner_writes_late_loses() {
    let house = House::new();
    let first = house.owner(1);
    first.commit(append(1..=2));
    house.replicas.commit_points([Fate::unknown(&[], &[0, 1, 2])]);
    drop(first.log.commit(vec![append_as(3..=6, "late")]));
    house.world.pass(1);
    house.world.kill();
    let second = house.owner(2);
    assert_eq!(second.load(9).unwrap().unwrap().tail, entries(1..=2, "text"));
    house.replicas.deliver();
    assert_eq!(second.entries(), entries(1..=2, "text"));
    assert_eq!(second.commit(append_as(3..=4, "mine")), Durable);
    let expected = [entries(1..=2, "text"), entries(3..=4, "mine")].concat();
    assert_eq!(second.entries(), expected);
    let third = house.owner(3);
    assert_eq!(third.entries(), expected);
    assert_eq!(third.commit(append_as(7..=7, "mine")), Conflict);
}

#[test]
fn what_a_former_owner_writes_late_into_the_next_bucket_is_no_part_of_the_log() {
    const END: u64 = BUCKET_ENTRIES - 1;
    let house = House::new();
    let first = house.owner(1);
    first.commit(append(1..=END));
    // Rows of the older bucket, `meta` and the newer bucket: all of it is late.
    house.replicas.plan(|_| Fate { now: vec![0], late: vec![1, 2], ..Fate::done() });
    drop(first.log.commit(vec![append_as(END + 1..=END + 3, "late")]));
    house.world.pass(1);
    house.world.kill();
    house.replicas.plan(|_| Fate::done());
    // The second owner sees `meta`, but not the bucket.
    house.replicas.read_from([1, 2]);
    let second = house.owner(2);
    assert_eq!(second.read(u64::MAX, Direction::Backward, ALL).len() as u64, END);
    house.replicas.deliver();
    house.replicas.read_from([0, 1]);
    let third = house.owner(3);
    assert_eq!(third.read(u64::MAX, Direction::Backward, ALL).len() as u64, END);
    assert_eq!(third.commit(append_as(END + 1..=END + 1, "mine")), Durable);
    let fourth = house.owner(4);
    assert_eq!(fourth.read(END + 1, Direction::Forward, ALL), [entry_of(END + 1, "mine")]);
}

#[test]
fn what_a_takeover_has_seen_stays() {
    for seen_by_one in 0..3 {
        let house = House::new();
        let first = house.owner(1);
        first.commit(append(1..=2));
        house.replicas.commit_points([Fate::unknown(&[seen_by_one], &[])]);
        let change = Commit { members: vec![put(3)], rewritten: vec![marker(1)], ..append(3..=5) };
        drop(first.log.commit(vec![change]));
        house.world.pass(1);
        house.world.kill();
        let other = (seen_by_one + 1) % 3;
        house.replicas.read_from([seen_by_one, other]);
        let second = house.owner(2);
        let expected = [vec![marker(1)], entries(2..=5, "text")].concat();
        assert_eq!(second.entries(), expected);
        house.replicas.read_from([other, (other + 1) % 3]);
        assert_eq!(second.entries(), expected);
        let third = house.owner(3);
        assert_eq!((third.entries(), third.members()), (expected, vec![member(3)]));
        assert_eq!(third.conversations_of(3), [group(1)]);
    }
}

#[test]
fn a_takeover_whose_first_write_is_unknown_answers_nothing_before_it_is_known() {
    let house = House::new();
    house.owner(1).commit(append(1..=2));
    let second = house.owner(2);
    house.replicas.commit_points([Fate::unknown(&[0], &[]), Fate::unknown(&[], &[])]);
    let begun_ms = house.world.now_ms();
    assert_eq!(second.entries(), entries(1..=2, "text"));
    assert!(house.world.now_ms() >= begun_ms + 20);
    let points = house.replicas.attempts().into_iter().filter(|one| one.timestamp_us >= 2 * EPOCH_US);
    let points: Vec<_> = points.filter(|one| matches!(one.rows, Rows::Log { .. })).collect();
    assert!(points.len() == 3 && points.iter().all(|point| *point == points[0]));
}

#[test]
fn a_takeover_that_was_refused_is_tried_again_by_the_next_call() {
    let house = House::new();
    house.owner(1).commit(append(1..=2));
    let second = house.owner(2);
    house.replicas.commit_points([Fate::refused()]);
    assert!(second.load(1).is_err());
    assert_eq!(second.entries(), entries(1..=2, "text"));
}

#[test]
fn an_owner_that_finds_a_newer_one_believes_nothing_any_more() {
    let house = House::new();
    house.owner(2).commit(append(1..=2));
    let late = house.owner(1);
    assert!(late.load(1).is_err());
    assert!(!late.fence.holds());
}

#[test]
fn rows_that_were_left_beyond_the_head_are_not_there() {
    let house = House::new();
    let first = house.owner(1);
    first.commit(append(1..=2));
    // A commit of many entries, of which only the last part never came.
    house.replicas.commit_points([Fate::unknown(&[], &[])]);
    drop(first.log.commit(vec![append_as(3..=700, "lost")]));
    house.world.pass(1);
    house.world.kill();
    let second = house.owner(2);
    assert_eq!(second.entries(), entries(1..=2, "text"));
    assert_eq!(second.commit(append(3..=3)), Durable);
    house.world.kill();
    let third = house.owner(3);
    assert_eq!(third.entries(), entries(1..=3, "text"));
    assert_eq!(third.load(9).unwrap().unwrap().tail, entries(1..=3, "text"));
}

#[test]
fn what_a_former_owner_left_to_be_done_is_done() {
    let house = House::new();
    let first = house.owner(1);
    first.commit(Commit { members: vec![put(1)], ..append(1..=3) });
    // The commit point is reached, nothing after it.
    house.replicas.plan(|mutation| match mutation.rows {
        Rows::Log { state: None, .. } | Rows::Conversation { .. } => Fate::unknown(&[], &[]),
        Rows::Membership { state, .. } if state != crate::store::scylla::tables::MembershipState::Unsure => {
            Fate::unknown(&[], &[])
        }
        _ => Fate::done(),
    });
    let change = Commit { members: vec![put(2), take(1)], rewritten: vec![marker(2)], ..nothing(3) };
    drop(first.log.commit(vec![change]));
    house.world.pass(9_000);
    house.world.kill();
    house.replicas.plan(|_| Fate::done());
    house.replicas.attempts();
    let second = house.owner(2);
    assert_eq!(second.read(2, Direction::Forward, ALL), [marker(2), entry_of(3, "text")]);
    house.world.pass(9_000);
    let written = house.replicas.attempts();
    let is_row =
        |rows: &Rows| matches!(rows, Rows::Log { state: None, entries, .. } if entries[0].entry == marker(2).encoded);
    assert!(written.iter().any(|one| is_row(&one.rows)), "the row of the rewritten entry");
    let memberships = written.iter().filter(|one| matches!(one.rows, Rows::Membership { .. })).count();
    assert_eq!(memberships, 2);
    assert_eq!((second.conversations_of(1), second.conversations_of(2)), (vec![], vec![group(1)]));
    assert_eq!((second.members(), second.count(2)), (vec![member(2)], Some(1)));
}

#[test]
fn the_first_commit_of_all_does_not_come_late_either() {
    for (writes, end) in [(false, 3), (true, 3), (false, BUCKET_ENTRIES + 3)] {
        let house = House::new();
        let first = house.owner(1);
        house.replicas.commit_points([Fate::unknown(&[], &[0, 1, 2])]);
        drop(first.log.commit(vec![Commit { members: vec![put(1)], ..append_as(1..=end, "late") }]));
        house.world.pass(1);
        house.world.kill();
        let second = house.owner(2);
        assert_eq!(second.load(9).unwrap(), None);
        if writes {
            assert_eq!(second.commit(append_as(1..=1, "mine")), Durable);
        }
        house.replicas.deliver();
        let expected = if writes { entries(1..=1, "mine") } else { vec![] };
        for owner in [second, house.owner(2), house.owner(3)] {
            assert_eq!((owner.entries(), owner.conversations_of(1)), (expected.clone(), vec![]));
        }
    }
}

#[test]
fn what_says_that_a_conversation_is_to_begin_may_itself_come_late() {
    let house = House::new();
    let first = house.owner(1);
    house.replicas.plan(|_| Fate::unknown(&[0], &[1, 2]));
    drop(first.log.commit(vec![append_as(1..=3, "late")]));
    house.world.pass(1);
    house.world.kill();
    house.replicas.plan(|_| Fate::done());
    house.replicas.read_from([1, 2]);
    let second = house.owner(2);
    assert_eq!(second.load(9).unwrap(), None);
    house.replicas.deliver();
    assert_eq!(house.owner(2).load(9).unwrap(), None);
    assert_eq!(second.commit(append(1..=2)), Durable);
    assert_eq!(house.owner(3).entries(), entries(1..=2, "text"));
}

#[test]
fn of_a_conversation_that_nobody_began_nothing_is_written() {
    let house = House::new();
    for epoch in [1, 2] {
        let owner = house.owner(epoch);
        assert_eq!((owner.load(1).unwrap(), owner.entries(), owner.count(1)), (None, vec![], None));
    }
    assert_eq!(house.replicas.attempts(), []);
}
