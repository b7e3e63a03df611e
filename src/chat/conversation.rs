//! One conversation: the single writer of its log.

use super::{
    Accepted, Action, Change, ConversationDetails, DedupeWindow, Effect, Input, LogEntry, Member, MemberChange,
    NewMessage, Position, Question, Refusal, Reply, Role, SentBy, Wait,
};
use godwit_proto::{ClientMsgId, ConversationId, ConversationKind, Seq, UserId, v1, v1::ErrorCode};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// Bounds of one conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConversationLimits {
    /// Entries whose ids are remembered, beside those that are not durable yet. More costs about 40 bytes each for every
    /// active conversation, and a comparison with every message; fewer makes repeated sends ask the store.
    pub dedupe_entries: usize,
    /// Members of a group.
    pub group_members_max: usize,
}

/// The state of one conversation, held by the core that owns it.
///
/// Every change is applied here first, then committed, and answered and pushed only when the store says that it is
/// durable. Changes commit in order. When one fails, what was built on it fails too: the conversation is then
/// [`lost`](Self::is_lost), takes no more input, and is loaded again once every outcome is in.
#[derive(Debug)]
pub struct Conversation<R> {
    pub(super) id: ConversationId,
    pub(super) limits: ConversationLimits,
    pub(super) details: ConversationDetails,
    pub(super) members: BTreeMap<UserId, Member>,
    /// The members' ids, shared by every fan-out until they change.
    recipients: Arc<[UserId]>,
    /// The newest entry, durable or not.
    pub(super) last: Position,
    last_sent_ms: u64,
    /// The newest entry that is known to be durable.
    durable: Position,
    window: DedupeWindow,
    /// What the store found, or did not find, for the input that is to be handled next.
    answered: Vec<((UserId, ClientMsgId), Option<Accepted>)>,
    ordinal: Option<Position>,
    /// Changes on their way to the store, oldest first.
    pending: VecDeque<Pending<R>>,
    lost: bool,
    /// The store has rows of this conversation, or will have when what is pending is durable.
    pub(super) stored: bool,
}

#[derive(Debug)]
struct Pending<R> {
    entry: Option<LogEntry>,
    to: Arc<[UserId]>,
    read: Option<(UserId, Position)>,
    /// What it waits for from now on.
    waits: Vec<Wait>,
    /// The session that asked for the change has the entry from the answer. What a schedule sent, or what the server did by
    /// itself, no session has.
    answer_tells: bool,
    /// Who asked first; then who repeated it before it was durable, and whose answers rest on it. At most
    /// [`REPLIES_PER_CHANGE_MAX`].
    replies: Vec<(R, Reply)>,
}

/// Answers that wait for one change. A client that repeats itself while the store is slow must not fill the memory.
const REPLIES_PER_CHANGE_MAX: usize = 256;

/// How long a client waits before it asks again when so many wait.
const CROWDED_RETRY_MS: u32 = 100;

impl<R: Clone> Pending<R> {
    /// Answers when the change is durable.
    fn answer(&mut self, input: &Input<R>, reply: Reply, effects: &mut Vec<Effect<R>>) {
        if self.replies.len() < REPLIES_PER_CHANGE_MAX {
            return self.replies.push((input.reply_to.clone(), reply));
        }
        let message = "too many wait for the same change";
        let refusal = Refusal::retry(ErrorCode::Overloaded, message, CROWDED_RETRY_MS);
        effects.push(Effect::Reply(input.reply_to.clone(), Reply::Refused(refusal)));
    }
}

impl<R: Clone + PartialEq> Conversation<R> {
    /// A conversation without a log: a direct one has its two members from the start, a group has none until it is
    /// created.
    pub fn new(id: ConversationId, limits: ConversationLimits) -> Self {
        let members = match id.kind() {
            ConversationKind::Direct(low, high) => vec![low, high],
            ConversationKind::Group => Vec::new(),
        };
        let members = members.into_iter().map(|user| Member::new(user, Role::Member, Position::START)).collect();
        let mut new = Self::load(id, limits, ConversationDetails::default(), members, &[]);
        new.stored = false;
        new
    }

    /// A conversation as the store has it. `tail` is the end of its log in ascending order, at least
    /// [`ConversationLimits::dedupe_entries`] of it, or all.
    pub fn load(
        id: ConversationId,
        limits: ConversationLimits,
        details: ConversationDetails,
        members: Vec<Member>,
        tail: &[LogEntry],
    ) -> Self {
        let last = tail.last().map_or(Position::START, |entry| Position { seq: entry.seq, ordinal: entry.ordinal });
        let mut loaded = Self {
            id,
            limits,
            details,
            members: members.into_iter().map(|member| (member.user, member)).collect(),
            recipients: Arc::new([]),
            last,
            last_sent_ms: tail.last().map_or(0, |entry| entry.sent_ms),
            durable: last,
            window: DedupeWindow::new(tail, last.seq, limits.dedupe_entries),
            answered: Vec::new(),
            ordinal: None,
            pending: VecDeque::new(),
            lost: false,
            stored: true,
        };
        loaded.members_changed();
        loaded
    }

