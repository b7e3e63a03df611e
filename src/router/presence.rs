//! The sessions of the users that a core owns.

use super::{CoreId, Effects, Limits, Mail, Push, SessionId, SessionRef};
use foldhash::{HashMap, HashMapExt};
use godwit_proto::{DeviceId, UserId, v1::ErrorCode};
use std::sync::Arc;

/// Who is online, and where. A user without a session takes no memory.
pub struct Presence {
    core: CoreId,
    sessions_per_user_max: usize,
    users: HashMap<UserId, Vec<OnlineSession>>,
    /// Reused by every fan-out: sessions by their core.
    scratch: Vec<Vec<SessionId>>,
}

#[derive(Clone, Copy)]
struct OnlineSession {
    device: DeviceId,
    at: SessionRef,
}

impl Presence {
    pub fn new(core: CoreId, limits: &Limits, cores: u16) -> Self {
        Self {
            core,
            sessions_per_user_max: limits.sessions_per_user_max,
            users: HashMap::new(),
            scratch: vec![Vec::new(); usize::from(cores)],
        }
    }

    /// Registers a session and answers its core. An older session of the same device is closed: it is a connection that
    /// the device has given up.
    pub fn on_online(&mut self, user: UserId, device: DeviceId, at: SessionRef, effects: &mut Effects) {
        let sessions = self.users.entry(user).or_default();
        if let Some(old) = sessions.iter_mut().find(|session| session.device == device) {
            let replaced = std::mem::replace(&mut old.at, at);
            effects.mail.push((replaced.core, end(replaced.session, "the same device opened a newer session")));
        } else if sessions.len() >= self.sessions_per_user_max {
            effects.mail.push((at.core, Mail::OnlineAnswer(at.session, false)));
            return;
        } else {
            sessions.push(OnlineSession { device, at });
        }
        effects.mail.push((at.core, Mail::OnlineAnswer(at.session, true)));
    }

    /// Forgets a session. One that was replaced is forgotten already.
    pub fn on_offline(&mut self, user: UserId, at: SessionRef) {
        if let Some(sessions) = self.users.get_mut(&user) {
            sessions.retain(|session| session.at != at);
            if sessions.is_empty() {
                self.users.remove(&user);
            }
        }
    }

    /// Whether the user has a session.
    pub fn is_online(&self, user: UserId) -> bool {
        self.users.contains_key(&user)
    }

    /// Closes the sessions of devices that lost their tokens.
    pub fn on_end_devices(&self, user: UserId, devices: &[DeviceId], except: SessionRef, effects: &mut Effects) {
        for session in self.users.get(&user).into_iter().flatten() {
            if devices.contains(&session.device) && session.at != except {
                effects.mail.push((session.at.core, end(session.at.session, "this device was logged out")));
            }
        }
    }

    /// Pushes to every session of these users: one item for each other core that has any, and `here` gets those of this
    /// one. `absent` gets the users without any, if somebody wants to know.
    pub fn on_fan_out(
        &mut self,
        push: &Push,
        users: &Arc<[UserId]>,
        except: Option<SessionRef>,
        here: &mut Vec<SessionId>,
        mut absent: Option<&mut Vec<UserId>>,
        effects: &mut Effects,
    ) {
        for user in users.iter() {
            let Some(sessions) = self.users.get(user) else {
                if let Some(absent) = &mut absent {
                    absent.push(*user);
                }
                continue;
            };
            for session in sessions.iter().filter(|session| Some(session.at) != except) {
                self.scratch[usize::from(session.at.core.0)].push(session.at.session);
            }
        }
        here.append(&mut self.scratch[usize::from(self.core.0)]);
        for (core, sessions) in self.scratch.iter_mut().enumerate() {
            if !sessions.is_empty() {
                let mail = Mail::Push(push.clone(), std::mem::take(sessions));
                effects.mail.push((CoreId(core as u16), mail));
            }
        }
    }
}

fn end(session: SessionId, reason: &'static str) -> Mail {
    Mail::End(session, ErrorCode::SessionEnded, reason)
}
