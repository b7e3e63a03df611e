//! What is written where, and what is read of it.

use super::*;
use crate::store::scylla::tables::{BUCKET_ENTRIES, MembershipState, Mutation, Rows};
use CommitOutcome::Durable;

#[test]
fn a_log_goes_on_in_the_next_bucket_whatever_the_size_of_its_commits() {
    let house = House::new();
    let owner = house.owner(1);
    let mut next = 1;
    // One ends at the last entry of a bucket, one crosses, one has a whole bucket in the middle.
    for count in [BUCKET_ENTRIES - 1, 1, BUCKET_ENTRIES - 3, 5, 2 * BUCKET_ENTRIES, 1] {
        assert_eq!(owner.commit(append(next..=next + count - 1)), Durable);
        next += count;
        let other = house.owner(1);
        assert_eq!(other.load(3).unwrap().unwrap().tail, entries(next.saturating_sub(3).max(1)..=next - 1, "text"));
    }
    let taken = house.owner(2);
    assert_eq!(taken.entries(), entries(1..=next - 1, "text"));
    assert_eq!(taken.read(u64::MAX, Direction::Backward, ALL), entries(1..=next - 1, "text"));
    assert_eq!(taken.commit(append(next..=next)), Durable);
}

#[test]
fn members_and_details_go_to_their_rows_and_leave_what_every_mutation_carries() {
    let house = House::new();
    let owner = house.owner(1);
    let members = (1..=40).map(put).collect();
    owner.commit(Commit { members, details: titled("Watts"), ..append(1..=1) });
    house.world.pass(1);
    let settled =
        |rows: &Rows| matches!(rows, Rows::Conversation { members, meta: Some(_), .. } if members.len() == 40);
    assert!(house.replicas.attempts().iter().any(|one| settled(&one.rows)), "at once, for they are many");
    owner.commit(append(2..=2));
    let pending = house.replicas.attempts().into_iter().find_map(|one| match one.rows {
        Rows::Log { state: Some(state), .. } => Some(state.pending.len()),
        _ => None,
    });
    assert!(pending.unwrap() < 200, "{pending:?}");
    owner.commit(Commit { members: vec![take(7)], ..nothing(2) });
    for epoch in [1, 2] {
        let other = house.owner(epoch);
        let loaded = other.load(1).unwrap().unwrap();
        assert_eq!((loaded.details.title.as_str(), loaded.members.len()), ("Watts", 39));
        assert_eq!((other.count(7), other.count(8)), (None, Some(39)));
    }
    house.world.pass(10_000);
    let written = house.replicas.attempts();
    let left = |rows: &Rows| matches!(rows, Rows::Conversation { members, .. } if members[0].member.is_empty());
    assert!(written.iter().any(|one| left(&one.rows)), "after a while, for it is only one");
}

#[test]
fn a_membership_is_unsure_before_the_commit_and_sure_after_it() {
    let house = House::new();
    let owner = house.owner(1);
    owner.commit(Commit { members: vec![put(1), put(2)], ..nothing(0) });
    house.world.pass(10);
    house.replicas.attempts();
    // Who is there already, who is not there anyway, and a row that only changes.
    owner.commit(Commit { members: vec![put(1), take(9), MemberChange::Update(member(2)), take(2)], ..nothing(0) });
    house.world.pass(10);
    let order = house.replicas.attempts().into_iter().map(|one| match one.rows {
        Rows::Membership { user, state, .. } => (user.as_u64(), Some(state)),
        _ => (0, None),
    });
    let expected = [(2, Some(MembershipState::Unsure)), (0, None), (2, Some(MembershipState::Left))];
    assert_eq!(order.collect::<Vec<_>>(), expected);
}

#[test]
fn a_membership_that_stayed_unsure_is_not_marked_again_by_the_next_attempt() {
    let house = House::new();
    let owner = house.owner(1);
    owner.commit(Commit { members: vec![put(1)], ..nothing(0) });
    house.world.pass(10);
    house.replicas.attempts();
    house.replicas.commit_points([Fate::refused()]);
    let change = Commit { members: vec![put(2), take(1)], ..nothing(0) };
    assert!(matches!(owner.commit(change.clone()), CommitOutcome::NotWritten(_)));
    house.world.pass(10);
    assert_eq!(owner.commit(change), Durable);
    house.world.pass(10);
    let marks = |attempts: Vec<Mutation>| {
        let of_memberships = attempts.into_iter().filter_map(|one| match one.rows {
            Rows::Membership { user, state, .. } => Some((user.as_u64(), state)),
            _ => None,
        });
        of_memberships.collect::<Vec<_>>()
    };
    let (left, unsure, member) = (MembershipState::Left, MembershipState::Unsure, MembershipState::Member);
    assert_eq!(marks(house.replicas.attempts()), [(1, unsure), (2, unsure), (1, left), (2, member)]);
    // What is said once more is unsure once more before it changes.
    owner.commit(Commit { members: vec![take(2)], ..nothing(0) });
    house.world.pass(10);
    assert_eq!(marks(house.replicas.attempts()), [(2, unsure), (2, left)]);
}

