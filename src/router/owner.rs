//! The conversations that a core owns: loading them, running their rules one input at a time, letting them go.

use super::{
    CoreId, Effects, Limits, Mail, Placement, ReplyKind, ReplyTo, SessionRef, Task,
    commits::{Commits, Outcomes},
    expiry, frames, loading,
    meters::CoreMeters,
    services::{Services, refusal},
    slot::{Grouped, Loss, Slot},
    typing::Typing,
};
use crate::{
    chat::{Change, Conversation, Effect, Input, LogEntry, Position, Refusal, Reply, recipients_of},
    store::{Commit, CommitOutcome, LoadedConversation, StoreError, TimerChange},
};
use foldhash::{HashMap, HashMapExt};
use godwit_proto::{
    ClientMsgId, ConversationId, UserId,
    v1::{self, ErrorCode, server_frame::Body},
};
use std::{collections::VecDeque, sync::Arc};

/// How long a client waits before it asks a busy conversation again.
const BUSY_RETRY_MS: u32 = 100;

/// How long a lost conversation waits before it is loaded once more.
const RELOAD_RETRY_MS: u64 = 500;

/// Every conversation that this core has in memory.
pub struct Owner {
    pub(super) placement: Placement,
    limits: Limits,
    services: Services,
    pub(super) slots: HashMap<ConversationId, Slot>,
    /// Slots in the order in which they are looked at when room is needed.
    clock: VecDeque<ConversationId>,
    commits: Commits,
    /// Questions asked so far.
    questions: u64,
    /// Lost conversations that could not be loaded again, and when that was.
    reloads: VecDeque<(u64, ConversationId)>,
    meters: CoreMeters,
    pub(super) typing: Typing,
    /// What the rules want done, between [`Conversation::handle`] and [`Self::carry_out`]. Kept for its memory.
    results: Vec<Effect<ReplyTo>>,
}

impl Owner {
    pub fn new(placement: Placement, limits: Limits, services: Services) -> Self {
        Self {
            placement,
            limits,
            services,
            slots: HashMap::new(),
            clock: VecDeque::new(),
            commits: Commits::default(),
            questions: 0,
            reloads: VecDeque::new(),
            meters: CoreMeters::new(),
            typing: Typing::default(),
            results: Vec::new(),
        }
    }

    /// Conversations in memory.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Changes made and not yet durable, this turn's included.
    pub fn commits_in_flight(&self) -> usize {
        self.commits.in_flight()
    }

    /// Somebody asks something of a conversation that this core owns.
    pub fn on_request(&mut self, now_ms: u64, id: ConversationId, input: Input<ReplyTo>, effects: &mut Effects) {
        if self.commits.in_flight() >= self.limits.commits_in_flight_max {
            return self.refuse(input.reply_to, &overloaded("the store is behind"), effects);
        }
        if !self.has_slot(id, effects) {
            return self.refuse(input.reply_to, &overloaded("too many conversations are in use"), effects);
        }
        let Some(slot) = self.slots.get_mut(&id) else { unreachable!("the slot was just made") };
        slot.touched = true;
        if slot.is_ready() {
            self.handle(now_ms, id, input, effects);
            return;
        }
        if slot.parked.len() >= self.limits.parked_per_conversation_max {
            return self.refuse(input.reply_to, &overloaded("the conversation is being loaded"), effects);
        }
        slot.parked.push_back(input);
    }

    /// Begins to load the conversation, unless it is there. False: there is no room for it.
    pub(super) fn has_slot(&mut self, id: ConversationId, effects: &mut Effects) -> bool {
        if self.slots.contains_key(&id) {
            return true;
        }
        let has_room = self.make_room();
        if has_room {
            self.clock.push_back(id);
            self.slots.insert(id, Slot::loading());
            self.meters.conversations.increment(1.0);
            effects.tasks.push(self.load(id));
        }
        has_room
    }

