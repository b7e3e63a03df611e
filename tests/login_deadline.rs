//! Who does not come online in time is closed, whatever they say meanwhile. The clock is the test's.

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
