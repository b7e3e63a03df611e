//! Who is a member, and the index of that by user.

use super::{
    Log,
    slot::Slot,
    state::{State, Unsettled},
    writes::Pause,
};
use crate::store::{
    StoreError,
    scylla::tables::{LogTables, MembershipState, Mutation, Rows, Written},
};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, future::try_join_all, stream};
use godwit_proto::{ConversationId, UserId};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// With more to find out about, all rows of members are read at once.
const SINGLE_READS_MAX: usize = 8;
/// Conversations that are asked at once.
pub(super) const ASKED_AT_ONCE: usize = 32;
/// Rows of a user's conversations that are read at once, at least.
const MEMBERSHIPS_MIN: usize = 32;

impl<T: LogTables> Log<T> {
    /// Who of these is a member. Nothing is on its way that changes members.
    pub(super) async fn are_members(
        &self,
        slot: &Slot,
        users: BTreeSet<UserId>,
    ) -> Result<BTreeMap<UserId, bool>, StoreError> {
        let (mut known, asked) = {
            let inner = slot.lock();
            let pending = |user: &UserId| match &inner.state {
                Some(state) if state.exists => state.members.get(user).map(is_member),
                _ => Some(false),
            };
            let known: BTreeMap<_, _> = users.iter().filter_map(|user| Some((*user, pending(user)?))).collect();
            let asked: Vec<_> = users.into_iter().filter(|user| !known.contains_key(user)).collect();
            (known, asked)
        };
        if asked.len() > SINGLE_READS_MAX {
            let rows = self.0.tables.members(slot.conversation).await?;
            let members: BTreeSet<_> = rows.iter().filter(|row| !row.member.is_empty()).map(|row| row.user).collect();
            known.extend(asked.into_iter().map(|user| (user, members.contains(&user))));
        } else {
            let rows = asked.iter().map(|user| self.0.tables.member(slot.conversation, *user));
            let rows = try_join_all(rows).await?;
            let is_there = rows.into_iter().map(|row| row.is_some_and(|row| !row.member.is_empty()));
            known.extend(asked.into_iter().zip(is_there));
        }
        Ok(known)
    }

    /// Has whoever lists the conversations of a user ask this one, until its row says more.
    pub(super) async fn mark_unsure(&self, slot: &Slot, user: UserId) -> Result<(), StoreError> {
        let state = MembershipState::Unsure;
        self.write(Rows::Membership { user, conversation: slot.conversation, state }).await?;
        if let Some(state) = &mut slot.lock().state {
            state.unsure.insert(user);
        }
        Ok(())
    }

    /// Has the rows of memberships written that may say otherwise.
    pub(super) fn start_indexing(&self, slot: &Arc<Slot>) {
        let mut inner = slot.lock();
        let is_there = inner.state.as_ref().is_some_and(|state| !state.memberships.is_empty());
        if !is_there || std::mem::replace(&mut inner.is_indexing, true) {
            return;
        }
        drop(inner);
        let (log, slot, working) = (self.clone(), slot.clone(), self.0.working.start());
        self.0.tables.spawn(Box::pin(async move {
            let mut pause = Pause::new();
            while let Some(writes) = log.next_memberships(&slot) {
                let each = writes.into_iter().map(|(user, since, mutation)| {
                    let (log, slot) = (&log, &slot);
                    async move { log.write_membership(slot, user, since, mutation).await }
                });
                let written = stream::iter(each).buffered(ASKED_AT_ONCE).collect::<Vec<_>>().await;
                if !written.is_empty() && !written.contains(&false) {
                    pause = Pause::new();
                } else if log.0.working.is_closing() {
                    // Rows that stay unsure are asked for.
                    slot.lock().is_indexing = false;
                    break;
                } else {
                    pause.wait(&*log.0.tables).await;
                }
            }
            drop((slot, working));
        }));
    }

