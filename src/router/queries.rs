//! Requests that only read: answered from the store, on the core that has the connection.

use super::{
    Limits,
    parse::{HistoryPage, SyncPage, group_only},
    services::refusal,
};
use crate::{
    chat::{LogEntry, Position, Refusal, Role},
    store::{Direction, Store, StoredSummary},
};
use godwit_proto::{
    ConversationId, DeviceId, Seq, UserId, v1,
    v1::{ErrorCode, WithdrawnReason, server_frame::Body},
};
use prost::Message;
use std::{cmp::Reverse, collections::HashSet, sync::Arc};

/// A conversation id in `SyncResponse.removed`, with its tag and length.
const REMOVED_BYTES: usize = 18;

/// An answer, and the newest entry in it.
pub type Answer = (Body, Option<(ConversationId, Seq)>);

/// One page of a conversation, as far as this member may read it.
pub async fn history(store: Arc<dyn Store>, user: UserId, page: HistoryPage) -> Result<Answer, Refusal> {
    let conversation = page.conversation;
    let summary = summary_of(&*store, conversation, user).await?;
    let first = summary.member.first_seq();
    let last = summary.last.as_ref().map_or(Seq::ZERO, |entry| entry.seq);
    let from = match page.direction {
        Direction::Forward => page.from.max(first),
        Direction::Backward => page.from.min(last),
    };
    let mut entries = match (page.direction, page.from) {
        (Direction::Backward, asked) if asked < first => Vec::new(),
        _ if last < first => Vec::new(),
        _ => store.read(conversation, from, page.direction, page.limit).await.map_err(|error| refusal(&error))?,
    };
    // What was appended since the summary was read may come after the member was removed.
    entries.retain(|entry| entry.seq >= first && entry.seq <= last);
    hide_missed(&*store, conversation, user, &mut entries).await?;
    let more = match (page.direction, entries.first(), entries.last()) {
        (Direction::Forward, _, Some(newest)) => newest.seq < last,
        (Direction::Backward, Some(oldest), _) => oldest.seq > first,
        _ => false,
    };
    let newest = entries.last().map(|entry| (conversation, entry.seq));
    let response = v1::HistoryResponse {
        conversation_id: conversation.to_bytes(),
        entries: entries.iter().map(|entry| entry.to_proto()).collect(),
        more,
        first_seq: first.as_u64(),
        last_seq: last.as_u64(),
    };
    Ok((Body::History(response), newest))
}

/// Puts markers where messages are whose delivery ended before this user had them.
async fn hide_missed(
    store: &dyn Store,
    conversation: ConversationId,
    user: UserId,
    entries: &mut [LogEntry],
) -> Result<(), Refusal> {
    if entries.iter().all(|entry| !entry.delivery_ended) {
        return Ok(());
    }
    // Read after the entries, so that it knows of every end that they know of.
    let missed = summary_of(store, conversation, user).await?.member.missed;
    for entry in entries {
        if entry.delivery_ended && missed.contains(entry.ordinal) {
            *entry = entry.withdrawn(WithdrawnReason::Undelivered);
        }
    }
    Ok(())
}

/// What changed since a client last looked: one page of the walk over its conversations.
pub async fn sync(
    store: Arc<dyn Store>,
    limits: Limits,
    user: UserId,
    device: DeviceId,
    page: SyncPage,
) -> Result<Answer, Refusal> {
    let limit = limits.conversations_per_page_max;
    let mut ids = store.conversations_of(user, page.after, limit + 1).await.map_err(|error| refusal(&error))?;
    // The walk stops at the last conversation of a full page, and where the client's list breaks off.
    let mut end = (ids.len() > limit).then(|| ids[limit - 1]);
    if page.known_continues
        && let Some((last_known, ..)) = page.known.last()
    {
        end = Some(end.map_or(*last_known, |end| end.min(*last_known)));
    }
    ids.retain(|id| end.is_none_or(|end| *id <= end));
    let lines = lines(&*store, user, device, &ids).await?;

    let mut changed: Vec<v1::ConversationSummary> = Vec::new();
    let mut members_of = HashSet::with_capacity(ids.len());
    // Every known conversation may turn out to be removed, and is named then.
    let mut bytes = page.known.len() * REMOVED_BYTES;
    let mut previous = None;
    for (id, line) in ids.iter().zip(lines) {
        // A conversation that the user left while this was read counts as removed.
        let Some(line) = line else { continue };
        let held = page.known.binary_search_by_key(id, |(known, ..)| *known).ok().map(|index| page.known[index]);
        if held.is_none_or(|(_, seq, read)| seq.as_u64() != line.last_seq || read.as_u64() != line.read_seq) {
            bytes += line.encoded_len();
            if bytes > limits.page_bytes() && !changed.is_empty() {
                // Too large for a frame: the next page begins with this one.
                end = previous;
                break;
            }
            changed.push(line);
        }
        members_of.insert(*id);
        previous = Some(*id);
    }
    let passed = page.known.iter().filter(|(id, ..)| end.is_none_or(|end| *id <= end));
    let removed = passed.filter(|(id, ..)| !members_of.contains(id)).map(|(id, ..)| id.to_bytes()).collect();
    let up_to = end.map(ConversationId::to_bytes).unwrap_or_default();
    Ok((Body::Sync(v1::SyncResponse { changed, removed, up_to, more: end.is_some() }), None))
}

