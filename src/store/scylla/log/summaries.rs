//! Lines of conversation lists.

use super::{
    Log,
    memberships::ASKED_AT_ONCE,
    slot::Slot,
    state::{Shown, State},
};
use crate::{
    chat::LogEntry,
    store::{
        Direction, PageLimit, SHOWN_LOOK_BACK, StoreError, StoredSummary, rows::MemberRow, scylla::tables::LogTables,
    },
};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use godwit_proto::{ConversationId, Seq, UserId};
use std::sync::Arc;

/// Entries that are looked through at once.
const LOOKED_THROUGH: usize = 256;

impl<T: LogTables> Log<T> {
    /// One line each, in the order asked.
    pub(super) async fn summarise(
        &self,
        wanted: Vec<(ConversationId, UserId)>,
    ) -> Result<Vec<Option<StoredSummary>>, StoreError> {
        let each = wanted.into_iter().map(|(conversation, user)| {
            let log = self.clone();
            async move { log.summary(conversation, user).await }
        });
        stream::iter(each).buffered(ASKED_AT_ONCE).try_collect().await
    }

    async fn summary(&self, conversation: ConversationId, user: UserId) -> Result<Option<StoredSummary>, StoreError> {
        let slot = self.0.slots.slot(conversation);
        loop {
            // A row that is read changes only when it is written, and then a cell was there before.
            let before = self.with_state(&slot, false, |state| state.exists.then(|| read(state, user))).await?;
            let Some(before) = before else { return Ok(None) };
            let row = match before.1 {
                Some(_) => None,
                None => Some(self.0.tables.member(conversation, user).await?.map(|row| row.member).unwrap_or_default()),
            };
            self.find_shown(&slot).await?;
            let line = self.with_state(&slot, false, |state| {
                let (settles, cell, shown) = read(state, user);
                let cell = cell.or_else(|| row.clone().filter(|_| settles == before.0))?;
                Some((cell, shown?, state.details.clone(), state.newest.clone(), state.member_count))
            });
            let Some((cell, shown, details, last, member_count)) = line.await? else { continue };
            if cell.is_empty() {
                return Ok(None);
            }
            let member = MemberRow::read(&cell)?;
            return Ok(Some(StoredSummary { details, last, shown, member, member_count }));
        }
    }

    /// Looks for the newest entry to show, unless that is known.
    async fn find_shown(&self, slot: &Arc<Slot>) -> Result<(), StoreError> {
        loop {
            let look = self.with_state(slot, false, |state| {
                let is_known = state.known_shown().is_some();
                (!is_known).then(|| (state.head, state.version, state.rewritten.clone()))
            });
            let Some((head, version, rewritten)) = look.await? else { return Ok(()) };
            let oldest = Seq((head.0 + 1).saturating_sub(SHOWN_LOOK_BACK as u64).max(1));
            let mut shown: Option<LogEntry> = None;
            let mut from = head;
            while from >= oldest && shown.is_none() {
                let entries = LOOKED_THROUGH.min((from.0 + 1 - oldest.0) as usize);
                let limit = PageLimit { entries, bytes: usize::MAX };
                let page = self.rows(slot.conversation, head, &rewritten, from, Direction::Backward, limit).await?;
                from = Seq(from.0 - page.len() as u64);
                shown = page.into_iter().rev().find(|entry| entry.is_shown);
            }
            let found = shown.map_or(Shown::Nowhere, Shown::Entry);
            self.with_state(slot, false, |state| {
                if state.version == version {
                    state.shown = found.clone();
                }
            })
            .await?;
        }
    }
}

/// How often rows of members were written, the member's cell if it is not in its row, and the entry to show if it is known.
fn read(state: &State, user: UserId) -> (u64, Option<Bytes>, Option<Option<LogEntry>>) {
    (state.settles, state.members.get(&user).map(|cell| cell.value.clone()), state.known_shown())
}
