//! Moving house: copies all that is in one store to another, and then compares the two.
//!
//! What is there already is left as it is where it is the same, so a copy that was interrupted goes on where it was when it
//! is begun again. Neither store may be written by anybody else meanwhile.

mod begun;
mod conversation;
mod pages;
mod verify;

pub use verify::verify;

use super::{
    CreateUserOutcome, Inventory, NewToken, Store, StoreError, TimerChange, TimerOutcome, TokenRecord, UserRecord,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use godwit_proto::{ConversationId, UserId, Vshard};
use pages::{each_page, each_timer_page, patiently};
use std::{collections::HashMap, sync::Arc};
use thiserror::Error;

/// Conversations, or accounts, that are copied at the same time.
const AT_ONCE: usize = 32;
/// Things read at a time.
const PAGE_ITEMS: usize = 1_000;

/// A store that can be copied from or to.
pub trait Whole: Store + Inventory {}

impl<T: Store + Inventory> Whole for T {}

/// Hears how far the work is.
pub trait Progress: Send + Sync {
    /// A stage begins; `total` of its things are to be done, if that is known.
    fn begin(&self, stage: Stage, total: Option<u64>);
    /// So many more things of the stage are done.
    fn done(&self, things: u64);
}

/// What is being copied or compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Accounts, with the invitations that they were made with.
    Accounts,
    /// Tokens of devices.
    Tokens,
    /// Conversations: their entries, members and details.
    Conversations,
    /// What is scheduled.
    Timers,
    /// What devices acknowledged.
    Acked,
}

/// How much there was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Accounts.
    pub accounts: u64,
    /// Invitations that were used.
    pub invitations: u64,
    /// Tokens.
    pub tokens: u64,
    /// Conversations.
    pub conversations: u64,
    /// Entries of all conversations.
    pub entries: u64,
    /// Rows of members of all conversations.
    pub members: u64,
    /// Timers.
    pub timers: u64,
    /// Acknowledged positions.
    pub acked: u64,
}

/// Why a copy or a comparison ended early. What was copied stays; beginning again goes on from there.
#[derive(Debug, Error)]
pub enum CopyError {
    /// The store that is copied from does not answer.
    #[error(
        "cannot read from the store that is copied from: {0}. Begin again: what is copied already is not copied twice"
    )]
    Source(StoreError),
    /// The store that is copied to does not answer.
    #[error("cannot reach the store that is copied to: {0}. Begin again: what is copied already is not copied twice")]
    Target(StoreError),
    /// The store that is copied to has something else.
    #[error("the store that is copied to has something else: {0}. Copy to an empty one")]
    Differs(String),
    /// The store that is copied to has an account, named here, that the other one does not have. Nothing was written.
    #[error(
        "the store that is copied to has an account, {0:?}, that the store that is copied from does not have: it has part of a \
         copy of another one. Nothing was written. Copy from that one, or into an empty keyspace or directory (half a copy can be \
         dropped)"
    )]
    OfAnother(String),
    /// Something is missing that was there before.
    #[error("{0} went away meanwhile. Stop whoever uses the store that is copied from, and begin again")]
    Moving(String),
}

/// Copies everything. Run it on a tokio runtime with time.
pub async fn copy(from: &Arc<dyn Whole>, to: &Arc<dyn Whole>, progress: &dyn Progress) -> Result<Totals, CopyError> {
    begun::check(&**from, &**to).await?;
    let mut totals = Totals::default();
    progress.begin(Stage::Accounts, None);
    let invitations = invitations(&**from).await?;
    totals.invitations = invitations.len() as u64;
    each_page(
        |page| from.accounts(page),
        async |users| {
            totals.accounts += users.len() as u64;
            let count = users.len() as u64;
            let created = users.into_iter().map(|user| {
                let invitation = invitations.get(&user.id).copied();
                account(to, user, invitation)
            });
            in_parallel(created).await?;
            progress.done(count);
            Ok(())
        },
    )
    .await?;
    progress.begin(Stage::Tokens, None);
    each_page(
        |page| from.tokens(page),
        async |tokens| {
            let count = tokens.len() as u64;
            totals.tokens += count;
            in_parallel(tokens.into_iter().map(|record| token(to, record))).await?;
            progress.done(count);
            Ok(())
        },
    )
    .await?;
    progress.begin(Stage::Conversations, Some(count_conversations(&**from).await?));
    each_page(
        |page| from.conversations(page),
        async |ids| {
            let mut copies =
                stream::iter(ids.into_iter().map(|id| conversation::copy(from, to, id))).buffer_unordered(AT_ONCE);
            while let Some(size) = copies.try_next().await? {
                progress.done(1);
                let Some(size) = size else { continue };
                totals.conversations += 1;
                totals.entries += size.entries;
                totals.members += size.members;
            }
            Ok(())
        },
    )
    .await?;
    progress.begin(Stage::Timers, None);
    each_timer_page(&**from, async |rows| {
        let count = rows.len() as u64;
        totals.timers += count;
        timers(&**to, rows.into_iter().map(TimerChange::Put).collect()).await?;
        progress.done(count);
        Ok(())
    })
    .await?;
    progress.begin(Stage::Acked, None);
    each_page(
        |page| from.acked_positions(page),
        async |acked| {
            let count = acked.len() as u64;
            totals.acked += count;
            patiently(|| to.put_acked(acked.clone())).await.map_err(CopyError::Target)?;
            progress.done(count);
            Ok(())
        },
    )
    .await?;
    Ok(totals)
}

