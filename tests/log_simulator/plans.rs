//! What the router might ask of the log next.

use crate::{
    oracle::{CommitId, Oracle},
    rng::Rng,
    settings::Settings,
    store_suite::{build::*, model::Model},
};
use bytes::Bytes;
use godwit::{
    chat::{LogEntry, Member, MemberChange, Position},
    store::{Commit, Direction, PageLimit, TimerChange},
};
use godwit_proto::{
    ConversationId, Seq,
    v1::{self, WithdrawnReason, entry::Content},
};

pub const USERS: u64 = 4;
pub const ALL: PageLimit = PageLimit { entries: usize::MAX, bytes: usize::MAX };

/// A commit after an entry, whose every part says by which commit it was made.
pub fn commit(
    oracle: &Oracle,
    settings: &Settings,
    rng: &mut Rng,
    conversation: ConversationId,
    after: u64,
    id: CommitId,
) -> Commit {
    if rng.chance(50) && oracle.open(conversation) == 0 {
        // Once more what may be there.
        let from = Seq(after.saturating_sub(rng.below(5)).max(1));
        let entries = oracle.any(conversation).model.read(conversation, from, Direction::Forward, ALL);
        if !entries.is_empty() {
            return Commit { entries, ..Commit::after(conversation, Seq(from.0 - 1)) };
        }
    }
    let after = if rng.chance(20) { after + 1 } else { after };
    let mut commit = Commit::after(conversation, Seq(after));
    let entries = if rng.chance(800) { 1 + rng.below(settings.entries_max) } else { 0 };
    commit.entries = (1..=entries).map(|n| entry(rng, settings, after + n, id)).collect();
    if rng.chance(300) || entries == 0 || after == 0 {
        for _ in 0..1 + rng.below(3) {
            let change = member_change(oracle, rng, conversation, id);
            // Nobody is updated who may have been taken out just before.
            let is_first = commit.members.iter().all(|other| other.user() != change.user());
            if is_first || !matches!(change, MemberChange::Update(_)) {
                commit.members.push(change);
            }
        }
    }
    if rng.chance(100) {
        commit.details = Some(titled(&format!("by commit {id}")));
    }
    if rng.chance(150) && oracle.open(conversation) == 0 && after > 0 {
        for _ in 0..1 + rng.below(3) {
            let seq = 1 + rng.below(after);
            let is_new = commit.rewritten.iter().all(|other| other.seq.0 != seq);
            commit.rewritten.extend(rewritten(oracle, rng, conversation, seq, id).filter(|_| is_new));
        }
    }
    if rng.chance(100) {
        commit.timers.push(TimerChange::Put(timer(1 + rng.below(USERS), id, id)));
    }
    commit
}

fn entry(rng: &mut Rng, settings: &Settings, seq: u64, id: CommitId) -> LogEntry {
    let body = format!("{id}{}", "x".repeat(rng.index(settings.body_bytes_max)));
    let message = v1::Message { body: Bytes::from(body), ..v1::Message::default() };
    LogEntry::new(&v1::Entry {
        seq,
        ordinal: seq,
        sender_id: 1 + rng.below(USERS),
        sent_ms: 1_000 + seq,
        client_msg_id: msg(id << 16 | (seq & 0xffff)).to_bytes(),
        content: Some(Content::Message(message)),
    })
}

fn member_change(oracle: &Oracle, rng: &mut Rng, conversation: ConversationId, id: CommitId) -> MemberChange {
    let who = 1 + rng.below(USERS);
    let read = Position { seq: Seq(id), ordinal: id };
    let row = Member { read, ..member(who) };
    let is_member = |model: &Model| model.summary(conversation, user(who)).is_some();
    let is_certain = oracle.open(conversation) == 0 && oracle.all(conversation, is_member);
    match rng.below(3) {
        // Nobody is updated who may be no member.
        0 if is_certain => MemberChange::Update(row),
        1 => MemberChange::Remove(user(who)),
        _ => MemberChange::Put(row),
    }
}

/// What is to stand in the place of an entry that everybody knows.
fn rewritten(oracle: &Oracle, rng: &mut Rng, conversation: ConversationId, seq: u64, id: CommitId) -> Option<LogEntry> {
    let one = PageLimit { entries: 1, ..ALL };
    let at = |model: &Model| model.read(conversation, Seq(seq), Direction::Forward, one).pop();
    let old = at(&oracle.any(conversation).model)?;
    if !oracle.all(conversation, |model| at(model).as_ref() == Some(&old)) {
        return None;
    }
    if rng.chance(300) {
        return Some(old.withdrawn(WithdrawnReason::Expired));
    }
    let body = Bytes::from(format!("rewritten by {id}"));
    let message = v1::Message { body, ..v1::Message::default() };
    Some(LogEntry::new(&v1::Entry { content: Some(Content::Message(message)), ..old.to_proto() }))
}
