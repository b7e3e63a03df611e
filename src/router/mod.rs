//! Who owns what, and how work gets there: cores, mailboxes, and the loop of one pinned core.

mod port;

pub use port::{Channel, CoreId, CorePort, Event, Outbound, Outbox, SessionId};