/// Who was invited by what.
async fn invitations(from: &dyn Whole) -> Result<HashMap<UserId, super::InvitationId>, CopyError> {
    let mut found = HashMap::new();
    each_page(
        |page| from.invitations(page),
        async |used| {
            found.extend(used.into_iter().map(|(invitation, user)| (user, invitation)));
            Ok(())
        },
    )
    .await?;
    Ok(found)
}

async fn count_conversations(store: &dyn Whole) -> Result<u64, CopyError> {
    let mut count = 0;
    each_page(
        |page| store.conversations(page),
        async |ids| {
            count += ids.len() as u64;
            Ok(())
        },
    )
    .await?;
    Ok(count)
}

async fn account(
    to: &Arc<dyn Whole>,
    user: UserRecord,
    invitation: Option<super::InvitationId>,
) -> Result<(), CopyError> {
    let there = patiently(|| to.users(vec![user.id])).await.map_err(CopyError::Target)?;
    if there.first() == Some(&user) {
        return Ok(());
    }
    let outcome = patiently(|| to.create_user(user.clone(), invitation)).await.map_err(CopyError::Target)?;
    match outcome {
        CreateUserOutcome::Created => Ok(()),
        CreateUserOutcome::NameTaken => Err(CopyError::Differs(format!("another user is called {:?}", user.username))),
        CreateUserOutcome::IdTaken => Err(CopyError::Differs(format!("another user has the id {}", user.id.as_u64()))),
        CreateUserOutcome::InvitationUsed => {
            Err(CopyError::Differs(format!("the invitation of {:?} was used by somebody else", user.username)))
        }
    }
}

async fn token(to: &Arc<dyn Whole>, record: TokenRecord) -> Result<(), CopyError> {
    let there = patiently(|| to.token(record.hash)).await.map_err(CopyError::Target)?;
    if there.as_ref() == Some(&record) {
        return Ok(());
    }
    // Nothing has expired at the beginning of time, so no other token is dropped.
    let new = NewToken { record, devices_max: usize::MAX, now_ms: 0 };
    patiently(|| to.put_token(new.clone())).await.map_err(CopyError::Target)?;
    Ok(())
}

/// Writes changes of timers until all of them are durable.
async fn timers(to: &dyn Whole, changes: Vec<TimerChange>) -> Result<(), CopyError> {
    let written = patiently(async || {
        let outcomes = to.put_timers(changes.clone()).await;
        let failed = outcomes.into_iter().find_map(|outcome| match outcome {
            TimerOutcome::Durable => None,
            TimerOutcome::NotWritten(error) => Some(error),
            TimerOutcome::Unknown => Some(StoreError::Unavailable("the outcome of a write is unknown".to_owned())),
        });
        failed.map_or(Ok(()), Err)
    });
    written.await.map_err(CopyError::Target)
}

async fn in_parallel(work: impl Iterator<Item = impl Future<Output = Result<(), CopyError>>>) -> Result<(), CopyError> {
    stream::iter(work).buffer_unordered(AT_ONCE).try_collect::<()>().await
}

fn all_vshards() -> godwit_proto::VshardSet {
    Vshard::all().collect()
}

/// Names a conversation in a message.
fn name(id: ConversationId) -> String {
    format!("the conversation {}", data_encoding::HEXLOWER.encode(id.as_bytes()))
}
