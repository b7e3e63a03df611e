//! Which entries one session was pushed and has not acknowledged, and when they are pushed again. Pure: no I/O, and time is
//! an argument.

use super::Backoff;
use crate::timer::Tick;
use foldhash::HashMap;
use godwit_proto::{ConversationId, Seq};
use rand::{SeedableRng, rngs::SmallRng};
use std::collections::hash_map::Entry;

/// A session with more conversations due than may be read at once is looked at again after this long.
const NO_ROOM_MS: u64 = 100;

/// What one session was sent, by conversation, until it has acknowledged it all.
///
/// Nothing is kept of an entry itself: of a conversation the range that waits for an acknowledgement, from which the log
/// is read again. A session that has acknowledged everything holds nothing.
#[derive(Default)]
pub struct Deliveries {
    conversations: HashMap<ConversationId, Delivery>,
    /// A deadline of this session waits. There is one at most, set when the first entry waits and again whenever it comes up
    /// and something still does; pushes and acknowledgements leave it alone.
    has_deadline: bool,
}

/// One conversation.
///
/// `acked < target` while something that was pushed is not acknowledged. Entries leave in the order of seq: while the log
/// is read for a retry, new ones are held back, and the retry goes on until it has sent them, too.
#[derive(Debug, Default)]
struct Delivery {
    /// What is up to here needs no retry: it is acknowledged, or was there before the first push.
    acked: Seq,
    /// The newest entry that was sent, in whatever frame. Only what is up to here may be acknowledged.
    known: Seq,
    /// The newest entry that was pushed, or that is held back.
    target: Seq,
    /// While it is pushed again: what is up to here was. [`Seq::ZERO`] otherwise, or if the retry began there.
    cursor: Seq,
    /// When it counts as lost if it is not acknowledged.
    due: Tick,
    /// How often it was pushed again without an acknowledgement of anything new.
    attempts: u8,
    retry: Retry,
}

/// How far a retry of one conversation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Retry {
    #[default]
    None,
    /// The store reads the entries after the cursor.
    Reading,
    /// The store did not answer, and is asked again when the deadline comes up.
    Failed,
}

/// When an acknowledgement is overdue: `backoff.base_ms` after a push, and up to the ceiling of the attempt later, so that
/// sessions that were pushed to together are not all pushed to again together.
pub struct Patience {
    /// The present.
    pub now: Tick,
    pub backoff: Backoff,
    /// How often an entry is pushed again.
    pub attempts_max: u8,
    random: SmallRng,
}

/// A page of the log to read: entries of this conversation from this seq on.
pub type PageToRead = (ConversationId, Seq);

/// What to do with an entry that is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pushed {
    /// It leaves now. Otherwise a retry that is under way brings it.
    pub leaves: bool,
    /// Set a deadline for the session.
    pub deadline: Option<Tick>,
}

/// What to do with a page that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRead {
    /// Of its entries only those after this one leave,
    pub after: Seq,
    /// up to this one.
    pub up_to: Seq,
    /// Where to read on.
    pub next: Option<Seq>,
}

/// A session did not acknowledge an entry however often it was pushed again.
#[derive(Debug, PartialEq, Eq)]
pub struct Dead;

impl Deliveries {
    /// Notes that an entry is about to be pushed. [`Seq::ZERO`] stands for a push without one.
    pub fn on_push(&mut self, conversation: ConversationId, seq: Seq, patience: &mut Patience) -> Pushed {
        if seq == Seq::ZERO {
            return Pushed { leaves: true, deadline: None };
        }
        let delivery = self.conversations.entry(conversation).or_default();
        if !delivery.is_unacked() {
            delivery.acked = delivery.acked.max(Seq(seq.0 - 1));
            delivery.attempts = 0;
            delivery.due = patience.due(0);
        }
        delivery.target = delivery.target.max(seq);
        let leaves = delivery.retry == Retry::None;
        if leaves {
            delivery.known = delivery.known.max(seq);
        }
        let is_first = delivery.is_unacked() && !self.has_deadline;
        self.has_deadline |= is_first;
        Pushed { leaves, deadline: is_first.then_some(delivery.due) }
    }

    /// Notes that a reply names or holds an entry. The client asked for it and asks again if it does not come, so there is
    /// nothing to retry, but it may acknowledge it.
    pub fn on_reply(&mut self, conversation: ConversationId, seq: Seq) {
        if seq > Seq::ZERO {
            let delivery = self.conversations.entry(conversation).or_default();
            delivery.known = delivery.known.max(seq);
        }
    }

    /// The client has everything up to here. False if it was never sent that, or has acknowledged all: then it changes nothing.
    pub fn on_ack(&mut self, conversation: ConversationId, seq: Seq, patience: &mut Patience) -> bool {
        let Entry::Occupied(mut entry) = self.conversations.entry(conversation) else { return false };
        let delivery = entry.get_mut();
        if seq > delivery.known {
            return false;
        }
        if seq <= delivery.acked {
            return true;
        }
        delivery.acked = seq;
        delivery.attempts = 0;
        if delivery.is_unacked() {
            // The client is there and works on it, so what is left gets all the time again.
            delivery.due = patience.due(0);
        } else if delivery.known <= seq {
            entry.remove();
        } else {
            // Nothing is left to be retried, so nothing new has to wait for that.
            delivery.retry = Retry::None;
        }
        true
    }

