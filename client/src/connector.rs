//! One attempt to connect and log in.

use bytes::Bytes;
use godwit_proto::{UserId, v1::Limits};

/// Who the server says is logged in, and what it accepts.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) user_id: UserId,
    pub(crate) username: String,
    pub(crate) display_name: String,
    pub(crate) token: Bytes,
    pub(crate) limits: Limits,
}

impl std::fmt::Debug for Identity {
    /// Without the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({:?} {:?})", self.user_id, self.username)
    }
}
