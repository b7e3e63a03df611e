//! What callers are told, whatever becomes of a write.

use super::*;
use crate::store::scylla::tables::{Mutation, Rows};
use CommitOutcome::{AlreadyDurable, Conflict, Durable, NotWritten, Unknown};

fn commit_points(attempts: Vec<Mutation>) -> Vec<Mutation> {
    attempts.into_iter().filter(replicas::is_commit_point).collect()
}

#[test]
fn an_unknown_write_is_written_again_unchanged_until_it_is_known() {
    let house = House::new();
    let owner = house.owner(1);
    house.replicas.commit_points([Fate::unknown(&[], &[0]), Fate::unknown(&[1], &[]), Fate::unknown(&[], &[])]);
    assert_eq!(owner.commit(append(1..=3)), Durable);
    let attempts = commit_points(house.replicas.attempts());
    assert_eq!(attempts.len(), 4);
    assert!(attempts.iter().all(|attempt| *attempt == attempts[0]), "the same cells with the same timestamp");
    assert_eq!(owner.entries(), entries(1..=3, "text"));
}

#[test]
fn what_was_not_written_may_be_followed_by_something_else() {
    let house = House::new();
    let owner = house.owner(1);
    house.replicas.commit_points([Fate::refused()]);
    let calls = [append_as(1..=2, "lost"), append_as(3..=3, "lost")].map(|commit| owner.log.commit(vec![commit]));
    let [first, second] = calls.map(|call| owner.world.run(call).remove(0));
    assert!(matches!(first, NotWritten(_)), "{first:?}");
    assert!(matches!(second, NotWritten(_) | Conflict), "{second:?}");
    assert_eq!(owner.commit(append(1..=1)), Durable);
    assert_eq!(owner.entries(), entries(1..=1, "text"));
}

#[test]
fn a_refusal_after_an_unknown_attempt_is_not_believed() {
    let house = House::new();
    let owner = house.owner(1);
    house.replicas.commit_points([Fate::unknown(&[2], &[]), Fate::refused(), Fate::refused()]);
    assert_eq!(owner.commit(append(1..=1)), Durable);
    assert_eq!(commit_points(house.replicas.attempts()).len(), 4);
}

#[test]
fn whoever_waits_long_is_told_that_nobody_knows_and_the_rest_that_nothing_was_written() {
    let house = House::new();
    let owner = house.owner(1);
    owner.commit(append(1..=1));
    house.replicas.plan(|mutation| match mutation.rows {
        Rows::Log { state: Some(_), .. } => Fate::unknown(&[0], &[]),
        _ => Fate::done(),
    });
    let begun_ms = owner.world.now_ms();
    let first = owner.log.commit(vec![append(2..=2)]);
    // It is on its way, so what comes now waits behind it.
    owner.world.pass(1);
    let second = owner.log.commit(vec![append(3..=3)]);
    let loaded = owner.log.load(group(1), 9);
    assert_eq!(owner.world.run(first), [Unknown]);
    assert_eq!(owner.world.now_ms(), begun_ms + 5_000);
    assert!(matches!(owner.world.run(second)[0], NotWritten(_)));
    assert!(owner.world.run(loaded).is_err(), "it must not say that the entry is not there");
    assert!(matches!(owner.commit(append(2..=2)), NotWritten(StoreError::Unavailable(_))));
    assert!(owner.world.run(owner.log.find_send(group(1), user(1), msg(2))).is_err());
    house.replicas.plan(|_| Fate::done());
    owner.world.pass(2_000);
    assert_eq!(owner.load(9).unwrap().unwrap().tail, entries(1..=2, "text"));
    assert_eq!(owner.commit(append(2..=2)), AlreadyDurable);
    assert_eq!(owner.commit(append(3..=3)), Durable);
}

