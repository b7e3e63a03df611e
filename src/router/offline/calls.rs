//! Handing notices over: in batches, so many calls at a time, again after a while when one fails.

use super::{DeadLetters, HookError, Letter, OfflineHook, OfflineNotice, queue::Queue};
use crate::{
    router::{
        Completion, Effects, OfflineLimits, Push,
        deadlines::{Deadline, Deadlines},
        presence::Presence,
    },
    telemetry::metric,
    timer::Tick,
};
use futures_util::{
    FutureExt,
    future::{AbortHandle, Abortable},
};
use godwit_proto::{
    Seq, UserId,
    v1::{self, entry::Content, server_frame::Body},
};
use metrics::{Counter, counter};
use prost::Message;
use rand::rngs::SmallRng;
use std::{collections::BTreeMap, panic::AssertUnwindSafe, sync::Arc};

/// The notices of the users that one core owns.
///
/// One deadline at most waits for what is gathered; whatever fails makes all of it wait, because what fails is nearly always
/// the service behind the hook.
pub struct Offline {
    hook: Arc<dyn OfflineHook>,
    dead_letters: DeadLetters,
    limits: OfflineLimits,
    random: SmallRng,
    queue: Queue,
    /// Those that are under way, by number.
    calls: BTreeMap<u64, Call>,
    calls_begun: u64,
    /// A deadline waits.
    is_armed: bool,
    /// There was more than fits the calls: the next one to end makes room.
    has_more: bool,
    /// Rounds that failed since one worked.
    failures: u32,
    paused_until: Tick,
    stopped: bool,
    /// Users without a session that the present push goes to. Kept for its memory.
    pub absent: Vec<UserId>,
    handed_over: Counter,
    overflowed: Counter,
    given_up: Counter,
}

struct Call {
    batch: Vec<Letter>,
    abort: AbortHandle,
}

/// What the core lends for the time of a call.
pub struct Turn<'a> {
    pub now: Tick,
    pub presence: &'a Presence,
    pub deadlines: &'a mut Deadlines,
    pub effects: &'a mut Effects,
}

impl Offline {
    pub fn new(hook: Arc<dyn OfflineHook>, dead_letters: DeadLetters, limits: OfflineLimits, random: SmallRng) -> Self {
        let outcome = |outcome: &'static str| counter!(metric::OFFLINE_NOTICES, metric::OUTCOME => outcome);
        Self {
            hook,
            dead_letters,
            limits,
            random,
            queue: Queue::default(),
            calls: BTreeMap::new(),
            calls_begun: 0,
            is_armed: false,
            has_more: false,
            failures: 0,
            paused_until: Tick(0),
            stopped: false,
            absent: Vec::new(),
            handed_over: outcome("handed_over"),
            overflowed: outcome("overflowed"),
            given_up: outcome("given_up"),
        }
    }

    /// An entry went to [`absent`](Self::absent) users.
    pub fn on_absent(&mut self, push: &Push, turn: &mut Turn<'_>) {
        if push.seq == Seq::ZERO || self.absent.is_empty() || self.stopped {
            return self.absent.clear();
        }
        let Some((sender, is_message)) = entry_of(push) else { return self.absent.clear() };
        let mut absent = std::mem::take(&mut self.absent);
        for user in absent.drain(..).filter(|user| user.as_u64() != sender) {
            let (conversation, newest) = (push.conversation, push.seq);
            let notice = OfflineNotice { user, conversation, newest, unread: u64::from(is_message) };
            if self.has_room(&notice) {
                self.queue.put(&Letter { notice, attempts: 0 });
            } else {
                self.overflowed.increment(1);
            }
        }
        self.absent = absent;
        self.arm(turn.now.0.saturating_add(self.limits.gather_ms), turn);
    }

    /// The user is there.
    pub fn on_online(&mut self, user: UserId) {
        self.queue.forget(user);
        for call in self.calls.values_mut() {
            // If it fails, it is not for this user any more.
            call.batch.retain(|letter| letter.notice.user != user);
        }
    }

    /// What was gathered is to be handed over, or a pause has passed.
    pub fn on_gathered(&mut self, turn: &mut Turn<'_>) {
        self.is_armed = false;
        self.send(turn);
    }

    /// A call has had its time.
    pub fn on_timeout(&self, call: u64) {
        if let Some(call) = self.calls.get(&call) {
            call.abort.abort();
        }
    }

