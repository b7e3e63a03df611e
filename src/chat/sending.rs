//! Sending a message.

use super::{
    Conversation, Effect, Input, MemberChange, NewMessage, Position, Refusal, SCHEDULED_UNREAD_MAX, SentBy,
    conversation::{Draft, Stop},
};
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
        let member = self.member(input.user)?;
        member.check_mute(now_ms)?;
        if message.by == SentBy::Schedule && member.scheduled.is_full() {
            let refusal = format!("its author did not look while {SCHEDULED_UNREAD_MAX} scheduled messages were sent");
            return Err(Refusal::new(ErrorCode::ScheduledUnreadLimit, refusal).into());
        }
        if message.deliver_by_ms != 0 && message.deliver_by_ms <= now_ms {
            let refusal = "deliver_by_ms has passed";
            return Err(Refusal::new(ErrorCode::DeadlinePassed, refusal).into());
        }
        if let Some(after) = message.after
            && self.find(input.user, after, false)?.is_none()
        {
            let refusal = "the message in after_client_msg_id was not accepted; send it first";
            return Err(Refusal::retry(ErrorCode::OutOfOrder, refusal, OUT_OF_ORDER_RETRY_MS).into());
        }
        let read_before = member.position().seq;
        let sent_ms = self.next_sent_ms(now_ms);
        let expiry = self.expiry_of(message);
        let content = v1::entry::Content::Message(v1::Message {
            body: message.content.body.clone(),
            content_type: message.content.content_type.clone(),
            scheduled: message.by == SentBy::Schedule,
            expires_ms: expiry.deadline_ms(sent_ms),
            expires_after_read_ms: if expiry.from_reading { expiry.after_ms } else { 0 },
            deliver_by_ms: message.deliver_by_ms,
            delivery_ended: false,
        });
        let entry = self.next_entry(now_ms, input.user, message.client_msg_id, content);
        let mut waits = self.waits_of(&entry, message);
        if message.by == SentBy::Hand {
            waits.extend(self.reading(now_ms, input.user, read_before, entry.seq));
        }
        let mut details = None;
        if expiry.from_reading && expiry.after_ms > 0 {
            self.details.expires_from_reading = entry.seq;
            details = Some(self.details.clone());
        }
        let Some(member) = self.members.get_mut(&input.user) else { unreachable!("the sender is a member") };
        match message.by {
            SentBy::Hand => member.on_sent(Position { seq: entry.seq, ordinal: entry.ordinal }),
            SentBy::Schedule => member.scheduled.push(entry.seq),
        }
        let members = vec![MemberChange::Update(member.clone())];
        self.append(input, entry, Draft { members, details, waits, ..Draft::default() }, effects);
        Ok(())
    }
}
