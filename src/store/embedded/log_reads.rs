//! Reading conversations: the overlay's part and the rows' part, taken at one moment and put together.

use super::{
    error::RowError,
    keys,
    keyspaces::Rows,
    overlay::{Overlay, Page},
    rows::{ConversationRow, EntriesRow, MemberRow},
    sends,
    shared::Shared,
};
use crate::{
    chat::{LogEntry, Member},
    store::{ConversationDetails, Direction, LoadedConversation, PageLimit, StoredSummary},
};
use godwit_proto::{ClientMsgId, ConversationId, Seq, UserId};
use prost::Message;
use std::{collections::BTreeMap, ops::Bound};

impl Shared {
    pub(super) fn load(
        &self,
        conversation: ConversationId,
        tail: usize,
    ) -> Result<Option<LoadedConversation>, RowError> {
        let limit = PageLimit { entries: tail.max(1), bytes: usize::MAX };
        let (pending, rows) = self.view(|overlay| PendingLoad::of(overlay, conversation, limit));
        let row = rows.conversation(conversation)?;
        if row.is_none() && !pending.exists {
            return Ok(None);
        }
        let mut members = rows.members(conversation)?;
        for (user, member) in pending.members {
            match member {
                Some(member) => members.insert(user, member),
                None => members.remove(&user),
            };
        }
        Ok(Some(LoadedConversation {
            details: pending.details.unwrap_or_else(|| details(row)),
            members: members.into_values().collect(),
            tail: rows.page(conversation, Seq(u64::MAX), Direction::Backward, limit, pending.page)?,
        }))
    }

    pub(super) fn read_log(
        &self,
        conversation: ConversationId,
        from: Seq,
        direction: Direction,
        limit: PageLimit,
    ) -> Result<Vec<LogEntry>, RowError> {
        let (pending, rows) = self.view(|overlay| pending_page(overlay, conversation, from, direction, limit));
        rows.page(conversation, from, direction, limit, pending)
    }

    pub(super) fn find_sent(
        &self,
        conversation: ConversationId,
        sender: UserId,
        id: ClientMsgId,
    ) -> Result<Option<LogEntry>, RowError> {
        let (pending, rows) =
            self.view(|overlay| overlay.find(conversation).and_then(|pending| pending.find_send(sender, id)).cloned());
        if pending.is_some() {
            return Ok(pending);
        }
        let wanted = sends::hash(sender, id);
        let all = keys::entry(conversation, Seq::ZERO)..=keys::entry(conversation, Seq(u64::MAX));
        for row in rows.range(&rows.keyspaces.sends, all).rev() {
            let (key, hashes) = row.into_inner()?;
            for seq in sends::candidates(keys::entry_first(&key)?, &hashes, wanted) {
                let entry = rows.entry(conversation, seq)?;
                if entry.sender == sender && entry.client_msg_id == id {
                    return Ok(Some(entry));
                }
            }
        }
        Ok(None)
    }

    pub(super) fn summarise(
        &self,
        wanted: &[(ConversationId, UserId)],
    ) -> Result<Vec<Option<StoredSummary>>, RowError> {
        let (pending, rows) = self
            .view(|overlay| wanted.iter().map(|&(id, user)| PendingSummary::of(overlay, id, user)).collect::<Vec<_>>());
        let each = wanted.iter().zip(pending);
        each.map(|(&(conversation, user), pending)| rows.summary(conversation, user, pending)).collect()
    }

