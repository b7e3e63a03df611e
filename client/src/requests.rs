//! Requests other than sending: each waits for the connection, asks, and asks again as long as that can help.

use crate::{
    Client, Refusal, RequestError, backoff, bulk,
    client::random_msg_id,
    command::{Answer, Command},
};
use bytes::Bytes;
use godwit_proto::{
    ClientMsgId, ConversationId, DeviceId, Seq, UserId,
    codec::FRAME_BYTES_MAX,
    v1::{self, ClientFrame, Direction, ErrorCode, client_frame::Body, server_frame::Body as Reply},
};
use prost::Message;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::oneshot;

/// Takes the reply that a request must have out of a frame.
macro_rules! expect {
    ($reply:expr, $variant:ident) => {
        match $reply {
            Reply::$variant(value) => Ok(value),
            _ => Err(RequestError::Protocol),
        }
    };
}

// Below the macro, which it uses.
mod expiry;
mod reminder;
mod sanctions;
mod schedule;

pub use sanctions::FOR_GOOD_MS;
pub use schedule::{Repeat, ScheduleChange, ScheduleOptions, ScheduledFilter};

impl Client {
    /// Looks users up by name, without regard to case. Those that do not exist are left out; the order is not kept.
    pub async fn find_users<S: Into<String>>(
        &self,
        usernames: impl IntoIterator<Item = S>,
    ) -> Result<Vec<v1::UserProfile>, RequestError> {
        let usernames: Vec<String> = usernames.into_iter().map(Into::into).collect();
        let mut users = Vec::new();
        for part in usernames.chunks(self.users_per_request()) {
            let request = v1::FindUsersRequest { usernames: part.to_vec(), user_ids: Vec::new() };
            users.extend(expect!(self.ask(Body::FindUsers(request)).await?, FindUsers)?.users);
        }
        Ok(users)
    }

    /// Looks users up by id. Those that do not exist are left out; the order is not kept.
    pub async fn find_users_by_id(&self, ids: &[UserId]) -> Result<Vec<v1::UserProfile>, RequestError> {
        let mut users = Vec::new();
        for part in ids.chunks(self.users_per_request()) {
            let request = v1::FindUsersRequest { usernames: Vec::new(), user_ids: raw(part) };
            users.extend(expect!(self.ask(Body::FindUsers(request)).await?, FindUsers)?.users);
        }
        Ok(users)
    }

    /// The direct conversation with a user, found by name. It exists for the other side once a message is in it.
    pub async fn open_direct(&self, username: &str) -> Result<(ConversationId, v1::UserProfile), RequestError> {
        let profile = self.find_users([username]).await?.pop().ok_or_else(|| {
            RequestError::Refused(Refusal::local(ErrorCode::UserNotFound, format!("nobody is called {username}")))
        })?;
        let peer = UserId::new(profile.user_id).map_err(|_| RequestError::Protocol)?;
        Ok((ConversationId::direct(self.user_id(), peer), profile))
    }

    /// Makes a group with this user as its owner. Members beyond what one request takes are added by further ones.
    pub async fn create_group(&self, title: &str, members: &[UserId]) -> Result<ConversationId, RequestError> {
        let (first, rest) = members.split_at(members.len().min(self.users_per_request()));
        let request = v1::CreateGroupRequest {
            client_msg_id: random_msg_id().to_bytes(),
            title: title.into(),
            member_ids: raw(first),
        };
        let created = expect!(self.ask(Body::CreateGroup(request)).await?, CreateGroup)?;
        let group = ConversationId::from_slice(&created.conversation_id).map_err(|_| RequestError::Protocol)?;
        self.add_members(group, rest).await?;
        Ok(group)
    }

    /// Adds members to a group that this user owns. Those who are members already stay so.
    pub async fn add_members(&self, group: ConversationId, users: &[UserId]) -> Result<(), RequestError> {
        for part in users.chunks(self.users_per_request()) {
            let request = v1::AddMembersRequest {
                conversation_id: group.to_bytes(),
                client_msg_id: random_msg_id().to_bytes(),
                user_ids: raw(part),
            };
            expect!(self.ask(Body::AddMembers(request)).await?, ChangeMembers)?;
        }
        Ok(())
    }

