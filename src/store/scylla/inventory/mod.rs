//! Lists of everything: whole tables, read page by page.

mod statements;

use super::{connection::Cql, error::OpenError, statement::Statement};
use crate::store::{
    AckedPosition, Cursor, Inventory, InvitationId, Listed, Page, StoreError, TokenHash, TokenRecord, UserRecord,
    rows::UserRow,
};
use futures_util::{StreamExt, TryStreamExt, future::BoxFuture, stream};
use godwit_proto::{ConversationId, DeviceId, Seq, UserId};
use scylla::deserialize::row::DeserializeRow;
use statements::Statements;
use std::sync::Arc;
use tokio::runtime::Handle;

/// Questions at once about what a page lists.
const AT_ONCE: usize = 32;

/// Clones share the connection.
#[derive(Clone)]
pub struct Lists {
    inner: Arc<Inner>,
    runtime: Handle,
}

struct Inner {
    cql: Arc<Cql>,
    statements: Statements,
}

impl Lists {
    /// Prepares what is needed. The work is done on `runtime`.
    pub async fn open(cql: Arc<Cql>, runtime: Handle) -> Result<Self, OpenError> {
        let statements = Statements::prepare(&cql).await?;
        Ok(Self { inner: Arc::new(Inner { cql, statements }), runtime })
    }

    pub(super) fn cql(&self) -> &Cql {
        &self.inner.cql
    }

    fn run<T: Send + 'static, F>(&self, work: impl FnOnce(Arc<Inner>) -> F) -> BoxFuture<'static, Result<T, StoreError>>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let task = self.runtime.spawn(work(self.inner.clone()));
        Box::pin(async { task.await.unwrap_or_else(|error| Err(StoreError::Unavailable(error.to_string()))) })
    }
}

impl Inventory for Lists {
    fn accounts(&self, page: Page) -> BoxFuture<'static, Result<Listed<UserRecord>, StoreError>> {
        self.run(|inner| async move {
            let rows: Listed<(i64, Vec<u8>)> = inner.page(&inner.statements.accounts, page).await?;
            // 0: nobody has the name, it is only marked.
            rows.map(|(user, record)| (user != 0).then(|| UserRow::read(&record).map_err(damaged)).transpose())
        })
    }

    fn invitations(&self, page: Page) -> BoxFuture<'static, Result<Listed<(InvitationId, UserId)>, StoreError>> {
        self.run(|inner| async move { inner.invitations(page).await })
    }

    fn tokens(&self, page: Page) -> BoxFuture<'static, Result<Listed<TokenRecord>, StoreError>> {
        self.run(|inner| async move {
            let rows: Listed<TokenColumns> = inner.page(&inner.statements.tokens, page).await?;
            rows.map(token)
        })
    }

    fn conversations(&self, page: Page) -> BoxFuture<'static, Result<Listed<ConversationId>, StoreError>> {
        self.run(|inner| async move {
            let rows: Listed<(Vec<u8>, i64)> = inner.page(&inner.statements.conversations, page).await?;
            // Every conversation has a first bucket.
            rows.map(|(id, bucket)| (bucket == 0).then(|| conversation(&id)).transpose())
        })
    }

    fn acked_positions(&self, page: Page) -> BoxFuture<'static, Result<Listed<AckedPosition>, StoreError>> {
        self.run(|inner| async move {
            let rows: Listed<(i64, Vec<u8>, Vec<u8>, i64)> = inner.page(&inner.statements.acked, page).await?;
            rows.map(|(user, device, id, seq)| {
                let (user, device) = (user_id(user)?, device_id(&device)?);
                Ok(Some(AckedPosition { user, device, conversation: conversation(&id)?, seq: Seq(number(seq)?) }))
            })
        })
    }
}

impl Inner {
    async fn page<R>(&self, statement: &Statement, page: Page) -> Result<Listed<R>, StoreError>
    where
        R: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata>,
    {
        let (items, next) = self.cql.page(statement, (), page.after.map(|Cursor(after)| after)).await?;
        Ok(Listed { items, next: next.map(Cursor) })
    }

    /// Those that were claimed for an account that came to be.
    async fn invitations(&self, page: Page) -> Result<Listed<(InvitationId, UserId)>, StoreError> {
        let rows: Listed<(Vec<u8>, i64, String)> = self.page(&self.statements.invitations, page).await?;
        let asked = rows.items.into_iter().map(|(invitation, user, name_key): (Vec<u8>, i64, String)| async move {
            let named: Option<(i64,)> = self.cql.row(&self.statements.named, (name_key,)).await?;
            if named != Some((user,)) {
                return Ok::<_, StoreError>(None);
            }
            let invitation = invitation.try_into().map_err(|_| damaged("an invitation of the wrong length"))?;
            Ok(Some((InvitationId(invitation), user_id(user)?)))
        });
        let items: Vec<_> = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
        Ok(Listed { items: items.into_iter().flatten().collect(), next: rows.next })
    }
}

impl<R> Listed<R> {
    fn map<T>(self, read: impl Fn(R) -> Result<Option<T>, StoreError>) -> Result<Listed<T>, StoreError> {
        let items = self.items.into_iter().filter_map(|row| read(row).transpose());
        Ok(Listed { items: items.collect::<Result<_, _>>()?, next: self.next })
    }
}

/// User, device, hash, name, end.
type TokenColumns = (i64, Vec<u8>, Vec<u8>, String, i64);

/// `None` for a device that holds none any more.
fn token((user, device, hash, device_name, expires_ms): TokenColumns) -> Result<Option<TokenRecord>, StoreError> {
    if hash.is_empty() {
        return Ok(None);
    }
    let hash = hash.try_into().map_err(|_| damaged("a token hash of the wrong length"))?;
    Ok(Some(TokenRecord {
        hash: TokenHash(hash),
        user: user_id(user)?,
        device: device_id(&device)?,
        device_name,
        expires_ms: expires_ms.cast_unsigned(),
    }))
}

fn user_id(raw: i64) -> Result<UserId, StoreError> {
    UserId::new(raw.cast_unsigned()).map_err(damaged)
}

fn device_id(raw: &[u8]) -> Result<DeviceId, StoreError> {
    DeviceId::from_slice(raw).map_err(damaged)
}

fn conversation(raw: &[u8]) -> Result<ConversationId, StoreError> {
    ConversationId::from_slice(raw).map_err(damaged)
}

fn number(raw: i64) -> Result<u64, StoreError> {
    u64::try_from(raw).map_err(damaged)
}

fn damaged(what: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(format!("a row is damaged: {what}"))
}