    pub(super) fn conversations(
        &self,
        user: UserId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> Result<Vec<ConversationId>, RowError> {
        let (mut pending, rows) = self.view(|overlay| overlay.memberships(user, after));
        let mut found = Vec::new();
        let last = [u8::MAX; 16];
        let start = after.map_or(Bound::Included(user.as_u64().to_be_bytes().to_vec()), |after| {
            Bound::Excluded(keys::membership(user, after).to_vec())
        });
        let mut end = user.as_u64().to_be_bytes().to_vec();
        end.extend_from_slice(&last);
        for row in rows.range(&rows.keyspaces.memberships, (start, Bound::Included(end))) {
            if found.len() >= limit {
                break;
            }
            let id = keys::membership_conversation(&row.key()?)?;
            // Those that joined meanwhile and come before this row.
            while let Some(first) = pending.first_entry().filter(|first| *first.key() < id) {
                let (joined, is_member) = first.remove_entry();
                if is_member && found.len() < limit {
                    found.push(joined);
                }
            }
            if pending.remove(&id).unwrap_or(true) && found.len() < limit {
                found.push(id);
            }
        }
        found.extend(pending.into_iter().filter_map(|(id, is_member)| is_member.then_some(id)));
        found.truncate(limit);
        Ok(found)
    }
}

/// The overlay's part of a page, and where the overlay begins and the rows end; `None` if no entries are pending.
type PendingPage = Option<(Page, Seq)>;

fn pending_page(
    overlay: &Overlay,
    conversation: ConversationId,
    from: Seq,
    direction: Direction,
    limit: PageLimit,
) -> PendingPage {
    let pending = overlay.find(conversation)?;
    Some((pending.page(from, direction, limit), pending.first()?))
}

struct PendingLoad {
    exists: bool,
    details: Option<ConversationDetails>,
    members: Vec<(UserId, Option<Member>)>,
    page: PendingPage,
}

impl PendingLoad {
    fn of(overlay: &Overlay, conversation: ConversationId, limit: PageLimit) -> Self {
        let pending = overlay.find(conversation);
        Self {
            exists: pending.is_some(),
            details: pending.and_then(|pending| pending.details()).cloned(),
            members: pending.map(|pending| pending.members()).unwrap_or_default(),
            page: pending_page(overlay, conversation, Seq(u64::MAX), Direction::Backward, limit),
        }
    }
}

#[derive(Default)]
struct PendingSummary {
    details: Option<ConversationDetails>,
    last: Option<LogEntry>,
    member: Option<Option<Member>>,
    members: Vec<(UserId, Option<Member>)>,
}

impl PendingSummary {
    fn of(overlay: &Overlay, conversation: ConversationId, user: UserId) -> Self {
        let Some(pending) = overlay.find(conversation) else { return Self::default() };
        Self {
            details: pending.details().cloned(),
            last: pending.last().cloned(),
            member: pending.member(user),
            members: pending.members(),
        }
    }
}

impl Rows<'_> {
    fn conversation(&self, conversation: ConversationId) -> Result<Option<ConversationRow>, RowError> {
        match self.find(&self.keyspaces.conversations, conversation.as_bytes())? {
            Some(value) => Ok(Some(ConversationRow::decode(&*value)?)),
            None => Ok(None),
        }
    }

    fn entry(&self, conversation: ConversationId, seq: Seq) -> Result<LogEntry, RowError> {
        let one = PageLimit { entries: 1, bytes: 0 };
        let page = self.page(conversation, seq, Direction::Forward, one, None)?;
        match page.into_iter().next() {
            Some(entry) if entry.seq == seq => Ok(entry),
            _ => Err(RowError::Damaged(format!("{conversation:?} has no entry {seq:?}"))),
        }
    }

    fn members(&self, conversation: ConversationId) -> Result<BTreeMap<UserId, Member>, RowError> {
        let mut members = BTreeMap::new();
        for row in self.prefix(&self.keyspaces.members, conversation.as_bytes()) {
            let member = MemberRow::read(&row.value()?)?;
            members.insert(member.user, member);
        }
        Ok(members)
    }

