//! What a conversation waits for, as durable timers of it.

use crate::{
    chat::{Sanction, Wait, WaitFor},
    store::{TimerId, TimerKey, TimerKind, TimerOwner, TimerRow},
};
use bytes::Bytes;
use godwit_proto::{ConversationId, Seq, UserId};

/// How long it is known who has a message whose delivery has ended, if nobody asks.
const DELIVERED_KEPT_MS: u64 = 24 * 3_600_000;

/// The timer of something that a conversation waits for.
pub fn row(conversation: ConversationId, wait: &Wait) -> TimerRow {
    let (kind, id, payload) = match wait.event {
        // With the time in it, so that what is left of a message that was not written after all is not taken for the one that got its
        // seq.
        WaitFor::Expiry(seq) => (TimerKind::MESSAGE_EXPIRY, id(wait.due_ms, seq), Bytes::new()),
        WaitFor::DeliveryEnd(seq) => (TimerKind::DELIVERY_END, id(wait.due_ms, seq), Bytes::new()),
        WaitFor::ExpiryStart { reader, after, upto } => {
            let payload = Bytes::copy_from_slice(&after.as_u64().to_be_bytes());
            (TimerKind::EXPIRY_START, id(reader.as_u64(), upto), payload)
        }
        // With the entry in it, so that whoever is done with the timer of an earlier one does not remove a later one's.
        WaitFor::SanctionEnd { sanction: Sanction::Mute, user, since } => {
            (TimerKind::MUTE_END, id(user.as_u64(), since), Bytes::new())
        }
        WaitFor::SanctionEnd { sanction: Sanction::Ban, user, since } => {
            (TimerKind::BAN_END, id(user.as_u64(), since), Bytes::new())
        }
    };
    TimerRow { key: key(kind, conversation, id), due_ms: wait.due_ms, payload }
}

/// That a recipient has a message.
pub fn delivered(conversation: ConversationId, seq: Seq, recipient: UserId, deliver_by_ms: u64) -> TimerRow {
    let key = key(TimerKind::DELIVERED, conversation, id(recipient.as_u64(), seq));
    TimerRow { key, due_ms: delivered_due_ms(deliver_by_ms), payload: Bytes::new() }
}

/// When all timers of [`delivered`] are due that are about one message.
pub fn delivered_due_ms(deliver_by_ms: u64) -> u64 {
    deliver_by_ms.saturating_add(DELIVERED_KEPT_MS)
}

/// The entry that a timer is about.
pub fn seq(key: &TimerKey) -> Option<Seq> {
    Some(Seq(u64::from_be_bytes(key.id.0[8..].try_into().ok()?)))
}

/// Whether a timer of a message is about one that disappears, or whose delivery ends, then.
pub fn is_for(row: &TimerRow, due_ms: u64) -> bool {
    let noted: [u8; 8] = row.key.id.0[..8].try_into().unwrap_or_default();
    match u64::from_be_bytes(noted) {
        // Those of older stores do not say. They were due then, or have been put off since.
        0 => due_ms <= row.due_ms,
        noted => noted == due_ms,
    }
}

/// The user that a timer is about.
pub fn user(key: &TimerKey) -> Option<UserId> {
    UserId::new(u64::from_be_bytes(key.id.0[..8].try_into().ok()?)).ok()
}

/// After which entry somebody has read.
pub fn after(row: &TimerRow) -> Option<Seq> {
    Some(Seq(u64::from_be_bytes(row.payload.as_ref().try_into().ok()?)))
}

fn key(kind: TimerKind, conversation: ConversationId, id: TimerId) -> TimerKey {
    TimerKey { kind, owner: TimerOwner::Conversation(conversation), id }
}

fn id(about: u64, seq: Seq) -> TimerId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&about.to_be_bytes());
    id[8..].copy_from_slice(&seq.as_u64().to_be_bytes());
    TimerId(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_is_for_the_message_that_it_was_made_for() {
        let made = |event, due_ms| row(ConversationId::group([1; 16]), &Wait { due_ms, event });
        for event in [WaitFor::Expiry(Seq(5)), WaitFor::DeliveryEnd(Seq(5))] {
            let timer = made(event, 700);
            assert!(is_for(&timer, 700) && !is_for(&timer, 600) && !is_for(&timer, 800) && !is_for(&timer, 0));
            assert!(is_for(&TimerRow { due_ms: 60_700, ..timer.clone() }, 700), "it was put off");
            let key = TimerKey { id: id(0, Seq(5)), ..timer.key };
            let older = TimerRow { key, ..timer };
            assert!(is_for(&older, 700) && !is_for(&older, 800), "that one gets its seq later");
            assert!(is_for(&TimerRow { due_ms: 60_700, ..older }, 700), "it was put off");
        }
    }
}
