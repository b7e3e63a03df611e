//! Who is online where, for others to see: other nodes, and tools.

use godwit_proto::{DeviceId, UserId};

/// Takes note of the sessions of the users that this node owns. Calls return at once: what they say is written behind, and
/// may be lost with the process, whose sessions are gone then, too.
pub trait SessionSink: Send + Sync + 'static {
    /// A device has opened a session, in place of the one that it had.
    fn online(&self, user: UserId, device: DeviceId, place: SessionPlace);

    /// A device has closed its session.
    fn offline(&self, user: UserId, device: DeviceId);
}

/// Where on its node a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionPlace {
    /// The core that has the connection.
    pub core: u16,
    /// The session there; never used again while the process lives.
    pub session: u64,
}
