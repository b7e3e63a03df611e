//! Who is online is seen by others while their node lives.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod redis_suite;
mod store_suite;

use godwit::store::{
    SessionPlace,
    redis::{OnlineSession, RedisOptions, Summarised},
};
use redis_suite::{RUNTIME, Space, embedded, open, until};
use std::time::Duration;
use store_suite::build::{device, user};

fn options(space: &Space) -> RedisOptions {
    RedisOptions { beat: Duration::from_millis(100), ..space.options() }
}

fn place(session: u64) -> SessionPlace {
    SessionPlace { core: 1, session }
}

fn online(store: &Summarised, of: u64) -> Vec<(u8, u64)> {
    let sessions = RUNTIME.block_on(store.sessions_of(user(of))).unwrap();
    let line = |session: &OnlineSession| (session.device.0[0], session.place.session);
    let mut lines: Vec<_> = sessions.iter().map(line).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn sessions_are_seen_from_elsewhere_until_they_end() {
    let Some(space) = Space::new() else { return };
    let ((store, _dir), (other, _other_dir)) = (embedded(), embedded());
    let (here, there) = (open(store, options(&space), 1), open(other, options(&space), 1));
    let sink = here.sessions("here");
    sink.online(user(1), device(1), place(10));
    sink.online(user(1), device(2), place(11));
    sink.online(user(1), device(1), place(12));
    until("both are seen", || online(&there, 1) == [(1, 12), (2, 11)]);
    sink.offline(user(1), device(2));
    until("one has gone", || online(&there, 1) == [(1, 12)]);
    assert_eq!(online(&there, 2), []);
}

#[test]
fn sessions_of_a_process_that_died_are_not_believed() {
    let Some(space) = Space::new() else { return };
    let ((store, _dir), (other, _other_dir)) = (embedded(), embedded());
    let (here, there) = (open(store.clone(), options(&space), 1), open(other, options(&space), 1));
    here.sessions("here").online(user(1), device(1), place(10));
    until("it is seen", || online(&there, 1) == [(1, 10)]);
    drop(here);
    until("it is not believed any more", || online(&there, 1).is_empty());
    let again = open(store, options(&space), 2);
    again.sessions("here").online(user(2), device(1), place(1));
    until("the next incarnation is seen", || online(&there, 2) == [(1, 1)]);
    assert_eq!(online(&there, 1), [], "what the one before wrote is not its");
}

#[test]
fn a_redis_that_was_flushed_knows_the_sessions_again() {
    let Some(space) = Space::new() else { return };
    let (store, _dir) = embedded();
    let here = open(store, options(&space), 1);
    here.sessions("here").online(user(1), device(1), place(10));
    until("it is seen", || online(&here, 1) == [(1, 10)]);
    space.flush();
    until("it is seen again", || online(&here, 1) == [(1, 10)]);
}

#[test]
fn sessions_of_a_backup_are_not_believed() {
    let Some(space) = Space::new() else { return };
    let (store, _dir) = embedded();
    let here = open(store, options(&space), 1);
    let sink = here.sessions("here");
    sink.online(user(1), device(1), place(10));
    sink.online(user(2), device(1), place(11));
    until("both are seen", || online(&here, 1) == [(1, 10)] && online(&here, 2) == [(1, 11)]);
    let backup = space.backup();
    sink.offline(user(2), device(1));
    let said = || -> String {
        redis::cmd("GET").arg(format!("{}:n:here", space.prefix)).query(&mut space.connection()).unwrap()
    };
    let before = said();
    until("one has gone, and another beat has come", || online(&here, 2).is_empty() && said() != before);
    space.restore(&backup);
    until("one is seen, and the other one is not", || online(&here, 1) == [(1, 10)] && online(&here, 2).is_empty());
}

#[test]
fn a_node_that_leaves_takes_its_sessions_with_it() {
    let Some(space) = Space::new() else { return };
    let (store, _dir) = embedded();
    let here = open(store, options(&space), 1);
    let sink = here.sessions("here");
    (1..=1_000).for_each(|n| sink.online(user(n), device(1), place(n)));
    until("all of them are there", || space.keys().len() == 1_001);
    RUNTIME.block_on(here.leave());
    assert_eq!(space.keys(), Vec::<Vec<u8>>::new());
}

#[test]
fn a_former_owner_takes_nothing_from_the_next_one() {
    let Some(space) = Space::new() else { return };
    let ((store, _dir), (other, _other_dir)) = (embedded(), embedded());
    let (former, next) = (open(store, options(&space), 1), open(other, options(&space), 2));
    let (former_sink, sink) = (former.sessions("former"), next.sessions("next"));
    former_sink.online(user(1), device(1), place(10));
    until("the former has it", || online(&next, 1) == [(1, 10)]);
    sink.online(user(1), device(1), place(20));
    until("the next has it", || online(&next, 1) == [(1, 20)]);
    former_sink.offline(user(1), device(1));
    former_sink.online(user(2), device(1), place(11));
    until("the former has written", || online(&next, 2) == [(1, 11)]);
    assert_eq!(online(&next, 1), [(1, 20)]);
}