    /// Handles one input, unless the store must be asked something first.
    ///
    /// Panics if the conversation [`is_lost`](Self::is_lost).
    pub fn handle(&mut self, now_ms: u64, input: &Input<R>, effects: &mut Vec<Effect<R>>) -> Result<(), Question> {
        assert!(!self.lost, "a lost conversation took an input");
        let result = match &input.action {
            Action::Send(message) => self.on_send(now_ms, input, message, effects),
            Action::CreateGroup { client_msg_id, title, members } => {
                self.on_create_group(now_ms, input, *client_msg_id, title, members, effects)
            }
            Action::AddMembers { client_msg_id, members } => {
                self.on_add_members(now_ms, input, *client_msg_id, members, effects)
            }
            Action::RemoveMember { client_msg_id, member } => {
                self.on_remove_member(now_ms, input, *client_msg_id, *member, effects)
            }
            Action::MarkRead(seq) => self.on_mark_read(now_ms, input, *seq, effects),
            Action::SetExpiry { client_msg_id, expiry } => {
                self.on_set_expiry(now_ms, input, *client_msg_id, *expiry, effects)
            }
            Action::Expire(entries) => self.on_expire(now_ms, input, entries, effects),
            Action::StartExpiry { entries, read_ms } => self.on_start_expiry(input, entries, *read_ms, effects),
            Action::EndDelivery { entry, missed } => self.on_end_delivery(now_ms, input, entry, missed, effects),
            Action::Sanction { client_msg_id, sanction, user, until_ms } => {
                self.on_sanction(now_ms, input, *client_msg_id, (*sanction, *user, *until_ms), effects)
            }
            Action::EndSanction { sanction, user, since, until_ms } => {
                self.on_end_sanction(now_ms, input, *since, (*sanction, *user, *until_ms), effects)
            }
        };
        match result {
            Err(Stop::Ask(question)) => return Err(question),
            Err(Stop::Refuse(refusal)) => self.answer(input, Reply::Refused(refusal), effects),
            Ok(()) => {}
        }
        self.answered.clear();
        self.ordinal = None;
        Ok(())
    }

    /// The store's answer to [`Question::FindSend`].
    pub fn on_found(&mut self, sender: UserId, client_msg_id: ClientMsgId, entry: Option<&LogEntry>) {
        let accepted = entry.map(|entry| Accepted {
            position: Position { seq: entry.seq, ordinal: entry.ordinal },
            sent_ms: entry.sent_ms,
        });
        self.answered.push(((sender, client_msg_id), accepted));
    }

    /// The store's answer to [`Question::Ordinal`].
    pub fn on_ordinal(&mut self, position: Position) {
        self.ordinal = Some(position);
    }

    /// The oldest pending change is durable, or it is not and `failure` says what to tell those who asked for it.
    pub fn on_committed(&mut self, failure: Option<&Refusal>, effects: &mut Vec<Effect<R>>) {
        let Some(pending) = self.pending.pop_front() else {
            unreachable!("the store answered a change that was never made");
        };
        if !pending.waits.is_empty() {
            // Even if it failed: the timers may be there, and look for themselves whether what they were made for is.
            effects.push(Effect::Wait(pending.waits));
        }
        if let Some(refusal) = failure {
            self.lost = true;
            let refused = |(to, _)| Effect::Reply(to, Reply::Refused(refusal.clone()));
            effects.extend(pending.replies.into_iter().map(refused));
            effects.extend(pending.read.map(|(user, _)| Effect::ReadUnknown { user }));
            return;
        }
        if let Some(entry) = &pending.entry {
            assert!(self.lost || entry.seq == self.durable.seq.next(), "commits are answered in order");
            self.durable = Position { seq: entry.seq, ordinal: entry.ordinal };
            self.window.forget(entry.seq);
        }
        let origin = pending.replies.first().map(|(to, _)| to.clone());
        for (index, (to, reply)) in pending.replies.into_iter().enumerate() {
            // Who only waits for this change may rest on one before it that failed. A change of a position conflicts with
            // nothing, so what follows it does not fail with it.
            let is_doubtful = self.lost && index > 0 && matches!(reply, Reply::Read { .. });
            let reply = if is_doubtful { Reply::Refused(lost_position()) } else { reply };
            effects.push(Effect::Reply(to, reply));
        }
        if let Some(entry) = pending.entry {
            let except = origin.filter(|_| pending.answer_tells);
            effects.push(Effect::FanOut { entry, to: pending.to, except });
        } else if let (Some((user, position)), Some(except)) = (pending.read, origin) {
            effects.push(Effect::ReadMoved { user, position, except });
        }
    }

