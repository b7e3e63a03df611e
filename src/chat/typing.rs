//! Who is told that somebody is typing.

use super::Conversation;
use godwit_proto::UserId;
use std::sync::Arc;

/// In a group with more members nobody is told who is typing: it would cost more than the messages.
pub const TYPING_MEMBERS_MAX: usize = 64;

impl<R: Clone + PartialEq> Conversation<R> {
    /// The others, if they are to be told that this user is typing: who may not write is not typing.
    pub fn typing_audience(&self, now_ms: u64, user: UserId) -> Option<Arc<[UserId]>> {
        let member = self.members.get(&user)?;
        // Nobody knows of a direct conversation before its first message.
        if !self.stored || self.members.len() > TYPING_MEMBERS_MAX || member.check_mute(now_ms).is_err() {
            return None;
        }
        let others: Arc<[UserId]> = self.members.keys().copied().filter(|other| *other != user).collect();
        (!others.is_empty()).then_some(others)
    }
}
