//! What a core uses that lives outside of it, behind traits so that the simulator can put its own there.

use crate::{
    account::{Password, PasswordError, PasswordPool},
    chat::Refusal,
    store::{InvitationId, Store, StoreError},
};
use futures_util::{FutureExt, future::BoxFuture};
use godwit_proto::v1::{ErrorCode, RegistrationMode};
use std::sync::Arc;

/// Shared by all cores.
#[derive(Clone)]
pub struct Services {
    /// What must last.
    pub store: Arc<dyn Store>,
    /// Password hashing.
    pub passwords: Arc<dyn Passwords>,
    /// Who may register.
    pub registration: Registration,
    /// Fills a buffer with random bytes that nobody can guess.
    pub random: Random,
}

/// Fills a buffer with random bytes.
pub type Random = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

/// Which invitation a code is, if it holds at this time in milliseconds since the epoch.
pub type CheckInvitation = Arc<dyn Fn(&str, u64) -> Option<InvitationId> + Send + Sync>;

/// Hashes passwords somewhere else, on a bounded number of threads.
pub trait Passwords: Send + Sync + 'static {
    /// Makes a PHC string.
    fn hash(&self, password: Password) -> BoxFuture<'static, Result<String, PasswordError>>;

    /// Compares with a PHC string; without one it takes as long and is false.
    fn verify(&self, hash: Option<String>, password: Password) -> BoxFuture<'static, Result<bool, PasswordError>>;
}

impl Passwords for PasswordPool {
    fn hash(&self, password: Password) -> BoxFuture<'static, Result<String, PasswordError>> {
        self.hash(password).boxed()
    }

    fn verify(&self, hash: Option<String>, password: Password) -> BoxFuture<'static, Result<bool, PasswordError>> {
        self.verify(hash, password).boxed()
    }
}

/// Who may register.
#[derive(Clone)]
pub enum Registration {
    /// Everybody.
    Open,
    /// Whoever has an invitation that this accepts.
    Invitation(CheckInvitation),
    /// Nobody.
    Closed,
}

impl Registration {
    /// What a client is told in hello.
    pub fn mode(&self) -> RegistrationMode {
        match self {
            Self::Open => RegistrationMode::Open,
            Self::Invitation(_) => RegistrationMode::Invitation,
            Self::Closed => RegistrationMode::Closed,
        }
    }
}

/// How long a client waits before it tries a full store again: somebody has to make room first.
const FULL_RETRY_MS: u32 = 2_000;
const UNAVAILABLE_RETRY_MS: u32 = 500;
const OVERLOADED_RETRY_MS: u32 = 100;

/// What a client is told when the store did not do it.
pub fn refusal(error: &StoreError) -> Refusal {
    match error {
        StoreError::Full => Refusal::retry(ErrorCode::StoreFull, "the server's disk is full", FULL_RETRY_MS),
        StoreError::Overloaded => {
            Refusal::retry(ErrorCode::Overloaded, "the store's queue is full", OVERLOADED_RETRY_MS)
        }
        // The reason is for the operator's log, not for a client.
        StoreError::Unavailable(_) => {
            Refusal::retry(ErrorCode::StoreUnavailable, "the store does not answer", UNAVAILABLE_RETRY_MS)
        }
    }
}