    /// The store has loaded a conversation.
    pub fn on_loaded(
        &mut self,
        now_ms: u64,
        id: ConversationId,
        result: Result<Option<LoadedConversation>, Refusal>,
        effects: &mut Effects,
    ) {
        let Some(slot) = self.slots.get_mut(&id) else { unreachable!("a slot stays until it is loaded") };
        let loaded = match result {
            Ok(loaded) => loaded,
            Err(refusal) if slot.loss.is_some() => {
                // Whoever is online waits to be told what became of its changes, so it is tried until it works.
                for input in std::mem::take(&mut slot.parked) {
                    self.refuse(input.reply_to, &refusal, effects);
                }
                return self.reloads.push_back((now_ms, id));
            }
            Err(refusal) => return self.drop_slot(id, &refusal, effects),
        };
        let limits = self.limits.conversation;
        let (conversation, tail) = match loaded {
            None => (Conversation::new(id, limits), Vec::new()),
            Some(LoadedConversation { details, members, tail }) => {
                (Conversation::load(id, limits, details, members, &tail), tail)
            }
        };
        slot.waiting = false;
        let loss = slot.loss.take();
        if let Some(loss) = loss {
            self.tell_of_loss(id, &conversation, &tail, &loss, effects);
        }
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.conversation = Some(conversation);
        }
        self.run(now_ms, id, effects);
    }

    /// The store has looked for a send.
    pub fn on_found(
        &mut self,
        now_ms: u64,
        id: ConversationId,
        question: u64,
        key: (UserId, ClientMsgId),
        result: Result<Option<LogEntry>, StoreError>,
        effects: &mut Effects,
    ) {
        let tell = |conversation: &mut Conversation<_>, entry: Option<LogEntry>| {
            conversation.on_found(key.0, key.1, entry.as_ref());
        };
        self.on_answer(now_ms, id, question, result, tell, effects);
    }

    /// The store has looked for an ordinal.
    pub fn on_ordinal(
        &mut self,
        now_ms: u64,
        id: ConversationId,
        question: u64,
        result: Result<Position, StoreError>,
        effects: &mut Effects,
    ) {
        self.on_answer(now_ms, id, question, result, Conversation::on_ordinal, effects);
    }

    /// Hands the conversation the answer to its question, or refuses the input that it was asked for, and goes on.
    fn on_answer<T>(
        &mut self,
        now_ms: u64,
        id: ConversationId,
        question: u64,
        result: Result<T, StoreError>,
        tell: impl FnOnce(&mut Conversation<ReplyTo>, T),
        effects: &mut Effects,
    ) {
        let Some(slot) = self.slots.get_mut(&id).filter(|slot| slot.question == Some(question)) else { return };
        let Some(conversation) = slot.conversation.as_mut() else {
            unreachable!("a conversation that is loaded again has no question")
        };
        slot.question = None;
        slot.waiting = false;
        match result {
            Ok(answer) => tell(conversation, answer),
            Err(error) => {
                if let Some(input) = slot.parked.pop_front() {
                    self.refuse(input.reply_to, &refusal(&error), effects);
                }
            }
        }
        self.run(now_ms, id, effects);
    }

    /// The store has dealt with a batch of changes.
    pub fn on_committed(&mut self, now_ms: u64, batch: u64, outcomes: Outcomes, effects: &mut Effects) {
        self.commits.on_answered(batch, outcomes);
        while let Some(outcomes) = self.commits.next_answered() {
            for (id, outcome) in outcomes {
                self.on_outcome(now_ms, id, &outcome, effects);
            }
        }
    }

    fn on_outcome(&mut self, now_ms: u64, id: ConversationId, outcome: &CommitOutcome, effects: &mut Effects) {
        let Some(slot) = self.slots.get_mut(&id) else { unreachable!("a slot stays until its changes are answered") };
        let Some(conversation) = slot.conversation.as_mut() else {
            unreachable!("a conversation is loaded again only after its changes are answered")
        };
        let before = conversation.durable().seq;
        let failure = failure(outcome);
        conversation.on_committed(failure.as_ref(), &mut self.results);
        let reload = conversation.is_lost() && conversation.is_idle();
        if conversation.is_lost() {
            let loss = slot.loss.get_or_insert(Loss { pushed: before, changes: 0, readers: Vec::new() });
            loss.changes += 1;
            slot.waiting = true;
            // Whatever the store answers now, the conversation that asked is given up.
            slot.question = None;
        }
        self.carry_out(id, effects);
        if reload {
            self.reload(id, effects);
        } else {
            self.run(now_ms, id, effects);
        }
    }

    /// Hands the turn's changes to the store, all at once.
    pub fn end_turn(&mut self, now_ms: u64, effects: &mut Effects) {
        // The clock may have been set back meanwhile: then it is tried early.
        while self.reloads.front().is_some_and(|(failed_ms, _)| now_ms.abs_diff(*failed_ms) >= RELOAD_RETRY_MS) {
            let Some((_, id)) = self.reloads.pop_front() else { unreachable!("just looked at") };
            effects.tasks.push(self.load(id));
        }
        effects.tasks.extend(self.commits.send(&*self.services.store));
    }

    /// Feeds parked inputs to the conversation until it has to wait.
    fn run(&mut self, now_ms: u64, id: ConversationId, effects: &mut Effects) {
        loop {
            let Some(slot) = self.slots.get_mut(&id) else { return };
            if slot.conversation.is_none() || slot.waiting {
                return;
            }
            let Some(input) = slot.parked.pop_front() else { return };
            self.handle(now_ms, id, input, effects);
        }
    }

    /// Feeds one input to a conversation that has nothing to wait for. If that changes, the input is parked.
    fn handle(&mut self, now_ms: u64, id: ConversationId, input: Input<ReplyTo>, effects: &mut Effects) {
        let Some(slot) = self.slots.get_mut(&id) else { unreachable!("a slot that is ready stays") };
        let Some(conversation) = slot.conversation.as_mut() else { unreachable!("it is loaded") };
        if let Err(question) = conversation.handle(now_ms, &input, &mut self.results) {
            slot.parked.push_front(input);
            slot.waiting = true;
            self.questions += 1;
            slot.question = Some(self.questions);
            effects.tasks.push(loading::ask(&*self.services.store, id, self.questions, question));
            return;
        }
        self.carry_out(id, effects);
    }

    /// Does what the rules want done.
    fn carry_out(&mut self, id: ConversationId, effects: &mut Effects) {
        let mut results = std::mem::take(&mut self.results);
        for effect in results.drain(..) {
            match effect {
                Effect::Commit(Change { after, entries, members, details, rewritten, waits }) => {
                    self.meters.accepted.increment(entries.len() as u64);
                    let timers = waits.iter().map(|wait| TimerChange::Put(expiry::timer_row(id, wait))).collect();
                    self.commits.push(Commit { conversation: id, after, entries, members, details, rewritten, timers });
                }
                Effect::Wait(waits) => {
                    let armed = waits.iter().map(|wait| expiry::timer_row(id, wait).due()).collect();
                    effects.mail.push((self.placement.of_conversation(id), Mail::Armed(armed)));
                }
                Effect::Reply(to, reply) => self.reply(id, &to, reply, effects),
                Effect::FanOut { entry, to, except } => {
                    self.meters.durable.increment(1);
                    let writer = entry.sender;
                    let wrote = except.is_some() && !self.typing.is_empty();
                    self.fan_out(id, &entry, &to, except.map(|reply_to| reply_to.at), effects);
                    if wrote {
                        self.on_typing_ended(id, writer, None, effects);
                    }
                }
                Effect::ReadMoved { user, position, except } => {
                    self.push_read(id, user, position, Some(except.at), effects);
                }
                Effect::ReadUnknown { user } => {
                    if let Some(loss) = self.slots.get_mut(&id).and_then(|slot| slot.loss.as_mut())
                        && !loss.readers.contains(&user)
                    {
                        loss.readers.push(user);
                    }
                }
            }
        }
        self.results = results;
    }

    fn fan_out(
        &mut self,
        id: ConversationId,
        entry: &LogEntry,
        to: &Arc<[UserId]>,
        except: Option<SessionRef>,
        effects: &mut Effects,
    ) {
        let push = frames::push_entry(id, entry);
        for (core, users) in self.grouped(id, to).iter() {
            effects.mail.push((*core, Mail::FanOut(push.clone(), users.clone(), except)));
        }
    }

    /// The recipients by the core that owns them: one item a core, whatever the size of the group.
    fn grouped(&mut self, id: ConversationId, to: &Arc<[UserId]>) -> Grouped {
        let placement = self.placement;
        let Some(slot) = self.slots.get_mut(&id) else { unreachable!("only a slot pushes") };
        if let Some((made_from, grouped)) = &slot.by_core
            && Arc::ptr_eq(made_from, to)
        {
            return grouped.clone();
        }
        let mut cores: Vec<Vec<UserId>> = vec![Vec::new(); usize::from(placement.cores())];
        for &user in to.iter() {
            cores[usize::from(placement.of_user(user).0)].push(user);
        }
        let grouped: Grouped = (0..placement.cores())
            .zip(cores)
            .filter(|(_, users)| !users.is_empty())
            .map(|(core, users)| (CoreId(core), Arc::from(users)))
            .collect();
        slot.by_core = Some((to.clone(), grouped.clone()));
        grouped
    }

    fn reply(&self, id: ConversationId, to: &ReplyTo, reply: Reply, effects: &mut Effects) {
        let reply = match to.kind {
            ReplyKind::Scheduled => return effects.mail.push((to.at.core, Mail::Fired(to.request_id, reply))),
            ReplyKind::Expiry => return effects.mail.push((to.at.core, Mail::Expired(to.request_id, reply))),
            _ => reply,
        };
        let conversation_id = id.to_bytes();
        let (body, known) = match (reply, to.kind) {
            (Reply::Refused(refusal), _) => (frames::error(&refusal), None),
            (Reply::Read { position, unread }, _) => {
                let (read_seq, read_ordinal) = (position.seq.as_u64(), position.ordinal);
                (Body::MarkRead(v1::MarkReadResponse { read_seq, read_ordinal, unread }), None)
            }
            (Reply::Accepted(accepted), kind) => {
                let (position, sent_ms) = (accepted.position, accepted.sent_ms);
                let (seq, ordinal) = (position.seq.as_u64(), position.ordinal);
                let body = match kind {
                    ReplyKind::CreateGroup => {
                        Body::CreateGroup(v1::CreateGroupResponse { conversation_id, seq, sent_ms })
                    }
                    ReplyKind::ChangeMembers => Body::ChangeMembers(v1::ChangeMembersResponse { seq }),
                    ReplyKind::SetExpiry => Body::SetExpiry(v1::SetExpiryResponse { seq }),
                    ReplyKind::Send | ReplyKind::MarkRead | ReplyKind::Scheduled | ReplyKind::Expiry => {
                        Body::Send(v1::SendResponse { seq, ordinal, sent_ms })
                    }
                };
                (body, Some((id, position.seq)))
            }
            (Reply::Unchanged, ReplyKind::SetExpiry) => (Body::SetExpiry(v1::SetExpiryResponse { seq: 0 }), None),
            (Reply::Unchanged, _) => (Body::ChangeMembers(v1::ChangeMembersResponse { seq: 0 }), None),
        };
        effects.mail.extend(frames::mail_reply(to, body, known).map(|mail| (to.at.core, mail)));
    }

    fn refuse(&self, to: ReplyTo, refusal: &Refusal, effects: &mut Effects) {
        let mail = match to.kind {
            ReplyKind::Scheduled => Some(Mail::Fired(to.request_id, Reply::Refused(refusal.clone()))),
            ReplyKind::Expiry => Some(Mail::Expired(to.request_id, Reply::Refused(refusal.clone()))),
            _ => frames::mail_reply(&to, frames::error(refusal), None),
        };
        effects.mail.extend(mail.map(|mail| (to.at.core, mail)));
    }

    /// What was written although nobody knew is durable now, so it is pushed like everything else.
    fn tell_of_loss(
        &mut self,
        id: ConversationId,
        loaded: &Conversation<ReplyTo>,
        tail: &[LogEntry],
        loss: &Loss,
        effects: &mut Effects,
    ) {
        let news = &tail[tail.partition_point(|entry| entry.seq <= loss.pushed)..];
        for (entry, to) in news.iter().zip(recipients_of(news, loaded.recipients())) {
            self.fan_out(id, entry, &to, None, effects);
        }
        for user in &loss.readers {
            if let Some(position) = loaded.position_of(*user) {
                self.push_read(id, *user, position, None, effects);
            }
        }
    }

    fn push_read(
        &self,
        id: ConversationId,
        user: UserId,
        position: Position,
        except: Option<SessionRef>,
        effects: &mut Effects,
    ) {
        let mail = Mail::FanOut(frames::push_read(id, position), Arc::new([user]), except);
        effects.mail.push((self.placement.of_user(user), mail));
    }

    fn reload(&mut self, id: ConversationId, effects: &mut Effects) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.conversation = None;
            slot.by_core = None;
            effects.tasks.push(self.load(id));
        }
    }

    fn drop_slot(&mut self, id: ConversationId, refusal: &Refusal, effects: &mut Effects) {
        let Some(slot) = self.slots.remove(&id) else { return };
        self.meters.conversations.decrement(1.0);
        // Searched from the back: what cannot be loaded was put there a moment ago.
        if let Some(index) = self.clock.iter().rposition(|other| *other == id) {
            self.clock.remove(index);
        }
        for input in slot.parked {
            self.refuse(input.reply_to, refusal, effects);
        }
    }

    fn load(&self, id: ConversationId) -> Task {
        let changes = self.slots.get(&id).and_then(|slot| slot.loss.as_ref()).map_or(0, |loss| loss.changes);
        loading::load(self.services.store.clone(), id, self.limits.conversation.dedupe_entries + changes)
    }

    /// Lets go of conversations that were not used for a while, until one more fits (Corbató's clock). False: all are in
    /// use.
    fn make_room(&mut self) -> bool {
        let mut looked_at = 0;
        while self.slots.len() >= self.limits.conversations_active_max && looked_at < 2 * self.clock.len() {
            looked_at += 1;
            let Some(id) = self.clock.pop_front() else { break };
            let Some(slot) = self.slots.get_mut(&id) else { continue };
            if slot.touched || !slot.is_idle() {
                slot.touched = false;
                self.clock.push_back(id);
            } else {
                self.slots.remove(&id);
                self.meters.conversations.decrement(1.0);
            }
        }
        self.slots.len() < self.limits.conversations_active_max
    }
}

fn failure(outcome: &CommitOutcome) -> Option<Refusal> {
    match outcome {
        CommitOutcome::Durable | CommitOutcome::AlreadyDurable => None,
        CommitOutcome::NotWritten(error) => Some(refusal(error)),
        CommitOutcome::Conflict => Some(Refusal::retry(
            ErrorCode::StoreUnavailable,
            "an earlier message was not stored, so this one was not either",
            BUSY_RETRY_MS,
        )),
        CommitOutcome::Unknown => {
            Some(Refusal::retry(ErrorCode::StoreUnavailable, "nobody knows yet whether it was stored", BUSY_RETRY_MS))
        }
    }
}

fn overloaded(message: &str) -> Refusal {
    Refusal::retry(ErrorCode::Overloaded, message, BUSY_RETRY_MS)
}
