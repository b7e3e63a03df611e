//! Messages that disappear, and deliveries that end.

use super::{
    Conversation, Effect, Input, LogEntry, MemberChange, NewMessage, Refusal, Reply, Role, Sanction,
    conversation::{Draft, Stop},
};
use godwit_proto::{
    ClientMsgId, ConversationKind, Seq, UserId,
    v1::{self, ErrorCode, ExpiryStart, WithdrawnReason, entry::Content},
};

/// When messages disappear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expiry {
    /// So many milliseconds after the start; 0: never.
    pub after_ms: u64,
    /// Counted from when the first member other than the sender has read it, not from when it was sent.
    pub from_reading: bool,
}

impl Expiry {
    /// As clients and the store have it.
    pub fn to_proto(self) -> v1::Expiry {
        let start = if self.from_reading { ExpiryStart::Read } else { ExpiryStart::Sent };
        v1::Expiry { after_ms: self.after_ms, start: start.into() }
    }

    /// When a message that was sent then disappears, as it says itself; 0: not at a known time.
    pub(super) fn deadline_ms(self, sent_ms: u64) -> u64 {
        if self.from_reading || self.after_ms == 0 { 0 } else { sent_ms.saturating_add(self.after_ms) }
    }

    /// From what a client or the store says.
    pub fn from_proto(expiry: v1::Expiry) -> Self {
        Self { after_ms: expiry.after_ms, from_reading: expiry.start() == ExpiryStart::Read }
    }
}

/// Something that a conversation waits for: a durable timer of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// In milliseconds since the epoch.
    pub due_ms: u64,
    /// For what.
    pub event: WaitFor,
}

/// What is due when a [`Wait`] is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WaitFor {
    /// A message disappears.
    Expiry(Seq),
    /// `reader` has read what is after one seq and up to another: what expires from being read begins to.
    ExpiryStart {
        /// Who.
        reader: UserId,
        /// After this one,
        after: Seq,
        /// up to this one.
        upto: Seq,
    },
    /// The delivery of a message ends.
    DeliveryEnd(Seq),
    /// A mute or a ban ends.
    SanctionEnd {
        /// Which.
        sanction: Sanction,
        /// Whose.
        user: UserId,
        /// The entry that said so.
        since: Seq,
    },
}

/// Members whom one entry names who did not get a message: more would not fit a frame. The others learn it from the marker.
const UNDELIVERED_NAMED_MAX: usize = 7_000;
/// How long the server waits before it looks again at what it saw expire before the clock was set back.
const EARLY_RETRY_MS: u32 = 100;

impl<R: Clone + PartialEq> Conversation<R> {
    pub(super) fn on_set_expiry(
        &mut self,
        now_ms: u64,
        input: &Input<R>,
        client_msg_id: ClientMsgId,
        expiry: Expiry,
        effects: &mut Vec<Effect<R>>,
    ) -> Result<(), Stop> {
        if self.is_repeated(input, client_msg_id, false, effects)? {
            return Ok(());
        }
        let member = self.member(input.user)?;
        if self.id.kind() == ConversationKind::Group && member.role != Role::Owner {
            return Err(Refusal::new(ErrorCode::Forbidden, "only the owner says how a group's messages expire").into());
        }
        if expiry == self.details.expiry {
            self.answer(input, Reply::Unchanged, effects);
            return Ok(());
        }
        let content = Content::ExpiryChanged(v1::ExpiryChanged { expiry: Some(expiry.to_proto()) });
        let entry = self.next_entry(now_ms, input.user, client_msg_id, content);
        self.details.expiry = expiry;
        self.append(input, entry, Draft { details: Some(self.details.clone()), ..Draft::default() }, effects);
        Ok(())
    }

    /// Takes messages out whose time has come: markers in their places, and one entry that says so.
    pub(super) fn on_expire(
        &mut self,
        now_ms: u64,
        input: &Input<R>,
        entries: &[LogEntry],
        effects: &mut Vec<Effect<R>>,
    ) -> Result<(), Stop> {
        let decoded: Vec<v1::Entry> = entries.iter().map(LogEntry::to_proto).collect();
        if decoded.iter().any(|entry| expires_ms(entry) > now_ms) {
            let refusal = "the clock was set back, and not all of it is due";
            return Err(Refusal::retry(ErrorCode::Overloaded, refusal, EARLY_RETRY_MS).into());
        }
        let mut draft = Draft::default();
        for (entry, decoded) in entries.iter().zip(&decoded) {
            if !is_expired(decoded, now_ms) || !self.details.withdrawn.insert(entry.ordinal) {
                continue;
            }
            draft.rewritten.push(entry.withdrawn(WithdrawnReason::Expired));
            // It counted as none of its author's before, and must not be subtracted twice.
            if let Some(author) = self.members.get_mut(&entry.sender)
                && author.scheduled.remove(entry.seq)
            {
                draft.members.push(MemberChange::Update(author.clone()));
            }
        }
        let Some(first) = draft.rewritten.first() else {
            self.answer(input, Reply::Unchanged, effects);
            return Ok(());
        };
        let seqs = draft.rewritten.iter().map(|entry| entry.seq.as_u64()).collect();
        let content = Content::Expired(v1::Expired { seqs });
        let note = self.next_entry(now_ms, first.sender, note_id(*b"expired\0", first.seq), content);
        draft.details = Some(self.details.clone());
        self.append(input, note, draft, effects);
        Ok(())
    }

