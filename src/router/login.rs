//! A session that showed who it is, on its way to being online.

use super::{
    Channel, Completion, Core, Effects, Identity, Mail, Output, SessionId, frames,
    services::refusal,
    session::{Online, Stage},
};
use crate::chat::Refusal;
use futures_util::FutureExt;
use godwit_proto::v1::{ErrorCode, server_frame::Body};

impl Core {
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

    pub(super) fn on_confirmed(&mut self, id: SessionId, stands: Result<bool, Refusal>, effects: &mut Effects) {
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
    }
}
