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
    let (mut here, there) = (open(store, options(&space), 1), open(other, options(&space), 1));
    let sink = here.sessions("here", 7);
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
    let (mut here, there) = (open(store.clone(), options(&space), 1), open(other, options(&space), 1));
    here.sessions("here", 7).online(user(1), device(1), place(10));
    until("it is seen", || online(&there, 1) == [(1, 10)]);
    drop(here);
    until("it is not believed any more", || online(&there, 1).is_empty());
    let mut again = open(store, options(&space), 2);
    let sink = again.sessions("here", 8);
    sink.online(user(2), device(1), place(1));
    until("the next incarnation is seen", || online(&there, 2) == [(1, 1)]);
    assert_eq!(online(&there, 1), [], "what the one before wrote is not its");
}

#[test]
fn a_redis_that_was_flushed_knows_the_sessions_again() {
    let Some(space) = Space::new() else { return };
    let (store, _dir) = embedded();
    let mut here = open(store, options(&space), 1);
    here.sessions("here", 7).online(user(1), device(1), place(10));
    until("it is seen", || online(&here, 1) == [(1, 10)]);
    space.flush();
    until("it is seen again", || online(&here, 1) == [(1, 10)]);
}