    /// A change failed, and what follows it may have too: wait until [`is_idle`](Self::is_idle), then load it again.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// What changes that are on their way to the store wait for.
    pub(super) fn pending_waits(&self) -> impl Iterator<Item = &Wait> {
        self.pending.iter().flat_map(|pending| &pending.waits)
    }

    /// Nothing is on its way to the store.
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// The newest entry that is known to be durable.
    pub fn durable(&self) -> Position {
        self.durable
    }

    /// Where unread counts from for a member; `None` for anybody else.
    pub fn position_of(&self, user: UserId) -> Option<Position> {
        self.members.get(&user).map(Member::position)
    }

    /// The members' ids, ascending.
    pub fn recipients(&self) -> Arc<[UserId]> {
        self.recipients.clone()
    }

    fn on_mark_read(
        &mut self,
        now_ms: u64,
        input: &Input<R>,
        seq: Seq,
        effects: &mut Vec<Effect<R>>,
    ) -> Result<(), Stop> {
        let mut member = self.member(input.user)?.clone();
        // An entry on its way may be durable already and read, while its outcome is not here yet. If it fails after all,
        // this change fails with it.
        if seq > self.last.seq {
            let message = format!("the newest seq is {}", self.last.seq.as_u64());
            return Err(Refusal::new(ErrorCode::SeqOutOfRange, message).into());
        }
        if seq <= member.position().seq {
            let reply = self.read_reply(&member);
            self.answer(input, reply, effects);
            return Ok(());
        }
        let ordinal = self.ordinal_of(seq)?;
        let waits = self.reading(now_ms, member.user, member.position().seq, seq).into_iter().collect();
        member.on_read(Position { seq, ordinal });
        self.members.insert(member.user, member.clone());
        let reply = self.read_reply(&member);
        let draft = Draft { members: vec![MemberChange::Update(member)], waits, ..Draft::default() };
        self.change(input, draft, reply, effects);
        Ok(())
    }

    /// How far somebody has read, as it will be when the answer leaves: it waits for all that is on its way, and for
    /// nothing else, so the newest entry is the newest durable one then.
    fn read_reply(&self, member: &Member) -> Reply {
        Reply::Read { position: member.position(), unread: member.unread(self.last, &self.details.withdrawn) }
    }

    /// Looks a repeated input up; answers it if it was accepted before. `Ok(true)`: it is answered or will be.
    pub(super) fn is_repeated(
        &mut self,
        input: &Input<R>,
        client_msg_id: ClientMsgId,
        is_new: bool,
        effects: &mut Vec<Effect<R>>,
    ) -> Result<bool, Stop> {
        let Some(accepted) = self.find(input.user, client_msg_id, is_new)? else { return Ok(false) };
        let reply = Reply::Accepted(accepted);
        let same =
            |pending: &&mut Pending<R>| pending.entry.as_ref().is_some_and(|entry| entry.seq == accepted.position.seq);
        match self.pending.iter_mut().find(same) {
            // An ack means durable: whoever repeats what is still on its way waits for it too.
            Some(pending) => pending.answer(input, reply, effects),
            None => effects.push(Effect::Reply(input.reply_to.clone(), reply)),
        }
        Ok(true)
    }

    /// Answers an input that changes nothing. What the answer says may come from a change that is still on its way, and
    /// be untrue if that fails, so it waits for all of them. Only what is to be tried again anyway does not.
    pub(super) fn answer(&mut self, input: &Input<R>, reply: Reply, effects: &mut Vec<Effect<R>>) {
        let passing = matches!(&reply, Reply::Refused(refusal) if refusal.retry_after_ms > 0);
        match self.pending.back_mut() {
            Some(pending) if !passing => pending.answer(input, reply, effects),
            _ => effects.push(Effect::Reply(input.reply_to.clone(), reply)),
        }
    }

    /// What was accepted under an id. `is_new`: the client promises that there is nothing to find beyond the window.
    pub(super) fn find(&self, sender: UserId, id: ClientMsgId, is_new: bool) -> Result<Option<Accepted>, Stop> {
        if let Some(accepted) = self.window.find(sender, id) {
            return Ok(Some(accepted));
        }
        match self.answered.iter().find(|(key, _)| *key == (sender, id)) {
            Some((_, accepted)) => Ok(*accepted),
            _ if is_new || self.window.is_complete() => Ok(None),
            _ => Err(Stop::Ask(Question::FindSend(sender, id))),
        }
    }

