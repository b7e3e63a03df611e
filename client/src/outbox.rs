//! Messages that are not durable yet: what is sent next, and what is sent again.

use crate::{Backoff, Refusal};
use bytes::Bytes;
use godwit_proto::{
    ClientMsgId, ConversationId,
    v1::{ErrorCode, Expiry, SendRequest},
};
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    time::Instant,
};

/// The unacknowledged messages of one client.
///
/// Per conversation they are sent in the order in which they were added. Each names the one before it, as long as that is
/// unacknowledged, so that the server refuses a message whose predecessor it refused: a refusal that passes therefore
/// never reorders, even with many messages under way. `R` is whatever the owner wants back with a message.
#[derive(Debug)]
pub(crate) struct Outbox<R> {
    conversations: HashMap<ConversationId, Queue<R>>,
    /// Conversations that may have something to send now, each at most once, so that they take turns.
    ready: VecDeque<ConversationId>,
    /// Conversations that wait before they send again.
    paused: BTreeSet<(Instant, ConversationId)>,
    in_flight: usize,
    in_flight_max: usize,
    in_flight_per_conversation_max: usize,
    /// What is added to the server's hints.
    backoff: Backoff,
}

/// One message.
#[derive(Debug)]
pub(crate) struct Pending<R> {
    pub(crate) conversation: ConversationId,
    pub(crate) client_msg_id: ClientMsgId,
    pub(crate) body: Bytes,
    pub(crate) content_type: String,
    /// It may have reached the server before.
    pub(crate) repeated: bool,
    /// `None`: as the conversation says.
    pub(crate) expiry: Option<Expiry>,
    /// 0: none.
    pub(crate) deliver_by_ms: u64,
    pub(crate) reply: R,
}

#[derive(Debug)]
struct Queue<R> {
    messages: VecDeque<Slot<R>>,
    in_flight: usize,
    paused_until: Option<Instant>,
    is_ready: bool,
}

#[derive(Debug)]
struct Slot<R> {
    message: Pending<R>,
    attempts: u32,
    /// Refusals for the moment, since the connection was made: each makes the next wait longer.
    refusals: u32,
    in_flight: bool,
    /// The predecessor that the newest attempt named, and which attempt of that one was the newest then.
    after: Option<(ClientMsgId, u32)>,
    /// Refused as out of order: to be held until the predecessor was sent again, or is gone.
    held: bool,
}

/// What a refusal means for the message.
#[derive(Debug)]
pub(crate) enum Refused<R> {
    /// It will be sent again.
    Again,
    /// It will not, and is out of the outbox.
    ForGood(Pending<R>),
    /// There is no such message: the reply is the server's mistake.
    Unknown,
}

impl<R> Outbox<R> {
    /// An empty outbox with bounds on what is under way.
    pub(crate) fn new(in_flight_max: usize, in_flight_per_conversation_max: usize, backoff: Backoff) -> Self {
        Self {
            conversations: HashMap::new(),
            ready: VecDeque::new(),
            paused: BTreeSet::new(),
            in_flight: 0,
            in_flight_max: in_flight_max.max(1),
            in_flight_per_conversation_max: in_flight_per_conversation_max.max(1),
            backoff,
        }
    }

    /// Adds a message behind the others of its conversation. The caller bounds how many there are.
    pub(crate) fn push(&mut self, message: Pending<R>) {
        let conversation = message.conversation;
        let queue = self.conversations.entry(conversation).or_default();
        queue.messages.push_back(Slot {
            message,
            attempts: 0,
            refusals: 0,
            in_flight: false,
            after: None,
            held: false,
        });
        self.make_ready(conversation);
    }

    /// The next message to write to the connection, in flight from now on.
    pub(crate) fn next_send(&mut self, now: Instant) -> Option<SendRequest> {
        self.end_pauses(now);
        while self.in_flight < self.in_flight_max {
            let conversation = self.ready.pop_front()?;
            let Some(queue) = self.conversations.get_mut(&conversation) else { continue };
            queue.is_ready = false;
            if let Some(request) = queue.next_send(self.in_flight_per_conversation_max) {
                self.in_flight += 1;
                self.make_ready(conversation);
                return Some(request);
            }
        }
        None
    }

    /// The message is durable: takes it out. `None` when there is no such message under way.
    pub(crate) fn accepted(&mut self, conversation: ConversationId, id: ClientMsgId) -> Option<Pending<R>> {
        self.landed(conversation, id)?;
        self.take(conversation, id)
    }

