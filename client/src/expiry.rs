//! Messages that disappear.

use godwit_proto::{
    ConversationId, ConversationKind,
    v1::{self, ConversationSummary, Entry, ExpiryStart, Message, WithdrawnReason, entry::Content},
};
use std::time::Duration;

/// When a message disappears, for everybody. In steps of a millisecond; the server takes a second or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expiry {
    /// It stays.
    #[default]
    Never,
    /// So long after the server accepted it.
    AfterSent(Duration),
    /// So long after the first member other than its sender has read it. With oneself, where nobody else reads, as
    /// [`AfterSent`](Self::AfterSent).
    AfterRead(Duration),
}

impl From<Expiry> for v1::Expiry {
    fn from(expiry: Expiry) -> Self {
        let (after, start) = match expiry {
            Expiry::Never => return Self::default(),
            Expiry::AfterSent(after) => (after, ExpiryStart::Sent),
            Expiry::AfterRead(after) => (after, ExpiryStart::Read),
        };
        // 0 would be never.
        let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX).max(1);
        Self { after_ms, start: start.into() }
    }
}

impl From<v1::Expiry> for Expiry {
    fn from(expiry: v1::Expiry) -> Self {
        let after = Duration::from_millis(expiry.after_ms);
        match expiry.start() {
            _ if expiry.after_ms == 0 => Self::Never,
            ExpiryStart::Read => Self::AfterRead(after),
            ExpiryStart::Sent | ExpiryStart::Unspecified => Self::AfterSent(after),
        }
    }
}

/// Writes into a message of one's own what the server wrote into it when it accepted it.
pub(crate) fn stamp(message: &mut Message, expiry: v1::Expiry, conversation: ConversationId, sent_ms: u64) {
    let is_alone = matches!(conversation.kind(), ConversationKind::Direct(low, high) if low == high);
    match Expiry::from(expiry) {
        Expiry::Never => {}
        Expiry::AfterRead(_) if !is_alone => message.expires_after_read_ms = expiry.after_ms,
        Expiry::AfterRead(_) | Expiry::AfterSent(_) => message.expires_ms = sent_ms.saturating_add(expiry.after_ms),
    }
}

/// Puts a marker in the place of a message whose time has come: what the server does too, and tells of a little later.
pub(crate) fn withdraw_expired(entry: &mut Entry, now_ms: Option<u64>) {
    if let (Some(Content::Message(message)), Some(now_ms)) = (&entry.content, now_ms)
        && (1..=now_ms).contains(&message.expires_ms)
    {
        let reason = WithdrawnReason::Expired.into();
        entry.content = Some(Content::Withdrawn(v1::Withdrawn { reason, scheduled: message.scheduled }));
    }
}

/// The same for the newest entry of a conversation.
pub(crate) fn withdraw_expired_last(summary: &mut ConversationSummary, now_ms: Option<u64>) {
    if let Some(last) = &mut summary.last_entry {
        withdraw_expired(last, now_ms);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;
    use godwit_proto::UserId;

    #[test]
    fn an_expiry_comes_back_from_the_wire_as_it_was() {
        let hour = Duration::from_secs(3600);
        for expiry in [Expiry::Never, Expiry::AfterSent(hour), Expiry::AfterRead(hour)] {
            assert_eq!(Expiry::from(v1::Expiry::from(expiry)), expiry);
        }
        let at_once = v1::Expiry::from(Expiry::AfterSent(Duration::from_micros(3)));
        assert_eq!(at_once.after_ms, 1, "it does not turn into never");
        assert_eq!(Expiry::from(v1::Expiry { after_ms: 5, start: 0 }), Expiry::AfterSent(Duration::from_millis(5)));
    }

    #[test]
    fn nobody_else_reads_what_one_writes_to_oneself() {
        let user = |raw| UserId::new(raw).unwrap();
        let expiry = Expiry::AfterRead(Duration::from_millis(50)).into();
        let stamped = |conversation| {
            let mut message = Message::default();
            stamp(&mut message, expiry, conversation, 1000);
            (message.expires_ms, message.expires_after_read_ms)
        };
        assert_eq!(stamped(ConversationId::direct(user(1), user(1))), (1050, 0));
        assert_eq!(stamped(ConversationId::direct(user(1), user(2))), (0, 50));
        assert_eq!(stamped(ConversationId::group([1; 16])), (0, 50));
    }

    #[test]
    fn a_message_is_withdrawn_in_the_millisecond_in_which_it_expires() {
        let message = Message { body: "x".into(), scheduled: true, expires_ms: 50, ..Message::default() };
        let entry = Entry { content: Some(Content::Message(message)), ..Entry::default() };
        let at = |now_ms| {
            let mut seen = entry.clone();
            withdraw_expired(&mut seen, now_ms);
            seen
        };
        assert_eq!((at(None), at(Some(49))), (entry.clone(), entry.clone()));
        let Some(Content::Withdrawn(marker)) = at(Some(50)).content else { panic!("it is still there") };
        assert_eq!((marker.reason(), marker.scheduled), (WithdrawnReason::Expired, true));
    }
}