    fn summary(
        &self,
        conversation: ConversationId,
        user: UserId,
        pending: PendingSummary,
    ) -> Result<Option<StoredSummary>, RowError> {
        let member = match pending.member {
            Some(member) => member,
            None => {
                let key = keys::member(conversation, user);
                let row = self.find(&self.keyspaces.members, &key)?;
                row.map(|value| MemberRow::read(&value)).transpose()?
            }
        };
        let Some(member) = member else { return Ok(None) };
        let row = self.conversation(conversation)?;
        // Pending changes of members seldom are more than a handful: one look-up each.
        let mut member_count = i64::from(row.as_ref().map_or(0, |row| row.member_count));
        for (user, change) in &pending.members {
            let was_member = self.has(&self.keyspaces.members, &keys::member(conversation, *user))?;
            member_count += i64::from(change.is_some()) - i64::from(was_member);
        }
        let last = match (pending.last, &row) {
            (Some(last), _) => Some(last),
            (None, Some(row)) if row.head > 0 => Some(self.head_entry(conversation, row)?),
            (None, _) => None,
        };
        Ok(Some(StoredSummary {
            details: pending.details.unwrap_or_else(|| details(row)),
            shown: last.clone(),
            last,
            member,
            member_count: u32::try_from(member_count).map_err(|_| RowError::Damaged("member count".to_owned()))?,
        }))
    }

    fn head_entry(&self, conversation: ConversationId, row: &ConversationRow) -> Result<LogEntry, RowError> {
        let key = keys::entry(conversation, Seq(row.head_row_first));
        let value = self.find(&self.keyspaces.entries, &key)?;
        let entries = value.map(|value| EntriesRow::read(&value)).transpose()?.unwrap_or_default();
        entries
            .into_iter()
            .find(|entry| entry.seq.0 == row.head)
            .ok_or_else(|| RowError::Damaged(format!("{conversation:?} has no entry {}", row.head)))
    }

    /// Puts together a page of rows and of what is pending after them, in ascending order.
    fn page(
        &self,
        conversation: ConversationId,
        from: Seq,
        direction: Direction,
        limit: PageLimit,
        pending: PendingPage,
    ) -> Result<Vec<LogEntry>, RowError> {
        let (pending, rows_end) = match pending {
            Some((pending, first)) => (pending, Seq(first.0 - 1)),
            None => (Page::new(limit), Seq(u64::MAX)),
        };
        match direction {
            Direction::Forward => {
                let mut page = Page::new(limit);
                if from <= rows_end {
                    self.fill_forward(conversation, from, rows_end, &mut page)?;
                }
                page.fill(pending.into_entries());
                Ok(page.into_entries())
            }
            Direction::Backward => {
                let mut page = pending;
                if page.has_room() {
                    self.fill_backward(conversation, from.min(rows_end), &mut page)?;
                }
                let mut entries = page.into_entries();
                entries.reverse();
                Ok(entries)
            }
        }
    }

    fn fill_forward(
        &self,
        conversation: ConversationId,
        from: Seq,
        last: Seq,
        page: &mut Page,
    ) -> Result<(), RowError> {
        let entries = &self.keyspaces.entries;
        // The row that holds `from` starts at it or before it.
        let before = keys::entry(conversation, Seq::ZERO)..=keys::entry(conversation, from);
        let start = match self.range(entries, before).next_back() {
            Some(row) => keys::entry_first(&row.key()?)?,
            None => from,
        };
        for row in self.range(entries, keys::entry(conversation, start)..=keys::entry(conversation, last)) {
            let row = EntriesRow::read(&row.value()?)?;
            page.fill(row.into_iter().filter(|entry| (from..=last).contains(&entry.seq)));
            if !page.has_room() {
                break;
            }
        }
        Ok(())
    }

    fn fill_backward(&self, conversation: ConversationId, from: Seq, page: &mut Page) -> Result<(), RowError> {
        let range = keys::entry(conversation, Seq::ZERO)..=keys::entry(conversation, from);
        for row in self.range(&self.keyspaces.entries, range).rev() {
            let row = EntriesRow::read(&row.value()?)?;
            page.fill(row.into_iter().rev().filter(|entry| entry.seq <= from));
            if !page.has_room() {
                break;
            }
        }
        Ok(())
    }
}

fn details(row: Option<ConversationRow>) -> ConversationDetails {
    ConversationDetails { title: row.map(|row| row.title).unwrap_or_default(), ..ConversationDetails::default() }
}