    /// Pushes were left out, and the client will be told to sync: nothing that was pushed before is pushed again.
    pub fn give_up(&mut self) {
        self.conversations.retain(|_, delivery| {
            delivery.give_up();
            delivery.known > delivery.acked
        });
    }

    /// The deadline has come: what is overdue is to be read, `room` pages at most, and the next deadline to be set, if any.
    pub fn on_deadline(
        &mut self,
        patience: &mut Patience,
        room: usize,
        pages: &mut Vec<PageToRead>,
    ) -> Result<Option<Tick>, Dead> {
        let now = patience.now;
        // What is pushed meanwhile waits a shorter time than what was pushed often, and does not move the deadline.
        let soon = Tick(now.0.saturating_add(patience.backoff.base_ms));
        let (mut next, mut overdue) = (None, Vec::new());
        for (id, delivery) in self.conversations.iter().filter(|(_, delivery)| delivery.is_unacked()) {
            let at = next.unwrap_or(soon);
            next = Some(if delivery.due > now { at.min(delivery.due) } else { at });
            if delivery.due <= now && delivery.retry != Retry::Reading {
                if delivery.retry == Retry::None && delivery.attempts >= patience.attempts_max {
                    return Err(Dead);
                }
                overdue.push(*id);
            }
        }
        // In order, so that a simulated run can be had again.
        overdue.sort_unstable();
        if overdue.len() > room {
            overdue.truncate(room);
            next = Some(Tick(now.0.saturating_add(NO_ROOM_MS)));
        }
        for id in overdue {
            let Some(delivery) = self.conversations.get_mut(&id) else { unreachable!("just looked at") };
            if delivery.retry == Retry::None {
                delivery.attempts += 1;
                delivery.cursor = delivery.acked;
            }
            delivery.retry = Retry::Reading;
            pages.push((id, delivery.cursor.next()));
        }
        self.has_deadline = next.is_some();
        if next.is_none() {
            // After a burst that is over.
            self.conversations.shrink_to_fit();
        }
        Ok(next)
    }

    /// A page was read from this seq on: what to push of it. `newest` is its last entry.
    pub fn on_page(
        &mut self,
        conversation: ConversationId,
        from: Seq,
        newest: Option<Seq>,
        patience: &mut Patience,
    ) -> Option<PageRead> {
        let delivery = self.reading(conversation, from)?;
        let newest = newest.unwrap_or(Seq::ZERO).min(delivery.target);
        let after = delivery.cursor.max(delivery.acked);
        let is_empty = newest <= delivery.cursor;
        delivery.cursor = newest.max(after);
        delivery.known = delivery.known.max(newest);
        let goes_on = !is_empty && delivery.cursor < delivery.target;
        if !goes_on {
            delivery.retry = Retry::None;
            delivery.due = patience.due(delivery.attempts);
        }
        Some(PageRead { after, up_to: newest, next: goes_on.then(|| delivery.cursor.next()) })
    }

    /// A page could not be read. It is tried again with the next deadline; that is no attempt, for the client has no part in it.
    pub fn on_page_failed(&mut self, conversation: ConversationId, from: Seq) {
        if let Some(delivery) = self.reading(conversation, from) {
            delivery.retry = Retry::Failed;
        }
    }

    /// The user may read the conversation no more, so nothing of it is pushed again. True if something was held back: it will
    /// not come, so the client must be told to sync.
    #[must_use]
    pub fn on_page_forbidden(&mut self, conversation: ConversationId, from: Seq) -> bool {
        self.reading(conversation, from).is_some_and(|delivery| {
            let left_out = delivery.target > delivery.known;
            delivery.give_up();
            left_out
        })
    }

    /// The conversation whose page this is. An answer to an earlier question is for nobody.
    fn reading(&mut self, conversation: ConversationId, from: Seq) -> Option<&mut Delivery> {
        let delivery = self.conversations.get_mut(&conversation)?;
        (delivery.retry == Retry::Reading && delivery.cursor.next() == from).then_some(delivery)
    }
}

impl Delivery {
    fn is_unacked(&self) -> bool {
        self.target > self.acked
    }

    fn give_up(&mut self) {
        self.target = self.acked;
        self.retry = Retry::None;
    }
}

impl Patience {
    pub fn new(backoff: Backoff, attempts_max: u8, seed: u64) -> Self {
        Self { now: Tick(0), backoff, attempts_max, random: SmallRng::seed_from_u64(seed) }
    }

    fn due(&mut self, attempts: u8) -> Tick {
        let jitter_ms = self.backoff.wait_ms(attempts.into(), &mut self.random);
        Tick(self.now.0.saturating_add(self.backoff.base_ms).saturating_add(jitter_ms))
    }
}

#[cfg(test)]
#[path = "delivery_tests.rs"]
mod tests;