    /// Removes a member from a group that this user owns.
    pub async fn remove_member(&self, group: ConversationId, user: UserId) -> Result<(), RequestError> {
        let request = v1::RemoveMemberRequest {
            conversation_id: group.to_bytes(),
            client_msg_id: random_msg_id().to_bytes(),
            user_id: user.as_u64(),
        };
        expect!(self.ask(Body::RemoveMember(request)).await?, ChangeMembers).map(drop)
    }

    /// Leaves a group. [`Event::Removed`](crate::Event::Removed) follows.
    pub async fn leave(&self, group: ConversationId) -> Result<(), RequestError> {
        let client_msg_id: ClientMsgId = random_msg_id();
        let request = v1::LeaveRequest { conversation_id: group.to_bytes(), client_msg_id: client_msg_id.to_bytes() };
        let mut lost = 0;
        match self.ask_counting(Body::Leave(request), &mut lost).await {
            // By an earlier attempt, whose answer got lost, the user has left.
            Err(error) if lost > 0 && error.code() == Some(ErrorCode::NotAMember) => Ok(()),
            answer => expect!(answer?, ChangeMembers).map(drop),
        }
    }

    /// All members of a group, ascending by user id.
    pub async fn list_members(&self, group: ConversationId) -> Result<Vec<v1::Member>, RequestError> {
        let mut members: Vec<v1::Member> = Vec::new();
        loop {
            let after_user_id = members.last().map_or(0, |member| member.user_id);
            let request = v1::ListMembersRequest { conversation_id: group.to_bytes(), after_user_id };
            let page = expect!(self.ask(Body::ListMembers(request)).await?, ListMembers)?;
            let advanced = page.members.last().is_some_and(|member| member.user_id > after_user_id);
            members.extend(page.members);
            // A page that does not advance would be asked for until the end of time.
            if !page.more || !advanced {
                return Ok(members);
            }
        }
    }

    /// Marks everything up to `seq` as read, on all devices of the user.
    pub async fn mark_read(
        &self,
        conversation: ConversationId,
        seq: Seq,
    ) -> Result<v1::MarkReadResponse, RequestError> {
        let request = v1::MarkReadRequest { conversation_id: conversation.to_bytes(), seq: seq.as_u64() };
        expect!(self.ask(Body::MarkRead(request)).await?, MarkRead)
    }

    /// A page of the conversation list, newest activity first: after the last conversation of the page before, or the
    /// first page. `limit` 0 asks for as many as the server gives.
    pub async fn conversations(
        &self,
        limit: u32,
        after: Option<&v1::ConversationSummary>,
    ) -> Result<v1::ListConversationsResponse, RequestError> {
        let request = v1::ListConversationsRequest {
            limit,
            before_ms: after.and_then(|summary| summary.last_entry.as_ref()).map_or(0, |entry| entry.sent_ms),
            before_conversation_id: after.map_or_else(Bytes::new, |summary| summary.conversation_id.clone()),
        };
        let mut page = expect!(self.ask_bulk(Body::ListConversations(request)).await?, ListConversations)?;
        let now_ms = self.server_time_ms();
        page.conversations.iter_mut().for_each(|summary| crate::expiry::withdraw_expired_last(summary, now_ms));
        Ok(page)
    }

    /// A page of a conversation's log. `from` 0 with [`Direction::Backward`] starts at the newest entry; `limit` 0 asks for
    /// as many as the server gives. The page is in ascending order either way.
    pub async fn history(
        &self,
        conversation: ConversationId,
        from: Seq,
        direction: Direction,
        limit: u32,
    ) -> Result<v1::HistoryResponse, RequestError> {
        let request = v1::HistoryRequest {
            conversation_id: conversation.to_bytes(),
            from_seq: from.as_u64(),
            direction: direction.into(),
            limit,
        };
        let mut page = expect!(self.ask_bulk(Body::History(request)).await?, History)?;
        let now_ms = self.server_time_ms();
        page.entries.iter_mut().for_each(|entry| crate::expiry::withdraw_expired(entry, now_ms));
        Ok(page)
    }

    /// Measures the path and reads the server's clock.
    pub async fn heartbeat(&self) -> Result<Heartbeat, RequestError> {
        let started = Instant::now();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let request = v1::HeartbeatRequest { client_time_ms: now.as_millis() as u64 };
        let reply = expect!(self.ask(Body::Heartbeat(request)).await?, Heartbeat)?;
        Ok(Heartbeat { rtt: started.elapsed(), server_time_ms: reply.server_time_ms })
    }

