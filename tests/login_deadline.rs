//! Who does not come online in time is closed, whatever they say meanwhile, and so is who says nothing for too long. The clock is
//! the test's.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "support/one_core.rs"]
mod one_core;

use godwit::{router::Limits, timer::Tick};
use godwit_proto::v1::{ErrorCode, HeartbeatRequest, LoginRequest, client_frame::Body as Request, server_frame::Body};
use one_core::{LOGIN_WITHIN_MS, OneCore, code};

const HOUR_MS: u64 = 3_600_000;

#[test]
fn who_is_not_online_in_time_is_closed_and_who_is_stays() {
    let mut server = OneCore::new(Limits::default());
    let (online, _) = server.register(0, "swift");
    server.set_tick(Tick(HOUR_MS));
    let stranger = server.connect(HOUR_MS, 2);
    let wrong = LoginRequest { username: "nobody".into(), password: "long enough".into() };
    server.set_tick(Tick(HOUR_MS + LOGIN_WITHIN_MS - 1));
    let body = server.ask(HOUR_MS, stranger, Request::Login(wrong));
    assert_eq!((code(&body), server.closed(stranger)), (Some(ErrorCode::InvalidCredentials), None));
    server.set_tick(Tick(HOUR_MS + LOGIN_WITHIN_MS));
    server.settle(HOUR_MS);
    assert_eq!(server.closed(stranger), Some(ErrorCode::AuthenticationTimeout));
    let heartbeat = Request::Heartbeat(HeartbeatRequest::default());
    assert!(matches!(server.ask(HOUR_MS, online, heartbeat), Body::Heartbeat(_)));
}

#[test]
fn a_wall_clock_that_is_set_ends_nobody() {
    let mut server = OneCore::new(Limits::default());
    let stranger = server.connect(0, 1);
    server.settle(HOUR_MS);
    assert_eq!(server.closed(stranger), None);
}

#[test]
fn a_session_that_sends_nothing_for_long_is_closed_and_one_that_does_now_and_then_is_not() {
    let mut server = OneCore::new(Limits { session_idle_ms_max: HOUR_MS, ..Limits::default() });
    let (busy, _) = server.register(0, "swift");
    let (silent, _) = server.register(0, "owl");
    let pass_until = |server: &mut OneCore, end_ms: u64| {
        while let Some(next) = server.next_deadline().filter(|next| next.0 <= end_ms) {
            server.set_tick(next);
            server.settle(next.0);
        }
        server.set_tick(Tick(end_ms));
        server.settle(end_ms);
    };
    for half in 1..=4 {
        let now_ms = half * HOUR_MS / 2;
        pass_until(&mut server, now_ms - 1);
        assert_eq!(server.closed(silent), (half > 2).then_some(ErrorCode::SessionIdle), "{half} halves of an hour");
        assert!(matches!(
            server.ask(now_ms, busy, Request::Heartbeat(HeartbeatRequest::default())),
            Body::Heartbeat(_)
        ));
        assert_eq!(server.closed(busy), None);
    }
}
