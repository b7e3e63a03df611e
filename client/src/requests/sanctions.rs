//! Members who may not write for a time, and users who may not come back for a time.

use crate::{Client, RequestError, client::random_msg_id};
use godwit_proto::{
    ConversationId, UserId,
    v1::{self, client_frame::Body, server_frame::Body as Reply},
};

/// The end of a mute or a ban that does not end by itself.
pub const FOR_GOOD_MS: u64 = u64::MAX;

impl Client {
    /// Mutes a member of a group that this user owns: until `until_ms`, in milliseconds since 1970-01-01 UTC by the server's
    /// clock, or [`FOR_GOOD_MS`]. Of one who is muted already it says anew until when.
    pub async fn mute_member(&self, group: ConversationId, user: UserId, until_ms: u64) -> Result<(), RequestError> {
        let request = v1::MuteMemberRequest {
            conversation_id: group.to_bytes(),
            client_msg_id: random_msg_id().to_bytes(),
            user_id: user.as_u64(),
            until_ms,
        };
        expect!(self.ask(Body::MuteMember(request)).await?, ChangeMembers).map(drop)
    }

    /// Lets a member write again. One who may is no error.
    pub async fn unmute_member(&self, group: ConversationId, user: UserId) -> Result<(), RequestError> {
        self.mute_member(group, user, 0).await
    }

    /// Bans a user, member or not, from a group that this user owns: until then nobody adds them. The times are those of
    /// [`mute_member`](Self::mute_member).
    pub async fn ban_member(&self, group: ConversationId, user: UserId, until_ms: u64) -> Result<(), RequestError> {
        let request = v1::BanMemberRequest {
            conversation_id: group.to_bytes(),
            client_msg_id: random_msg_id().to_bytes(),
            user_id: user.as_u64(),
            until_ms,
        };
        expect!(self.ask(Body::BanMember(request)).await?, ChangeMembers).map(drop)
    }

    /// Lifts a ban. The user is no member by that. One who is not banned is no error.
    pub async fn unban_member(&self, group: ConversationId, user: UserId) -> Result<(), RequestError> {
        self.ban_member(group, user, 0).await
    }

    /// Who is banned from a group that this user owns, ascending by user id.
    pub async fn list_bans(&self, group: ConversationId) -> Result<Vec<v1::Ban>, RequestError> {
        let mut bans: Vec<v1::Ban> = Vec::new();
        loop {
            let after_user_id = bans.last().map_or(0, |ban| ban.user_id);
            let request = v1::ListBansRequest { conversation_id: group.to_bytes(), after_user_id };
            let page = expect!(self.ask(Body::ListBans(request)).await?, ListBans)?;
            let advanced = page.bans.last().is_some_and(|ban| ban.user_id > after_user_id);
            bans.extend(page.bans);
            // A page that does not advance would be asked for until the end of time.
            if !page.more || !advanced {
                return Ok(bans);
            }
        }
    }
}
