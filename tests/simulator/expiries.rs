//! Messages that disappear and deliveries that end: what may be told of them, and when.

use godwit_proto::{
    ConversationId, UserId,
    v1::{Entry, Message, WithdrawnReason, entry::Content},
};

/// Whether two entries are the same one, before and after it was withdrawn or its deadlines changed.
pub fn is_same(one: &Entry, other: &Entry) -> bool {
    let header = |entry: &Entry| Entry { content: None, ..entry.clone() };
    let text = |message: &Message| (message.body.clone(), message.content_type.clone(), message.scheduled);
    let contents = match (&one.content, &other.content) {
        (Some(Content::Message(one)), Some(Content::Message(other))) => text(one) == text(other),
        (Some(Content::Message(message)), Some(Content::Withdrawn(marker)))
        | (Some(Content::Withdrawn(marker)), Some(Content::Message(message))) => message.scheduled == marker.scheduled,
        (Some(Content::Withdrawn(one)), Some(Content::Withdrawn(other))) => one.scheduled == other.scheduled,
        (one, other) => one == other,
    };
    header(one) == header(other) && contents
}

/// A user is told an entry by a server whose clock says this. `missed`: its delivery ended before they had it.
pub fn check_told(id: ConversationId, me: UserId, told: &Entry, durable: &Entry, missed: bool, clock_ms: u64) {
    assert!(is_same(told, durable), "{id:?} #{}: told, but not durable", told.seq);
    match (&told.content, &durable.content) {
        (Some(Content::Message(message)), _) => {
            let is_gone = message.expires_ms > 0 && message.expires_ms <= clock_ms;
            assert!(!is_gone, "{id:?} #{}: told after it has expired", told.seq);
            let is_over = message.deliver_by_ms > 0 && message.deliver_by_ms <= clock_ms && !message.delivery_ended;
            let is_others = told.sender_id != me.as_u64();
            assert!(!(is_over && is_others), "{id:?} #{}: told after its delivery has ended", told.seq);
            assert!(!missed, "{id:?} #{}: told somebody who has missed it", told.seq);
        }
        (Some(Content::Withdrawn(marker)), Some(Content::Message(message))) => {
            let is_right = match marker.reason() {
                WithdrawnReason::Expired => (1..=clock_ms).contains(&message.expires_ms),
                WithdrawnReason::Undelivered => missed || (1..=clock_ms).contains(&message.deliver_by_ms),
                WithdrawnReason::Unspecified => false,
            };
            assert!(is_right, "{id:?} #{}: told as withdrawn, and it is not", told.seq);
        }
        _ => {}
    }
}

/// A device that has heard everything holds this of an entry.
pub fn check_held(id: ConversationId, held: &Entry, durable: &Entry, missed: bool) {
    let is_gone = missed || matches!(durable.content, Some(Content::Withdrawn(_)));
    let is_marked = matches!(held.content, Some(Content::Withdrawn(_)));
    assert_eq!(is_marked, is_gone, "{id:?} #{}: a device does not know what became of it", held.seq);
}

/// When a message that is still there was to be dealt with at the latest.
pub fn deadline_ms(entry: &Entry) -> Option<u64> {
    let Some(Content::Message(message)) = &entry.content else { return None };
    let deliver_by_ms = if message.delivery_ended { 0 } else { message.deliver_by_ms };
    [message.expires_ms, deliver_by_ms].into_iter().filter(|at_ms| *at_ms > 0).max()
}
