//! What is durable: what is left after a crash.

use crate::{cluster::Asked, expiries, ledger::Ledger, schedules::Schedules, settings::Bug};
use godwit::{
    chat::{ConversationDetails, LogEntry, Member, MemberChange},
    store::{
        Commit, CommitOutcome, CreateUserOutcome, Direction, DueTimer, LoadedConversation, NewToken, PageLimit,
        SHOWN_LOOK_BACK, StoredSummary, TimerChange, TimerId, TimerKey, TimerKind, TimerOwner, TimerRow, TokenHash,
        TokenRecord, UserRecord,
    },
};
use godwit_proto::{ClientMsgId, ConversationId, DeviceId, Seq, UserId, VshardSet, v1, v1::entry::Content};
use std::{collections::BTreeMap, ops::Range};

/// Maps in memory. Every entry that gets here goes through the [`Ledger`], so a broken log is found when it breaks.
#[derive(Debug, Default)]
pub struct Disk {
    pub conversations: BTreeMap<ConversationId, Stored>,
    pub users: BTreeMap<UserId, UserRecord>,
    pub tokens: BTreeMap<[u8; 32], TokenRecord>,
    pub acked: BTreeMap<(UserId, DeviceId, ConversationId), Seq>,
    pub timers: BTreeMap<TimerKey, TimerRow>,
    pub schedules: Schedules,
    /// Of a cluster.
    pub asked: Asked,
    /// Timers of a commit may come when it was said not to be written and everybody has looked for them: those are for the next
    /// server that starts.
    pub leaves_timers: bool,
    pub bug: Option<Bug>,
}

#[derive(Debug)]
pub struct Stored {
    details: ConversationDetails,
    pub members: BTreeMap<UserId, Member>,
    pub log: Vec<LogEntry>,
    /// The same, decoded.
    pub entries: Vec<v1::Entry>,
    pub ledger: Ledger,
}

/// How long ago it may have been decided what is committed now.
const DECIDED_MS_MAX: u64 = 2_000;
/// A timer that is overdue by so much is not going to fire.
const LEFT_MS: u64 = 5_000;
/// What everything settles only after.
const WAITED_FOR: [TimerKind; 4] =
    [TimerKind::SCHEDULED_SEND, TimerKind::MESSAGE_EXPIRY, TimerKind::EXPIRY_START, TimerKind::DELIVERY_END];

impl Stored {
    pub fn new(id: ConversationId, now_ms: u64) -> Self {
        Self {
            details: ConversationDetails::default(),
            members: BTreeMap::new(),
            log: Vec::new(),
            entries: Vec::new(),
            ledger: Ledger::new(id, now_ms),
        }
    }

    /// One more entry is durable.
    pub fn append(&mut self, now_ms: u64, id: ConversationId, entry: &LogEntry, schedules: &mut Schedules) {
        let decoded = entry.to_proto();
        self.ledger.append(now_ms, entry, &decoded);
        if let Some(Content::Message(message)) = decoded.content.as_ref()
            && message.scheduled
        {
            schedules.on_sent(now_ms, id, entry, message);
        }
        self.entries.push(decoded);
        self.log.push(entry.clone());
    }

    /// This takes the place of an older one, decided when the clock said no more than that.
    pub fn rewrite(&mut self, id: ConversationId, entry: &LogEntry, latest_ms: u64) {
        let (index, decoded) = (entry.seq.as_u64() as usize - 1, entry.to_proto());
        if let (Some(Content::Message(message)), Some(Content::Withdrawn(_))) =
            (&self.entries[index].content, &decoded.content)
        {
            let is_due = (1..=latest_ms).contains(&message.expires_ms);
            assert!(is_due, "{id:?} #{}: it expires before its time", entry.seq.as_u64());
        }
        self.ledger.rewrite(&self.entries[index], &decoded);
        self.entries[index] = decoded;
        self.log[index] = entry.clone();
    }

    /// Nothing is there that was to go.
    pub fn check_settled(&self, clock_ms: u64) {
        for entry in &self.entries {
            let is_over = expiries::deadline_ms(entry).is_some_and(|at_ms| at_ms <= clock_ms);
            assert!(!is_over, "{:?}: its time has come, and it is there", entry);
        }
    }
}

