//! Messages that disappear, deliveries, mutes and bans that end: the part of the core that owns their conversation.
//!
//! All are durable timers of the conversation. When some are due, the entries are read from the store, the conversation is
//! asked to do what is due, and only when that is durable are the timers removed: after a crash in between they fire again,
//! and find that it is done. What is done to one conversation is done one thing at a time, so that nothing is decided on an
//! entry that is being changed.

mod awaited;
mod masking;
mod timer;
mod work;

pub use awaited::Awaited;
pub use masking::hand_out;
pub use timer::row as timer_row;

use super::{
    Channel, Completion, Effects, Mail, Placement, ReplyKind, ReplyTo, SessionRef, Task, Timers, meters::ExpiryMeters,
    services::Services,
};
use crate::{
    chat::{Action, Input, Reply},
    store::{StoreError, TimerChange, TimerKind, TimerOutcome, TimerOwner, TimerRow},
};
use foldhash::{HashMap, HashMapExt};
use futures_util::FutureExt;
use godwit_proto::{ConversationId, Seq, UserId};
use std::collections::hash_map::Entry;
use work::Found;

/// Messages that disappear together. More of one conversation wait for the next time, a moment later.
const EXPIRED_TOGETHER_MAX: usize = 256;
/// Due timers of one conversation that wait for each other. More are looked at again later.
const WAITING_MAX: usize = 512;
/// When the entry of a timer that is not in the log is looked for once more: it may be on its way there.
const MISSING_KEPT_MS: u64 = 60_000;
/// The payload of such a timer.
const LOOKED_FOR: &[u8] = b"1";

/// What expires in the conversations that a core owns.
pub struct Expirer {
    placement: Placement,
    services: Services,
    /// Due timers of the conversations that something is being done to.
    waiting: HashMap<ConversationId, Vec<TimerRow>>,
    /// What is being done, by number.
    jobs: HashMap<u64, Job>,
    jobs_begun: u64,
    meters: ExpiryMeters,
}

/// Something that is being done to a conversation.
struct Job {
    conversation: ConversationId,
    /// What is due. All of one kind.
    rows: Vec<TimerRow>,
    /// What becomes of the timers when it is done.
    then: Vec<TimerChange>,
    /// Messages that disappear with it, or whose delivery ends without having reached everybody.
    messages: u64,
}

/// What became of something that was asked of the store. The number is that of the job.
#[derive(Debug)]
pub enum ExpiryCompletion {
    /// What is due was read.
    Found(u64, Result<Found, StoreError>),
    /// The timers of what is done were removed, or not.
    Settled(u64, Vec<TimerOutcome>),
}

impl Expirer {
    pub fn new(placement: Placement, services: Services) -> Self {
        let (waiting, jobs) = (HashMap::new(), HashMap::new());
        Self { placement, services, waiting, jobs, jobs_begun: 0, meters: ExpiryMeters::new() }
    }

    /// A timer is due, and its row says so.
    pub fn on_due(&mut self, now_ms: u64, row: TimerRow, timers: &mut Timers, effects: &mut Effects) {
        let TimerOwner::Conversation(conversation) = row.key.owner else {
            tracing::error!(key = ?row.key, "a timer of a message belongs to a user; it is left in the store");
            return timers.done(&row.key);
        };
        if row.key.kind == TimerKind::DELIVERED {
            // Nobody asked for it in time.
            timers.done(&row.key);
            let removed = self.services.store.put_timers(vec![TimerChange::Remove(row.key)]);
            return effects.tasks.push(removed.map(|_| Completion::Noted).boxed());
        }
        match self.waiting.entry(conversation) {
            // One conversation must not take all the room that timers have.
            Entry::Occupied(waiting) if waiting.get().len() >= WAITING_MAX => timers.look_again(row.key),
            Entry::Occupied(mut waiting) => waiting.get_mut().push(row),
            Entry::Vacant(free) => {
                free.insert(vec![row]);
                self.begin(now_ms, conversation, effects);
            }
        }
    }

    /// A device of a recipient has acknowledged a message whose delivery ends at this time.
    pub fn on_delivered(
        &self,
        conversation: ConversationId,
        seq: Seq,
        recipient: UserId,
        deliver_by_ms: u64,
        effects: &mut Effects,
    ) {
        let row = timer::delivered(conversation, seq, recipient, deliver_by_ms);
        // If it is not written, the recipient counts as one who has not got it.
        let written = self.services.store.put_timers(vec![TimerChange::Put(row)]);
        effects.tasks.push(written.map(|_| Completion::Noted).boxed());
    }

    /// The store has answered.
    pub fn on_completion(
        &mut self,
        now_ms: u64,
        completion: ExpiryCompletion,
        timers: &mut Timers,
        effects: &mut Effects,
    ) {
        match completion {
            ExpiryCompletion::Found(number, Ok(found)) => self.on_found(now_ms, number, found, effects),
            ExpiryCompletion::Found(number, Err(_)) => self.look_again(now_ms, number, timers, effects),
            ExpiryCompletion::Settled(number, outcomes) => {
                if outcomes.iter().any(|outcome| *outcome != TimerOutcome::Durable) {
                    return self.look_again(now_ms, number, timers, effects);
                }
                let job = self.finish(now_ms, number, effects);
                job.rows.iter().for_each(|row| timers.done(&row.key));
                for change in job.then {
                    if let TimerChange::Put(row) = change {
                        timers.arm(row.due());
                    }
                }
            }
        }
    }

