//! One core on a real store, without a clock or a network: a test says what time it is, and may have the process die between any
//! two things that it waits for.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use futures_util::future::BoxFuture;
use godwit::{
    account::{Password, PasswordError},
    router::{
        Channel, Core, CoreId, DeadLetters, Effects, Limits, Mail, OfflineHook, Output, Passwords, Placement,
        Registration, Services, SessionId, Task,
    },
    store::embedded::{Embedded, EmbeddedOptions},
    timer::Tick,
};
use godwit_proto::{
    UserId,
    codec::FrameDecoder,
    v1::{
        AuthenticateResponse, ClientFrame, ErrorCode, HelloRequest, RegisterRequest, ServerFrame,
        client_frame::Body as Request, server_frame::Body,
    },
};
use prost::Message;
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

struct PlainPasswords;

impl Passwords for PlainPasswords {
    fn hash(&self, _: Password) -> BoxFuture<'static, Result<String, PasswordError>> {
        Box::pin(async { Ok("hash".into()) })
    }

    fn verify(&self, _: Option<String>, _: Password) -> BoxFuture<'static, Result<bool, PasswordError>> {
        Box::pin(async { Ok(true) })
    }
}

/// How long a connection has to come online.
pub const LOGIN_WITHIN_MS: u64 = 10_000;

/// A server of one core.
pub struct OneCore {
    core: Core,
    store: Embedded,
    limits: Limits,
    runtime: tokio::runtime::Runtime,
    sessions: u64,
    effects: Effects,
    tasks: VecDeque<Task>,
    /// What each session was sent and the test has not taken.
    sent: HashMap<SessionId, Vec<Body>>,
    /// The same for datagrams.
    datagrams: HashMap<SessionId, Vec<ServerFrame>>,
    /// Sessions that the core closed, and why.
    closed: HashMap<SessionId, ErrorCode>,
    directory: tempfile::TempDir,
}

impl OneCore {
    pub fn new(limits: Limits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Embedded::open(EmbeddedOptions::new(directory.path().join("store"))).unwrap();
        Self {
            core: core(&store, limits),
            store,
            limits,
            runtime: tokio::runtime::Builder::new_current_thread().build().unwrap(),
            sessions: 0,
            effects: Effects::default(),
            tasks: VecDeque::new(),
            sent: HashMap::new(),
            datagrams: HashMap::new(),
            closed: HashMap::new(),
            directory,
        }
    }

    /// The process dies, with all that it waits for, and starts again: only the store is left, and all sessions are gone.
    pub fn restart(&mut self) {
        self.restart_with(self.limits);
    }

    /// The same with another configuration.
    pub fn restart_with(&mut self, limits: Limits) {
        self.limits = limits;
        self.tasks.clear();
        self.effects = Effects::default();
        self.sent.clear();
        self.core = core(&self.store, self.limits);
    }

    pub fn connect(&mut self, now_ms: u64, device: u8) -> SessionId {
        self.sessions += 1;
        let session = SessionId(self.sessions);
        self.core.on_opened(session, "127.0.0.1:1".parse().unwrap(), LOGIN_WITHIN_MS, &mut self.effects);
        let hello = HelloRequest { protocol_version: 1, device_id: vec![device; 16].into(), ..HelloRequest::default() };
        assert!(matches!(self.ask(now_ms, session, Request::Hello(hello)), Body::Hello(_)));
        session
    }

    pub fn register(&mut self, now_ms: u64, name: &str) -> (SessionId, AuthenticateResponse) {
        let session = self.connect(now_ms, 1);
        let register =
            RegisterRequest { username: name.into(), password: "long enough".into(), ..RegisterRequest::default() };
        match self.ask(now_ms, session, Request::Register(register)) {
            Body::Authenticate(response) => (session, response),
            other => panic!("not registered: {other:?}"),
        }
    }

    pub fn close(&mut self, now_ms: u64, session: SessionId) {
        self.core.on_closed(now_ms, session, &mut self.effects);
        self.settle(now_ms);
    }

    /// The reply to a request on the session stream. Pushes stay to be taken.
    pub fn ask(&mut self, now_ms: u64, session: SessionId, body: Request) -> Body {
        self.ask_on(now_ms, session, Channel::Session, body)
    }

    /// The same on a bulk stream.
    pub fn ask_bulk(&mut self, now_ms: u64, session: SessionId, body: Request) -> Body {
        self.ask_on(now_ms, session, Channel::Bulk(0), body)
    }

    fn ask_on(&mut self, now_ms: u64, session: SessionId, channel: Channel, body: Request) -> Body {
        let before = self.sent.get(&session).map_or(0, Vec::len);
        self.put(now_ms, session, channel, body);
        self.settle(now_ms);
        let sent = self.sent.entry(session).or_default();
        let reply = (before..sent.len()).find(|&index| !is_push(&sent[index])).expect("no reply");
        sent.remove(reply)
    }

    /// Has this hook told of users without a session.
    pub fn hook(&mut self, hook: Arc<dyn OfflineHook>, dead_letters: DeadLetters) {
        self.core.set_offline_hook(hook, dead_letters);
    }

    /// Another core, or an operator, sends mail.
    pub fn mail(&mut self, now_ms: u64, mail: Mail) {
        self.core.on_mail(now_ms, mail, &mut self.effects);
        self.settle(now_ms);
    }

