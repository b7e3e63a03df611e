//! The sessions of the users that a core owns.

use super::{Core, CoreId, Effects, Limits, Mail, Push, SessionId, SessionRef};
use crate::store::{SessionPlace, SessionSink};
use foldhash::{HashMap, HashMapExt};
use godwit_proto::{DeviceId, UserId, v1::ErrorCode};
use std::sync::Arc;

/// Who is online, and where. A user without a session takes no memory.
pub struct Presence {
    core: CoreId,
    sessions_per_user_max: usize,
    users: HashMap<UserId, Vec<OnlineSession>>,
    /// Where others see them, if anywhere.
    sink: Option<Arc<dyn SessionSink>>,
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
            sink: None,
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
        if let Some(sink) = &self.sink {
            sink.online(user, device, SessionPlace { core: at.core.0, session: at.session.0 });
        }
        effects.mail.push((at.core, Mail::OnlineAnswer(at.session, true)));
    }

    /// Forgets a session. One that was replaced is forgotten already.
    pub fn on_offline(&mut self, user: UserId, at: SessionRef) {
        if let Some(sessions) = self.users.get_mut(&user) {
            let gone = sessions.iter().position(|session| session.at == at).map(|index| sessions.remove(index));
            if let (Some(gone), Some(sink)) = (gone, &self.sink) {
                sink.offline(user, gone.device);
            }
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

impl Core {
    /// Has others see who is online. Call it before the first turn.
    pub fn set_session_sink(&mut self, sink: Arc<dyn SessionSink>) {
        self.presence.sink = Some(sink);
    }
}

fn end(session: SessionId, reason: &'static str) -> Mail {
    Mail::End(session, ErrorCode::SessionEnded, reason)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Seen(Mutex<Vec<(DeviceId, Option<u64>)>>);

    impl SessionSink for Seen {
        fn online(&self, _: UserId, device: DeviceId, place: SessionPlace) {
            self.0.lock().unwrap().push((device, Some(place.session)));
        }

        fn offline(&self, _: UserId, device: DeviceId) {
            self.0.lock().unwrap().push((device, None));
        }
    }

    #[test]
    fn others_are_told_who_is_online_and_not_of_the_end_of_a_session_that_was_replaced() {
        let seen = Arc::new(Seen::default());
        let mut presence = Presence::new(CoreId(0), &Limits::default(), 1);
        presence.sink = Some(seen.clone());
        let (user, device) = (UserId::new(1).unwrap(), DeviceId([1; 16]));
        let at = |session| SessionRef { core: CoreId(0), session: SessionId(session) };
        let effects = &mut Effects::default();
        presence.on_online(user, device, at(1), effects);
        presence.on_online(user, device, at(2), effects);
        presence.on_offline(user, at(1));
        presence.on_offline(user, at(2));
        assert_eq!(*seen.0.lock().unwrap(), [(device, Some(1)), (device, Some(2)), (device, None)]);
    }
}