    /// The conversation has done what is due, or could not.
    pub fn on_done(&mut self, now_ms: u64, number: u64, answer: &Reply, timers: &mut Timers, effects: &mut Effects) {
        match answer {
            Reply::Accepted(accepted) => {
                let job = self.job(number);
                let (sent_ms, messages) = (accepted.sent_ms, job.messages);
                match job.rows[0].key.kind {
                    TimerKind::MESSAGE_EXPIRY => {
                        let lags: Vec<_> = job.rows.iter().map(|row| sent_ms.saturating_sub(row.due_ms)).collect();
                        self.meters.expired.increment(messages);
                        lags.iter().for_each(|lag_ms| self.meters.lag_seconds.record(*lag_ms as f64 / 1e3));
                    }
                    _ => self.meters.undelivered.increment(messages),
                }
                self.settle(number, effects);
            }
            Reply::Unchanged => self.settle(number, effects),
            // The store or the conversation is busy; nothing else refuses what the server itself asks.
            Reply::Refused(_) | Reply::Read { .. } => self.look_again(now_ms, number, timers, effects),
        }
    }

    /// Starts with what waits longest in a conversation, and what can be done with it.
    fn begin(&mut self, now_ms: u64, conversation: ConversationId, effects: &mut Effects) {
        let Entry::Occupied(mut waiting) = self.waiting.entry(conversation) else { return };
        let Some(kind) = waiting.get().first().map(|row| row.key.kind) else {
            waiting.remove();
            return;
        };
        let together = if kind == TimerKind::MESSAGE_EXPIRY { EXPIRED_TOGETHER_MAX } else { 1 };
        let rows: Vec<TimerRow> = waiting.get_mut().extract_if(.., |row| row.key.kind == kind).take(together).collect();
        self.jobs_begun += 1;
        let number = self.jobs_begun;
        let found = work::find(self.services.store.clone(), conversation, rows.clone());
        effects.tasks.push(completion(found.map(move |found| ExpiryCompletion::Found(number, found))));
        let then = rows.iter().map(|row| TimerChange::Remove(row.key)).collect();
        tracing::trace!(?conversation, ?kind, now_ms, "timers of messages are due");
        self.jobs.insert(number, Job { conversation, rows, then, messages: 0 });
    }

    fn on_found(&mut self, now_ms: u64, number: u64, found: Found, effects: &mut Effects) {
        let job = self.job(number);
        let action = match found {
            Found::Expired(entries) => {
                job.messages = entries.len() as u64;
                job.keep(now_ms, |row| !entries.iter().any(|entry| Some(entry.seq) == timer::seq(&row.key)));
                (!entries.is_empty()).then_some(Action::Expire(entries))
            }
            Found::NothingYet => {
                job.keep(now_ms, |_| true);
                None
            }
            Found::Started { entries, read_ms, rest } => {
                job.then.extend(rest.map(TimerChange::Put));
                (!entries.is_empty()).then_some(Action::StartExpiry { entries, read_ms })
            }
            Found::Delivery { entry, missed, confirmed } => {
                job.messages = u64::from(!missed.is_empty());
                job.then.extend(confirmed.into_iter().map(TimerChange::Remove));
                entry.map(|entry| Action::EndDelivery { entry, missed })
            }
            Found::SanctionEnd { sanction, user, since, until_ms } => {
                Some(Action::EndSanction { sanction, user, since, until_ms })
            }
        };
        let conversation = job.conversation;
        let Some(action) = action else { return self.settle(number, effects) };
        let user = match &action {
            Action::Expire(entries) | Action::StartExpiry { entries, .. } => entries[0].sender,
            Action::EndDelivery { entry, .. } => entry.sender,
            Action::EndSanction { user, .. } => *user,
            _ => unreachable!("just made"),
        };
        let owner = self.placement.of_conversation(conversation);
        let at = SessionRef::none(owner);
        let reply_to = ReplyTo { at, channel: Channel::Session, request_id: number, kind: ReplyKind::Expiry };
        effects.mail.push((owner, Mail::Request(conversation, Input { reply_to, user, action })));
    }

    /// It is done: the timers go.
    fn settle(&mut self, number: u64, effects: &mut Effects) {
        let changes = self.job(number).then.clone();
        let settled = self.services.store.put_timers(changes);
        effects.tasks.push(completion(settled.map(move |outcomes| ExpiryCompletion::Settled(number, outcomes))));
    }

    /// It could not be done, or may have been: all that is due is looked at again.
    fn look_again(&mut self, now_ms: u64, number: u64, timers: &mut Timers, effects: &mut Effects) {
        let job = self.finish(now_ms, number, effects);
        job.rows.iter().for_each(|row| timers.look_again(row.key));
    }

    fn finish(&mut self, now_ms: u64, number: u64, effects: &mut Effects) -> Job {
        let Some(job) = self.jobs.remove(&number) else { unreachable!("a job ends once") };
        self.begin(now_ms, job.conversation, effects);
        job
    }

    fn job(&mut self, number: u64) -> &mut Job {
        self.jobs.get_mut(&number).unwrap_or_else(|| unreachable!("a job stays until it is done"))
    }
}

impl Job {
    /// What is not in the log is looked for once more.
    fn keep(&mut self, now_ms: u64, is_missing: impl Fn(&TimerRow) -> bool) {
        let is_kept = |row: &&TimerRow| is_missing(row) && row.payload.is_empty();
        for key in self.rows.iter().filter(is_kept).map(|row| row.key) {
            self.then.retain(|change| change.key() != key);
            let (due_ms, payload) = (now_ms + MISSING_KEPT_MS, LOOKED_FOR.into());
            self.then.push(TimerChange::Put(TimerRow { key, due_ms, payload }));
        }
    }
}

fn completion(work: impl Future<Output = ExpiryCompletion> + Send + 'static) -> Task {
    work.map(|done| Completion::Expiry(Box::new(done))).boxed()
}