#[test]
fn a_membership_that_stayed_unsure_is_asked_for_and_repaired() {
    let house = House::new();
    let owner = house.owner(1);
    owner.commit(Commit { members: vec![put(1)], ..nothing(0) });
    house.replicas.commit_points([Fate::refused()]);
    owner.commit(Commit { members: vec![put(2), take(1)], ..nothing(0) });
    house.world.kill();
    let other = house.owner(2);
    assert_eq!((other.conversations_of(1), other.conversations_of(2)), (vec![group(1)], vec![]));
    house.world.pass(10);
    house.replicas.attempts();
    house.replicas.reads();
    let third = house.owner(2);
    assert_eq!((third.conversations_of(1), third.conversations_of(2)), (vec![group(1)], vec![]));
    assert_eq!(house.replicas.reads(), 2, "no conversation is asked any more");
}

#[test]
fn identical_pages_in_flight_are_read_once() {
    let house = House::new();
    let owner = house.owner(1);
    owner.commit(append(1..=50));
    house.replicas.reads();
    house.replicas.slow_reads(5);
    let pages = (0..20).map(|_| owner.log.read(group(1), Seq(50), Direction::Backward, ALL));
    let pages = owner.world.run(futures_util::future::join_all(pages));
    assert!(pages.into_iter().all(|page| page.unwrap() == entries(1..=50, "text")));
    assert_eq!(house.replicas.reads(), 1);
    owner.commit(append(51..=51));
    assert_eq!(owner.read(99, Direction::Backward, ALL).len(), 51, "not what was read before");
}

#[test]
fn a_page_is_from_before_or_after_a_commit_that_rewrites_never_from_both() {
    let house = House::new();
    let owner = house.owner(1);
    owner.commit(append(1..=100));
    house.replicas.slow_reads(5);
    // Its second read comes after the commit.
    let page = owner.log.read(group(1), Seq(1), Direction::Forward, ALL);
    let commit = Commit { rewritten: vec![marker(1), marker(100)], ..nothing(100) };
    let (page, committed) = owner.world.run(futures_util::future::join(page, owner.log.commit(vec![commit])));
    assert_eq!(committed, [Durable]);
    let page = page.unwrap();
    assert_eq!((page.len(), &page[0], &page[99]), (100, &marker(1), &marker(100)));
}

#[test]
fn a_conversation_that_was_let_go_is_as_it_was() {
    let mut house = House::new();
    house.limits.conversations_max = 2;
    let owner = house.owner(1);
    let of = |n, commit| Commit { conversation: group(n), ..commit };
    for round in 1..=5 {
        for n in 1..=9 {
            let members = vec![put(round), MemberChange::Update(member(round))];
            assert_eq!(owner.commit(of(n, Commit { members, ..append(round..=round) })), Durable);
        }
        house.world.pass(20_000);
    }
    house.replicas.attempts();
    for n in 1..=9 {
        let loaded = owner.world.run(owner.log.load(group(n), 9)).unwrap().unwrap();
        assert_eq!((loaded.members.len(), loaded.tail), (5, entries(1..=5, "text")));
        assert_eq!(
            owner.world.run(owner.log.summaries(vec![(group(n), user(3))])).unwrap()[0].as_ref().unwrap().member_count,
            5
        );
    }
    assert_eq!(house.replicas.attempts(), [], "nothing is written for having been looked at");
}

#[test]
fn hashes_of_sends_are_written_behind_and_made_again() {
    let house = House::new();
    let owner = house.owner(1);
    for first in (1..6_000).step_by(100) {
        owner.commit(append(first..=first + 99));
    }
    house.world.pass(10);
    let is_sends = |rows: &Rows| matches!(rows, Rows::Sends { .. });
    let complete = |written: Vec<Mutation>| written.iter().filter(|one| is_sends(&one.rows)).count();
    assert_eq!(complete(house.replicas.attempts()), 23);
    let find = |owner: &Owner, seq| owner.world.run(owner.log.find_send(group(1), user(1), msg(seq))).unwrap();
    for seq in [1, 255, 256, 4_095, 4_096, 5_887, 5_888, 6_000] {
        assert_eq!(find(&owner, seq), Some(entry_of(seq, "text")));
    }
    assert_eq!(find(&owner, 6_001), None);
    assert_eq!(owner.world.run(owner.log.find_send(group(1), user(2), msg(7))).unwrap(), None);
    assert_eq!(complete(house.replicas.attempts()), 0);
    // Nobody was there from the start of the segment, so it is made when it is asked for.
    let other = house.owner(2);
    other.commit(append(6_001..=6_400));
    house.world.pass(10);
    assert_eq!(complete(house.replicas.attempts()), 1);
    assert_eq!(find(&other, 6_001), Some(entry_of(6_001, "text")));
    house.world.pass(10);
    assert_eq!(complete(house.replicas.attempts()), 1);
}

#[test]
fn a_commit_that_rewrites_is_answered_after_the_rows_are_overwritten() {
    let house = House::new();
    let owner = house.owner(1);
    owner.commit(append(1..=BUCKET_ENTRIES + 9));
    house.world.pass(10);
    house.replicas.attempts();
    let rewritten = [BUCKET_ENTRIES - 1, BUCKET_ENTRIES, BUCKET_ENTRIES + 2].map(marker).to_vec();
    assert_eq!(owner.commit(Commit { rewritten, ..nothing(BUCKET_ENTRIES + 9) }), Durable);
    let rows = house.replicas.attempts().into_iter().map(|one| match one.rows {
        Rows::Log { bucket, state, entries, .. } => (bucket, state.is_some(), entries.len()),
        _ => (0, false, 0),
    });
    assert_eq!(rows.collect::<Vec<_>>(), [(1, true, 0), (0, false, 1), (1, false, 2)]);
}