/// The conversation list, newest activity first.
pub async fn list_conversations(
    store: Arc<dyn Store>,
    limits: Limits,
    user: UserId,
    device: DeviceId,
    limit: usize,
    before: Option<(u64, ConversationId)>,
) -> Result<Answer, Refusal> {
    let ids =
        store.conversations_of(user, None, limits.conversations_per_user_max).await.map_err(|error| refusal(&error))?;
    let mut lines: Vec<(u64, ConversationId, v1::ConversationSummary)> = Vec::with_capacity(ids.len());
    for page in ids.chunks(limits.conversations_per_page_max) {
        let page_lines = self::lines(&*store, user, device, page).await?;
        lines.extend(page.iter().zip(page_lines).filter_map(|(id, line)| {
            let line = line?;
            Some((line.last_entry.as_ref().map_or(0, |entry| entry.sent_ms), *id, line))
        }));
    }
    let unread_total = lines.iter().map(|(_, _, line)| line.unread).sum();
    // The id breaks ties, so that two conversations of one millisecond are never skipped by paging.
    lines.sort_unstable_by_key(|(sent_ms, id, _)| Reverse((*sent_ms, *id)));
    let mut response = v1::ListConversationsResponse { unread_total, ..Default::default() };
    let mut bytes = 0;
    let rest = lines.into_iter().filter(|(sent_ms, id, _)| before.is_none_or(|before| (*sent_ms, *id) < before));
    for (_, _, line) in rest {
        bytes += line.encoded_len();
        let full = response.conversations.len() >= limit || bytes > limits.page_bytes();
        if full && !response.conversations.is_empty() {
            response.more = true;
            break;
        }
        response.conversations.push(line);
    }
    Ok((Body::ListConversations(response), None))
}

/// The members of a group, a page at a time.
pub async fn list_members(
    store: Arc<dyn Store>,
    limits: Limits,
    now_ms: u64,
    user: UserId,
    conversation: ConversationId,
    after: u64,
) -> Result<Answer, Refusal> {
    group_only(conversation)?;
    summary_of(&*store, conversation, user).await?;
    let loaded = store.load(conversation, 1).await.map_err(|error| refusal(&error))?;
    let members = loaded.map(|loaded| loaded.members).unwrap_or_default();
    let mut rest = members.iter().filter(|member| member.user.as_u64() > after);
    let page = rest.by_ref().take(limits.users_per_request_max).map(|member| v1::Member {
        user_id: member.user.as_u64(),
        role: role(member.role).into(),
        joined_seq: member.joined.seq.as_u64(),
        muted_until_ms: if now_ms < member.muted_until_ms { member.muted_until_ms } else { 0 },
    });
    let members = page.collect();
    Ok((Body::ListMembers(v1::ListMembersResponse { members, more: rest.next().is_some() }), None))
}

/// Who is banned from a group, a page at a time, for its owner.
pub async fn list_bans(
    store: Arc<dyn Store>,
    limits: Limits,
    now_ms: u64,
    user: UserId,
    conversation: ConversationId,
    after: u64,
) -> Result<Answer, Refusal> {
    group_only(conversation)?;
    let summary = summary_of(&*store, conversation, user).await?;
    if summary.member.role != Role::Owner {
        return Err(Refusal::new(ErrorCode::Forbidden, "only the owner of a group sees who is banned"));
    }
    let bans = summary.details.bans;
    let mut rest = bans.all().iter().filter(|ban| ban.user.as_u64() > after && now_ms < ban.until_ms);
    let page = rest.by_ref().take(limits.users_per_request_max);
    let bans = page.map(|ban| v1::Ban { user_id: ban.user.as_u64(), until_ms: ban.until_ms }).collect();
    Ok((Body::ListBans(v1::ListBansResponse { bans, more: rest.next().is_some() }), None))
}

