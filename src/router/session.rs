//! One connection as its core sees it: what it has shown about itself, and what it may ask.

use super::Identity;
use foldhash::{HashMap, HashMapExt};
use godwit_proto::{ConversationId, DeviceId, Seq, UserId};
use std::net::SocketAddr;

/// What a core keeps of a connection.
pub struct Session {
    /// For the log.
    pub remote: SocketAddr,
    /// How far it came.
    pub stage: Stage,
    /// Attempts to authenticate that failed.
    pub failed_attempts: u32,
    /// Requests that wait for the store.
    pub requests_in_flight: usize,
    /// Pushes were left out; the client is told to sync once it reads again.
    pub resync: bool,
    /// The newest entry that it was sent, by conversation. Only these may be acknowledged.
    pub known: HashMap<ConversationId, Seq>,
    /// Messages that it was sent and whose delivery ends, with when. Nearly always none, and then without memory.
    #[expect(clippy::box_collection, reason = "it is one word while there are none")]
    awaited: Option<Box<Vec<(ConversationId, Seq, u64)>>>,
}

/// Messages of a session whose acknowledgements are awaited. Of those that were sent before, it does not matter any more
/// who has them: that client is far behind.
const AWAITED_MAX: usize = 64;

/// A connection says hello, then who it is, then whatever it likes. It never goes back.
pub enum Stage {
    /// Nothing but hello is taken.
    Fresh,
    /// Nothing but authentication is taken.
    Greeted(Device),
    /// An attempt is under way; nothing is taken until it is decided.
    Authenticating(Device),
    /// Proven, and on its way to the owner of the user.
    Registering(Device, u64, Box<Identity>),
    /// Everything is taken.
    Online(Online),
    /// Closing; nothing is taken any more.
    Ended(Option<UserId>),
}

/// What hello said about the device.
#[derive(Debug, Clone)]
pub struct Device {
    /// Kept by the client.
    pub id: DeviceId,
    /// For the user's list of devices.
    pub name: String,
}

/// Whose session it is.
#[derive(Debug, Clone, Copy)]
pub struct Online {
    pub user: UserId,
    pub device: DeviceId,
    /// Milliseconds since the epoch.
    pub token_expires_ms: u64,
}

impl Session {
    pub fn new(remote: SocketAddr) -> Self {
        Self {
            remote,
            stage: Stage::Fresh,
            failed_attempts: 0,
            requests_in_flight: 0,
            resync: false,
            known: HashMap::new(),
            awaited: None,
        }
    }

    /// Whose session it is, once that is proven.
    pub fn online(&self) -> Option<Online> {
        match self.stage {
            Stage::Online(online) => Some(online),
            _ => None,
        }
    }

    /// Notes that a frame with this entry is on its way.
    pub fn on_sent(&mut self, conversation: ConversationId, seq: Seq) {
        if seq > Seq::ZERO {
            let known = self.known.entry(conversation).or_default();
            *known = seq.max(*known);
        }
    }

    /// Notes that a message is on its way whose delivery ends at this time, in milliseconds since the epoch.
    pub fn await_ack(&mut self, conversation: ConversationId, seq: Seq, deliver_by_ms: u64) {
        let awaited = self.awaited.get_or_insert_default();
        if awaited.len() >= AWAITED_MAX {
            awaited.remove(0);
        }
        awaited.push((conversation, seq, deliver_by_ms));
    }

    /// The messages that an ack says have been delivered, in time or not: seq, and when the delivery ends.
    pub fn on_acked(&mut self, conversation: ConversationId, upto: Seq) -> Vec<(Seq, u64)> {
        let Some(awaited) = &mut self.awaited else { return Vec::new() };
        let mut acked: Vec<_> = awaited
            .extract_if(.., |(id, seq, _)| *id == conversation && *seq <= upto)
            .map(|(_, seq, at)| (seq, at))
            .collect();
        if awaited.is_empty() {
            self.awaited = None;
        }
        acked.dedup();
        acked
    }

    /// Whether an ack is of something that was sent here. One that is not is late or made up, and changes nothing.
    pub fn may_ack(&self, conversation: ConversationId, seq: Seq) -> bool {
        self.known.get(&conversation).is_some_and(|known| seq <= *known)
    }
}