    /// The server refused the message.
    pub(crate) fn refused(
        &mut self,
        conversation: ConversationId,
        id: ClientMsgId,
        refusal: &Refusal,
        now: Instant,
    ) -> Refused<R> {
        let backoff = self.backoff;
        let Some(slot) = self.landed(conversation, id) else { return Refused::Unknown };
        match refusal.retry_after {
            // It named a predecessor that was refused, or that the server no longer knows: what becomes of that one
            // decides, not the time. Never so for a message that follows nothing.
            _ if refusal.code == ErrorCode::OutOfOrder && slot.after.is_some() => {
                slot.held = true;
                self.make_ready(conversation);
            }
            Some(hint) => {
                slot.refusals = slot.refusals.saturating_add(1);
                let wait = backoff.wait(slot.refusals - 1, Some(hint));
                self.pause(conversation, now + wait);
            }
            None => {
                return match self.take(conversation, id) {
                    Some(message) => Refused::ForGood(message),
                    None => Refused::Unknown,
                };
            }
        }
        Refused::Again
    }

    /// Everything that was under way is to be sent again, at once and in order.
    pub(crate) fn on_connection_lost(&mut self) {
        self.in_flight = 0;
        self.paused.clear();
        self.ready.clear();
        for (&conversation, queue) in &mut self.conversations {
            queue.in_flight = 0;
            queue.paused_until = None;
            for slot in &mut queue.messages {
                (slot.in_flight, slot.held, slot.refusals) = (false, false, 0);
            }
            queue.is_ready = true;
            self.ready.push_back(conversation);
        }
    }

    /// When the next pause ends, which is when [`next_send`](Self::next_send) may have something new.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.paused.first().map(|&(until, _)| until)
    }

    /// Takes everything out.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Pending<R>> {
        self.ready.clear();
        self.paused.clear();
        self.in_flight = 0;
        std::mem::take(&mut self.conversations).into_values().flat_map(|queue| queue.messages).map(|slot| slot.message)
    }

    /// A reply came: the message is not in flight any more. A reply may make its successors sendable, too.
    fn landed(&mut self, conversation: ConversationId, id: ClientMsgId) -> Option<&mut Slot<R>> {
        self.make_ready(conversation);
        let queue = self.conversations.get_mut(&conversation)?;
        let slot = queue.messages.iter_mut().find(|slot| slot.message.client_msg_id == id && slot.in_flight)?;
        slot.in_flight = false;
        queue.in_flight -= 1;
        self.in_flight -= 1;
        Some(slot)
    }

    fn take(&mut self, conversation: ConversationId, id: ClientMsgId) -> Option<Pending<R>> {
        let queue = self.conversations.get_mut(&conversation)?;
        let index = queue.messages.iter().position(|slot| slot.message.client_msg_id == id)?;
        let slot = queue.messages.remove(index)?;
        if queue.messages.is_empty() {
            if let Some(until) = queue.paused_until {
                self.paused.remove(&(until, conversation));
            }
            self.conversations.remove(&conversation);
        }
        Some(slot.message)
    }

    fn pause(&mut self, conversation: ConversationId, until: Instant) {
        let Some(queue) = self.conversations.get_mut(&conversation) else { return };
        if let Some(before) = queue.paused_until.replace(until) {
            self.paused.remove(&(before, conversation));
        }
        self.paused.insert((until, conversation));
    }

    fn end_pauses(&mut self, now: Instant) {
        while let Some(&(until, conversation)) = self.paused.first()
            && until <= now
        {
            self.paused.pop_first();
            if let Some(queue) = self.conversations.get_mut(&conversation) {
                queue.paused_until = None;
            }
            self.make_ready(conversation);
        }
    }

    fn make_ready(&mut self, conversation: ConversationId) {
        if let Some(queue) = self.conversations.get_mut(&conversation)
            && !queue.is_ready
            && queue.paused_until.is_none()
        {
            queue.is_ready = true;
            self.ready.push_back(conversation);
        }
    }
}

impl<R> Default for Queue<R> {
    fn default() -> Self {
        Self { messages: VecDeque::new(), in_flight: 0, paused_until: None, is_ready: false }
    }
}

impl<R> Queue<R> {
    fn next_send(&mut self, in_flight_max: usize) -> Option<SendRequest> {
        if self.paused_until.is_some() || self.in_flight >= in_flight_max {
            return None;
        }
        let index = self.messages.iter().position(|slot| !slot.in_flight)?;
        let before = index.checked_sub(1).and_then(|before| self.messages.get(before));
        let after = before.map(|slot| (slot.message.client_msg_id, slot.attempts));
        let slot = self.messages.get_mut(index)?;
        // The very same attempt of the predecessor that was under way then: its answer decides first.
        if slot.held && slot.after == after {
            return None;
        }
        let message = &slot.message;
        let request = SendRequest {
            conversation_id: message.conversation.to_bytes(),
            client_msg_id: message.client_msg_id.to_bytes(),
            body: message.body.clone(),
            content_type: message.content_type.clone(),
            first_attempt: slot.attempts == 0 && !message.repeated,
            after_client_msg_id: after.map_or_else(Bytes::new, |(id, _)| id.to_bytes()),
            expiry: message.expiry,
            deliver_by_ms: message.deliver_by_ms,
        };
        slot.attempts += 1;
        (slot.in_flight, slot.held, slot.after) = (true, false, after);
        self.in_flight += 1;
        Some(request)
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
