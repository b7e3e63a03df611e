//! What waits on a core by the monotonic clock: it is gone with the process, and no wall clock that is set moves it.

use super::SessionId;
use crate::timer::{Tick, Wheel};

/// Something that a core looks at when its time has come. It looks whether there is anything to do then: what became
/// pointless meanwhile is never taken out, and what was put off is put in again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    /// A session has entries that it did not acknowledge when this was set.
    Deliveries(SessionId),
    /// A session has had its time to come online.
    Authentication(SessionId),
    /// A session has sent nothing since this was set, perhaps.
    Idle(SessionId),
    /// The token of a session expires, or the wall clock, which says so, is to be looked at again.
    Token(SessionId),
    /// Notices about users who are not there were gathered, or wait after a failure.
    OfflineGathered,
    /// A call of the offline hook has had its time.
    OfflineCall(u64),
    /// The typist of this number was last heard of some time ago.
    Typing(u64),
}

/// The deadlines of one core, on a wheel of their own beside that of the durable timers, which go by the wall clock.
pub struct Deadlines {
    wheel: Wheel<Deadline>,
}

impl Deadlines {
    pub fn new() -> Self {
        Self { wheel: Wheel::new(Tick(0)) }
    }

    /// Has it looked at then, or soon after.
    pub fn arm(&mut self, at: Tick, what: Deadline) {
        self.wheel.insert(at, what);
    }

    /// Hands over what is due, at most `limit` of it.
    pub fn take_due(&mut self, now: Tick, limit: usize, due: &mut Vec<Deadline>) {
        self.wheel.advance(now, limit, &mut |_, what| due.push(what));
    }

    /// When there will be something due, at the earliest.
    pub fn next_at(&self) -> Option<Tick> {
        self.wheel.next_at()
    }
}
