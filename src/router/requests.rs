//! A frame from a client: decoded, checked against what the session may ask, and sent on its way.

use super::{
    Channel, Completion, Core, Effects, Mail, Output, ReplyAddress, ReplyKind, ReplyTo, SessionId,
    authentication::{Attempt, authenticate, name_keys},
    frames,
    login::TOKEN_EXPIRED,
    parse,
    queries::{self, Answer},
    reminder::{self, ReminderRequest},
    schedule::{self, ScheduleRequest},
    services::refusal,
    session::{Device, Online, Stage},
};
use crate::{
    chat::{Action, Input, Refusal},
    store::Revoke,
};
use aws_lc_rs::digest;
use bytes::Bytes;
use futures_util::FutureExt;
use godwit_proto::{
    ClientMsgId, ConversationId, ConversationKind, PROTOCOL_VERSION, Seq, UserId,
    v1::{self, ErrorCode, client_frame::Body as Request, server_frame::Body},
};
use prost::Message;
use std::future::Future;

/// How long a client waits before it repeats what a busy core refused.
const CONGESTED_RETRY_MS: u32 = 100;

const SERVER_NAME: &str = concat!("godwit/", env!("CARGO_PKG_VERSION"));

impl Core {
    pub(super) fn handle_frame(
        &mut self,
        now_ms: u64,
        id: SessionId,
        channel: Channel,
        frame: Bytes,
        effects: &mut Effects,
    ) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if matches!(session.stage, Stage::Ended(_)) {
            return;
        }
        session.heard = self.patience.now;
        let Ok(v1::ClientFrame { request_id, body }) = v1::ClientFrame::decode(frame) else {
            return self.end(id, ErrorCode::InvalidFrame, "these bytes are not a protobuf frame", effects);
        };
        let to = ReplyAddress { session: id, channel, request_id };
        match (&session.stage, body) {
            (Stage::Ended(_), _) => {}
            (Stage::Fresh, Some(Request::Hello(hello))) => self.on_hello(now_ms, to, &hello, effects),
            (Stage::Fresh, _) => {
                self.end(id, ErrorCode::HelloRequired, "the first frame is hello", effects);
            }
            (_, Some(Request::Hello(_))) => {
                self.end(id, ErrorCode::AlreadyGreeted, "a connection says hello once", effects);
            }
            (_, None) => self.refuse(to, ErrorCode::UnknownRequest, "this server knows no such request", effects),
            (Stage::Online(online), Some(request)) => {
                let online = *online;
                if now_ms >= online.token_expires_ms {
                    return self.end(id, ErrorCode::SessionEnded, TOKEN_EXPIRED, effects);
                }
                self.on_request(now_ms, to, online, request, effects);
            }
            (Stage::Greeted(device), Some(request)) => {
                let device = device.clone();
                self.on_attempt(now_ms, to, device, request, effects);
            }
            (Stage::Authenticating(_) | Stage::Registering(..), Some(_)) => {
                self.refuse(to, ErrorCode::Unauthenticated, "wait until the login is answered", effects);
            }
        }
    }

    fn on_hello(&mut self, now_ms: u64, to: ReplyAddress, hello: &v1::HelloRequest, effects: &mut Effects) {
        if hello.protocol_version == 0 {
            return self.end(to.session, ErrorCode::UnsupportedVersion, "this server speaks version 1", effects);
        }
        let device = parse::device_id(&hello.device_id).and_then(|id| {
            parse::short_name("device_name", &hello.device_name)?;
            parse::short_name("client_name", &hello.client_name)?;
            Ok(Device { id, name: hello.device_name.clone() })
        });
        let device = match device {
            Ok(device) => device,
            // The client may say hello again, better.
            Err(refusal) => return self.reply(to, frames::error(&refusal), effects),
        };
        let Some(session) = self.sessions.get_mut(&to.session) else { return };
        session.stage = Stage::Greeted(device);
        let response = v1::HelloResponse {
            protocol_version: hello.protocol_version.min(PROTOCOL_VERSION),
            server_name: SERVER_NAME.to_owned(),
            server_time_ms: now_ms,
            limits: Some(self.limits.to_proto()),
            registration: self.services.registration.mode().into(),
        };
        self.reply(to, Body::Hello(response), effects);
    }

    fn on_attempt(&mut self, now_ms: u64, to: ReplyAddress, device: Device, request: Request, effects: &mut Effects) {
        let attempt = match request {
            Request::Register(request) => Attempt::Register(request),
            Request::Login(request) => Attempt::Login(request),
            Request::Resume(request) => Attempt::Resume(request),
            _ => return self.refuse(to, ErrorCode::Unauthenticated, "log in first", effects),
        };
        let Some(session) = self.sessions.get_mut(&to.session) else { return };
        session.stage = Stage::Authenticating(device.clone());
        let (id, request_id) = (to.session, to.request_id);
        let attempt = authenticate(self.services.clone(), self.limits, now_ms, device, attempt);
        effects.tasks.push(attempt.map(move |result| Completion::Authenticated(id, request_id, result)).boxed());
    }

    fn on_request(&mut self, now_ms: u64, to: ReplyAddress, online: Online, request: Request, effects: &mut Effects) {
        let on_bulk = matches!(to.channel, Channel::Bulk(_));
        let wants_bulk = matches!(
            request,
            Request::History(_)
                | Request::Sync(_)
                | Request::ListConversations(_)
                | Request::ListScheduled(_)
                | Request::ListReminders(_)
        );
        if on_bulk != wants_bulk {
            let message = match wants_bulk {
                true => "history, sync and lists go on a bulk stream",
                false => "only history, sync and lists go on a bulk stream",
            };
            return self.refuse(to, ErrorCode::WrongStream, message, effects);
        }
        if self.congested && !matches!(request, Request::Ack(_) | Request::Heartbeat(_)) {
            let refusal = Refusal::retry(ErrorCode::Overloaded, "the server is busy", CONGESTED_RETRY_MS);
            return self.reply(to, frames::error(&refusal), effects);
        }
        if let Err(refusal) = self.dispatch(now_ms, to, online, request, effects) {
            self.reply(to, frames::error(&refusal), effects);
        }
    }

    fn dispatch(
        &mut self,
        now_ms: u64,
        to: ReplyAddress,
        online: Online,
        request: Request,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let (user, limits, store) = (online.user, self.limits, self.services.store.clone());
        match request {
            Request::Hello(_) => unreachable!("hello was dealt with before"),
            Request::Typing(_) => return Err(Refusal::new(ErrorCode::WrongStream, "typing goes in a datagram")),
            Request::Register(_) | Request::Login(_) | Request::Resume(_) => {
                return Err(Refusal::new(ErrorCode::AlreadyAuthenticated, "this connection is logged in"));
            }
            Request::Heartbeat(v1::HeartbeatRequest { client_time_ms }) => {
                let response = v1::HeartbeatResponse { client_time_ms, server_time_ms: now_ms };
                self.reply(to, Body::Heartbeat(response), effects);
            }
            Request::Ack(ack) => self.on_ack(now_ms, to, online, &ack, effects)?,
            Request::Send(request) => {
                let (conversation, action) = parse::send(now_ms, request, &limits)?;
                self.route(now_ms, self.reply_to(to, ReplyKind::Send), user, conversation, action, effects)?;
            }
            Request::MarkRead(request) => {
                let (conversation, action) = parse::mark_read(&request)?;
                self.route(now_ms, self.reply_to(to, ReplyKind::MarkRead), user, conversation, action, effects)?;
            }
            Request::Leave(request) => {
                let (conversation, action) = parse::leave(&request, user)?;
                self.route(now_ms, self.reply_to(to, ReplyKind::ChangeMembers), user, conversation, action, effects)?;
            }
            Request::RemoveMember(request) => {
                let (conversation, action) = parse::remove_member(&request)?;
                self.route(now_ms, self.reply_to(to, ReplyKind::ChangeMembers), user, conversation, action, effects)?;
            }
            Request::MuteMember(request) => {
                let (conversation, action) = parse::mute_member(&request)?;
                self.route(now_ms, self.reply_to(to, ReplyKind::ChangeMembers), user, conversation, action, effects)?;
            }
            Request::BanMember(request) => {
                let (conversation, action) = parse::ban_member(&request)?;
                self.check_members(to, user, conversation, ReplyKind::ChangeMembers, action, effects)?;
            }
            Request::SetExpiry(request) => {
                let (conversation, action) = parse::set_expiry(&request, &limits)?;
                self.route(now_ms, self.reply_to(to, ReplyKind::SetExpiry), user, conversation, action, effects)?;
            }
            Request::AddMembers(request) => {
                let (conversation, action) = parse::add_members(&request, &limits)?;
                self.check_members(to, user, conversation, ReplyKind::ChangeMembers, action, effects)?;
            }
            Request::CreateGroup(request) => {
                let action = parse::create_group(request, &limits)?;
                let Action::CreateGroup { client_msg_id, .. } = &action else { unreachable!("just parsed") };
                let conversation = group_id(user, *client_msg_id);
                self.check_members(to, user, conversation, ReplyKind::CreateGroup, action, effects)?;
            }
            Request::FindUsers(request) => {
                // Together, so that as many profiles always fit the one frame of the answer.
                if request.usernames.len() + request.user_ids.len() > limits.users_per_request_max {
                    let message = format!("at most {} names and ids together", limits.users_per_request_max);
                    return Err(parse::invalid(message));
                }
                let (keys, ids) =
                    (name_keys(&request.usernames, &limits)?, parse::user_ids(&request.user_ids, &limits)?);
                self.query(to, queries::find_users(store, keys, ids), effects)?;
            }
            Request::ListMembers(request) => {
                let conversation = parse::conversation_id(&request.conversation_id)?;
                let answer = queries::list_members(store, limits, now_ms, user, conversation, request.after_user_id);
                self.query(to, answer, effects)?;
            }
            Request::ListBans(request) => {
                let conversation = parse::conversation_id(&request.conversation_id)?;
                let answer = queries::list_bans(store, limits, now_ms, user, conversation, request.after_user_id);
                self.query(to, answer, effects)?;
            }
            Request::History(request) => {
                let page = parse::history(&request, &limits)?;
                self.query(to, queries::history(store, user, page), effects)?;
            }
            Request::Sync(request) => {
                let page = parse::sync(&request, &limits)?;
                self.query(to, queries::sync(store, limits, user, online.device, page), effects)?;
            }
            Request::ListConversations(request) => {
                let limit = parse::page_size(request.limit, limits.conversations_per_page_max, "list")?;
                let before = match request.before_conversation_id.is_empty() {
                    true => None,
                    false => Some((request.before_ms, parse::conversation_id(&request.before_conversation_id)?)),
                };
                let answer = queries::list_conversations(store, limits, user, online.device, limit, before);
                self.query(to, answer, effects)?;
            }
            Request::Schedule(request) => {
                let request = schedule::create(now_ms, request, user, &limits)?;
                self.ask_scheduler(to, user, request, effects);
            }
            Request::ChangeScheduled(request) => {
                self.ask_scheduler(to, user, schedule::change(now_ms, request, &limits)?, effects);
            }
            Request::CancelScheduled(request) => {
                let request = ScheduleRequest::Cancel(schedule::schedule_id(&request.schedule_id)?);
                self.ask_scheduler(to, user, request, effects);
            }
            Request::SendScheduled(request) => {
                self.ask_scheduler(to, user, schedule::send_now(&request)?, effects);
            }
            Request::ListScheduled(request) => {
                let page = schedule::list(&request, &limits)?;
                self.query(to, schedule::list_scheduled(store, user, page, limits.page_bytes()), effects)?;
            }
            Request::SetReminder(request) => {
                let request = reminder::set(now_ms, request, user, &limits)?;
                self.ask_reminders(to, user, request, effects);
            }
            Request::DismissReminder(request) => {
                self.ask_reminders(to, user, reminder::dismiss(&request)?, effects);
            }
            Request::ListReminders(v1::ListRemindersRequest {}) => {
                self.query(to, reminder::list_reminders(store, user), effects)?;
            }
            Request::Logout(request) => {
                let what = match (request.all_devices, request.device_id.is_empty()) {
                    (true, _) => Revoke::AllDevices,
                    (false, true) => Revoke::Device(online.device),
                    (false, false) => Revoke::Device(parse::device_id(&request.device_id)?),
                };
                self.begin(to)?;
                let revoked = store.revoke_tokens(user, what);
                let done =
                    move |result: Result<_, _>| Completion::LoggedOut(to, result.map_err(|error| refusal(&error)));
                effects.tasks.push(revoked.map(done).boxed());
            }
        }
        Ok(())
    }

    /// To the core that owns the user.
    fn ask_scheduler(&mut self, to: ReplyAddress, user: UserId, request: ScheduleRequest, effects: &mut Effects) {
        let reply_to = self.reply_to(to, ReplyKind::Send);
        self.mail(self.placement.of_user(user), Mail::Schedule(user, reply_to, request), effects);
    }

    /// To the core that owns the user.
    fn ask_reminders(&mut self, to: ReplyAddress, user: UserId, request: ReminderRequest, effects: &mut Effects) {
        let reply_to = self.reply_to(to, ReplyKind::Send);
        self.mail(self.placement.of_user(user), Mail::Remind(user, reply_to, request), effects);
    }

    fn on_ack(
        &mut self,
        now_ms: u64,
        to: ReplyAddress,
        online: Online,
        ack: &v1::AckRequest,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        for position in &ack.positions {
            let conversation = parse::conversation_id(&position.conversation_id)?;
            let seq = Seq(position.seq);
            let Some(session) = self.sessions.get_mut(&to.session) else { unreachable!("it just sent a frame") };
            if session.deliveries.on_ack(conversation, seq, &mut self.patience) {
                for (seq, deliver_by_ms) in session.awaited.on_ack(conversation, seq) {
                    if now_ms < deliver_by_ms {
                        let mail = Mail::Delivered(conversation, seq, online.user, deliver_by_ms);
                        effects.mail.push((self.placement.of_conversation(conversation), mail));
                    }
                }
                self.meters.acked.increment(1);
                self.note_acked(now_ms, online, conversation, seq);
            }
        }
        Ok(())
    }

    /// To the core that owns the conversation. Who takes part in a direct one is in its id, so that nobody can make a core
    /// load the conversations of others.
    fn route(
        &mut self,
        now_ms: u64,
        reply_to: ReplyTo,
        user: UserId,
        conversation: ConversationId,
        action: Action,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        if let ConversationKind::Direct(low, high) = conversation.kind()
            && ![low, high].contains(&user)
        {
            return Err(parse::no_member());
        }
        let input = Input { reply_to, user, action };
        let owner = self.placement.of_conversation(conversation);
        if owner == self.id {
            self.owner.on_request(now_ms, conversation, input, effects);
        } else {
            effects.mail.push((owner, Mail::Request(conversation, input)));
        }
        Ok(())
    }

    /// As [`route`](Self::route), after everybody who is named was found to exist.
    fn check_members(
        &mut self,
        to: ReplyAddress,
        user: UserId,
        conversation: ConversationId,
        kind: ReplyKind,
        action: Action,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let members = match &action {
            Action::CreateGroup { members, .. } | Action::AddMembers { members, .. } => members.clone(),
            Action::Sanction { user, .. } => vec![*user],
            _ => unreachable!("only these name users who may be strangers"),
        };
        self.begin(to)?;
        let (store, reply_to) = (self.services.store.clone(), self.reply_to(to, kind));
        let check = async move {
            let found = store.users(members.clone()).await.map_err(|error| refusal(&error));
            let checked = found.and_then(|found| {
                let exists = |id: &&UserId| found.iter().any(|user| user.id == **id);
                match members.iter().find(|id| !exists(id)) {
                    Some(id) => {
                        let message = format!("there is no user {}", id.as_u64());
                        Err(Refusal::new(ErrorCode::UserNotFound, message))
                    }
                    None => Ok(action),
                }
            });
            Completion::Checked(conversation, reply_to, user, checked)
        };
        effects.tasks.push(check.boxed());
        Ok(())
    }

    /// Starts a task whose answer goes to this request.
    fn query(
        &mut self,
        to: ReplyAddress,
        answer: impl Future<Output = Result<Answer, Refusal>> + Send + 'static,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        self.begin(to)?;
        let completion = answer.map(move |answer| match answer {
            Ok((body, known)) => Completion::Answer { to, body: Ok(body), known },
            Err(refusal) => Completion::Answer { to, body: Err(refusal), known: None },
        });
        effects.tasks.push(completion.boxed());
        Ok(())
    }

    fn begin(&mut self, to: ReplyAddress) -> Result<(), Refusal> {
        let limit = self.limits.requests_per_session_max;
        let Some(session) = self.sessions.get_mut(&to.session) else { unreachable!("it just sent a frame") };
        if session.requests_in_flight >= limit {
            let message = format!("at most {limit} requests of this kind at once");
            return Err(Refusal::retry(ErrorCode::Overloaded, message, CONGESTED_RETRY_MS));
        }
        session.requests_in_flight += 1;
        Ok(())
    }

    fn reply_to(&self, to: ReplyAddress, kind: ReplyKind) -> ReplyTo {
        ReplyTo { at: self.at(to.session), channel: to.channel, request_id: to.request_id, kind }
    }

    fn refuse(&self, to: ReplyAddress, code: ErrorCode, message: &str, effects: &mut Effects) {
        self.reply(to, frames::error(&Refusal::new(code, message)), effects);
    }

    /// An error is told even to a request that wanted no reply; nothing else is.
    fn reply(&self, to: ReplyAddress, body: Body, effects: &mut Effects) {
        if to.request_id != 0 || matches!(body, Body::Error(_)) {
            let frame = frames::reply(to.request_id, body);
            effects.output.push((to.session, Output::Reply(to.channel, frame)));
        }
    }
}

/// The id of a group: a hash of who made it and of the `client_msg_id`, so that a repeated request finds the same group.
fn group_id(creator: UserId, client_msg_id: ClientMsgId) -> ConversationId {
    let mut input = Vec::with_capacity(32);
    input.extend_from_slice(b"godwit/1");
    input.extend_from_slice(&creator.as_u64().to_be_bytes());
    input.extend_from_slice(&client_msg_id.0);
    let hash = digest::digest(&digest::SHA256, &input);
    let mut id = [0; 16];
    id.copy_from_slice(&hash.as_ref()[..16]);
    ConversationId::group(id)
}
