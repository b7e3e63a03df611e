//! A store in memory that is too simple to be wrong: what any store must answer.

use godwit::{
    chat::{LogEntry, Member, MemberChange},
    store::{
        AckedPosition, Commit, CommitOutcome, ConversationDetails, CreateUserOutcome, Direction, InvitationId,
        LoadedConversation, NewToken, PageLimit, Revoke, SHOWN_LOOK_BACK, StoredSummary, TimerChange, TimerKey,
        TimerRow, TokenHash, TokenRecord, UserRecord,
    },
};
use godwit_proto::{ClientMsgId, ConversationId, DeviceId, Seq, UserId};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default, Clone)]
pub struct Model {
    conversations: BTreeMap<ConversationId, Conversation>,
    users: Vec<UserRecord>,
    invitations: BTreeSet<[u8; 16]>,
    tokens: BTreeMap<(UserId, DeviceId), TokenRecord>,
    acked: BTreeMap<(UserId, DeviceId, ConversationId), Seq>,
    timers: BTreeMap<TimerKey, TimerRow>,
}

#[derive(Default, Clone)]
struct Conversation {
    log: Vec<LogEntry>,
    members: BTreeMap<UserId, Member>,
    details: ConversationDetails,
}

impl Model {
    pub fn head(&self, conversation: ConversationId) -> u64 {
        self.conversations.get(&conversation).map_or(0, |conversation| conversation.log.len() as u64)
    }

    pub fn commit(&mut self, commit: &Commit) -> CommitOutcome {
        let head = self.head(commit.conversation);
        if head != commit.after.0 {
            let log = self.conversations.get(&commit.conversation).map_or(&[][..], |there| &there.log);
            let from = commit.after.0 as usize;
            let there = log.get(from..from + commit.entries.len());
            let same = !commit.entries.is_empty() && there == Some(&commit.entries[..]);
            return if same { CommitOutcome::AlreadyDurable } else { CommitOutcome::Conflict };
        }
        let conversation = self.conversations.entry(commit.conversation).or_default();
        for entry in &commit.rewritten {
            conversation.log[entry.seq.0 as usize - 1] = entry.clone();
        }
        conversation.log.extend(commit.entries.iter().cloned());
        for change in &commit.members {
            match change {
                MemberChange::Put(member) | MemberChange::Update(member) => {
                    conversation.members.insert(member.user, member.clone())
                }
                MemberChange::Remove(user) => conversation.members.remove(user),
            };
        }
        if let Some(details) = &commit.details {
            conversation.details = details.clone();
        }
        commit.timers.iter().for_each(|change| self.put_timer(change));
        CommitOutcome::Durable
    }

    pub fn load(&self, conversation: ConversationId, tail: usize) -> Option<LoadedConversation> {
        let there = self.conversations.get(&conversation)?;
        Some(LoadedConversation {
            details: there.details.clone(),
            members: there.members.values().cloned().collect(),
            tail: there.log[there.log.len().saturating_sub(tail.max(1))..].to_vec(),
        })
    }

    pub fn read(&self, conversation: ConversationId, from: Seq, to: Direction, limit: PageLimit) -> Vec<LogEntry> {
        let Some(there) = self.conversations.get(&conversation) else { return vec![] };
        let mut bytes = 0;
        let mut page = Vec::new();
        let mut fits = |entry: &&LogEntry| {
            bytes += entry.encoded.len();
            page.push((*entry).clone());
            page.len() == 1 || (page.len() <= limit.entries && bytes <= limit.bytes)
        };
        let taken = match to {
            Direction::Forward => there.log.iter().filter(|entry| entry.seq >= from).take_while(&mut fits).count(),
            Direction::Backward => {
                there.log.iter().rev().filter(|entry| entry.seq <= from).take_while(&mut fits).count()
            }
        };
        page.truncate(taken);
        if to == Direction::Backward {
            page.reverse();
        }
        page
    }

    pub fn find_send(&self, conversation: ConversationId, sender: UserId, id: ClientMsgId) -> Option<LogEntry> {
        let log = &self.conversations.get(&conversation)?.log;
        log.iter().find(|entry| entry.sender == sender && entry.client_msg_id == id).cloned()
    }

