//! Sending a message.

use super::{Conversation, Effect, Input, MemberChange, NewMessage, Position, Refusal, conversation::Stop};
use godwit_proto::{v1, v1::ErrorCode};

/// How long a client waits before it repeats a message that would overtake another.
const OUT_OF_ORDER_RETRY_MS: u32 = 50;

impl<R: Clone + PartialEq> Conversation<R> {
    pub(super) fn on_send(
        &mut self,
        now_ms: u64,
        input: &Input<R>,
        message: &NewMessage,
        effects: &mut Vec<Effect<R>>,
    ) -> Result<(), Stop> {
        // Before the member check: what was accepted stays accepted for a sender who was removed since.
        if self.is_repeated(input, message.client_msg_id, message.first_attempt, effects)? {
            return Ok(());
        }
        let mut member = *self.member(input.user)?;
        if let Some(after) = message.after
            && self.find(input.user, after, false)?.is_none()
        {
            let refusal = "the message in after_client_msg_id was not accepted; send it first";
            return Err(Refusal::retry(ErrorCode::OutOfOrder, refusal, OUT_OF_ORDER_RETRY_MS).into());
        }
        let content = v1::entry::Content::Message(v1::Message {
            body: message.content.body.clone(),
            content_type: message.content.content_type.clone(),
            scheduled: false,
        });
        let entry = self.next_entry(now_ms, input.user, message.client_msg_id, content);
        member.own = Position { seq: entry.seq, ordinal: entry.ordinal };
        self.members.insert(member.user, member);
        self.append(input, entry, vec![MemberChange::Update(member)], None, effects);
        Ok(())
    }
}
