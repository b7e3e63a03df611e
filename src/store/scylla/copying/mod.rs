//! A row that says that a copy into the keyspace is not complete: a server that started on half of it would lose the rest.
//!
//! It stands among the leases, as that of a node that there is never.

mod statements;

use super::{
    connection::{Conditional, Cql},
    error::OpenError,
    inventory::Lists,
    outcome::Failed,
};
use crate::store::{Inventory, Page, StoreError};

/// The `node_id` of the row. Nodes are numbered from 1.
pub(super) const NODE: i32 = 0;
/// Its `state` before the copy is complete. Neither of the two is that of a lease.
pub(super) const INCOMPLETE: i8 = 11;
const COMPLETE: i8 = 10;
const NAME: &str = "a copy";

/// Leaves word in a keyspace that is to receive a copy, and refuses one that does or does not. The keyspace is this server's.
pub(super) async fn check(cql: &Cql, lists: &Lists, keyspace: &str, receives_copy: bool) -> Result<(), OpenError> {
    let keyspace = || keyspace.to_owned();
    let failed = |error: StoreError| OpenError::Failed {
        what: "say whether a copy into the keyspace is complete".to_owned(),
        reason: error.to_string(),
    };
    let state = state(cql).await?.map_err(failed)?;
    match (receives_copy, state) {
        (false, Some(INCOMPLETE)) => Err(OpenError::CopyIncomplete { keyspace: keyspace() }),
        (true, Some(INCOMPLETE)) | (false, _) => Ok(()),
        (true, _) if !is_empty(lists).await.map_err(failed)? => Err(OpenError::NotEmpty { keyspace: keyspace() }),
        (true, None) => {
            let mark = cql.prepare(statements::MARK_FIRST).await?;
            let row = (0_i64, 0_i64, 0_i64, 0_i64, NAME, INCOMPLETE, NODE);
            settled(cql.conditional(&mark, row).await, cql, INCOMPLETE).await?.map_err(failed)
        }
        (true, Some(before)) => {
            let mark = cql.prepare(statements::MARK_SWAP).await?;
            let row = (0_i64, 0_i64, 0_i64, 0_i64, NAME, INCOMPLETE, NODE, before);
            settled(cql.conditional(&mark, row).await, cql, INCOMPLETE).await?.map_err(failed)
        }
    }
}

/// Takes the word back.
pub(super) async fn complete(cql: &Cql) -> Result<(), OpenError> {
    let mark = cql.prepare(statements::MARK_SWAP).await?;
    let row = (0_i64, 0_i64, 0_i64, 0_i64, NAME, COMPLETE, NODE, INCOMPLETE);
    let swapped = settled(cql.conditional(&mark, row).await, cql, COMPLETE).await?;
    swapped.map_err(|error| OpenError::Failed {
        what: "note that the copy is complete".to_owned(),
        reason: format!("{error}. Begin the copy again: nothing is copied twice"),
    })
}

/// A swap, or what is there when nobody knows whether it was made.
async fn settled(
    swapped: Result<Conditional, Failed>,
    cql: &Cql,
    wanted: i8,
) -> Result<Result<(), StoreError>, OpenError> {
    match swapped {
        Ok(swapped) if swapped.applied => Ok(Ok(())),
        Err(Failed::NotWritten(error)) => Ok(Err(error)),
        Ok(_) | Err(Failed::Unknown) => Ok(state(cql).await?.and_then(|state| match state == Some(wanted) {
            true => Ok(()),
            false => Err(StoreError::Unavailable("the database did not say whether it was done".to_owned())),
        })),
    }
}

async fn state(cql: &Cql) -> Result<Result<Option<i8>, StoreError>, OpenError> {
    let mark = cql.prepare(statements::MARK).await?;
    let row = cql.row::<(i8,)>(&mark, (NODE,)).await;
    Ok(row.map(|row| row.map(|(state,)| state)))
}

async fn is_empty(lists: &Lists) -> Result<bool, StoreError> {
    let first = || Page { after: None, limit: 1 };
    let accounts = lists.accounts(first()).await?.items;
    let conversations = lists.conversations(first()).await?.items;
    Ok(accounts.is_empty() && conversations.is_empty())
}
