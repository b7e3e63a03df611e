//! A token ends when its time is over, for a new connection and for one that is open. The clock is the test's.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "support/one_core.rs"]
mod one_core;

use bytes::Bytes;
use godwit::{
    router::{Limits, SessionId},
    timer::Tick,
};
use godwit_proto::v1::{ErrorCode, HeartbeatRequest, ResumeRequest, client_frame::Body as Request, server_frame::Body};
use one_core::{OneCore, code};

const DAY_MS: u64 = 24 * 3_600_000;

fn resume(token: &Bytes) -> Request {
    Request::Resume(ResumeRequest { token: token.clone() })
}

#[test]
fn an_expired_token_is_refused_and_a_used_one_lives_on() {
    let mut server = OneCore::new(Limits::default());
    let (_, identity) = server.register(0, "mayfly");
    assert_eq!(identity.token_expires_ms, 90 * DAY_MS);

    // Used on day 80, it lives until day 170.
    let session = server.connect(80 * DAY_MS, 1);
    let body = server.ask(80 * DAY_MS, session, resume(&identity.token));
    assert!(matches!(&body, Body::Authenticate(again) if again.token_expires_ms == 170 * DAY_MS), "{body:?}");

    let session = server.connect(170 * DAY_MS, 1);
    assert_eq!(code(&server.ask(170 * DAY_MS, session, resume(&identity.token))), Some(ErrorCode::InvalidToken));
}

/// A session that says nothing, and when its token expires.
fn silent() -> (OneCore, SessionId, u64) {
    let mut server =
        OneCore::new(Limits { token_lifetime_ms: DAY_MS, session_idle_ms_max: 365 * DAY_MS, ..Limits::default() });
    let (session, identity) = server.register(0, "owl");
    (server, session, identity.token_expires_ms)
}

/// The monotonic clock goes on to this point, with a turn whenever the core wants one, and the wall clock is so far ahead of it.
fn pass_until(server: &mut OneCore, end_ms: u64, ahead_ms: u64) {
    while let Some(next) = server.next_deadline().filter(|next| next.0 <= end_ms) {
        server.set_tick(next);
        server.settle(next.0 + ahead_ms);
    }
    server.set_tick(Tick(end_ms));
    server.settle(end_ms + ahead_ms);
}

#[test]
fn a_session_that_says_nothing_ends_with_its_token_too() {
    let (mut server, session, expires_ms) = silent();
    pass_until(&mut server, expires_ms - 1, 0);
    assert_eq!(server.closed(session), None);
    pass_until(&mut server, expires_ms, 0);
    assert_eq!(server.closed(session), Some(ErrorCode::SessionEnded));
}

#[test]
fn a_wall_clock_that_is_set_ends_no_token_early_and_is_noticed_within_an_hour() {
    let (mut server, session, expires_ms) = silent();
    // A tenth of the way the clock is set forward, by more than is left.
    pass_until(&mut server, expires_ms / 10, 0);
    pass_until(&mut server, expires_ms / 10 + 3_600_000, expires_ms);
    assert_eq!(server.closed(session), Some(ErrorCode::SessionEnded));

    let (mut server, session, identity_expires_ms) = silent();
    // The clock stands at 0 for ever.
    while let Some(next) = server.next_deadline().filter(|next| next.0 <= 3 * identity_expires_ms) {
        server.set_tick(next);
        server.settle(0);
    }
    assert_eq!(server.closed(session), None);
}

#[test]
fn an_open_session_ends_with_its_token() {
    let mut server = OneCore::new(Limits::default());
    let (session, identity) = server.register(0, "mayfly");
    let heartbeat = || Request::Heartbeat(HeartbeatRequest { client_time_ms: 1 });
    assert!(matches!(server.ask(identity.token_expires_ms - 1, session, heartbeat()), Body::Heartbeat(_)));
    let body = server.ask(identity.token_expires_ms, session, heartbeat());
    assert_eq!(code(&body), Some(ErrorCode::SessionEnded));
}