    /// Revokes tokens. For this device the client ends: the server closes the connection, and
    /// [`ConnectionState::Closed`](crate::ConnectionState::Closed) follows.
    pub async fn logout(&self, devices: Logout) -> Result<(), RequestError> {
        let request = v1::LogoutRequest {
            all_devices: devices == Logout::AllDevices,
            device_id: match devices {
                Logout::Device(id) => id.to_bytes(),
                Logout::ThisDevice | Logout::AllDevices => Bytes::new(),
            },
        };
        match self.ask(Body::Logout(request)).await {
            Ok(reply) => expect!(reply, Logout).map(drop),
            // The close overtook the answer; it says the same.
            Err(RequestError::Closed) if !matches!(devices, Logout::Device(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Asks on the session stream.
    async fn ask(&self, body: Body) -> Result<Reply, RequestError> {
        self.ask_counting(body, &mut 0).await
    }

    /// Asks on the session stream, and counts the attempts whose answer was lost with the connection.
    async fn ask_counting(&self, body: Body, lost: &mut u32) -> Result<Reply, RequestError> {
        let body = fits(body)?;
        let mut refusals = 0;
        loop {
            self.link().await?;
            let (reply, answer) = oneshot::channel();
            let command = Command::Request { body: Box::new(body.clone()), reply };
            self.shared.commands.send(command).await.map_err(|_| RequestError::Closed)?;
            match answer.await {
                Ok(Answer::Reply(reply)) => return Ok(*reply),
                Ok(Answer::Refused(refusal)) => pause_or_refuse(refusal, &mut refusals).await?,
                // Ask on the next one.
                Err(_) => *lost += 1,
            }
        }
    }

    /// Asks on a bulk stream.
    async fn ask_bulk(&self, body: Body) -> Result<Reply, RequestError> {
        let body = fits(body)?;
        let mut refusals = 0;
        loop {
            let link = self.link().await?;
            match bulk::ask(&link, body.clone()).await {
                Ok(reply) => return Ok(reply),
                Err(bulk::BulkError::Refused(refusal)) => pause_or_refuse(refusal, &mut refusals).await?,
                Err(bulk::BulkError::Protocol) => return Err(RequestError::Protocol),
                Err(bulk::BulkError::Lost) => self.wait_for_link_after(&link).await?,
            }
        }
    }

    /// Waits until `lost` is not the connection any more: the driver may notice its loss later than a stream does.
    async fn wait_for_link_after(&self, lost: &crate::command::Link) -> Result<(), RequestError> {
        let mut link = self.shared.link.clone();
        let changed = link.wait_for(|state| !state.is(lost)).await;
        changed.map(drop).map_err(|_| RequestError::Closed)
    }

    fn users_per_request(&self) -> usize {
        (self.limits().users_per_request_max as usize).max(1)
    }
}

/// What [`Client::heartbeat`] measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// From asking to the answer.
    pub rtt: Duration,
    /// The server's clock: milliseconds since 1970-01-01 UTC.
    pub server_time_ms: u64,
}

/// Whose token [`Client::logout`] revokes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logout {
    /// This device's.
    ThisDevice,
    /// Every device's of this user.
    AllDevices,
    /// Another device's of this user.
    Device(DeviceId),
}

/// Waits out a refusal that may pass, or reports it.
async fn pause_or_refuse(refusal: Refusal, refusals: &mut u32) -> Result<(), RequestError> {
    if refusal.retry_after.is_none() {
        return Err(RequestError::Refused(refusal));
    }
    tokio::time::sleep(backoff::REFUSED.wait(*refusals, refusal.retry_after)).await;
    *refusals = refusals.saturating_add(1);
    Ok(())
}

/// Refuses here what the server would close the connection for.
fn fits(body: Body) -> Result<Body, RequestError> {
    let frame = ClientFrame { request_id: u64::MAX, body: Some(body) };
    if frame.encoded_len() > FRAME_BYTES_MAX {
        let message = format!("a frame is at most {FRAME_BYTES_MAX} bytes");
        return Err(RequestError::Refused(Refusal::local(ErrorCode::FrameTooLarge, message)));
    }
    frame.body.ok_or(RequestError::Protocol)
}

fn raw(users: &[UserId]) -> Vec<u64> {
    users.iter().map(|user| user.as_u64()).collect()
}
