//! Lists are right whatever becomes of Redis, and come from there while it is well.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod redis_suite;
mod store_suite;

use godwit::store::{
    Commit, CommitOutcome, LogStore,
    embedded::Embedded,
    redis::{RedisOptions, Summarised},
};
use godwit_proto::Seq;
use redis::Commands;
use redis_suite::{
    Space,
    chat::{Chat, ME, lines},
    composed_store::Composed,
    doubt::Doubtful,
    embedded, open,
    proxy::Proxy,
    settle, until,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use store_suite::{build::*, wait};

fn on(space: &Space) -> impl FnOnce(Arc<Embedded>) -> Summarised {
    |truth| open(truth, space.options(), 1)
}

#[test]
fn a_list_of_200_takes_two_round_trips() {
    let Some(space) = Space::new() else { return };
    let chat = Chat::new(200, on(&space));
    chat.warm();
    let before = chat.lists.counts();
    let ids = wait(chat.lists.conversations_of(user(ME), None, 1_000)).unwrap();
    lines(&chat.lists, user(ME), &ids);
    let after = chat.lists.counts();
    assert_eq!((after.round_trips - before.round_trips, after.from_redis - before.from_redis), (2, 201));
}

#[test]
fn what_commits_change_is_in_redis_without_another_read_of_the_store() {
    let Some(space) = Space::new() else { return };
    let chat = Chat::new(8, on(&space));
    chat.warm();
    (0..8).for_each(|n| chat.send(n));
    settle(&chat.lists);
    assert_eq!(chat.check(), chat.all());
    let details = Commit { details: Some(titled("waders")), ..nothing(chat.groups[0], 2) };
    chat.commit(vec![details, rewrite(chat.groups[1], 2, vec![marker(1)])]);
    settle(&chat.lists);
    assert_eq!(chat.check(), chat.all());
    // Who is shown now, and how many there are, only the store knows.
    chat.commit(vec![rewrite(chat.groups[2], 2, vec![marker(2)]), change(chat.groups[3], 2, vec![put(3)])]);
    settle(&chat.lists);
    assert!(chat.check() <= chat.all() - 2);
    settle(&chat.lists);
    assert_eq!(chat.check(), chat.all());
}

#[test]
fn who_comes_or_goes_has_another_list() {
    let Some(space) = Space::new() else { return };
    let chat = Chat::new(3, on(&space));
    chat.warm();
    chat.commit(vec![change(chat.groups[0], 1, vec![take(2)]), change(group(9), 0, vec![put(2)])]);
    settle(&chat.lists);
    chat.check();
    settle(&chat.lists);
    // User 2 is no member of the first group: no line is kept of that.
    assert_eq!(chat.check(), chat.all() - 1);
}

#[test]
fn a_redis_that_was_flushed_is_filled_again() {
    let Some(space) = Space::new() else { return };
    let chat = Chat::new(5, on(&space));
    chat.warm();
    space.flush();
    assert_eq!(chat.check(), 0);
    chat.warm();
    space.flush();
    // A change finds out, too.
    chat.send(0);
    settle(&chat.lists);
    chat.warm();
    assert!(chat.lists.counts().generations > 0);
}

#[test]
fn an_old_backup_is_not_believed() {
    let Some(space) = Space::new() else { return };
    let chat = Chat::new(5, on(&space));
    chat.warm();
    let backup = space.backup();
    (0..5).for_each(|n| chat.send(n));
    settle(&chat.lists);
    space.restore(&backup);
    chat.check();
    chat.warm();
    // With a change before anybody reads.
    let backup = space.backup();
    chat.send(1);
    settle(&chat.lists);
    space.restore(&backup);
    chat.send(1);
    settle(&chat.lists);
    chat.check();
    chat.warm();
}

#[test]
fn keys_that_are_evicted_are_made_again() {
    let Some(space) = Space::new() else { return };
    let chat = Chat::new(4, on(&space));
    chat.warm();
    let mut connection = space.connection();
    for key in space.keys() {
        let _: () = connection.del(key).unwrap();
        chat.check();
        chat.send(0);
        chat.send(1);
        chat.check();
        settle(&chat.lists);
    }
    chat.warm();
}

#[test]
fn a_redis_that_hangs_stalls_nobody_for_longer_than_an_answer_may_take() {
    let Some(space) = Space::new() else { return };
    let proxy = Proxy::before(&space.url);
    let timeout = Duration::from_millis(300);
    let chat = Chat::new(4, |truth| {
        open(truth, RedisOptions { response_timeout: timeout, ..space.options_at(&proxy.url()) }, 1)
    });
    chat.warm();
    proxy.hold();
    let started = Instant::now();
    chat.send(0);
    assert!(started.elapsed() < timeout, "nobody waits for Redis with a commit");
    chat.check();
    until("Redis is given up", || !chat.lists.is_up());
    settle(&chat.lists);
    let round_trips = chat.lists.counts().round_trips;
    chat.send(1);
    chat.check();
    assert_eq!(chat.lists.counts().round_trips, round_trips, "nobody asks any more");
    proxy.release();
    until("Redis is back", || chat.lists.is_up());
    chat.check();
    chat.warm();
}

#[test]
fn a_redis_that_is_cut_off_comes_back() {
    let Some(space) = Space::new() else { return };
    let proxy = Proxy::before(&space.url);
    let chat = Chat::new(4, |truth| open(truth, space.options_at(&proxy.url()), 1));
    chat.warm();
    for n in 0..4 {
        proxy.cut();
        chat.send(n);
        chat.check();
        chat.send(n);
        until("Redis is back", || {
            chat.check();
            chat.lists.is_up()
        });
        chat.check();
    }
    chat.warm();
}

#[test]
fn a_redis_that_was_never_started_is_not_needed_and_used_once_it_is_there() {
    let Some(space) = Space::new() else { return };
    let proxy = Proxy::before(&space.url);
    proxy.refuse();
    let chat = Chat::new(4, |truth| open(truth, space.options_at(&proxy.url()), 1));
    assert!(!chat.lists.is_up());
    chat.send(0);
    assert_eq!(chat.check(), 0);
    proxy.release();
    until("Redis is there", || chat.lists.is_up());
    chat.warm();
}

#[test]
fn a_change_that_arrives_after_newer_ones_does_nothing() {
    let Some(space) = Space::new() else { return };
    let proxy = Proxy::before(&space.url);
    let options = RedisOptions { response_timeout: Duration::from_millis(300), ..space.options_at(&proxy.url()) };
    let chat = Chat::new(2, |truth| open(truth, options, 1));
    chat.warm();
    proxy.hold_these();
    // On its way, and not answered.
    chat.send(0);
    chat.commit(vec![change(chat.groups[1], 1, vec![take(2)])]);
    until("the change is given up", || !chat.lists.is_up());
    until("Redis is reached otherwise", || chat.lists.is_up());
    // The same again, and newer.
    chat.send(0);
    chat.commit(vec![change(chat.groups[1], 1, vec![put(2)])]);
    chat.warm();
    let before = space.backup();
    proxy.release();
    let sent = chat.lists.counts().round_trips;
    chat.warm();
    assert!(chat.lists.counts().round_trips > sent);
    let values = |backup: &redis_suite::Backup| backup.iter().cloned().collect::<std::collections::BTreeMap<_, _>>();
    assert_eq!(values(&space.backup()), values(&before));
}

#[test]
fn of_two_owners_the_newer_one_is_believed() {
    let Some(space) = Space::new() else { return };
    let old = Chat::new(4, on(&space));
    old.warm();
    let lists = open(old.truth.clone(), space.options(), 2);
    let (_, dir) = embedded();
    let new = Chat { truth: old.truth.clone(), _dir: dir, lists, groups: old.groups.clone() };
    assert_eq!(new.check(), 0, "what another epoch wrote is not believed");
    new.warm();
    // What the old one still writes is not there; what it reads, it reads from the store.
    new.send(0);
    old.send(1);
    settle(&old.lists);
    assert_eq!(old.check(), 0);
    settle(&new.lists);
    let mine = new.lists.counts().generations;
    old.send(2);
    settle(&old.lists);
    assert_eq!(old.check(), 0);
    assert_eq!(new.lists.counts().generations, mine, "the old one does not disturb the new one");
}

#[test]
fn a_commit_that_nobody_knows_of_is_seen_whenever_it_takes_effect() {
    let Some(space) = Space::new() else { return };
    let (truth, dir) = embedded();
    let doubtful = Arc::new(Composed(Doubtful::new(truth.clone())));
    let lists = open(doubtful.clone(), space.options(), 1);
    let chat = Chat { truth, _dir: dir, lists, groups: vec![group(0)] };
    chat.commit(vec![Commit { members: vec![put(ME), put(2)], ..append(group(0), 1..=1) }]);
    chat.warm();
    doubtful.0.hold();
    let unknown = Commit { members: vec![take(2)], ..append(group(0), 2..=2) };
    assert_eq!(wait(chat.lists.commit(vec![unknown])), [CommitOutcome::Unknown]);
    chat.check();
    settle(&chat.lists);
    doubtful.0.release();
    chat.check();
    settle(&chat.lists);
    assert_eq!(chat.check(), 1, "only who was never in doubt has their list from Redis until it is settled");
    chat.send(0);
    settle(&chat.lists);
    chat.check();
    settle(&chat.lists);
    assert_eq!(chat.check(), 3);
}

#[test]
fn a_commit_whose_answer_nobody_waits_for_is_seen() {
    let Some(space) = Space::new() else { return };
    let chat = Chat::new(1, on(&space));
    chat.warm();
    drop(chat.lists.commit(vec![chat.message(0)]));
    until("it is durable", || wait(chat.truth.load(group(0), 1)).unwrap().unwrap().tail[0].seq == Seq(2));
    chat.check();
    settle(&chat.lists);
    chat.check();
}

#[test]
fn what_is_wrong_in_redis_is_found_and_repaired() {
    let Some(space) = Space::new() else { return };
    let chat = Chat::new(6, on(&space));
    chat.warm();
    redis_suite::RUNTIME.block_on(chat.lists.audit());
    let counts = chat.lists.counts();
    assert!(counts.audits > 0 && counts.mismatches == 0);
    let mut connection = space.connection();
    for key in space.keys().into_iter().filter(|key| key.windows(3).any(|part| part == b":c:")) {
        let _: () = connection.hset(key, "n", 99).unwrap();
    }
    lines(&chat.lists, user(ME), &chat.groups);
    redis_suite::RUNTIME.block_on(chat.lists.audit());
    assert_eq!(chat.lists.counts().mismatches, 1, "one line of each list is looked at");
    settle(&chat.lists);
    for _ in 0..chat.groups.len() {
        lines(&chat.lists, user(ME), &chat.groups);
        redis_suite::RUNTIME.block_on(chat.lists.audit());
        settle(&chat.lists);
    }
    chat.warm();
}

#[test]
fn an_audit_under_load_finds_nothing_wrong() {
    let Some(space) = Space::new() else { return };
    let chat = Chat::new(4, on(&space));
    chat.warm();
    std::thread::scope(|scope| {
        let audits = scope.spawn(|| {
            while chat.lists.counts().audits < 50 {
                chat.groups.iter().for_each(|id| drop(lines(&chat.lists, user(ME), &[*id])));
                redis_suite::RUNTIME.block_on(chat.lists.audit());
            }
        });
        let mut n = 0;
        while !audits.is_finished() {
            n += 1;
            chat.send(n % 2);
        }
    });
    assert_eq!(chat.lists.counts().mismatches, 0);
}
