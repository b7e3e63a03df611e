//! Accounts, the tokens of their devices, and what each device acknowledged.

use super::StoreError;
use futures_util::future::BoxFuture;
use godwit_proto::{ConversationId, DeviceId, Seq, UserId};

/// Users, by id and by name. Writes are durable when they are answered, except [`put_acked`](UserStore::put_acked).
pub trait UserStore: Send + Sync + 'static {
    /// Adds a user, unless the name, the id or the invitation is taken: decided and written as one.
    fn create_user(
        &self,
        user: UserRecord,
        invitation: Option<InvitationId>,
    ) -> BoxFuture<'static, Result<CreateUserOutcome, StoreError>>;

    /// The user whose `name_key` this is.
    fn user_by_name(&self, name_key: String) -> BoxFuture<'static, Result<Option<UserRecord>, StoreError>>;

    /// Those of these users that exist, in the order asked.
    fn users(&self, ids: Vec<UserId>) -> BoxFuture<'static, Result<Vec<UserRecord>, StoreError>>;

    /// Gives a device a token, in place of the one it had. Refused with `false`, and nothing changed, when the user would
    /// have more than `devices_max` devices; expired tokens do not count and are dropped.
    fn put_token(&self, token: NewToken) -> BoxFuture<'static, Result<bool, StoreError>>;

    /// The token with this hash, expired or not.
    fn token(&self, hash: TokenHash) -> BoxFuture<'static, Result<Option<TokenRecord>, StoreError>>;

    /// Moves the end of a token's life. A token that is gone stays gone.
    fn extend_token(&self, hash: TokenHash, expires_ms: u64) -> BoxFuture<'static, Result<(), StoreError>>;

    /// Ends tokens, and says which devices lost theirs.
    fn revoke_tokens(&self, user: UserId, what: Revoke) -> BoxFuture<'static, Result<Vec<DeviceId>, StoreError>>;

    /// Notes what devices acknowledged. Written behind: the newest may be lost in a crash, which costs a second delivery.
    /// A position never moves backwards.
    fn put_acked(&self, acked: Vec<AckedPosition>) -> BoxFuture<'static, Result<(), StoreError>>;

    /// What a device acknowledged in these conversations, in the order asked; [`Seq::ZERO`] for nothing.
    fn acked(
        &self,
        user: UserId,
        device: DeviceId,
        conversations: Vec<ConversationId>,
    ) -> BoxFuture<'static, Result<Vec<Seq>, StoreError>>;
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRecord {
    /// Random.
    pub id: UserId,
    /// As the user wrote it, normalised.
    pub username: String,
    /// What must be unique: the name without regard to case.
    pub name_key: String,
    /// What others see.
    pub display_name: String,
    /// A PHC string (Argon2id).
    pub password_hash: String,
    /// Milliseconds since the epoch.
    pub created_ms: u64,
}

/// What became of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreateUserOutcome {
    /// The account is durable.
    Created,
    /// Another account has the `name_key`.
    NameTaken,
    /// Another account has the id. Draw another one.
    IdTaken,
    /// Somebody registered with this invitation before.
    InvitationUsed,
}

/// Names one invitation, so that it is used once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InvitationId(pub [u8; 16]);

/// SHA-256 of a token. The token itself is never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

/// The token of one device. A device has at most one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// What is looked up.
    pub hash: TokenHash,
    /// Whose it is.
    pub user: UserId,
    /// The device it was given to.
    pub device: DeviceId,
    /// What the device called itself.
    pub device_name: String,
    /// Milliseconds since the epoch.
    pub expires_ms: u64,
}

/// A token to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// The row.
    pub record: TokenRecord,
    /// How many devices with a living token a user may have, this one included.
    pub devices_max: usize,
    /// The time, to tell living tokens from expired ones: milliseconds since the epoch.
    pub now_ms: u64,
}

/// Whose tokens end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoke {
    /// One device's.
    Device(DeviceId),
    /// All of the user's.
    AllDevices,
}

/// "This device has everything up to here."
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AckedPosition {
    /// Whose device.
    pub user: UserId,
    /// Which device.
    pub device: DeviceId,
    /// In which conversation.
    pub conversation: ConversationId,
    /// Up to and including this entry.
    pub seq: Seq,
}
