//! One core with users online, driven by hand.

use crate::{InstantStore, NOW_MS, msg, request};
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use godwit::{
    account::{Password, PasswordError},
    router::{Channel, Core, CoreId, Effects, Limits, Output, Passwords, Placement, Registration, Services, SessionId},
    store::Store,
};
use godwit_proto::{
    ConversationId, DeviceId, UserId,
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
use tokio::runtime::Runtime;

/// Odd, so that no product of it and another number comes twice, and without a pattern.
const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;

/// A core that owns everything.
pub struct CoreBench {
    core: Core,
    effects: Effects,
    sessions: u64,
    /// For a store that takes time.
    waiting: Runtime,
}

impl CoreBench {
    /// With nobody online, on an [`InstantStore`].
    #[expect(clippy::new_without_default, reason = "it is built to be worked with, not to be a part of something")]
    pub fn new() -> Self {
        Self::on(Arc::new(InstantStore::default()))
    }

    /// With nobody online, on this store.
    pub fn on(store: Arc<dyn Store>) -> Self {
        let drawn = AtomicU64::new(1);
        let services = Services {
            store,
            passwords: Arc::new(NoPasswords),
            registration: Registration::Open,
            random: Arc::new(move |bytes| {
                // Ids that are spread like random ones, and the same in every run.
                let number = drawn.fetch_add(1, Ordering::Relaxed).wrapping_mul(GOLDEN_RATIO);
                bytes.fill(0);
                let length = bytes.len().min(8);
                bytes[..length].copy_from_slice(&number.to_le_bytes()[..length]);
            }),
        };
        let core = Core::new(CoreId(0), Placement::new(1), Limits::default(), services);
        let waiting = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Self { core, effects: Effects::default(), sessions: 0, waiting }
    }

    /// Registers a user and brings one device of theirs online.
    pub fn register(&mut self) -> (SessionId, UserId) {
        self.sessions += 1;
        let (number, session) = (self.sessions, SessionId(self.sessions));
        self.core.on_opened(session, "127.0.0.1:9".parse().unwrap(), 10_000, &mut self.effects);
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
        let user = self.replies().into_iter().find_map(|body| match body {
            Body::Authenticate(response) => UserId::new(response.user_id).ok(),
            _ => None,
        });
        (session, user.expect("the user is online"))
    }

    /// Makes a group of the user of this session and of these others.
    pub fn create_group(&mut self, owner: SessionId, others: &[UserId]) -> ConversationId {
        let mut requests = others.chunks(Limits::default().users_per_request_max);
        let members = |of: Option<&[UserId]>| of.unwrap_or_default().iter().map(|user| user.as_u64()).collect();
        let create = v1::CreateGroupRequest {
            client_msg_id: msg(u64::MAX).to_bytes(),
            title: "all".into(),
            member_ids: members(requests.next()),
        };
        self.frame(owner, request(1, Request::CreateGroup(create)));
        let created = self.replies().into_iter().find_map(|body| match body {
            Body::CreateGroup(created) => ConversationId::from_slice(&created.conversation_id).ok(),
            _ => None,
        });
        let conversation = created.expect("the group was created");
        for (number, more) in requests.enumerate() {
            let add = v1::AddMembersRequest {
                conversation_id: conversation.to_bytes(),
                client_msg_id: msg(u64::MAX - 1 - number as u64).to_bytes(),
                user_ids: members(Some(more)),
            };
            self.frame(owner, request(1, Request::AddMembers(add)));
            let added = self.replies().iter().any(|body| matches!(body, Body::ChangeMembers(_)));
            assert!(added, "the group takes them");
        }
        conversation
    }

    /// A frame without its prefix arrives on the session stream.
    pub fn frame(&mut self, session: SessionId, frame: Bytes) {
        self.core.on_frame(NOW_MS, session, Channel::Session, frame, &mut self.effects);
    }

    /// A frame without its prefix arrives on a bulk stream.
    pub fn bulk_frame(&mut self, session: SessionId, frame: Bytes) {
        self.core.on_frame(NOW_MS, session, Channel::Bulk(1), frame, &mut self.effects);
    }

    /// Ends the turn, waits for the store, and says how many frames go to the connections.
    pub fn turn(&mut self) -> u64 {
        self.finish();
        let frames = self.effects.output.len() as u64;
        self.effects.output.clear();
        frames
    }

    /// The same, and reads the replies.
    pub fn replies(&mut self) -> Vec<Body> {
        self.finish();
        let replies = self.effects.output.drain(..).filter_map(|(_, output)| match output {
            Output::Reply(_, frame) => v1::ServerFrame::decode_length_delimited(frame).unwrap().body,
            _ => None,
        });
        replies.collect()
    }

    fn finish(&mut self) {
        self.core.end_turn(NOW_MS, &mut self.effects);
        while !self.effects.tasks.is_empty() {
            for mut task in std::mem::take(&mut self.effects.tasks) {
                let at_once = (&mut task).now_or_never();
                let completion = at_once.unwrap_or_else(|| self.waiting.block_on(task));
                self.core.on_completion(NOW_MS, completion, &mut self.effects);
            }
            self.core.end_turn(NOW_MS, &mut self.effects);
        }
        assert!(self.effects.mail.is_empty(), "there is no other core");
    }
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
