//! All that there is in a store, for whoever copies it or counts it.

use super::{AckedPosition, InvitationId, StoreError, TokenRecord, UserRecord};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use godwit_proto::{ConversationId, UserId};

/// Everything in a store that cannot be had by asking for it by name, in pages and in an order of the store's own.
///
/// It is complete while nobody writes. Conversations and timers are listed only; the other traits read them.
pub trait Inventory: Send + Sync + 'static {
    /// The accounts.
    fn accounts(&self, page: Page) -> BoxFuture<'static, Result<Listed<UserRecord>, StoreError>>;

    /// The invitations that were used, each with the account that was made with it.
    fn invitations(&self, page: Page) -> BoxFuture<'static, Result<Listed<(InvitationId, UserId)>, StoreError>>;

    /// The tokens of devices, expired ones included.
    fn tokens(&self, page: Page) -> BoxFuture<'static, Result<Listed<TokenRecord>, StoreError>>;

    /// The conversations, and perhaps some that somebody began to make and of which there is nothing.
    fn conversations(&self, page: Page) -> BoxFuture<'static, Result<Listed<ConversationId>, StoreError>>;

    /// What devices acknowledged.
    fn acked_positions(&self, page: Page) -> BoxFuture<'static, Result<Listed<AckedPosition>, StoreError>>;
}

/// Which part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Where the page before ended; `None` for the first one.
    pub after: Option<Cursor>,
    /// How many items to aim at.
    pub limit: usize,
}

/// A place in a list, in words of the store that gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(pub Bytes);

/// A page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// What is on it; it may be nothing.
    pub items: Vec<T>,
    /// Where the next page begins; `None` after the last one.
    pub next: Option<Cursor>,
}
