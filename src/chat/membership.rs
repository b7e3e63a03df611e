//! Who belongs to a group. Every change is an entry of the log.

use super::{
    Conversation, ConversationDetails, Effect, Input, LogEntry, Member, MemberChange, Position, Refusal, Reply, Role,
    conversation::{Draft, Stop},
    sanctions::removed_by,
};
use godwit_proto::{ClientMsgId, ConversationKind, UserId, v1, v1::ErrorCode};
use std::sync::Arc;

impl<R: Clone + PartialEq> Conversation<R> {
    pub(super) fn on_create_group(
        &mut self,
        now_ms: u64,
        input: &Input<R>,
        client_msg_id: ClientMsgId,
        title: &str,
        members: &[UserId],
        effects: &mut Vec<Effect<R>>,
    ) -> Result<(), Stop> {
        if self.is_repeated(input, client_msg_id, false, effects)? {
            return Ok(());
        }
        if self.stored || self.id.kind() != ConversationKind::Group {
            // The id is a hash of creator and client_msg_id, so only a forged request comes here.
            return Err(Refusal::new(ErrorCode::NotAMember, "this conversation exists already").into());
        }
        let others = self.newcomers(input.user, members)?;
        let created = v1::GroupCreated { title: title.to_owned(), member_ids: raw(&others) };
        let content = v1::entry::Content::GroupCreated(created);
        let entry = self.next_entry(now_ms, input.user, client_msg_id, content);
        let joined = Position { seq: entry.seq, ordinal: entry.ordinal };
        self.members.insert(input.user, Member::new(input.user, Role::Owner, joined));
        for user in others {
            self.members.insert(user, Member::new(user, Role::Member, joined));
        }
        self.details = ConversationDetails { title: title.to_owned(), ..ConversationDetails::default() };
        self.members_changed();
        // The first change of a conversation writes every member's row by itself.
        self.append(input, entry, Draft { details: Some(self.details.clone()), ..Draft::default() }, effects);
        Ok(())
    }

    pub(super) fn on_add_members(
        &mut self,
        now_ms: u64,
        input: &Input<R>,
        client_msg_id: ClientMsgId,
        members: &[UserId],
        effects: &mut Vec<Effect<R>>,
    ) -> Result<(), Stop> {
        if self.is_repeated(input, client_msg_id, false, effects)? {
            return Ok(());
        }
        self.require_owner(input.user)?;
        let others = self.newcomers(input.user, members)?;
        self.check_bans(now_ms, &others)?;
        if others.is_empty() {
            self.answer(input, Reply::Unchanged, effects);
            return Ok(());
        }
        let content = v1::entry::Content::MembersAdded(v1::MembersAdded { member_ids: raw(&others) });
        let entry = self.next_entry(now_ms, input.user, client_msg_id, content);
        let joined = Position { seq: entry.seq, ordinal: entry.ordinal };
        let mut changes = Vec::with_capacity(others.len());
        for user in others {
            let member = Member::new(user, Role::Member, joined);
            self.members.insert(user, member.clone());
            changes.push(MemberChange::Put(member));
        }
        self.members_changed();
        self.append(input, entry, Draft { members: changes, ..Draft::default() }, effects);
        Ok(())
    }

    pub(super) fn on_remove_member(
        &mut self,
        now_ms: u64,
        input: &Input<R>,
        client_msg_id: ClientMsgId,
        user: UserId,
        effects: &mut Vec<Effect<R>>,
    ) -> Result<(), Stop> {
        if self.is_repeated(input, client_msg_id, false, effects)? {
            return Ok(());
        }
        if user == input.user {
            self.require_group()?;
            self.member(user)?;
        } else {
            self.require_owner(input.user)?;
        }
        let Some(gone) = self.members.remove(&user) else {
            self.answer(input, Reply::Unchanged, effects);
            return Ok(());
        };
        let mut changes = vec![MemberChange::Remove(user)];
        let mut new_owner_id = 0;
        if gone.role == Role::Owner {
            // The longest-standing member takes over, so that a group never stands without an owner.
            let heir = self.members.values_mut().min_by_key(|member| (member.joined.seq, member.user));
            if let Some(heir) = heir {
                heir.role = Role::Owner;
                heir.muted_until_ms = 0;
                new_owner_id = heir.user.as_u64();
                changes.push(MemberChange::Put(heir.clone()));
            }
        }
        let removed = v1::MemberRemoved { member_id: user.as_u64(), new_owner_id };
        let entry = self.next_entry(now_ms, input.user, client_msg_id, v1::entry::Content::MemberRemoved(removed));
        self.members_changed();
        self.append(input, entry, Draft { members: changes, ..Draft::default() }, effects);
        Ok(())
    }

    /// Those who are no members yet, once each, if the group has room for them.
    fn newcomers(&self, asking: UserId, users: &[UserId]) -> Result<Vec<UserId>, Refusal> {
        let mut others: Vec<UserId> =
            users.iter().copied().filter(|user| *user != asking && !self.members.contains_key(user)).collect();
        others.sort_unstable();
        others.dedup();
        let count = self.members.len().max(1) + others.len();
        if count > self.limits.group_members_max {
            let message = format!("a group has at most {} members", self.limits.group_members_max);
            return Err(Refusal::new(ErrorCode::GroupFull, message));
        }
        Ok(others)
    }

    pub(super) fn require_owner(&self, user: UserId) -> Result<(), Refusal> {
        let member = self.member(user)?;
        self.require_group()?;
        match member.role {
            Role::Owner => Ok(()),
            Role::Member => Err(Refusal::new(ErrorCode::Forbidden, "only the owner of a group does this")),
        }
    }

    fn require_group(&self) -> Result<(), Refusal> {
        match self.id.kind() {
            ConversationKind::Group => Ok(()),
            ConversationKind::Direct(..) => {
                Err(Refusal::new(ErrorCode::Forbidden, "a direct conversation always has its two members"))
            }
        }
    }
}

/// Who is to be pushed each of these entries, which are the end of a log whose members are now `members`.
///
/// Memberships are read back off the entries themselves: nobody is given what came before they joined, and whoever was
/// removed is told of it.
pub fn recipients_of(entries: &[LogEntry], members: Arc<[UserId]>) -> Vec<Arc<[UserId]>> {
    let mut members = members;
    let mut recipients: Vec<Arc<[UserId]>> = entries
        .iter()
        .rev()
        .map(|entry| {
            if let Some(removed) = removed_by(entry) {
                members = members.iter().copied().chain([removed]).collect();
            }
            let with_them = members.clone();
            if let Some(v1::entry::Content::MembersAdded(added)) = entry.to_proto().content {
                members = members.iter().copied().filter(|user| !added.member_ids.contains(&user.as_u64())).collect();
            }
            with_them
        })
        .collect();
    recipients.reverse();
    recipients
}

fn raw(users: &[UserId]) -> Vec<u64> {
    users.iter().map(|user| user.as_u64()).collect()
}
