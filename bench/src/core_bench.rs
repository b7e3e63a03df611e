//! One core with users online, driven by hand.

use crate::{InstantStore, NOW_MS};
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use godwit::{
    account::{Password, PasswordError},
    router::{Channel, Core, CoreId, Effects, Limits, Output, Passwords, Placement, Registration, Services, SessionId},
};
use godwit_proto::{
    DeviceId, UserId,
    v1::{self, client_frame::Body as Request, server_frame::Body},
};
use prost::Message;
use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// A core that owns everything, on an [`InstantStore`].
pub struct CoreBench {
    core: Core,
    effects: Effects,
    sessions: u64,
}

impl CoreBench {
    /// With nobody online.
    #[expect(clippy::new_without_default, reason = "it is built to be worked with, not to be a part of something")]
    pub fn new() -> Self {
        let drawn = AtomicU64::new(1);
        let services = Services {
            store: Arc::new(InstantStore::default()),
            passwords: Arc::new(NoPasswords),
            registration: Registration::Open,
            random: Arc::new(move |bytes| {
                // Different every time is all that is asked here.
                let number = drawn.fetch_add(1, Ordering::Relaxed);
                bytes.fill(0);
                let length = bytes.len().min(8);
                bytes[..length].copy_from_slice(&number.to_le_bytes()[..length]);
            }),
        };
        let core = Core::new(CoreId(0), Placement::new(1), Limits::default(), services);
        Self { core, effects: Effects::default(), sessions: 0 }
    }

    /// Registers a user and brings one device of theirs online.
    pub fn register(&mut self) -> (SessionId, UserId) {
        self.sessions += 1;
        let (number, session) = (self.sessions, SessionId(self.sessions));
        self.core.on_opened(session, "127.0.0.1:9".parse().unwrap(), &mut self.effects);
        let hello = v1::HelloRequest {
            protocol_version: 1,
            device_id: DeviceId([number as u8; 16]).to_bytes(),
            ..Default::default()
        };
        self.frame(session, request(1, Request::Hello(hello)));
        let register = v1::RegisterRequest {
            username: format!("user{number}"),
            password: "a long password".into(),
            ..Default::default()
        };
        self.frame(session, request(2, Request::Register(register)));
        let outputs = self.turn();
        let user = outputs.iter().find_map(|(_, output)| match output {
            Output::Reply(_, frame) => match v1::ServerFrame::decode_length_delimited(frame.clone()).unwrap().body {
                Some(Body::Authenticate(response)) => UserId::new(response.user_id).ok(),
                _ => None,
            },
            _ => None,
        });
        (session, user.expect("the user is online"))
    }

    /// A frame without its prefix arrives on the session stream.
    pub fn frame(&mut self, session: SessionId, frame: Bytes) {
        self.core.on_frame(NOW_MS, session, Channel::Session, frame, &mut self.effects);
    }

    /// Ends the turn, waits for the store, and gives what goes to the connections.
    pub fn turn(&mut self) -> Vec<(SessionId, Output)> {
        self.core.end_turn(NOW_MS, &mut self.effects);
        while !self.effects.tasks.is_empty() {
            for task in std::mem::take(&mut self.effects.tasks) {
                let completion = task.now_or_never().expect("nothing here takes time");
                self.core.on_completion(NOW_MS, completion, &mut self.effects);
            }
            self.core.end_turn(NOW_MS, &mut self.effects);
        }
        assert!(self.effects.mail.is_empty(), "there is no other core");
        std::mem::take(&mut self.effects.output)
    }
}

/// A frame without its prefix.
pub(crate) fn request(request_id: u64, body: Request) -> Bytes {
    v1::ClientFrame { request_id, body: Some(body) }.encode_to_vec().into()
}

struct NoPasswords;

impl Passwords for NoPasswords {
    fn hash(&self, _: Password) -> BoxFuture<'static, Result<String, PasswordError>> {
        ready(Ok(String::new())).boxed()
    }

    fn verify(&self, _: Option<String>, _: Password) -> BoxFuture<'static, Result<bool, PasswordError>> {
        ready(Ok(true)).boxed()
    }
}
