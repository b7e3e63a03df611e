//! Who owns what, and how work gets there: cores, mailboxes, and the loop of one pinned core.
//!
//! [`Core`] is a state machine: what a connection sent, what another core mailed and what the store answered go in, and
//! [`Effects`] come out. `driver` runs one on a thread of its own; the simulator runs several under a seed.

mod authentication;
mod backoff;
mod commits;
mod core;
mod deadlines;
mod delivery;
mod driver;
mod effects;
mod expiry;
mod frames;
mod limits;
mod loading;
mod login;
mod mail;
mod mailbox;
mod meters;
mod offline;
mod owner;
mod parse;
mod placement;
mod port;
mod presence;
mod queries;
mod redelivery;
mod reminder;
mod requests;
mod schedule;
mod services;
mod session;
mod slot;
mod timers;
mod typing;

pub use self::core::Core;
pub use backoff::Backoff;
pub use driver::Driver;
pub use effects::{Completion, Effects, Identity, Output, ReplyAddress, Task};
pub use expiry::ExpiryCompletion;
pub use limits::{DeliveryLimits, Limits, OfflineLimits, ScheduleLimits};
pub use mail::{Mail, Push, ReplyKind, ReplyTo, SessionRef};
pub use mailbox::{Mailbox, Mailboxes};
pub use offline::{DeadLetter, DeadLetters, HookError, OfflineHandle, OfflineHook, OfflineNotice};
pub use placement::Placement;
pub use port::{Channel, CoreId, CorePort, Event, Outbound, Outbox, SessionId};
pub use reminder::{ReminderCompletion, ReminderRequest};
pub use schedule::{ScheduleCompletion, ScheduleRequest};
pub use services::{CheckInvitation, Passwords, Random, Registration, Services};
use timers::Timers;
pub use timers::TimersCompletion;
pub use typing::{TYPING_INTERVAL_MS, TYPING_MS};
