//! Nothing that has expired leaves the server, however the store lags behind.

use crate::chat::{Refusal, is_expired, withdraw};
use godwit_proto::{
    ConversationId, Seq, UserId,
    v1::{Entry, ErrorCode, WithdrawnReason, entry::Content, server_frame::Body},
};

/// How long a client waits for the decision who has got a message.
const UNDECIDED_RETRY_MS: u32 = 50;

/// What is handed out to a user.
#[derive(Debug, Default)]
pub struct Handout {
    /// Messages in it whose delivery ends, and when: whoever acknowledges them in time has them.
    pub awaited: Vec<(ConversationId, Seq, u64)>,
}

/// The last look at an answer before it leaves: a message whose time has come is a marker now, whatever the store said a
/// moment ago. A message whose delivery has ended goes to nobody but its sender until it is decided who has it.
pub fn hand_out(now_ms: u64, user: UserId, body: &mut Body) -> Result<Handout, Refusal> {
    let mut handout = Handout::default();
    match body {
        Body::History(page) => {
            let Ok(conversation) = ConversationId::from_slice(&page.conversation_id) else { return Ok(handout) };
            for entry in &mut page.entries {
                mask_expired(now_ms, entry);
                match open_until_ms(entry).filter(|_| entry.sender_id != user.as_u64()) {
                    Some(deliver_by_ms) if deliver_by_ms <= now_ms => {
                        let message = "it is being decided who has got a message whose delivery has ended";
                        return Err(Refusal::retry(ErrorCode::Overloaded, message, UNDECIDED_RETRY_MS));
                    }
                    Some(deliver_by_ms) => handout.awaited.push((conversation, Seq(entry.seq), deliver_by_ms)),
                    None => {}
                }
            }
        }
        Body::Sync(page) => page.changed.iter_mut().for_each(|line| mask_last(now_ms, user, &mut line.last_entry)),
        Body::ListConversations(page) => {
            page.conversations.iter_mut().for_each(|line| mask_last(now_ms, user, &mut line.last_entry));
        }
        _ => {}
    }
    Ok(handout)
}

fn mask_last(now_ms: u64, user: UserId, last: &mut Option<Entry>) {
    let Some(entry) = last else { return };
    mask_expired(now_ms, entry);
    let is_open = open_until_ms(entry).is_some_and(|deliver_by_ms| deliver_by_ms <= now_ms);
    if is_open && entry.sender_id != user.as_u64() {
        withdraw(entry, WithdrawnReason::Undelivered);
    }
}

fn mask_expired(now_ms: u64, entry: &mut Entry) {
    if is_expired(entry, now_ms) {
        withdraw(entry, WithdrawnReason::Expired);
    }
}

/// When the delivery of a message ends, if that is not decided yet.
fn open_until_ms(entry: &Entry) -> Option<u64> {
    match &entry.content {
        Some(Content::Message(message)) if message.deliver_by_ms > 0 && !message.delivery_ended => {
            Some(message.deliver_by_ms)
        }
        _ => None,
    }
}
