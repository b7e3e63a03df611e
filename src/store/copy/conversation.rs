//! Copying one conversation.

use super::{CopyError, Whole, name, pages::patiently};
use crate::{
    chat::{LogEntry, MemberChange},
    store::{Commit, CommitOutcome, Direction, LoadedConversation, PageLimit, StoreError},
};
use godwit_proto::{ConversationId, Seq};
use std::{collections::BTreeMap, sync::Arc};

/// Entries read and written at a time.
pub(super) const PAGE: PageLimit = PageLimit { entries: 256, bytes: 256 * 1024 };
/// Members written at a time.
const MEMBERS_MAX: usize = 500;

/// How much there is of a conversation.
pub(super) struct Size {
    pub(super) entries: u64,
    pub(super) members: u64,
}

/// Makes a conversation what it is in the other store. `None`: nothing of it is there.
pub(super) async fn copy(
    from: &Arc<dyn Whole>,
    to: &Arc<dyn Whole>,
    id: ConversationId,
) -> Result<Option<Size>, CopyError> {
    let source = patiently(|| from.load(id, 1)).await.map_err(CopyError::Source)?;
    let Some(source) = source else { return Ok(None) };
    let head = head(Some(&source));
    let there = patiently(|| to.load(id, 1)).await.map_err(CopyError::Target)?;
    let copied = self::head(there.as_ref());
    if copied > head {
        return Err(CopyError::Differs(format!("{} has {} entries there and {} here", name(id), copied.0, head.0)));
    }
    rewrite(from, to, id, copied).await?;
    let mut at = copied;
    while at < head {
        let entries = read(from, id, at.next(), head).await.map_err(CopyError::Source)?;
        let last = entries.last().ok_or_else(|| CopyError::Moving(name(id)))?.seq;
        commit(to, Commit { entries, ..Commit::after(id, at) }).await?;
        at = last;
    }
    let size = Size { entries: head.0, members: source.members.len() as u64 };
    settle(to, id, head, source, there).await?;
    Ok(Some(size))
}

/// Entries that an earlier attempt copied may have been withdrawn since.
async fn rewrite(from: &Arc<dyn Whole>, to: &Arc<dyn Whole>, id: ConversationId, upto: Seq) -> Result<(), CopyError> {
    let mut at = Seq::ZERO;
    while at < upto {
        let here = read(from, id, at.next(), upto).await.map_err(CopyError::Source)?;
        let there = read(to, id, at.next(), upto).await.map_err(CopyError::Target)?;
        let (Some(last), false) = (here.last().map(|entry| entry.seq), there.is_empty()) else {
            return Err(CopyError::Moving(name(id)));
        };
        let last = there.last().map_or(last, |there| there.seq.min(last));
        let pairs = here.into_iter().zip(there);
        let mut rewritten = Vec::new();
        for (here, there) in pairs.filter(|(here, there)| here != there) {
            if (here.sender, here.client_msg_id) != (there.sender, there.client_msg_id) {
                return Err(CopyError::Differs(format!("entry {} of {} is another one", here.seq.0, name(id))));
            }
            rewritten.push(here);
        }
        if !rewritten.is_empty() {
            commit(to, Commit { rewritten, ..Commit::after(id, upto) }).await?;
        }
        at = last;
    }
    Ok(())
}

/// Members and details, when all entries are there.
async fn settle(
    to: &Arc<dyn Whole>,
    id: ConversationId,
    head: Seq,
    source: LoadedConversation,
    there: Option<LoadedConversation>,
) -> Result<(), CopyError> {
    let is_same = there.as_ref().is_some_and(|there| there.details == source.details);
    let details = (!is_same).then_some(source.details);
    let mut left: BTreeMap<_, _> =
        there.into_iter().flat_map(|there| there.members).map(|member| (member.user, member)).collect();
    let mut changes = Vec::new();
    for member in source.members {
        if left.remove(&member.user).as_ref() != Some(&member) {
            changes.push(MemberChange::Put(member));
        }
    }
    changes.extend(left.into_keys().map(MemberChange::Remove));
    let mut rest = changes.as_slice();
    while rest.len() > MEMBERS_MAX {
        let (now, later) = rest.split_at(MEMBERS_MAX);
        commit(to, Commit { members: now.to_vec(), ..Commit::after(id, head) }).await?;
        rest = later;
    }
    if !rest.is_empty() || details.is_some() {
        commit(to, Commit { members: rest.to_vec(), details, ..Commit::after(id, head) }).await?;
    }
    Ok(())
}

/// Entries from `from` on, none after `upto`.
pub(super) async fn read(
    store: &Arc<dyn Whole>,
    id: ConversationId,
    from: Seq,
    upto: Seq,
) -> Result<Vec<LogEntry>, StoreError> {
    let mut entries = patiently(|| store.read(id, from, Direction::Forward, PAGE)).await?;
    entries.retain(|entry| entry.seq <= upto);
    Ok(entries)
}

/// The newest entry.
pub(super) fn head(loaded: Option<&LoadedConversation>) -> Seq {
    loaded.and_then(|loaded| loaded.tail.last()).map_or(Seq::ZERO, |last| last.seq)
}

/// Writes a commit until it is durable. One whose outcome is unknown is made again: it is there already, or it is not.
async fn commit(to: &Arc<dyn Whole>, commit: Commit) -> Result<(), CopyError> {
    let written = patiently(async || match to.commit(vec![commit.clone()]).await.pop() {
        Some(CommitOutcome::Durable | CommitOutcome::AlreadyDurable) => Ok(true),
        Some(CommitOutcome::Conflict) => Ok(false),
        Some(CommitOutcome::NotWritten(error)) => Err(error),
        Some(CommitOutcome::Unknown) | None => {
            Err(StoreError::Unavailable("the outcome of a write is unknown".to_owned()))
        }
    });
    match written.await.map_err(CopyError::Target)? {
        true => Ok(()),
        false => Err(CopyError::Differs(format!("{} changes meanwhile", name(commit.conversation)))),
    }
}
