//! A token ends when its time is over, for a new connection and for one that is open. The clock is the test's.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use bytes::Bytes;
use futures_util::future::BoxFuture;
use godwit::{
    account::{Password, PasswordError},
    router::{Channel, Core, CoreId, Effects, Limits, Output, Passwords, Placement, Registration, Services, SessionId},
    store::embedded::{Embedded, EmbeddedOptions},
};
use godwit_proto::{
    codec::FrameDecoder,
    v1::{
        AuthenticateResponse, ClientFrame, ErrorCode, HeartbeatRequest, HelloRequest, RegisterRequest, ResumeRequest,
        ServerFrame, client_frame::Body as Request, server_frame::Body,
    },
};
use prost::Message;
use std::sync::Arc;

const DAY_MS: u64 = 24 * 3_600_000;

struct PlainPasswords;

impl Passwords for PlainPasswords {
    fn hash(&self, _: Password) -> BoxFuture<'static, Result<String, PasswordError>> {
        Box::pin(async { Ok("hash".into()) })
    }

    fn verify(&self, _: Option<String>, _: Password) -> BoxFuture<'static, Result<bool, PasswordError>> {
        Box::pin(async { Ok(true) })
    }
}

/// One core, whose tasks are run to their end whenever it has any.
struct Bench {
    core: Core,
    runtime: tokio::runtime::Runtime,
    sessions: u64,
    store: Embedded,
    _directory: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Embedded::open(EmbeddedOptions::new(directory.path().join("store"))).unwrap();
        let services = Services {
            store: Arc::new(store.clone()),
            passwords: Arc::new(PlainPasswords),
            registration: Registration::Open,
            random: Arc::new(|bytes| bytes.fill(7)),
        };
        let core = Core::new(CoreId(0), Placement::new(1), Limits::default(), services);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Self { core, runtime, sessions: 0, store, _directory: directory }
    }

    fn connect(&mut self, now_ms: u64) -> SessionId {
        self.sessions += 1;
        let session = SessionId(self.sessions);
        let mut effects = Effects::default();
        self.core.on_opened(session, "127.0.0.1:1".parse().unwrap(), &mut effects);
        let hello = HelloRequest { protocol_version: 1, device_id: Bytes::from_static(&[1; 16]), ..Default::default() };
        assert!(matches!(self.ask(now_ms, session, Request::Hello(hello))[..], [Body::Hello(_)]));
        session
    }

    /// The bodies of all frames that come of a request.
    fn ask(&mut self, now_ms: u64, session: SessionId, body: Request) -> Vec<Body> {
        let frame = ClientFrame { request_id: 1, body: Some(body) }.encode_to_vec();
        let mut effects = Effects::default();
        self.core.on_frame(now_ms, session, Channel::Session, frame.into(), &mut effects);
        let mut bodies = Vec::new();
        loop {
            self.core.end_turn(now_ms, &mut effects);
            for (to, output) in effects.output.drain(..) {
                if let (true, Output::Reply(_, frame)) = (to == session, output) {
                    let mut decoder = FrameDecoder::new();
                    decoder.push(&frame);
                    let frame = decoder.next_frame().unwrap().unwrap();
                    bodies.extend(ServerFrame::decode(frame).unwrap().body);
                }
            }
            let tasks: Vec<_> = effects.tasks.drain(..).collect();
            if tasks.is_empty() {
                return bodies;
            }
            for task in tasks {
                let completion = self.runtime.block_on(task);
                self.core.on_completion(now_ms, completion, &mut effects);
            }
        }
    }

    fn register(&mut self, now_ms: u64, session: SessionId) -> AuthenticateResponse {
        let request =
            RegisterRequest { username: "mayfly".into(), password: "long enough".into(), ..Default::default() };
        match self.ask(now_ms, session, Request::Register(request)).pop() {
            Some(Body::Authenticate(response)) => response,
            other => panic!("not registered: {other:?}"),
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.store.close();
    }
}

fn resume(token: &Bytes) -> Request {
    Request::Resume(ResumeRequest { token: token.clone() })
}

fn code(bodies: &[Body]) -> Option<ErrorCode> {
    match bodies.last() {
        Some(Body::Error(error)) => Some(error.code()),
        _ => None,
    }
}

#[test]
fn an_expired_token_is_refused_and_a_used_one_lives_on() {
    let mut bench = Bench::new();
    let session = bench.connect(0);
    let identity = bench.register(0, session);
    assert_eq!(identity.token_expires_ms, 90 * DAY_MS);

    // Used on day 80, it lives until day 170.
    let session = bench.connect(80 * DAY_MS);
    let bodies = bench.ask(80 * DAY_MS, session, resume(&identity.token));
    assert!(matches!(&bodies[..], [Body::Authenticate(again)] if again.token_expires_ms == 170 * DAY_MS), "{bodies:?}");

    let session = bench.connect(169 * DAY_MS + DAY_MS);
    let bodies = bench.ask(170 * DAY_MS, session, resume(&identity.token));
    assert_eq!(code(&bodies), Some(ErrorCode::InvalidToken));
}

#[test]
fn an_open_session_ends_with_its_token() {
    let mut bench = Bench::new();
    let session = bench.connect(0);
    let identity = bench.register(0, session);
    let heartbeat = || Request::Heartbeat(HeartbeatRequest { client_time_ms: 1 });
    let bodies = bench.ask(identity.token_expires_ms - 1, session, heartbeat());
    assert!(matches!(bodies[..], [Body::Heartbeat(_)]));
    let bodies = bench.ask(identity.token_expires_ms, session, heartbeat());
    assert_eq!(code(&bodies), Some(ErrorCode::SessionEnded));
}