    /// What is to be written next, each with the commit that made it; empty: nothing may be written now. `None`: that was all, or
    /// nothing ever may be. Timestamps are taken while the state cannot change, so that what is marked as unsure after this wins.
    fn next_memberships(&self, slot: &Slot) -> Option<Vec<(UserId, u64, Mutation)>> {
        let mut inner = slot.lock();
        let conversation = slot.conversation;
        // Those that are marked are written when that commit is known.
        let unmarked: Vec<_> = inner
            .state
            .iter()
            .flat_map(|state| state.memberships.iter().filter(|(user, _)| !state.marked.contains(user)))
            .map(|(user, Unsettled { value, since })| (*user, *value, *since))
            .collect();
        inner.is_indexing = !unmarked.is_empty() && !self.0.fence.has_ended();
        if !inner.is_indexing {
            return None;
        }
        let writes = unmarked.into_iter().map_while(|(user, is_member, since)| {
            let said = if is_member { MembershipState::Member } else { MembershipState::Left };
            let timestamp_us = self.0.fence.timestamp().ok()?;
            inner.state.as_mut()?.unsure.remove(&user);
            let rows = Rows::Membership { user, conversation, state: said };
            Some((user, since, Mutation { timestamp_us, rows }))
        });
        Some(writes.collect())
    }

    async fn write_membership(&self, slot: &Slot, user: UserId, since: u64, mutation: Mutation) -> bool {
        let is_done = self.attempt(mutation).await == Written::Done && self.0.fence.holds();
        if is_done
            && let Some(state) = &mut slot.lock().state
            && state.memberships.get(&user).is_some_and(|row| row.since == since)
        {
            state.memberships.remove(&user);
        }
        is_done
    }

    /// A page of a user's conversations.
    pub(super) async fn list_conversations(
        &self,
        user: UserId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>, StoreError> {
        let (mut found, mut after) = (Vec::new(), after);
        while found.len() < limit {
            let asked = (limit - found.len()).max(MEMBERSHIPS_MIN);
            let rows = self.0.tables.memberships(user, after, asked).await?;
            let is_last = rows.len() < asked;
            after = rows.last().map(|row| row.0);
            let each = rows.into_iter().filter(|(_, state)| *state != MembershipState::Left).map(
                |(conversation, state)| async move {
                    let is_member =
                        state == MembershipState::Member || self.check_membership(conversation, user).await?;
                    Ok::<_, StoreError>(is_member.then_some(conversation))
                },
            );
            let checked: Vec<_> = stream::iter(each).buffered(ASKED_AT_ONCE).try_collect().await?;
            found.extend(checked.into_iter().flatten());
            if is_last {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Asks a conversation about a row that is unsure, and has the row say so from then on.
    async fn check_membership(&self, conversation: ConversationId, user: UserId) -> Result<bool, StoreError> {
        let slot = self.0.slots.slot(conversation);
        loop {
            let (version, known) =
                self.with_state(&slot, false, |state| (state.version, known_member(state, user))).await?;
            let is_member = match known {
                Some(is_member) => is_member,
                None => {
                    let row = self.0.tables.member(conversation, user).await?;
                    row.is_some_and(|row| !row.member.is_empty())
                }
            };
            {
                let mut inner = slot.lock();
                let Some(state) = inner.state.as_mut() else { continue };
                if state.version != version {
                    continue;
                }
                let since = state.version;
                state.memberships.entry(user).or_insert(Unsettled { value: is_member, since });
            }
            self.start_indexing(&slot);
            return Ok(is_member);
        }
    }
}

/// Whether somebody is a member, if it takes no look at a row.
pub(super) fn known_member(state: &State, user: UserId) -> Option<bool> {
    if !state.exists {
        return Some(false);
    }
    state.members.get(&user).map(is_member)
}

fn is_member(cell: &Unsettled<Bytes>) -> bool {
    !cell.value.is_empty()
}
