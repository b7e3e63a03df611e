//! One connection as its core sees it: what it has shown about itself, and what it may ask.

use super::{Identity, delivery::Deliveries, expiry::Awaited, typing::Typed};
use crate::timer::Tick;
use godwit_proto::{DeviceId, UserId};
use std::net::SocketAddr;

/// What a core keeps of a connection.
pub struct Session {
    /// For the log.
    pub remote: SocketAddr,
    /// How far it came.
    pub stage: Stage,
    /// When it last sent something. That moves no deadline: the deadline looks here when it comes up.
    pub heard: Tick,
    /// Attempts to authenticate that failed.
    pub failed_attempts: u32,
    /// Requests that wait for the store.
    pub requests_in_flight: usize,
    /// Pushes were left out; the client is told to sync once it reads again.
    pub resync: bool,
    /// What it was sent and has not acknowledged.
    pub deliveries: Deliveries,
    /// Messages that it was sent and whose delivery ends.
    pub awaited: Awaited,
    /// What it said last of its user's typing. Without memory of its own until then.
    pub typed: Option<Box<Typed>>,
}

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
    pub fn new(remote: SocketAddr, now: Tick) -> Self {
        Self {
            remote,
            stage: Stage::Fresh,
            heard: now,
            failed_attempts: 0,
            requests_in_flight: 0,
            resync: false,
            deliveries: Deliveries::default(),
            awaited: Awaited::default(),
            typed: None,
        }
    }

    /// Who reads what is still answered: a session that is closing gets its answers, too.
    pub fn reader(&self) -> Option<UserId> {
        match self.stage {
            Stage::Online(online) => Some(online.user),
            Stage::Ended(user) => user,
            _ => None,
        }
    }

    /// Whose session it is, once that is proven.
    pub fn online(&self) -> Option<Online> {
        match self.stage {
            Stage::Online(online) => Some(online),
            _ => None,
        }
    }
}
