//! One core, played by hand.

use crate::{
    process::SimPasswords,
    rng::Rng,
    settings::Settings,
    store::{Script, SimStore},
};
use bytes::Bytes;
use futures_util::FutureExt;
use godwit::router::{
    Channel, Core, CoreId, Effects, Limits, Output, Placement, Registration, Services, SessionId, Task,
};
use godwit_proto::{
    ClientMsgId, ConversationId, DeviceId, UserId,
    v1::{self, ErrorCode, client_frame::Body as Request, server_frame::Body},
};
use prost::Message;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

const NOW_MS: u64 = 1_700_000_000_000;

/// One core, its store, and what it has told each session.
pub struct Case {
    core: Core,
    pub store: SimStore,
    effects: Effects,
    tasks: Vec<Task>,
    pub now_ms: u64,
    /// After so many completions the clock is set forward by so much, before the core hears of it.
    pub forward: Option<(usize, u64)>,
    sessions: u64,
    requests: u64,
    told: BTreeMap<SessionId, Vec<v1::ServerFrame>>,
}

impl Case {
    pub fn new(limits: Limits) -> Self {
        let settings = Settings { store_delay_ms_max: 0, ..Settings::draw(1, &mut Rng::new(1), None) };
        let store = SimStore::new(settings, Rng::new(2));
        let random = Mutex::new(Rng::new(3));
        let services = Services {
            store: Arc::new(store.clone()),
            passwords: Arc::new(SimPasswords::default()),
            registration: Registration::Open,
            random: Arc::new(move |bytes| random.lock().unwrap().fill(bytes)),
        };
        Self {
            core: Core::new(CoreId(0), Placement::new(1), limits, services),
            store,
            effects: Effects::default(),
            tasks: Vec::new(),
            now_ms: NOW_MS,
            forward: None,
            sessions: 0,
            requests: 0,
            told: BTreeMap::new(),
        }
    }

    pub fn script(&self, script: Script) {
        self.store.lock().script = script;
    }

    pub fn open(&mut self, device: u8) -> SessionId {
        self.sessions += 1;
        let session = SessionId(self.sessions);
        self.core.on_opened(session, "127.0.0.1:9".parse().unwrap(), 10_000, &mut self.effects);
        let device_id = DeviceId([device; 16]).to_bytes();
        let hello = v1::HelloRequest { protocol_version: 1, device_id, ..Default::default() };
        self.ask(session, Channel::Session, Request::Hello(hello));
        session
    }

    /// A new user, online, and the token of the device.
    pub fn register(&mut self, device: u8) -> (SessionId, UserId, Bytes) {
        let session = self.open(device);
        let (username, password) = (format!("user{device}"), "a long password".into());
        let register = v1::RegisterRequest { username, password, ..Default::default() };
        let request = self.ask(session, Channel::Session, Request::Register(register));
        self.turn();
        match self.answer(session, request) {
            Some(Body::Authenticate(response)) => {
                (session, UserId::new(response.user_id).unwrap(), response.token.clone())
            }
            other => panic!("registration was answered with {other:?}"),
        }
    }

    pub fn ask(&mut self, session: SessionId, channel: Channel, body: Request) -> u64 {
        self.requests += 1;
        let frame = v1::ClientFrame { request_id: self.requests, body: Some(body) };
        self.core.on_frame(self.now_ms, session, channel, frame.encode_to_vec().into(), &mut self.effects);
        self.requests
    }

    pub fn send(&mut self, session: SessionId, conversation: ConversationId, id: u8) -> u64 {
        self.send_with(session, conversation, id, v1::SendRequest::default())
    }

    /// Sends with what this says of expiry and delivery.
    pub fn send_with(
        &mut self,
        session: SessionId,
        conversation: ConversationId,
        id: u8,
        request: v1::SendRequest,
    ) -> u64 {
        let request = v1::SendRequest {
            conversation_id: conversation.to_bytes(),
            client_msg_id: ClientMsgId([id; 16]).to_bytes(),
            body: "1 0".into(),
            ..request
        };
        self.ask(session, Channel::Session, Request::Send(request))
    }

    /// What the log has at a seq.
    pub fn entry(&self, conversation: ConversationId, seq: usize) -> Option<v1::Entry> {
        let inner = self.store.lock();
        inner.disk.conversations.get(&conversation)?.entries.get(seq - 1).cloned()
    }

    /// Turns until nothing moves any more.
    pub fn turn(&mut self) {
        loop {
            self.core.end_turn(self.now_ms, &mut self.effects);
            self.store.advance(0);
            self.tasks.append(&mut self.effects.tasks);
            assert!(self.effects.mail.is_empty(), "there is one core");
            for (session, output) in self.effects.output.drain(..) {
                if let Output::Reply(_, frame) | Output::Push(_, frame) = output {
                    let frame = v1::ServerFrame::decode_length_delimited(frame).unwrap();
                    self.told.entry(session).or_default().push(frame);
                }
            }
            let mut moved = false;
            for mut task in std::mem::take(&mut self.tasks) {
                match task.poll_unpin(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(completion) => {
                        moved = true;
                        self.forward = match self.forward.take() {
                            Some((0, by_ms)) => {
                                self.now_ms += by_ms;
                                None
                            }
                            later => later.map(|(left, by_ms)| (left - 1, by_ms)),
                        };
                        self.core.on_completion(self.now_ms, completion, &mut self.effects);
                    }
                    Poll::Pending => self.tasks.push(task),
                }
            }
            // A task that was not done may have begun to write.
            if !moved && !self.store.is_writing() {
                return;
            }
        }
    }

    pub fn answer(&self, session: SessionId, request: u64) -> Option<&Body> {
        let frames = self.told.get(&session)?;
        frames.iter().find(|frame| frame.request_id == request)?.body.as_ref()
    }

    pub fn refusal(&self, session: SessionId, request: u64) -> Option<ErrorCode> {
        match self.answer(session, request)? {
            Body::Error(error) => Some(error.code()),
            other => panic!("{other:?}"),
        }
    }

    /// The seqs that a session was pushed.
    pub fn pushed(&self, session: SessionId) -> Vec<u64> {
        let frames = self.told.get(&session).into_iter().flatten();
        let pushes = frames.filter_map(|frame| match &frame.body {
            Some(Body::Entries(push)) => Some(push.entries.iter().map(|entry| entry.seq)),
            _ => None,
        });
        pushes.flatten().collect()
    }
}
