//! Accounts, tokens and acked positions on ScyllaDB or Cassandra; docs/STORAGE.md, "Accounts", says what counts when.

mod acked;
mod names;
mod registration;
mod statements;
mod tokens;
mod turns;

use super::{connection::Cql, error::OpenError, fence::Fence, owned::Owned};
use crate::store::{
    AckedPosition, CreateUserOutcome, InvitationId, NewToken, Revoke, StoreError, TokenHash, TokenRecord, UserRecord,
    UserStore,
};
use acked::Acked;
use futures_util::future::BoxFuture;
use godwit_proto::{ConversationId, DeviceId, Seq, UserId};
use statements::Statements;
use std::{future::ready, sync::Arc};
use tokio::runtime::Handle;
use turns::Turns;

/// What accounts are limited by.
#[derive(Debug, Clone)]
pub struct AccountLimits {
    /// Acked positions that are in memory and not yet written. More are refused.
    pub acked_pending_max: usize,
}

impl Default for AccountLimits {
    fn default() -> Self {
        Self { acked_pending_max: 256 * 1024 }
    }
}

/// The accounts of a keyspace that this server owns. Clones share them.
#[derive(Clone)]
pub struct Accounts(Arc<Inner>);

struct Inner {
    owned: Owned,
    statements: Arc<Statements>,
    /// Of registrations that have a name, an id or an invitation in common.
    registering: Turns,
    /// Of changes of one user's tokens.
    changing: Turns,
    acked: Arc<Acked>,
}

impl Accounts {
    /// Prepares what accounts say to the cluster. Work is done on `runtime`, whoever asks for it and wherever.
    pub async fn open(cql: Arc<Cql>, fence: Fence, runtime: Handle, limits: AccountLimits) -> Result<Self, OpenError> {
        let statements = Arc::new(Statements::prepare(&cql).await?);
        let owned = Owned::new(cql, fence, runtime);
        let acked = Acked::open(owned.clone(), statements.clone(), limits.acked_pending_max);
        Ok(Self(Arc::new(Inner { owned, statements, registering: Turns::new(), changing: Turns::new(), acked })))
    }

    /// Writes what is only in memory.
    pub async fn settle(&self) -> Result<(), StoreError> {
        let acked = self.0.acked.clone();
        self.0.owned.run(async move { acked.write().await }).await
    }

    /// Begins to do something at once.
    fn run<T: Send + 'static, F>(&self, work: impl FnOnce(Arc<Inner>) -> F) -> BoxFuture<'static, Result<T, StoreError>>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        self.0.owned.run(work(self.0.clone()))
    }
}

impl UserStore for Accounts {
    fn create_user(
        &self,
        user: UserRecord,
        invitation: Option<InvitationId>,
    ) -> BoxFuture<'static, Result<CreateUserOutcome, StoreError>> {
        self.run(|inner| async move { inner.create(&user, invitation).await })
    }

    fn user_by_name(&self, name_key: String) -> BoxFuture<'static, Result<Option<UserRecord>, StoreError>> {
        self.run(|inner| async move { inner.user_by_name(&name_key).await })
    }

    fn users(&self, ids: Vec<UserId>) -> BoxFuture<'static, Result<Vec<UserRecord>, StoreError>> {
        self.run(|inner| async move { inner.users(ids).await })
    }

    fn put_token(&self, token: NewToken) -> BoxFuture<'static, Result<bool, StoreError>> {
        self.run(|inner| async move { inner.put_token(&token).await })
    }

    fn token(&self, hash: TokenHash) -> BoxFuture<'static, Result<Option<TokenRecord>, StoreError>> {
        self.run(|inner| async move { inner.token(hash).await })
    }

    fn extend_token(&self, hash: TokenHash, expires_ms: u64) -> BoxFuture<'static, Result<(), StoreError>> {
        self.run(|inner| async move { inner.extend_token(hash, expires_ms).await })
    }

    fn revoke_tokens(&self, user: UserId, what: Revoke) -> BoxFuture<'static, Result<Vec<DeviceId>, StoreError>> {
        self.run(|inner| async move { inner.revoke(user, what).await })
    }

    fn put_acked(&self, acked: Vec<AckedPosition>) -> BoxFuture<'static, Result<(), StoreError>> {
        Box::pin(ready(self.0.acked.put(&acked)))
    }

    fn acked(
        &self,
        user: UserId,
        device: DeviceId,
        conversations: Vec<ConversationId>,
    ) -> BoxFuture<'static, Result<Vec<Seq>, StoreError>> {
        self.run(|inner| async move { inner.acked.read(user, device, &conversations).await })
    }
}