#[test]
fn a_commit_that_could_not_even_be_prepared_in_time_was_not_written() {
    let house = House::new();
    let owner = house.owner(1);
    house.replicas.plan(|mutation| match mutation.rows {
        Rows::Membership { .. } => Fate::unknown(&[0], &[]),
        _ => Fate::done(),
    });
    let outcome = owner.commit(Commit { members: vec![put(5)], ..append(1..=1) });
    assert!(matches!(outcome, NotWritten(_)), "{outcome:?}");
    assert_eq!(commit_points(house.replicas.attempts()), []);
    house.replicas.plan(|_| Fate::done());
    assert_eq!(owner.conversations_of(5), []);
    assert_eq!(owner.commit(Commit { members: vec![put(5)], ..append(1..=1) }), Durable);
    assert_eq!(owner.conversations_of(5), [group(1)]);
}

#[test]
fn nothing_is_acknowledged_once_the_lease_has_lapsed() {
    let house = House::new();
    let owner = house.owner(1);
    assert_eq!(owner.commit(append(1..=1)), Durable);
    house.replicas.commit_points([Fate { after_ms: 50, ..Fate::done() }]);
    let call = owner.log.commit(vec![append(2..=2)]);
    owner.world.pass(10);
    owner.fence.end();
    assert_eq!(owner.world.run(call), [Unknown]);
    assert!(matches!(owner.commit(append(3..=3)), NotWritten(_)));
    assert!(owner.load(1).is_err());
    assert!(owner.world.run(owner.log.read(group(1), Seq(1), Direction::Forward, ALL)).is_err());
    assert!(owner.world.run(owner.log.summaries(vec![(group(1), user(1))])).is_err());
    assert!(owner.world.run(owner.log.conversations_of(user(1), None, 9)).is_err());
}

#[test]
fn a_write_whose_lease_has_lapsed_waits_until_it_is_renewed() {
    let house = House::new();
    let owner = house.owner_for(1, Duration::from_millis(100));
    let renew = || {
        let now = Duration::from_millis(owner.world.now_ms());
        owner.fence.renewed(now, Duration::from_millis(100), 2 * EPOCH_US - 1);
    };
    assert_eq!(owner.commit(Commit { members: vec![put(1)], ..append(1..=1) }), Durable);
    house.replicas.commit_points([(); 4].map(|()| Fate::unknown(&[0], &[])));
    house.replicas.attempts();
    let call = owner.log.commit(vec![append(2..=2)]);
    owner.world.pass(150);
    assert!(!owner.fence.holds() && !commit_points(house.replicas.attempts()).is_empty());
    owner.world.pass(4_000);
    assert_eq!(house.replicas.attempts(), [], "nothing is written meanwhile");
    renew();
    assert_eq!(owner.world.run(call), [Durable]);
    renew();
    assert_eq!((owner.entries(), owner.conversations_of(1)), (entries(1..=2, "text"), vec![group(1)]));
    // Members and memberships that were behind are written all the same.
    owner.world.pass(90);
    renew();
    let quiet = owner.log.quiet();
    owner.world.run(quiet);
    house.replicas.read_from([1, 2]);
    let second = house.owner(2);
    assert_eq!((second.entries(), second.members()), (entries(1..=2, "text"), vec![member(1)]));
}

#[test]
fn what_conflicts_while_the_lease_has_lapsed_was_not_written() {
    let house = House::new();
    let owner = house.owner_for(1, Duration::from_millis(100));
    assert_eq!(owner.commit(append(1..=1)), Durable);
    owner.world.pass(150);
    for (commit, was_sent) in [(append(1..=1), true), (append_as(1..=1, "other"), false), (append(9..=9), false)] {
        let outcome = owner.commit(commit);
        assert!(if was_sent { outcome == Unknown } else { matches!(outcome, NotWritten(_)) }, "{outcome:?}");
    }
}

#[test]
fn commits_that_come_while_one_is_on_its_way_share_the_next_mutation() {
    let house = House::new();
    let owner = house.owner(1);
    owner.commit(append(1..=1));
    house.replicas.attempts();
    house.replicas.commit_points([Fate { after_ms: 5, ..Fate::done() }]);
    let first = owner.log.commit(vec![append(2..=2)]);
    owner.world.pass(1);
    let calls: Vec<_> = (3..=130).map(|seq| owner.log.commit(vec![append(seq..=seq)])).collect();
    assert_eq!(owner.world.run(first), [Durable]);
    for call in calls {
        assert_eq!(owner.world.run(call), [Durable]);
    }
    let points = commit_points(house.replicas.attempts());
    let sizes = points.iter().map(|point| match &point.rows {
        Rows::Log { entries, .. } => entries.len(),
        _ => 0,
    });
    assert_eq!(sizes.collect::<Vec<_>>(), [1, 64, 64]);
    assert_eq!(owner.entries(), entries(1..=130, "text"));
}

