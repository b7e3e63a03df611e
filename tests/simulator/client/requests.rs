//! Requests and their answers.

use super::{Around, Client, Stage, Wish};
use crate::{expiries, network::Stream};
use godwit::account::Token;
use godwit_proto::{
    ClientMsgId, ConversationId, DeviceId, Seq,
    v1::{self, ErrorCode, client_frame::Body as Request, server_frame::Body},
};

/// A request without an answer yet.
#[derive(Debug, Clone)]
pub struct Asked {
    pub what: What,
    pub at_ms: u64,
}

/// What was asked.
#[derive(Debug, Clone)]
pub enum What {
    Hello,
    Authenticate,
    Send(ConversationId, ClientMsgId),
    Chore(ConversationId, ClientMsgId),
    Schedule(ConversationId, ClientMsgId, Wish),
    ListScheduled(v1::ListScheduledRequest),
    MarkRead(ConversationId, u64),
    /// The views that were named, with what was held of each.
    Sync(Vec<(ConversationId, u64)>),
    History(ConversationId),
    /// A page that is only looked at.
    Page(ConversationId),
    List,
    Logout,
    /// Any answer will do.
    Whatever(Option<ConversationId>),
}

impl Client {
    pub(super) fn on_answer(&mut self, around: &mut Around<'_>, asked: Asked, body: Body) {
        let now_ms = around.now_ms;
        match (asked.what, body) {
            (What::Hello, Body::Hello(_)) => self.authenticate(around),
            (What::Authenticate, Body::Authenticate(response)) => {
                let me = godwit_proto::UserId::new(response.user_id).unwrap();
                assert!(self.me.is_none_or(|before| before == me), "the id of a user changed");
                self.me = Some(me);
                around.people[self.person].id = Some(me);
                if !response.token.is_empty() {
                    self.token = Some(response.token);
                }
                self.stage = Stage::Online;
                // Its unread counts are held against a recount.
                let stream = self.new_bulk();
                let list = v1::ListConversationsRequest::default();
                self.ask(now_ms, What::List, stream, Request::ListConversations(list));
            }
            (What::Authenticate, Body::Error(error)) => self.on_not_authenticated(around, &error),
            (What::Send(conversation, id), body) => self.on_sent(around, conversation, id, body),
            (What::Chore(_, id), body) => self.on_chore_answer(around, id, body),
            (What::Schedule(_, id, wish), body) => self.on_plan_answer(around, id, &wish, body),
            (What::ListScheduled(request), Body::ListScheduled(page)) => {
                self.on_scheduled_page(around, request, &page);
            }
            (What::MarkRead(conversation, seq), body) => self.on_marked(conversation, seq, body),
            (What::Sync(named), Body::Sync(response)) => self.on_synced(&named, response),
            (What::Sync(_), Body::Error(error)) => {
                assert!(error.retry_after_ms > 0, "a walk was refused: {error:?}");
                self.walk.again_at(now_ms + wait_ms(&error));
            }
            (What::History(conversation), body) => self.on_history(around, conversation, body),
            (What::Page(conversation), Body::History(page)) => {
                let inner = around.store.lock();
                let log = &inner.disk.conversations[&conversation].entries;
                for entry in page.entries {
                    assert!(expiries::is_same(&log[entry.seq as usize - 1], &entry), "a page differs from the log");
                }
            }
            (What::Logout, Body::Logout(_)) => self.token = None,
            (What::Page(_) | What::List | What::ListScheduled(_) | What::Logout, Body::Error(error)) => {
                let gone = error.code() == ErrorCode::NotAMember;
                assert!(error.retry_after_ms > 0 || gone, "refused without need: {error:?}");
            }
            (What::Whatever(Some(conversation)), Body::Send(sent)) => {
                let view = self.views.entry(conversation).or_default();
                view.target = view.target.max(sent.seq);
            }
            (What::Whatever(Some(conversation)), Body::SetExpiry(set)) => {
                let view = self.views.get_mut(&conversation).expect("views stay");
                if !view.left {
                    view.target = view.target.max(set.seq);
                }
            }
            (What::List | What::Whatever(_), _) => {}
            (what, body) => panic!("client {}: {what:?} was answered with {body:?}", self.id),
        }
    }

    fn authenticate(&mut self, around: &Around<'_>) {
        let person = &around.people[self.person];
        let password = format!("password of {}", person.name);
        let request = match &self.token {
            Some(token) => Request::Resume(v1::ResumeRequest { token: token.clone() }),
            None if person.id.is_some() || self.rng.chance(300) => {
                Request::Login(v1::LoginRequest { username: person.name.clone(), password })
            }
            None => {
                Request::Register(v1::RegisterRequest { username: person.name.clone(), password, ..Default::default() })
            }
        };
        self.stage = Stage::Authenticating;
        self.ask(around.now_ms, What::Authenticate, Stream::Session, request);
    }