impl Disk {
    /// Writes a change as [`godwit::store::LogStore::commit`] promises it.
    pub fn commit(&mut self, now_ms: u64, commit: &Commit) -> CommitOutcome {
        let id = commit.conversation;
        let at = self.conversations.get(&id).map_or(0, |stored| stored.log.len());
        if commit.after.as_u64() != at as u64 {
            return CommitOutcome::Conflict;
        }
        let stored = self.conversations.entry(id).or_insert_with(|| Stored::new(id, now_ms));
        if self.bug == Some(Bug::LostEntry) && at == 2 {
            return CommitOutcome::Durable;
        }
        let latest_ms = self.schedules.clock.latest_between(now_ms.saturating_sub(DECIDED_MS_MAX), now_ms);
        commit.rewritten.iter().for_each(|entry| stored.rewrite(id, entry, latest_ms));
        commit.entries.iter().for_each(|entry| stored.append(now_ms, id, entry, &mut self.schedules));
        if let Some(details) = &commit.details {
            stored.details = details.clone();
        }
        for change in &commit.members {
            match change {
                MemberChange::Put(member) | MemberChange::Update(member) => {
                    let old = stored.members.insert(member.user, member.clone());
                    if self.bug == Some(Bug::LostRead) {
                        let read = old.map_or(member.read, |old| old.read);
                        stored.members.insert(member.user, Member { read, ..member.clone() });
                    }
                }
                MemberChange::Remove(user) => {
                    stored.members.remove(user);
                }
            }
        }
        stored.ledger.check_rows(&stored.members);
        self.change_timers(now_ms, commit);
        CommitOutcome::Durable
    }

    /// Writes what may be durable of a change although the change is not.
    pub fn change_timers(&mut self, now_ms: u64, commit: &Commit) {
        commit.timers.iter().for_each(|change| self.change_timer(now_ms, change));
    }

    pub fn load(&self, id: ConversationId, tail: usize) -> Option<LoadedConversation> {
        let stored = self.conversations.get(&id)?;
        Some(LoadedConversation {
            details: stored.details.clone(),
            members: stored.members.values().cloned().collect(),
            tail: stored.log[stored.log.len().saturating_sub(tail)..].to_vec(),
        })
    }

    pub fn read(&self, id: ConversationId, from: Seq, direction: Direction, limit: PageLimit) -> Vec<LogEntry> {
        let Some(stored) = self.conversations.get(&id) else { return Vec::new() };
        let (mut page, mut bytes) = (Vec::new(), 0);
        let mut take = |entry: &LogEntry| {
            bytes += entry.encoded.len();
            let fits = page.is_empty() || (page.len() < limit.entries && bytes <= limit.bytes);
            if fits {
                page.push(entry.clone());
            }
            fits
        };
        match direction {
            Direction::Forward => {
                stored.log.iter().filter(|entry| entry.seq >= from).all(&mut take);
            }
            Direction::Backward => {
                stored.log.iter().rev().filter(|entry| entry.seq <= from).all(&mut take);
                page.reverse();
            }
        }
        if self.bug == Some(Bug::HoleInPage) && page.len() > 2 {
            page.remove(1);
        }
        page
    }

    pub fn find_send(&self, id: ConversationId, sender: UserId, client_msg_id: ClientMsgId) -> Option<LogEntry> {
        if self.bug == Some(Bug::NoDedupe) {
            return None;
        }
        let stored = self.conversations.get(&id)?;
        let seq = stored.ledger.find(sender, client_msg_id)?;
        Some(stored.log[seq as usize - 1].clone())
    }

    pub fn summary(&self, id: ConversationId, user: UserId) -> Option<StoredSummary> {
        let stored = self.conversations.get(&id)?;
        let member = match stored.members.get(&user) {
            None if self.bug == Some(Bug::OpenDoor) => stored.members.values().next()?,
            member => member?,
        };
        Some(StoredSummary {
            details: stored.details.clone(),
            last: stored.log.last().cloned(),
            shown: stored.log.iter().rev().take(SHOWN_LOOK_BACK).find(|entry| entry.is_shown).cloned(),
            member: member.clone(),
            member_count: stored.members.len() as u32,
        })
    }

    pub fn conversations_of(&self, user: UserId, after: Option<ConversationId>, limit: usize) -> Vec<ConversationId> {
        let mine = self.conversations.iter().filter(|(_, stored)| stored.members.contains_key(&user));
        mine.map(|(id, _)| *id).filter(|id| after.is_none_or(|after| *id > after)).take(limit).collect()
    }

