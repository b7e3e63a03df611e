//! Which connection attempts an endpoint takes on.

use std::{cell::Cell, rc::Rc};

/// Counts the connections of one endpoint that have not authenticated, and sheds attempts before they cost memory.
///
/// What a stranger can hold is bounded twice. Attempts from addresses that were not proven, which anyone can forge, hold at
/// most `retry_min` places; above that they get a stateless retry. And all together hold at most `max`.
#[derive(Debug)]
pub(super) struct Admission {
    pending: Cell<usize>,
    retry_min: usize,
    max: usize,
}

impl Admission {
    /// With the share of one endpoint.
    pub(super) fn new(retry_min: usize, max: usize) -> Rc<Self> {
        Rc::new(Self { pending: Cell::new(0), retry_min, max })
    }

    /// What to do with an attempt from an address that was, or was not, proven by an earlier retry.
    pub(super) fn judge(&self, address_proven: bool) -> Verdict {
        let pending = self.pending.get();
        if pending >= self.max {
            Verdict::Refuse
        } else if pending >= self.retry_min && !address_proven {
            Verdict::Retry
        } else {
            Verdict::Accept
        }
    }

    /// Takes a place. It is free again when the ticket is dropped: on authentication, or at the connection's end.
    pub(super) fn admit(self: &Rc<Self>) -> Ticket {
        self.pending.set(self.pending.get() + 1);
        Ticket { admission: self.clone() }
    }
}

/// What becomes of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Go on with the handshake.
    Accept,
    /// Have the client prove its address.
    Retry,
    /// Say that the server has no room.
    Refuse,
}

/// A place among the unauthenticated connections.
#[derive(Debug)]
pub(super) struct Ticket {
    admission: Rc<Admission>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.admission.pending.set(self.admission.pending.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_retried_then_refused_and_places_come_back() {
        let admission = Admission::new(1, 2);
        assert_eq!(admission.judge(false), Verdict::Accept);
        let first = admission.admit();
        assert_eq!(admission.judge(false), Verdict::Retry);
        assert_eq!(admission.judge(true), Verdict::Accept);
        let second = admission.admit();
        assert_eq!(admission.judge(true), Verdict::Refuse);
        assert_eq!(admission.judge(false), Verdict::Refuse);
        drop(first);
        assert_eq!(admission.judge(true), Verdict::Accept);
        drop(second);
        assert_eq!(admission.judge(false), Verdict::Accept);
    }
}