    pub fn summary(&self, conversation: ConversationId, user: UserId) -> Option<StoredSummary> {
        let there = self.conversations.get(&conversation)?;
        Some(StoredSummary {
            details: there.details.clone(),
            last: there.log.last().cloned(),
            shown: there.log.iter().rev().take(SHOWN_LOOK_BACK).find(|entry| entry.is_shown).cloned(),
            member: there.members.get(&user)?.clone(),
            member_count: there.members.len() as u32,
        })
    }

    pub fn conversations_of(&self, user: UserId, after: Option<ConversationId>, limit: usize) -> Vec<ConversationId> {
        let later = self.conversations.iter().filter(|(id, _)| after.is_none_or(|after| **id > after));
        later.filter(|(_, there)| there.members.contains_key(&user)).map(|(id, _)| *id).take(limit).collect()
    }

    pub fn create_user(&mut self, user: &UserRecord, invitation: Option<InvitationId>) -> CreateUserOutcome {
        if self.users.iter().any(|other| other.name_key == user.name_key) {
            return CreateUserOutcome::NameTaken;
        }
        if self.users.iter().any(|other| other.id == user.id) {
            return CreateUserOutcome::IdTaken;
        }
        if invitation.is_some_and(|invitation| !self.invitations.insert(invitation.0)) {
            return CreateUserOutcome::InvitationUsed;
        }
        self.users.push(user.clone());
        CreateUserOutcome::Created
    }

    pub fn users(&self) -> &[UserRecord] {
        &self.users
    }

    pub fn put_token(&mut self, new: &NewToken) -> bool {
        let place = (new.record.user, new.record.device);
        let of_user = |other: &(UserId, DeviceId)| other.0 == place.0 && *other != place;
        let is_expired = |token: &TokenRecord| token.expires_ms <= new.now_ms;
        let living = self.tokens.iter().filter(|(other, token)| of_user(other) && !is_expired(token)).count();
        if living >= new.devices_max {
            return false;
        }
        self.tokens.retain(|other, token| !(of_user(other) && is_expired(token)));
        self.tokens.insert(place, new.record.clone());
        true
    }

    pub fn token(&self, hash: TokenHash) -> Option<TokenRecord> {
        self.tokens.values().find(|token| token.hash == hash).cloned()
    }

    pub fn extend_token(&mut self, hash: TokenHash, expires_ms: u64) {
        for token in self.tokens.values_mut().filter(|token| token.hash == hash) {
            token.expires_ms = expires_ms;
        }
    }

    pub fn revoke_tokens(&mut self, user: UserId, what: Revoke) -> Vec<DeviceId> {
        let ends = |place: &(UserId, DeviceId)| {
            place.0 == user && !matches!(what, Revoke::Device(device) if device != place.1)
        };
        let ended = self.tokens.keys().filter(|place| ends(place)).map(|place| place.1).collect();
        self.tokens.retain(|place, _| !ends(place));
        ended
    }

    pub fn put_acked(&mut self, acked: &[AckedPosition]) {
        for position in acked {
            let seq = self.acked.entry((position.user, position.device, position.conversation)).or_default();
            *seq = position.seq.max(*seq);
        }
    }

    pub fn put_timer(&mut self, change: &TimerChange) {
        match change {
            TimerChange::Put(row) => drop(self.timers.insert(row.key, row.clone())),
            TimerChange::Remove(key) => drop(self.timers.remove(key)),
        }
    }

    pub fn timer(&self, key: TimerKey) -> Option<TimerRow> {
        self.timers.get(&key).cloned()
    }

    /// By when they are due, then by key.
    pub fn timers(&self) -> Vec<TimerRow> {
        let mut timers: Vec<_> = self.timers.values().cloned().collect();
        timers.sort_unstable_by_key(TimerRow::due);
        timers
    }

    pub fn acked(&self, user: UserId, device: DeviceId, conversation: ConversationId) -> Seq {
        self.acked.get(&(user, device, conversation)).copied().unwrap_or_default()
    }
}
