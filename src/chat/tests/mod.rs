//! The rules of chat, one sentence a test.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod expiry;
mod members;
mod reading;
mod recount;
mod recovery;
mod sanctions;
mod scheduled;
mod sending;

use super::*;
use bytes::Bytes;
use godwit_proto::{ClientMsgId, ConversationId, Seq, UserId, v1, v1::ErrorCode};

const NOW_MS: u64 = 1_700_000_000_000;

const ALICE: u64 = 1;
const BOB: u64 = 2;
const CAROL: u64 = 3;

/// Names one request, as `R` does for the router.
type Ticket = u32;

/// A conversation with a log kept by hand: what is committed goes to `log` when the test says that it is durable.
struct Talk {
    conversation: Conversation<Ticket>,
    limits: ConversationLimits,
    now_ms: u64,
    /// As the store has them.
    details: ConversationDetails,
    next_ticket: Ticket,
    /// What the store has not answered.
    commits: std::collections::VecDeque<Change>,
    log: Vec<LogEntry>,
    /// The members' rows as the store has them.
    rows: std::collections::BTreeMap<UserId, Member>,
    replies: Vec<(Ticket, Reply)>,
    /// Every fan-out: seq, recipients, and the session that is left out.
    pushed: Vec<(u64, Vec<u64>, Option<Ticket>)>,
    read_pushed: Vec<(u64, u64)>,
    /// The timers that may be there.
    waits: Vec<Wait>,
    /// Whose read position nobody knows.
    read_unknown: Vec<u64>,
}

impl Talk {
    fn direct() -> Self {
        Self::with_window(ConversationId::direct(user(ALICE), user(BOB)), 128)
    }

    fn with_window(id: ConversationId, dedupe_entries: usize) -> Self {
        let limits = ConversationLimits { dedupe_entries, group_members_max: 4 };
        Self {
            conversation: Conversation::new(id, limits),
            limits,
            now_ms: NOW_MS,
            next_ticket: 1,
            commits: Default::default(),
            log: Vec::new(),
            rows: Default::default(),
            replies: Vec::new(),
            pushed: Vec::new(),
            read_pushed: Vec::new(),
            details: ConversationDetails::default(),
            waits: Vec::new(),
            read_unknown: Vec::new(),
        }
    }

    /// A group of Alice, who owns it, and others.
    fn group(others: &[u64]) -> Self {
        let mut talk = Self::with_window(ConversationId::group([1; 16]), 128);
        let members = others.iter().map(|raw| user(*raw)).collect();
        talk.ask(ALICE, Action::CreateGroup { client_msg_id: msg(1_000), title: "crew".into(), members });
        talk.commit();
        talk
    }

    /// Asks, and expects that the store need not be asked first.
    fn ask(&mut self, who: u64, action: Action) -> Ticket {
        self.try_ask(who, action).expect("the window knows")
    }

    fn try_ask(&mut self, who: u64, action: Action) -> Result<Ticket, Question> {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let input = Input { reply_to: ticket, user: user(who), action };
        let mut effects = Vec::new();
        self.conversation.handle(self.now_ms, &input, &mut effects)?;
        self.carry_out(effects);
        Ok(ticket)
    }

    fn send(&mut self, who: u64, id: u8) -> Ticket {
        self.ask(who, message(id, true, None))
    }

    /// A schedule of somebody sends.
    fn schedule(&mut self, who: u64, id: u8) -> Ticket {
        self.ask(who, text(id.into(), SentBy::Schedule))
    }

    /// The conversation as the store would give it back.
    fn reload(&mut self) {
        assert!(self.conversation.is_idle(), "the store has not answered everything");
        let id = self.conversation.id;
        let tail = &self.log[self.log.len().saturating_sub(self.limits.dedupe_entries)..];
        self.conversation = match self.rows.is_empty() {
            true => Conversation::new(id, self.limits),
            false => {
                let members = self.rows.values().cloned().collect();
                Conversation::load(id, self.limits, self.details.clone(), members, tail)
            }
        };
    }

