//! A session on its way from its first attempt to authenticate to being online, and out again.

use super::{
    Channel, Completion, Core, Effects, Identity, Limits, Mail, Output, ReplyAddress, SessionId,
    deadlines::Deadline,
    frames,
    services::refusal,
    session::{Online, Session, Stage},
};
use crate::{chat::Refusal, timer::Tick};
use futures_util::FutureExt;
use godwit_proto::{
    DeviceId,
    v1::{self, ErrorCode, server_frame::Body},
};

/// Why a session is closed whose token has come to its end.
pub const TOKEN_EXPIRED: &str = "the token of this session expired";
/// How long a session is not looked at: tokens go by the wall clock and deadlines do not, so one that was set is noticed
/// after this long.
const TOKEN_LOOK_MS_MAX: u64 = 3_600_000;

impl Core {
    /// Whoever is not online by now has had the time for it.
    pub(super) fn on_authentication_deadline(&mut self, id: SessionId, effects: &mut Effects) {
        let Some(session) = self.sessions.get(&id) else { return };
        if !matches!(session.stage, Stage::Online(_) | Stage::Ended(_)) {
            self.end(id, ErrorCode::AuthenticationTimeout, "log in sooner after connecting", effects);
        }
    }

    pub(super) fn on_authenticated(
        &mut self,
        id: SessionId,
        request_id: u64,
        result: Result<Identity, Refusal>,
        effects: &mut Effects,
    ) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Stage::Authenticating(device) = &session.stage else { return };
        let device = device.clone();
        match result {
            Err(refusal) => {
                // A busy server is not the client's failure.
                session.failed_attempts += u32::from(refusal.retry_after_ms == 0);
                let give_up = session.failed_attempts >= self.limits.authentication_attempts_max;
                session.stage = Stage::Greeted(device);
                let code = refusal.code;
                let frame = frames::reply(request_id, frames::error(&refusal));
                effects.output.push((id, Output::Reply(Channel::Session, frame)));
                if give_up {
                    self.end(id, code, "too many failed attempts to authenticate", effects);
                }
            }
            Ok(identity) => {
                let (user, device_id) = (identity.user, device.id);
                session.stage = Stage::Registering(device, request_id, Box::new(identity));
                let at = self.at(id);
                self.mail(self.placement.of_user(user), Mail::Online { user, device: device_id, at }, effects);
            }
        }
    }

    /// The owner of the user knows the session, so from now on nothing is missed. Its token may have been revoked while
    /// it was on its way; whoever revoked it did not know of the session then, so it is looked at once more.
    pub(super) fn on_online_answer(&mut self, id: SessionId, accepted: bool, effects: &mut Effects) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Stage::Registering(_, request_id, identity) = &session.stage else { return };
        if !accepted {
            let message = "the user has as many sessions as the server allows";
            let refusal = Refusal::new(ErrorCode::TooManySessions, message);
            let frame = frames::reply(*request_id, frames::error(&refusal));
            effects.output.push((id, Output::Reply(Channel::Session, frame)));
            return self.end(id, ErrorCode::TooManySessions, message, effects);
        }
        let (hash, token) = (identity.token_hash, self.services.store.token(identity.token_hash));
        let confirm = async move {
            let stands = token.await.map(|record| record.is_some_and(|record| record.hash == hash));
            Completion::Confirmed(id, stands.map_err(|error| refusal(&error)))
        };
        effects.tasks.push(confirm.boxed());
    }

    pub(super) fn on_confirmed(
        &mut self,
        now_ms: u64,
        id: SessionId,
        stands: Result<bool, Refusal>,
        effects: &mut Effects,
    ) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Stage::Registering(device, request_id, identity) = &session.stage else { return };
        let (request_id, response) = (*request_id, identity.response.clone());
        let refused = match stands {
            Ok(true) => None,
            Ok(false) => {
                Some((Refusal::new(ErrorCode::InvalidToken, "the token was revoked"), "the token was revoked"))
            }
            // A store that does not answer says nothing about the token: the client connects again and keeps it.
            Err(refusal) => Some((refusal, "the store does not answer")),
        };
        if let Some((refusal, reason)) = refused {
            let frame = frames::reply(request_id, frames::error(&refusal));
            effects.output.push((id, Output::Reply(Channel::Session, frame)));
            return self.end(id, refusal.code, reason, effects);
        }
        let (user, token_expires_ms) = (identity.user, identity.token_expires_ms);
        session.stage = Stage::Online(Online { user, device: device.id, token_expires_ms });
        tracing::debug!(?user, remote = %session.remote, "session authenticated");
        self.meters.sessions.increment(1.0);
        effects.output.push((id, Output::Authenticated));
        let frame = frames::reply(request_id, Body::Authenticate(response));
        effects.output.push((id, Output::Reply(Channel::Session, frame)));
        self.arm_token(now_ms, id, token_expires_ms);
        self.arm_idle(id, idle_from(self.patience.now, &self.limits));
    }

    /// A session may have sent nothing for long.
    pub(super) fn on_idle_deadline(&mut self, id: SessionId, effects: &mut Effects) {
        let Some(session) = self.sessions.get(&id).filter(|session| session.online().is_some()) else { return };
        let until = idle_from(session.heard, &self.limits);
        if until > self.patience.now {
            return self.arm_idle(id, until);
        }
        self.end(id, ErrorCode::SessionIdle, "nothing was sent for long", effects);
    }

    fn arm_idle(&mut self, id: SessionId, until: Tick) {
        let look = self.patience.now.0.saturating_add(IDLE_LOOK_MS_MAX);
        self.deadlines.arm(until.min(Tick(look)), Deadline::Idle(id));
    }

    /// The token of a session has expired by the wall clock, or is looked at again. Requests are checked by themselves; this
    /// is for a session that only listens.
    pub(super) fn on_token_deadline(&mut self, now_ms: u64, id: SessionId, effects: &mut Effects) {
        let Some(online) = self.sessions.get(&id).and_then(Session::online) else { return };
        if now_ms >= online.token_expires_ms {
            return self.end(id, ErrorCode::SessionEnded, TOKEN_EXPIRED, effects);
        }
        self.arm_token(now_ms, id, online.token_expires_ms);
    }

    fn arm_token(&mut self, now_ms: u64, id: SessionId, token_expires_ms: u64) {
        let wait_ms = token_expires_ms.saturating_sub(now_ms).min(TOKEN_LOOK_MS_MAX);
        let at = Tick(self.patience.now.0.saturating_add(wait_ms));
        self.deadlines.arm(at, Deadline::Token(id));
    }

    pub(super) fn on_logged_out(
        &mut self,
        now_ms: u64,
        to: ReplyAddress,
        result: Result<Vec<DeviceId>, Refusal>,
        effects: &mut Effects,
    ) {
        let online = self.sessions.get(&to.session).and_then(Session::online);
        match result {
            Ok(devices) => {
                self.answer(now_ms, to, Ok(Body::Logout(v1::LogoutResponse {})), None, effects);
                let Some(online) = online else { return };
                let ends_itself = devices.contains(&online.device);
                let mail = Mail::EndDevices(online.user, devices, self.at(to.session));
                self.mail(self.placement.of_user(online.user), mail, effects);
                if ends_itself {
                    self.end(to.session, ErrorCode::SessionEnded, "this device was logged out", effects);
                }
            }
            Err(refusal) => self.answer(now_ms, to, Err(refusal), None, effects),
        }
    }
}

/// When a session that sends nothing from then on has done so for too long.
fn idle_from(heard: Tick, limits: &Limits) -> Tick {
    Tick(heard.0.saturating_add(limits.session_idle_ms_max))
}

/// How far ahead it is looked whether a session is silent: a deadline stays on the wheel when its session is gone, and clients
/// come and go all day.
const IDLE_LOOK_MS_MAX: u64 = 600_000;
