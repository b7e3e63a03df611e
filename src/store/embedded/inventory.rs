//! Lists of everything, from the rows: what is still in memory over them is written first.

use super::{Embedded, error::RowError, keys, shared::Shared};
use crate::store::{
    AckedPosition, Cursor, Inventory, InvitationId, Listed, Page, StoreError, TokenHash, TokenRecord, UserRecord,
    rows::{TokenRow, UserRow},
};
use bytes::Bytes;
use fjall::Keyspace;
use futures_util::future::BoxFuture;
use godwit_proto::{ConversationId, DeviceId, Seq, UserId};
use std::ops::Bound;

impl Inventory for Embedded {
    fn accounts(&self, page: Page) -> BoxFuture<'static, Result<Listed<UserRecord>, StoreError>> {
        self.list(page, |shared, page| {
            list(&shared.keyspaces.accounts, page, keys::ACCOUNTS, |_, value| Ok(UserRow::read(value)?))
        })
    }

    fn invitations(&self, page: Page) -> BoxFuture<'static, Result<Listed<(InvitationId, UserId)>, StoreError>> {
        self.list(page, |shared, page| {
            list(&shared.keyspaces.accounts, page, keys::INVITATIONS, |key, value| {
                Ok((InvitationId(array(key, 1)?), user_id(keys::number(value)?)?))
            })
        })
    }

    fn tokens(&self, page: Page) -> BoxFuture<'static, Result<Listed<TokenRecord>, StoreError>> {
        self.list(page, |shared, page| {
            list(&shared.keyspaces.tokens, page, keys::TOKENS, |key, value| {
                Ok(TokenRow::read(TokenHash(array(key, 1)?), value)?)
            })
        })
    }

    fn conversations(&self, page: Page) -> BoxFuture<'static, Result<Listed<ConversationId>, StoreError>> {
        self.list(page, |shared, page| {
            list(&shared.keyspaces.conversations, page, &[], |key, _| {
                ConversationId::from_slice(key).map_err(|error| RowError::Damaged(error.to_string()))
            })
        })
    }

    fn acked_positions(&self, page: Page) -> BoxFuture<'static, Result<Listed<AckedPosition>, StoreError>> {
        self.list(page, |shared, page| {
            list(&shared.keyspaces.acked, page, &[], |key, value| {
                let conversation = ConversationId::from_slice(&array::<16>(key, 24)?);
                Ok(AckedPosition {
                    user: user_id(u64::from_be_bytes(array(key, 0)?))?,
                    device: DeviceId(array(key, 8)?),
                    conversation: conversation.map_err(|error| RowError::Damaged(error.to_string()))?,
                    seq: Seq(keys::number(value)?),
                })
            })
        })
    }
}

impl Embedded {
    fn list<T: Send + 'static>(
        &self,
        page: Page,
        list: impl FnOnce(&Shared, &Page) -> Result<Listed<T>, RowError> + Send + 'static,
    ) -> BoxFuture<'static, Result<Listed<T>, StoreError>> {
        let settled = match page.after {
            None => self.settle(),
            Some(_) => Ok(()),
        };
        match settled {
            Ok(()) => self.inner.readers.read(move |shared| list(shared, &page)),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }
}

/// A page of the rows whose keys start with `prefix`.
fn list<T>(
    keyspace: &Keyspace,
    page: &Page,
    prefix: &[u8],
    item: impl Fn(&[u8], &[u8]) -> Result<T, RowError>,
) -> Result<Listed<T>, RowError> {
    let start = match &page.after {
        Some(Cursor(after)) => Bound::Excluded(after.to_vec()),
        None => Bound::Included(prefix.to_vec()),
    };
    let mut items = Vec::new();
    for row in keyspace.range((start, Bound::Unbounded)) {
        let (key, value) = row.into_inner()?;
        if !key.starts_with(prefix) {
            break;
        }
        if *key == *keys::FILLING {
            continue;
        }
        items.push(item(&key, &value)?);
        if items.len() >= page.limit.max(1) {
            return Ok(Listed { items, next: Some(Cursor(Bytes::copy_from_slice(&key))) });
        }
    }
    Ok(Listed { items, next: None })
}

fn array<const N: usize>(key: &[u8], at: usize) -> Result<[u8; N], RowError> {
    let part = key.get(at..at + N).and_then(|part| part.try_into().ok());
    part.ok_or_else(|| RowError::Damaged("a key of the wrong length".to_owned()))
}

fn user_id(raw: u64) -> Result<UserId, RowError> {
    UserId::new(raw).map_err(|error| RowError::Damaged(error.to_string()))
}