#[test]
fn past_its_limit_the_queue_refuses_and_nothing_is_built_on_what_it_refused() {
    let mut house = House::new();
    house.limits.queue_commits_max = 2;
    let owner = house.owner(1);
    let calls: Vec<_> = (1..=4).map(|seq| owner.log.commit(vec![append(seq..=seq)])).collect();
    let outcomes: Vec<_> = calls.into_iter().map(|call| owner.world.run(call).remove(0)).collect();
    let refused = NotWritten(StoreError::Overloaded);
    assert_eq!(outcomes, [Durable, Durable, refused.clone(), refused]);
    assert_eq!(owner.commit(append(3..=3)), Durable, "there is room again");
}

#[test]
fn timers_are_durable_before_the_commit_and_only_with_one() {
    let house = House::new();
    let owner = house.owner(1);
    let with = |id, commit| Commit { timers: vec![TimerChange::Put(timer(id))], ..commit };
    assert_eq!(owner.commit(with(1, append(2..=2))), Conflict);
    assert_eq!(*house.timers.put.lock().unwrap(), []);
    let refusal = StoreError::Unavailable("no".to_owned());
    house.timers.refuses.lock().unwrap().push(TimerOutcome::NotWritten(refusal.clone()));
    assert_eq!(owner.commit(with(2, append(1..=1))), NotWritten(refusal));
    assert_eq!(owner.entries(), []);
    house.timers.put.lock().unwrap().clear();
    house.timers.refuses.lock().unwrap().push(TimerOutcome::Unknown);
    assert_eq!(owner.commit(with(3, append(1..=1))), Durable);
    let again = [TimerChange::Put(timer(3)), TimerChange::Put(timer(3))];
    assert_eq!(*house.timers.put.lock().unwrap(), again, "written again because nobody knew");
}

#[test]
fn a_commit_that_was_dropped_by_its_caller_goes_on() {
    let house = House::new();
    let owner = house.owner(1);
    drop(owner.log.commit(vec![append(1..=2)]));
    assert_eq!(owner.commit(append(3..=3)), Durable);
    owner.world.run(owner.log.quiet());
    assert_eq!(owner.entries(), entries(1..=3, "text"));
}

#[test]
fn timers_change_in_the_order_in_which_commits_and_others_ask() {
    let house = House::new();
    let owner = house.owner(1);
    let due = |id, due_ms| TimerChange::Put(TimerRow { due_ms, ..timer(id) });
    let with = |timers, commit| Commit { timers, ..commit };
    let first = owner.log.commit(vec![with(vec![due(1, 1)], append(1..=1)), with(vec![due(2, 2)], append(2..=2))]);
    let alone = owner.log.put_timers(vec![due(1, 3), due(2, 4)]);
    let free = owner.log.put_timers(vec![due(9, 5)]);
    let second = owner.log.commit(vec![with(vec![due(2, 6)], append(3..=3))]);
    let refused = owner.log.commit(vec![with(vec![due(1, 7)], append(9..=9))]);
    let last = owner.log.put_timers(vec![due(1, 8)]);
    assert_eq!(owner.world.run(refused), [Conflict]);
    assert_eq!((owner.world.run(second), owner.world.run(first)), (vec![Durable], vec![Durable; 2]));
    for call in [alone, free, last] {
        assert!(owner.world.run(call).iter().all(|outcome| *outcome == TimerOutcome::Durable));
    }
    let put = house.timers.put.lock().unwrap();
    let order = put.iter().map(|change| match change {
        TimerChange::Put(row) => row.due_ms,
        TimerChange::Remove(_) => 0,
    });
    assert_eq!(order.collect::<Vec<_>>(), [5, 1, 2, 3, 4, 6, 8]);
}
