//! What a core does about users who are not there. Without a hook: nothing.

use super::{DeadLetters, HookError, Offline, OfflineHook, OfflineNotice, calls::Turn};
use crate::router::{Core, Effects, Push, redelivery::seed};
use godwit_proto::UserId;
use rand::{SeedableRng, rngs::SmallRng};
use std::sync::Arc;

impl Core {
    /// Has a hook told of users who have no session when an entry goes to them. Call it before the first turn.
    pub fn set_offline_hook(&mut self, hook: Arc<dyn OfflineHook>, dead_letters: DeadLetters) {
        let random = SmallRng::seed_from_u64(seed(&self.services.random));
        self.offline = Some(Box::new(Offline::new(hook, dead_letters, self.limits.offline, random)));
    }

    /// A push went out to everybody who is there.
    pub(in crate::router) fn on_absent(&mut self, push: &Push, effects: &mut Effects) {
        self.with_offline(effects, |offline, turn| offline.on_absent(push, turn));
    }

    pub(in crate::router) fn on_user_online(&mut self, user: UserId) {
        if let Some(offline) = &mut self.offline {
            offline.on_online(user);
        }
    }

    pub(in crate::router) fn on_offline_gathered(&mut self, effects: &mut Effects) {
        self.with_offline(effects, Offline::on_gathered);
    }

    pub(in crate::router) fn on_offline_timeout(&self, call: u64) {
        if let Some(offline) = &self.offline {
            offline.on_timeout(call);
        }
    }

    pub(in crate::router) fn on_notified(
        &mut self,
        now_ms: u64,
        call: u64,
        result: Result<(), HookError>,
        effects: &mut Effects,
    ) {
        self.with_offline(effects, |offline, turn| offline.on_notified(now_ms, call, result, turn));
    }

    pub(in crate::router) fn on_replay(&mut self, now_ms: u64, notices: Vec<OfflineNotice>, effects: &mut Effects) {
        self.with_offline(effects, |offline, turn| offline.on_replay(now_ms, notices, turn));
    }

    pub(in crate::router) fn stop_offline(&mut self) {
        if let Some(offline) = &mut self.offline {
            offline.stop();
        }
    }

    fn with_offline(&mut self, effects: &mut Effects, work: impl FnOnce(&mut Offline, &mut Turn<'_>)) {
        if let Some(offline) = &mut self.offline {
            let (now, presence, deadlines) = (self.patience.now, &self.presence, &mut self.deadlines);
            work(offline, &mut Turn { now, presence, deadlines, effects });
        }
    }
}