    /// Messages that expire from being read were read: from now on they say when they disappear.
    pub(super) fn on_start_expiry(
        &mut self,
        input: &Input<R>,
        entries: &[LogEntry],
        read_ms: u64,
        effects: &mut Vec<Effect<R>>,
    ) -> Result<(), Stop> {
        let mut draft = Draft::default();
        for entry in entries.iter().filter(|entry| !self.details.withdrawn.contains(entry.ordinal)) {
            let due_ms = |message: &v1::Message| read_ms.saturating_add(message.expires_after_read_ms);
            let waits_for_reader = |message: &v1::Message| message.expires_after_read_ms > 0 && message.expires_ms == 0;
            let mut started = entry.to_proto();
            if let Some(Content::Message(message)) = &mut started.content
                && waits_for_reader(message)
            {
                message.expires_ms = due_ms(message);
                draft.waits.push(Wait { due_ms: message.expires_ms, event: WaitFor::Expiry(entry.seq) });
                draft.rewritten.push(LogEntry::new(&started));
            }
        }
        match draft.rewritten.is_empty() {
            true => self.answer(input, Reply::Unchanged, effects),
            false => self.change(input, draft, Reply::Unchanged, effects),
        }
        Ok(())
    }

    /// The delivery of a message ends: those who have not acknowledged it do not get it any more.
    pub(super) fn on_end_delivery(
        &mut self,
        now_ms: u64,
        input: &Input<R>,
        entry: &LogEntry,
        missed: &[UserId],
        effects: &mut Vec<Effect<R>>,
    ) -> Result<(), Stop> {
        let mut decided = entry.to_proto();
        let is_open = match &mut decided.content {
            Some(Content::Message(message)) => {
                message.deliver_by_ms > 0 && !std::mem::replace(&mut message.delivery_ended, true)
            }
            _ => false,
        };
        if !is_open || self.details.withdrawn.contains(entry.ordinal) {
            self.answer(input, Reply::Unchanged, effects);
            return Ok(());
        }
        let mut draft = Draft { rewritten: vec![LogEntry::new(&decided)], ..Draft::default() };
        let mut member_ids = Vec::new();
        for user in missed {
            if let Some(member) = self.members.get_mut(user)
                && member.missed.insert(entry.ordinal)
            {
                member_ids.push(user.as_u64());
                draft.members.push(MemberChange::Update(member.clone()));
            }
        }
        if member_ids.is_empty() {
            self.change(input, draft, Reply::Unchanged, effects);
            return Ok(());
        }
        member_ids.sort_unstable();
        member_ids.truncate(UNDELIVERED_NAMED_MAX);
        let content = Content::Undelivered(v1::Undelivered { seq: entry.seq.as_u64(), member_ids });
        let note = self.next_entry(now_ms, entry.sender, note_id(*b"deliver\0", entry.seq), content);
        self.append(input, note, draft, effects);
        Ok(())
    }

    /// How a message expires.
    pub(super) fn expiry_of(&self, message: &NewMessage) -> Expiry {
        let expiry = message.expiry.unwrap_or(self.details.expiry);
        // Nobody else reads a conversation with oneself.
        let is_alone = matches!(self.id.kind(), ConversationKind::Direct(low, high) if low == high);
        Expiry { from_reading: expiry.from_reading && !is_alone, ..expiry }
    }

    /// What a new message waits for.
    pub(super) fn waits_of(&self, entry: &LogEntry, message: &NewMessage) -> Vec<Wait> {
        let expires_ms = self.expiry_of(message).deadline_ms(entry.sent_ms);
        let expiry = (expires_ms > 0).then_some(Wait { due_ms: expires_ms, event: WaitFor::Expiry(entry.seq) });
        let delivery = (message.deliver_by_ms > 0)
            .then_some(Wait { due_ms: message.deliver_by_ms, event: WaitFor::DeliveryEnd(entry.seq) });
        expiry.into_iter().chain(delivery).collect()
    }

    /// What begins to expire when somebody who had read up to one entry has read up to another.
    pub(super) fn reading(&self, now_ms: u64, reader: UserId, after: Seq, upto: Seq) -> Option<Wait> {
        // What an earlier change of theirs is to start, if that one fails and this one does not, is started with this one.
        let started = self.pending_waits().filter_map(|wait| match wait.event {
            WaitFor::ExpiryStart { reader: other, after, .. } if other == reader => Some(after),
            _ => None,
        });
        let after = started.chain([after]).min().unwrap_or(after);
        let upto = upto.min(self.details.expires_from_reading);
        (after < upto).then_some(Wait { due_ms: now_ms, event: WaitFor::ExpiryStart { reader, after, upto } })
    }
}

/// Whether a message's time has come.
pub fn is_expired(entry: &v1::Entry, now_ms: u64) -> bool {
    (1..=now_ms).contains(&expires_ms(entry))
}

/// When a message disappears; 0: not at a known time.
fn expires_ms(entry: &v1::Entry) -> u64 {
    match &entry.content {
        Some(Content::Message(message)) => message.expires_ms,
        _ => 0,
    }
}

/// The id of an entry that the server makes about another one.
pub(super) fn note_id(about: [u8; 8], seq: Seq) -> ClientMsgId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&about);
    id[8..].copy_from_slice(&seq.as_u64().to_be_bytes());
    ClientMsgId(id)
}