    /// The row of somebody who must be a member.
    pub(super) fn member(&self, user: UserId) -> Result<&Member, Refusal> {
        self.members.get(&user).ok_or_else(|| {
            Refusal::new(ErrorCode::NotAMember, "you are no member of this conversation, or there is none")
        })
    }

    /// Builds the next entry. It takes its place with [`append`](Self::append).
    pub(super) fn next_entry(
        &self,
        now_ms: u64,
        sender: UserId,
        client_msg_id: ClientMsgId,
        content: v1::entry::Content,
    ) -> LogEntry {
        let unread_worthy = matches!(content, v1::entry::Content::Message(_));
        LogEntry::new(&v1::Entry {
            seq: self.last.seq.next().as_u64(),
            ordinal: self.last.ordinal + u64::from(unread_worthy),
            sender_id: sender.as_u64(),
            sent_ms: self.next_sent_ms(now_ms),
            client_msg_id: client_msg_id.to_bytes(),
            content: Some(content),
        })
    }

    /// When an entry that is accepted now was sent. A wall clock that was set back must not make history run backwards.
    pub(super) fn next_sent_ms(&self, now_ms: u64) -> u64 {
        now_ms.max(self.last_sent_ms)
    }

    /// Appends an entry, and makes whatever else changes with it.
    pub(super) fn append(&mut self, input: &Input<R>, entry: LogEntry, with: Draft, effects: &mut Vec<Effect<R>>) {
        let position = Position { seq: entry.seq, ordinal: entry.ordinal };
        let reply = Reply::Accepted(Accepted { position, sent_ms: entry.sent_ms });
        self.change(input, Draft { entry: Some(entry), ..with }, reply, effects);
    }

    /// Recomputes who is pushed to. A fan-out that is on its way keeps the members it was made for.
    pub(super) fn members_changed(&mut self) {
        self.recipients = self.members.keys().copied().collect();
    }

    /// Makes a change; the answer leaves when it is durable.
    pub(super) fn change(&mut self, input: &Input<R>, draft: Draft, reply: Reply, effects: &mut Vec<Effect<R>>) {
        let Draft { entry, mut members, details, rewritten, waits } = draft;
        let after = self.last.seq;
        if let Some(entry) = &entry {
            self.window.push(entry);
            self.window.forget(self.durable.seq);
            self.last = Position { seq: entry.seq, ordinal: entry.ordinal };
            self.last_sent_ms = entry.sent_ms;
        }
        if !self.stored {
            // The first write makes the rows of everybody, so that both sides of a direct conversation list it.
            members = self.members.values().cloned().map(MemberChange::Put).collect();
            self.stored = true;
        }
        let mut to = self.recipients.clone();
        for change in &members {
            if let MemberChange::Remove(user) = change {
                to = to.iter().copied().chain([*user]).collect();
            }
        }
        let read = match (&entry, members.first()) {
            (None, Some(MemberChange::Put(member) | MemberChange::Update(member))) => {
                Some((member.user, member.position()))
            }
            _ => None,
        };
        let answer_tells = match &input.action {
            Action::Send(NewMessage { by, .. }) => *by == SentBy::Hand,
            Action::Expire(_)
            | Action::StartExpiry { .. }
            | Action::EndDelivery { .. }
            | Action::EndSanction { .. } => false,
            _ => true,
        };
        let replies = vec![(input.reply_to.clone(), reply)];
        let waiting = waits.clone();
        self.pending.push_back(Pending { entry: entry.clone(), to, read, waits: waiting, answer_tells, replies });
        effects.push(Effect::Commit(Change {
            after,
            entries: entry.into_iter().collect(),
            members,
            details,
            rewritten,
            waits,
        }));
    }

    fn ordinal_of(&self, seq: Seq) -> Result<u64, Stop> {
        match (self.window.ordinal(seq), self.ordinal) {
            (Some(ordinal), _) => Ok(ordinal),
            (None, Some(position)) if position.seq == seq => Ok(position.ordinal),
            _ => Err(Stop::Ask(Question::Ordinal(seq))),
        }
    }
}

/// A change as the rules make it.
#[derive(Default)]
pub(super) struct Draft {
    pub entry: Option<LogEntry>,
    pub members: Vec<MemberChange>,
    pub details: Option<ConversationDetails>,
    pub rewritten: Vec<LogEntry>,
    pub waits: Vec<Wait>,
}

/// Why an input goes no further.
pub(super) enum Stop {
    Ask(Question),
    Refuse(Refusal),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refuse(refusal)
    }
}

fn lost_position() -> Refusal {
    Refusal::retry(ErrorCode::StoreUnavailable, "whether the position is durable is not known", CROWDED_RETRY_MS)
}

#[cfg(test)]
#[path = "conversation_tests.rs"]
mod tests;
