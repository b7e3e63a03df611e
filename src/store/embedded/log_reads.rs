//! Reading conversations: the overlay's part and the rows' part, taken at one moment and put together.

use super::{
    error::RowError,
    keys,
    keyspaces::Rows,
    overlay::{Overlay, Page, Rewritten},
    rows::{ConversationRow, EntriesRow},
    sends,
    shared::Shared,
};
use crate::{
    chat::{LogEntry, Member},
    store::{
        ConversationDetails, Direction, LoadedConversation, PageLimit, SHOWN_LOOK_BACK, StoredSummary,
        rows::{DetailsRow, MemberRow},
    },
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
            details: pending.details.map_or_else(|| details(row), Ok)?,
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
        let (pending, rows) = self.view(|overlay| PendingPage::of(overlay, conversation, from, direction, limit));
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
        // What is rewritten there keeps its id, so what the rows have stands.
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

/// The overlay's part of a page.
struct PendingPage {
    page: Page,
    /// The last entry that is to be read from rows.
    rows_end: Seq,
    rewritten: Rewritten,
}

impl PendingPage {
    fn of(overlay: &Overlay, conversation: ConversationId, from: Seq, direction: Direction, limit: PageLimit) -> Self {
        let Some(pending) = overlay.find(conversation) else { return Self::none(limit) };
        Self {
            page: pending.page(from, direction, limit),
            rows_end: rows_end(pending.first()),
            rewritten: pending.rewritten(from, direction, limit.entries),
        }
    }

    fn none(limit: PageLimit) -> Self {
        Self { page: Page::new(limit), rows_end: rows_end(None), rewritten: Rewritten::default() }
    }
}

/// Where the rows end, given the first pending entry.
fn rows_end(pending: Option<Seq>) -> Seq {
    pending.map_or(Seq(u64::MAX), |first| Seq(first.0 - 1))
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
            page: PendingPage::of(overlay, conversation, Seq(u64::MAX), Direction::Backward, limit),
        }
    }
}

#[derive(Default)]
struct PendingSummary {
    details: Option<ConversationDetails>,
    /// The first and the last of the pending entries, and the newest to show.
    first: Option<Seq>,
    last: Option<LogEntry>,
    shown: Option<LogEntry>,
    rewritten: Rewritten,
    member: Option<Option<Member>>,
    members: Vec<(UserId, Option<Member>)>,
}

impl PendingSummary {
    fn of(overlay: &Overlay, conversation: ConversationId, user: UserId) -> Self {
        let Some(pending) = overlay.find(conversation) else { return Self::default() };
        let shown = pending.shown(SHOWN_LOOK_BACK);
        let look_back = || pending.rewritten(Seq(u64::MAX), Direction::Backward, SHOWN_LOOK_BACK);
        Self {
            details: pending.details().cloned(),
            first: pending.first(),
            last: pending.last().cloned(),
            rewritten: if shown.is_some() { Rewritten::default() } else { look_back() },
            shown: shown.cloned(),
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
        let page = self.page(conversation, seq, Direction::Forward, one, PendingPage::none(one))?;
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
            (None, Some(row)) if row.head > 0 => Some(pending.rewritten.newest(self.head_entry(conversation, row)?)),
            (None, _) => None,
        };
        let shown = match (pending.shown, &last) {
            (Some(shown), _) => Some(shown),
            (None, Some(last)) if last.is_shown => Some(last.clone()),
            (None, Some(last)) => {
                let rows_end = rows_end(pending.first).min(last.seq);
                self.shown(conversation, last.seq, rows_end, &pending.rewritten)?
            }
            (None, None) => None,
        };
        Ok(Some(StoredSummary {
            details: pending.details.map_or_else(|| details(row), Ok)?,
            shown,
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

    /// The newest entry up to `rows_end` that there is something to show of, if it is among the newest of the whole log.
    fn shown(
        &self,
        conversation: ConversationId,
        head: Seq,
        rows_end: Seq,
        rewritten: &Rewritten,
    ) -> Result<Option<LogEntry>, RowError> {
        let oldest = Seq((head.0 + 1).saturating_sub(SHOWN_LOOK_BACK as u64).max(1));
        let range = keys::entry(conversation, Seq::ZERO)..=keys::entry(conversation, rows_end);
        for row in self.range(&self.keyspaces.entries, range).rev() {
            for entry in EntriesRow::read(&row.value()?)?.into_iter().rev().filter(|entry| entry.seq <= rows_end) {
                if entry.seq < oldest {
                    return Ok(None);
                }
                let entry = rewritten.newest(entry);
                if entry.is_shown {
                    return Ok(Some(entry));
                }
            }
        }
        Ok(None)
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
        let PendingPage { page: pending, rows_end, rewritten } = pending;
        match direction {
            Direction::Forward => {
                let mut page = Page::new(limit);
                if from <= rows_end {
                    self.fill_forward(conversation, from, rows_end, &rewritten, &mut page)?;
                }
                page.fill(pending.into_entries());
                Ok(page.into_entries())
            }
            Direction::Backward => {
                let mut page = pending;
                if page.has_room() {
                    self.fill_backward(conversation, from.min(rows_end), &rewritten, &mut page)?;
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
        rewritten: &Rewritten,
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
            let row = row.into_iter().filter(|entry| (from..=last).contains(&entry.seq));
            page.fill(row.map(|entry| rewritten.newest(entry)));
            if !page.has_room() {
                break;
            }
        }
        Ok(())
    }

    fn fill_backward(
        &self,
        conversation: ConversationId,
        from: Seq,
        rewritten: &Rewritten,
        page: &mut Page,
    ) -> Result<(), RowError> {
        let range = keys::entry(conversation, Seq::ZERO)..=keys::entry(conversation, from);
        for row in self.range(&self.keyspaces.entries, range).rev() {
            let row = EntriesRow::read(&row.value()?)?;
            let row = row.into_iter().rev().filter(|entry| entry.seq <= from);
            page.fill(row.map(|entry| rewritten.newest(entry)));
            if !page.has_room() {
                break;
            }
        }
        Ok(())
    }
}

fn details(row: Option<ConversationRow>) -> Result<ConversationDetails, RowError> {
    let Some(row) = row else { return Ok(ConversationDetails::default()) };
    Ok(DetailsRow::details(row.details, row.title)?)
}