    /// A call is over.
    pub fn on_notified(&mut self, now_ms: u64, call: u64, result: Result<(), HookError>, turn: &mut Turn<'_>) {
        let Some(Call { batch, .. }) = self.calls.remove(&call) else { unreachable!("a call ends once") };
        let has_failed = result.is_err();
        match result {
            Ok(()) => {
                self.handed_over.increment(batch.len() as u64);
                self.failures = 0;
            }
            Err(error) => self.on_failed(now_ms, turn.now, batch, &error),
        }
        // What failed waits again, however short the pause is.
        if self.has_more || has_failed {
            self.send(turn);
        }
    }

    /// Somebody wants notices handed over that were given up.
    pub fn on_replay(&mut self, now_ms: u64, notices: Vec<OfflineNotice>, turn: &mut Turn<'_>) {
        for notice in notices.into_iter().filter(|notice| !turn.presence.is_online(notice.user)) {
            let letter = Letter { notice, attempts: 0 };
            if self.has_room(&notice) {
                self.queue.put(&letter);
            } else {
                self.dead_letters.put(&letter, "too many notices wait already", now_ms);
            }
        }
        self.arm(turn.now.0, turn);
    }

    /// The server stops, and waits for nobody outside.
    pub fn stop(&mut self) {
        self.stopped = true;
        self.calls.values().for_each(|call| call.abort.abort());
    }

    fn on_failed(&mut self, now_ms: u64, now: Tick, batch: Vec<Letter>, error: &HookError) {
        tracing::warn!(%error, notices = batch.len(), "the offline hook failed");
        for letter in batch {
            let letter = Letter { attempts: letter.attempts.saturating_add(1), ..letter };
            if letter.attempts >= self.limits.attempts_max {
                self.given_up.increment(1);
                self.dead_letters.put(&letter, &error.0, now_ms);
            } else {
                self.queue.put(&letter);
            }
        }
        // Calls that were under way together fail together, and count as one.
        if now >= self.paused_until {
            let wait_ms = self.limits.backoff.wait_ms(self.failures, &mut self.random);
            self.paused_until = Tick(now.0.saturating_add(wait_ms));
            self.failures = self.failures.saturating_add(1);
        }
    }

    fn send(&mut self, turn: &mut Turn<'_>) {
        if self.stopped {
            return;
        }
        if turn.now < self.paused_until {
            return self.arm(self.paused_until.0, turn);
        }
        while self.calls.len() < self.limits.calls_max && !self.queue.is_empty() {
            let mut batch = self.queue.take(self.limits.batch_max);
            batch.retain(|letter| !turn.presence.is_online(letter.notice.user));
            if !batch.is_empty() {
                self.call(batch, turn);
            }
        }
        self.has_more = !self.queue.is_empty();
    }

    fn call(&mut self, batch: Vec<Letter>, turn: &mut Turn<'_>) {
        let number = self.calls_begun;
        self.calls_begun += 1;
        let notices = batch.iter().map(|letter| letter.notice).collect();
        let (hook, (abort, registration)) = (self.hook.clone(), AbortHandle::new_pair());
        let told = AssertUnwindSafe(async move { hook.notify(notices).await }).catch_unwind();
        let call = Abortable::new(told, registration).map(move |told| {
            let result = match told {
                Ok(Ok(result)) => result,
                Ok(Err(_panic)) => Err(HookError("the hook panicked".into())),
                Err(_aborted) => Err(HookError("the hook did not answer in time".into())),
            };
            Completion::Notified(number, result)
        });
        turn.effects.tasks.push(call.boxed());
        let until = Tick(turn.now.0.saturating_add(self.limits.call_timeout_ms));
        turn.deadlines.arm(until, Deadline::OfflineCall(number));
        self.calls.insert(number, Call { batch, abort });
    }

    fn arm(&mut self, at_ms: u64, turn: &mut Turn<'_>) {
        if !self.is_armed && !self.queue.is_empty() {
            self.is_armed = true;
            turn.deadlines.arm(Tick(at_ms), Deadline::OfflineGathered);
        }
    }

    fn has_room(&self, notice: &OfflineNotice) -> bool {
        let under_way: usize = self.calls.values().map(|call| call.batch.len()).sum();
        self.queue.has(notice) || self.queue.len() + under_way < self.limits.notices_max
    }
}

/// Who sent the entry of a push, and whether it is a message. `None` for what has nothing to show.
fn entry_of(push: &Push) -> Option<(u64, bool)> {
    let Body::Entries(entries) = v1::ServerFrame::decode_length_delimited(push.frame.clone()).ok()?.body? else {
        return None;
    };
    let entry = entries.entries.last()?;
    match entry.content.as_ref()? {
        Content::Withdrawn(_) | Content::Expired(_) | Content::Undelivered(_) => None,
        content => Some((entry.sender_id, matches!(content, Content::Message(_)))),
    }
}