/// Users by name and by id.
pub async fn find_users(store: Arc<dyn Store>, name_keys: Vec<String>, ids: Vec<UserId>) -> Result<Answer, Refusal> {
    let mut users = store.users(ids).await.map_err(|error| refusal(&error))?;
    for key in name_keys {
        users.extend(store.user_by_name(key).await.map_err(|error| refusal(&error))?);
    }
    users.sort_unstable_by_key(|user| user.id);
    users.dedup_by_key(|user| user.id);
    let profiles = users.into_iter().map(|user| v1::UserProfile {
        user_id: user.id.as_u64(),
        username: user.username,
        display_name: user.display_name,
    });
    Ok((Body::FindUsers(v1::FindUsersResponse { users: profiles.collect() }), None))
}

pub async fn summary_of(
    store: &dyn Store,
    conversation: ConversationId,
    user: UserId,
) -> Result<StoredSummary, Refusal> {
    let mut found = store.summaries(vec![(conversation, user)]).await.map_err(|error| refusal(&error))?;
    found
        .pop()
        .flatten()
        .ok_or_else(|| Refusal::new(ErrorCode::NotAMember, "you are no member of this conversation, or there is none"))
}

async fn lines(
    store: &dyn Store,
    user: UserId,
    device: DeviceId,
    ids: &[ConversationId],
) -> Result<Vec<Option<v1::ConversationSummary>>, Refusal> {
    let wanted = ids.iter().map(|id| (*id, user)).collect();
    let summaries = store.summaries(wanted).await.map_err(|error| refusal(&error))?;
    let acked = store.acked(user, device, ids.to_vec()).await.map_err(|error| refusal(&error))?;
    let lines = ids.iter().zip(summaries).zip(acked);
    Ok(lines.map(|((id, summary), acked)| summary.map(|summary| line(*id, summary, acked))).collect())
}

fn line(id: ConversationId, summary: StoredSummary, acked: Seq) -> v1::ConversationSummary {
    let StoredSummary { details, last, shown, member, member_count } = summary;
    let shown = shown.map(|entry| match member.missed.contains(entry.ordinal) {
        true => entry.withdrawn(WithdrawnReason::Undelivered),
        _ => entry,
    });
    let end = last.as_ref().map_or(Position::START, |entry| Position { seq: entry.seq, ordinal: entry.ordinal });
    let position = member.position();
    v1::ConversationSummary {
        conversation_id: id.to_bytes(),
        last_entry: shown.as_ref().map(|entry| entry.to_proto()),
        last_seq: end.seq.as_u64(),
        last_ordinal: end.ordinal,
        read_seq: position.seq.as_u64(),
        read_ordinal: position.ordinal,
        unread: member.unread(end, &details.withdrawn),
        first_seq: member.first_seq().as_u64(),
        role: role(member.role).into(),
        member_count,
        acked_seq: acked.min(end.seq).as_u64(),
        expiry: (details.expiry.after_ms > 0).then(|| details.expiry.to_proto()),
        title: details.title,
    }
}

fn role(role: Role) -> v1::Role {
    match role {
        Role::Member => v1::Role::Member,
        Role::Owner => v1::Role::Owner,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{chat::Member, store::ConversationDetails};

    #[test]
    fn a_line_of_the_list_counts_what_is_after_the_position_without_own_messages_of_schedules() {
        let id = ConversationId::group([1; 16]);
        let me = UserId::new(1).unwrap();
        let joined = Position { seq: Seq(2), ordinal: 1 };
        let line = |scheduled: &[u64]| {
            let scheduled = scheduled.iter().map(|seq| Seq(*seq)).collect();
            let member = Member { scheduled, ..Member::new(me, Role::Member, joined) };
            let last = LogEntry::new(&v1::Entry {
                seq: 9,
                ordinal: 7,
                sender_id: 2,
                client_msg_id: id.to_bytes(),
                ..v1::Entry::default()
            });
            let details = ConversationDetails::default();
            line(
                id,
                StoredSummary { details, shown: Some(last.clone()), last: Some(last), member, member_count: 2 },
                Seq::ZERO,
            )
        };
        let counted = |scheduled| {
            let line = line(scheduled);
            (line.read_seq, line.read_ordinal, line.unread)
        };
        assert_eq!(counted(&[]), (2, 1, 6));
        assert_eq!(counted(&[4, 9]), (2, 1, 4));
    }
}
