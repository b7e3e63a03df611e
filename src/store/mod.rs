//! What must last, behind one small set of async traits. Batches at every boundary.
//!
//! [`Store`] is what the router asks for; `embedded/` is the default implementation. What one implementation promises, all
//! promise: `tests/store_conformance.rs` holds them to it.
//!
//! A commit that was answered [`CommitOutcome::Durable`] survives the death of the process and of the machine. A read
//! sees every commit that was answered before the read began.

pub mod copy;
pub mod embedded;
mod inventory;
mod log;
pub mod redis;
mod rows;
pub mod scylla;
mod send_hash;
mod sessions;
mod timer_keys;
mod timers;
mod users;
mod wait;

pub use inventory::{Cursor, Inventory, Listed, Page};
pub use log::{
    Commit, CommitOutcome, ConversationDetails, Direction, LoadedConversation, LogStore, PageLimit, SHOWN_LOOK_BACK,
    StoredSummary,
};
pub use sessions::{SessionPlace, SessionSink};
pub use timers::{
    DueTimer, TIMER_PAYLOAD_BYTES_MAX, TimerChange, TimerId, TimerKey, TimerKind, TimerOutcome, TimerOwner, TimerRow,
    TimerStore,
};
pub use users::{
    AckedPosition, CreateUserOutcome, InvitationId, NewToken, Revoke, TokenHash, TokenRecord, UserRecord, UserStore,
};

pub(crate) use wait::wait;

use thiserror::Error;

/// Everything the server keeps.
pub trait Store: LogStore + UserStore + TimerStore {}

impl<T: LogStore + UserStore + TimerStore> Store for T {}

/// Why a store did not do what it was asked. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StoreError {
    /// The disk has less room than the reserve. Ask again later.
    #[error("the disk is full")]
    Full,
    /// The queue is full. Ask again soon.
    #[error("the store's queue is full")]
    Overloaded,
    /// The store is away, slow or broken. Ask again later.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
}