    fn on_not_authenticated(&mut self, around: &Around<'_>, error: &v1::Error) {
        match error.code() {
            ErrorCode::InvalidToken => {
                // It can only be gone because this device logged in or out meanwhile. A new one can go before it is here.
                if let Some(token) = self.token.take() {
                    let hash = Token::from_slice(&token).unwrap().hash();
                    let stands = around.store.lock().disk.token(hash).is_some();
                    assert!(!stands, "client {}: a token that stands was called invalid", self.id);
                }
            }
            ErrorCode::UsernameTaken | ErrorCode::InvalidCredentials => {}
            _ => assert!(error.retry_after_ms > 0, "client {}: not let in: {error:?}", self.id),
        }
        // Whoever is refused may try once more on the same connection, unless it is being closed.
        self.authenticate(around);
    }

    pub(super) fn say_whatever(&mut self, around: &Around<'_>) {
        let now_ms = around.now_ms;
        let known: Vec<ConversationId> = self.views.keys().copied().collect();
        match self.rng.below(7) {
            0 => {
                let heartbeat = Request::Heartbeat(v1::HeartbeatRequest { client_time_ms: now_ms });
                self.ask(now_ms, What::Whatever(None), Stream::Session, heartbeat);
            }
            1 => {
                let stream = self.new_bulk();
                let list = v1::ListConversationsRequest::default();
                self.ask(now_ms, What::List, stream, Request::ListConversations(list));
            }
            2 if !known.is_empty() => {
                let conversation = self.rng.pick(&known);
                if self.views[&conversation].left {
                    return;
                }
                let request = v1::HistoryRequest {
                    conversation_id: conversation.to_bytes(),
                    from_seq: self.rng.below(self.views[&conversation].next() + 2),
                    direction: v1::Direction::Backward.into(),
                    limit: 0,
                };
                let stream = self.new_bulk();
                self.ask(now_ms, What::Page(conversation), stream, Request::History(request));
            }
            3 if !known.is_empty() => {
                let conversation_id = self.rng.pick(&known).to_bytes();
                let members = Request::ListMembers(v1::ListMembersRequest { conversation_id, after_user_id: 0 });
                self.ask(now_ms, What::Whatever(None), Stream::Session, members);
            }
            6 if !known.is_empty() => {
                let after_ms = if self.rng.chance(500) { 0 } else { 1_000 + self.rng.below(2_000) };
                let conversation = self.rng.pick(&known);
                let request = v1::SetExpiryRequest {
                    conversation_id: conversation.to_bytes(),
                    client_msg_id: self.rng.sixteen_bytes().to_vec().into(),
                    expiry: Some(v1::Expiry { after_ms, start: self.rng.pick(&[1, 2]) }),
                };
                let what = What::Whatever(Some(conversation));
                self.ask(now_ms, what, Stream::Session, Request::SetExpiry(request));
            }
            4 => {
                let usernames = around.people.iter().map(|person| person.name.to_uppercase()).collect();
                let find = Request::FindUsers(v1::FindUsersRequest { usernames, user_ids: Vec::new() });
                self.ask(now_ms, What::Whatever(None), Stream::Session, find);
            }
            5 if self.rng.chance(200) => {
                let all_devices = self.rng.chance(300);
                let logout = v1::LogoutRequest { all_devices, ..Default::default() };
                self.ask(now_ms, What::Logout, Stream::Session, Request::Logout(logout));
            }
            _ => self.acknowledge(),
        }
    }

    /// "I have everything up to here", for everything; never answered.
    pub(super) fn acknowledge(&mut self) {
        self.owes_ack = false;
        let position = |(id, view): (&ConversationId, &super::View)| v1::ConversationPosition {
            conversation_id: id.to_bytes(),
            seq: view.last(),
        };
        let positions = self.views.iter().map(position).collect();
        let ack = v1::ClientFrame { request_id: 0, body: Some(Request::Ack(v1::AckRequest { positions })) };
        self.out.push((Stream::Session, godwit_proto::codec::frame(&ack)));
    }

    /// What the store says that this device acknowledged is something it has.
    pub fn check_acked(&self, device: DeviceId, conversation: ConversationId, seq: Seq) {
        let held = self.views.get(&conversation).map_or(0, |view| view.last());
        assert!(device != self.device || seq.as_u64() <= held, "an ack of {seq:?}, of {held} held");
    }
}

/// How long the server asks to wait, shortened: simulated patience is cheap, simulated steps are not.
pub fn wait_ms(error: &v1::Error) -> u64 {
    u64::from(error.retry_after_ms).min(40)
}