    /// The oldest change is durable.
    fn commit(&mut self) {
        let change = self.commits.pop_front().expect("a change is on its way");
        self.store(change);
        let mut effects = Vec::new();
        self.conversation.on_committed(None, &mut effects);
        self.carry_out(effects);
    }

    /// What the store has of a change that it made durable.
    fn store(&mut self, change: Change) {
        for entry in change.rewritten {
            let index = entry.seq.as_u64() as usize - 1;
            self.log[index] = entry;
        }
        self.log.extend(change.entries);
        if let Some(details) = change.details {
            self.details = details;
        }
        for change in change.members {
            match change {
                MemberChange::Put(member) | MemberChange::Update(member) => self.rows.insert(member.user, member),
                MemberChange::Remove(user) => self.rows.remove(&user),
            };
        }
    }

    /// The oldest change failed.
    fn fail(&mut self) {
        self.commits.pop_front().expect("a change is on its way");
        let refusal = Refusal::retry(ErrorCode::StoreUnavailable, "a test", 10);
        let mut effects = Vec::new();
        self.conversation.on_committed(Some(&refusal), &mut effects);
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<Effect<Ticket>>) {
        for effect in effects {
            match effect {
                Effect::Commit(change) => self.commits.push_back(change),
                Effect::Wait(waits) => self.waits.extend(waits),
                Effect::Reply(ticket, reply) => self.replies.push((ticket, reply)),
                Effect::FanOut { entry, to, except } => {
                    let to = to.iter().map(|user| user.as_u64()).collect();
                    self.pushed.push((entry.seq.as_u64(), to, except));
                }
                Effect::ReadMoved { user, position, .. } => {
                    self.read_pushed.push((user.as_u64(), position.seq.as_u64()));
                }
                Effect::ReadUnknown { user } => self.read_unknown.push(user.as_u64()),
            }
        }
    }

    /// The answer to a request; `None` while there is none.
    fn reply(&self, ticket: Ticket) -> Option<&Reply> {
        let mut replies = self.replies.iter().filter(|(other, _)| *other == ticket).map(|(_, reply)| reply);
        let reply = replies.next();
        assert!(replies.next().is_none(), "request {ticket} was answered twice");
        reply
    }

    fn seq_of(&self, ticket: Ticket) -> Option<u64> {
        match self.reply(ticket)? {
            Reply::Accepted(accepted) => Some(accepted.position.seq.as_u64()),
            other => panic!("request {ticket} was answered with {other:?}"),
        }
    }

    fn refusal_of(&self, ticket: Ticket) -> Option<ErrorCode> {
        match self.reply(ticket)? {
            Reply::Refused(refusal) => Some(refusal.code),
            other => panic!("request {ticket} was answered with {other:?}"),
        }
    }

    /// What the rules would say now.
    fn unread(&self, who: u64) -> u64 {
        self.conversation.members[&user(who)].unread(self.conversation.durable(), &self.conversation.details.withdrawn)
    }
}

fn user(raw: u64) -> UserId {
    UserId::new(raw).unwrap()
}

fn msg(raw: u128) -> ClientMsgId {
    ClientMsgId(raw.to_be_bytes())
}

fn message(id: u8, first_attempt: bool, after: Option<u8>) -> Action {
    let after = after.map(|after| msg(after.into()));
    Action::Send(NewMessage { first_attempt, after, ..new_message(id.into(), SentBy::Hand) })
}

fn text(id: u128, by: SentBy) -> Action {
    Action::Send(new_message(id, by))
}

fn new_message(id: u128, by: SentBy) -> NewMessage {
    let content = MessageBody { body: Bytes::from(format!("message {id}")), content_type: String::new() };
    NewMessage {
        client_msg_id: msg(id),
        content,
        first_attempt: false,
        after: None,
        by,
        expiry: None,
        deliver_by_ms: 0,
    }
}