    /// Writes a change as [`godwit::store::TimerStore::put_timers`] promises it.
    pub fn change_timer(&mut self, now_ms: u64, change: &TimerChange) {
        let of_schedule = [TimerKind::SCHEDULED_SEND, TimerKind::SCHEDULE_FAILED].contains(&change.key().kind);
        match change {
            TimerChange::Put(row) if self.bug == Some(Bug::LostExpiry) && row.key.kind == TimerKind::MESSAGE_EXPIRY => {
            }
            TimerChange::Put(row) if !of_schedule => drop(self.timers.insert(row.key, row.clone())),
            TimerChange::Remove(key) if !of_schedule => drop(self.timers.remove(key)),
            TimerChange::Put(_) if self.bug == Some(Bug::LostTimer) => {}
            TimerChange::Remove(_) if self.bug == Some(Bug::KeptTimer) => {}
            TimerChange::Put(row) => {
                let member_since = |id, user| Some(self.conversations.get(&id)?.ledger.stay(user)?.since_ms);
                self.schedules.on_put(now_ms, row, member_since);
                let hasty_ms = if self.bug == Some(Bug::HastyTimer) { 200 } else { 0 };
                self.timers.insert(row.key, TimerRow { due_ms: row.due_ms - hasty_ms, ..row.clone() });
            }
            TimerChange::Remove(key) => {
                self.schedules.on_removed(now_ms, key);
                self.timers.remove(key);
            }
        }
    }

    /// Puts the server's clock forward to the next of these, if that is more than a moment away: a series would take minutes.
    pub fn put_clock_forward(&mut self, now_ms: u64) {
        let next_ms = self.pending(now_ms).iter().map(|timer| timer.due_ms).min().unwrap_or_default();
        let clock = &mut self.schedules.clock;
        if let Some(by_ms) = next_ms.checked_sub(clock.read(now_ms) + 1_000) {
            clock.set(now_ms, clock.ahead_ms() + by_ms as i64);
        }
    }

    /// Messages that are still to be sent, or to disappear, or whose delivery is to end.
    pub fn pending(&self, now_ms: u64) -> Vec<DueTimer> {
        let waiting = self.timers.values().filter(|row| WAITED_FOR.contains(&row.key.kind));
        let clock_ms = self.schedules.clock.read(now_ms);
        let is_left = |due: &DueTimer| {
            let of_conversation = matches!(due.key.owner, TimerOwner::Conversation(_));
            self.leaves_timers && of_conversation && due.due_ms + LEFT_MS < clock_ms
        };
        waiting.map(TimerRow::due).filter(|due| !is_left(due)).collect()
    }

    /// Vshard by vshard, because no more than the order within one is promised.
    pub fn due_timers(
        &self,
        vshards: &VshardSet,
        due_ms: &Range<u64>,
        after: Option<DueTimer>,
        limit: usize,
    ) -> Vec<DueTimer> {
        let place = |due: &DueTimer| (due.key.owner.vshard(), *due);
        let is_due = |due: &DueTimer| due_ms.contains(&due.due_ms) && vshards.contains(due.key.owner.vshard());
        let due = self.timers.values().map(TimerRow::due).filter(is_due);
        let mut due: Vec<_> = due.filter(|due| after.is_none_or(|after| place(due) > place(&after))).collect();
        due.sort_unstable_by_key(place);
        due.truncate(limit);
        due
    }

    pub fn timers_of(
        &self,
        kind: TimerKind,
        owner: TimerOwner,
        after: Option<(u64, TimerId)>,
        limit: usize,
    ) -> Vec<TimerRow> {
        let place = |row: &&TimerRow| (row.due_ms, row.key.id);
        let mine = self.timers.values().filter(|row| row.key.kind == kind && row.key.owner == owner);
        let mut mine: Vec<_> = mine.filter(|row| after.is_none_or(|after| place(row) > after)).collect();
        mine.sort_unstable_by_key(place);
        mine.into_iter().take(limit).cloned().collect()
    }

    pub fn create_user(&mut self, user: UserRecord) -> CreateUserOutcome {
        if self.users.values().any(|other| other.name_key == user.name_key) {
            return CreateUserOutcome::NameTaken;
        }
        if self.users.contains_key(&user.id) {
            return CreateUserOutcome::IdTaken;
        }
        self.users.insert(user.id, user);
        CreateUserOutcome::Created
    }

    /// Devices are few here, so the limit on them is left to the store's own tests.
    pub fn put_token(&mut self, token: NewToken) -> bool {
        let device = token.record.device;
        self.tokens.retain(|_, other| other.device != device);
        self.tokens.insert(token.record.hash.0, token.record);
        true
    }

    pub fn token(&self, hash: TokenHash) -> Option<&TokenRecord> {
        self.tokens.get(&hash.0)
    }

    pub fn extend_token(&mut self, hash: TokenHash, expires_ms: u64) {
        if let Some(record) = self.tokens.get_mut(&hash.0) {
            record.expires_ms = expires_ms;
        }
    }

    pub fn revoke_tokens(&mut self, user: UserId, only: Option<DeviceId>) -> Vec<DeviceId> {
        let ends = |record: &TokenRecord| record.user == user && only.is_none_or(|device| record.device == device);
        let ended = self.tokens.values().filter(|record| ends(record)).map(|record| record.device).collect();
        self.tokens.retain(|_, record| !ends(record));
        ended
    }
}
