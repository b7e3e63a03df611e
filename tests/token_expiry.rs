//! A token ends when its time is over, for a new connection and for one that is open. The clock is the test's.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "support/one_core.rs"]
mod one_core;

use bytes::Bytes;
use godwit::router::Limits;
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

#[test]
fn an_open_session_ends_with_its_token() {
    let mut server = OneCore::new(Limits::default());
    let (session, identity) = server.register(0, "mayfly");
    let heartbeat = || Request::Heartbeat(HeartbeatRequest { client_time_ms: 1 });
    assert!(matches!(server.ask(identity.token_expires_ms - 1, session, heartbeat()), Body::Heartbeat(_)));
    let body = server.ask(identity.token_expires_ms, session, heartbeat());
    assert_eq!(code(&body), Some(ErrorCode::SessionEnded));
}