    /// The server is told to stop.
    pub fn stop(&mut self, now_ms: u64) {
        self.core.stop(&mut self.effects);
        self.turn(now_ms);
    }

    /// Hands a request in and does nothing else.
    pub fn put(&mut self, now_ms: u64, session: SessionId, channel: Channel, body: Request) {
        let frame = ClientFrame { request_id: 1, body: Some(body) }.encode_to_vec();
        self.core.on_frame(now_ms, session, channel, frame.into(), &mut self.effects);
    }

    /// A session sends a datagram.
    pub fn put_datagram(&mut self, now_ms: u64, session: SessionId, body: Request) {
        let frame = ClientFrame { request_id: 0, body: Some(body) }.encode_to_vec();
        self.core.on_datagram(now_ms, session, frame.into(), &mut self.effects);
        self.settle(now_ms);
    }

    /// Takes what a session was sent in datagrams.
    pub fn take_datagrams(&mut self, session: SessionId) -> Vec<Body> {
        let frames = self.datagrams.remove(&session).unwrap_or_default();
        frames.into_iter().filter_map(|frame| frame.body).collect()
    }

    /// Takes what a session was sent.
    pub fn take(&mut self, session: SessionId) -> Vec<Body> {
        self.sent.remove(&session).unwrap_or_default()
    }

    /// Turns until nothing is left to be done at this time.
    pub fn settle(&mut self, now_ms: u64) {
        while self.step(now_ms) {}
    }

    /// A turn, and one thing that was waited for. False: there was none.
    pub fn step(&mut self, now_ms: u64) -> bool {
        self.turn(now_ms);
        let Some(task) = self.tasks.pop_front() else { return false };
        let completion = self.runtime.block_on(task);
        self.core.on_completion(now_ms, completion, &mut self.effects);
        true
    }

    /// Takes away what is waited for, so that it takes long.
    pub fn hold(&mut self) -> VecDeque<Task> {
        std::mem::take(&mut self.tasks)
    }

    /// Puts it back.
    pub fn release(&mut self, held: VecDeque<Task>) {
        self.tasks.extend(held);
    }

    /// A turn.
    pub fn turn(&mut self, now_ms: u64) {
        self.core.end_turn(now_ms, &mut self.effects);
        assert!(self.effects.mail.is_empty(), "mail to another core");
        for (to, output) in self.effects.output.drain(..) {
            match output {
                Output::Reply(_, frame) | Output::Push(_, frame) => {
                    let mut decoder = FrameDecoder::new();
                    decoder.push(&frame);
                    let frame = ServerFrame::decode(decoder.next_frame().unwrap().unwrap()).unwrap();
                    self.sent.entry(to).or_default().extend(frame.body);
                }
                Output::Datagram(frame) => {
                    self.datagrams.entry(to).or_default().push(ServerFrame::decode(frame).unwrap());
                }
                Output::Close(code, _) => drop(self.closed.insert(to, code)),
                Output::Authenticated => {}
            }
        }
        self.tasks.extend(self.effects.tasks.drain(..));
    }

    /// Sets the monotonic clock.
    pub fn set_tick(&mut self, tick: Tick) {
        self.core.begin_turn(tick);
    }

    /// When it wants its next turn, by the monotonic clock.
    pub fn next_deadline(&self) -> Option<Tick> {
        self.core.next_deadline()
    }

    /// A push found no room.
    pub fn refuse_push(&mut self, session: SessionId) {
        self.core.on_push_refused(session);
    }

    /// A session that did not read reads again.
    pub fn drain(&mut self, now_ms: u64, session: SessionId) {
        self.core.on_drained(session, &mut self.effects);
        self.settle(now_ms);
    }

    /// Why the core closed a session, if it did.
    pub fn closed(&self, session: SessionId) -> Option<ErrorCode> {
        self.closed.get(&session).copied()
    }

    /// When it wants its next turn.
    pub fn next_turn_ms(&self) -> Option<u64> {
        self.core.next_turn_ms()
    }
}

impl Drop for OneCore {
    fn drop(&mut self) {
        self.store.close();
    }
}

fn core(store: &Embedded, limits: Limits) -> Core {
    let services = Services {
        store: Arc::new(store.clone()),
        passwords: Arc::new(PlainPasswords),
        registration: Registration::Open,
        random: Arc::new(random),
    };
    Core::new(CoreId(0), Placement::new(1), limits, services)
}

/// Every user gets another id, and every device another token.
fn random(bytes: &mut [u8]) {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    static DRAWN: AtomicU64 = AtomicU64::new(1);
    let drawn = DRAWN.fetch_add(1, Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    bytes.iter_mut().zip(drawn.iter().cycle()).for_each(|(byte, drawn)| *byte = *drawn);
}

fn is_push(body: &Body) -> bool {
    matches!(
        body,
        Body::Entries(_)
            | Body::Read(_)
            | Body::ResyncRequired(_)
            | Body::LaneOpened(_)
            | Body::Scheduled(_)
            | Body::Reminder(_)
    )
}

pub fn code(body: &Body) -> Option<ErrorCode> {
    match body {
        Body::Error(error) => Some(error.code()),
        _ => None,
    }
}

pub fn user(identity: &AuthenticateResponse) -> UserId {
    UserId::new(identity.user_id).unwrap()
}

pub fn id(byte: u8) -> Bytes {
    vec![byte; 16].into()
}
