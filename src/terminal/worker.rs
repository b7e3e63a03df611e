//! Does what the model wants done, and brings the answers back.

use super::{
    effects::{Effect, Reply},
    planned, reminders, requests,
};
use godwit_client::{Client, ClientMsgId, ConversationId, Expiry, Logout, ScheduleOptions, SendError, SendOptions};
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    task::JoinSet,
};

/// The most requests that wait for an answer. While the server is away all of them wait.
pub const REQUESTS_MAX: usize = 64;

/// The most messages that wait for room in the client's outbox.
const SENDS_QUEUED_MAX: usize = 64;

/// The tasks around one client. Dropping it ends them.
#[derive(Debug)]
pub struct Worker {
    client: Client,
    replies: mpsc::Sender<Reply>,
    sends: mpsc::Sender<Message>,
    requests: JoinSet<()>,
    /// Refusals of this very moment, which have no task that could wait for room among the replies.
    at_once: Vec<Reply>,
    _sender: JoinSet<()>,
}

#[derive(Debug)]
struct Message {
    conversation: ConversationId,
    client_msg_id: ClientMsgId,
    body: String,
    expiry: Option<Expiry>,
}

impl Worker {
    /// Starts nothing but the task that keeps messages in order.
    pub fn new(client: Client) -> (Self, mpsc::Receiver<Reply>) {
        let (replies, inbox) = mpsc::channel(REQUESTS_MAX);
        let (sends, queue) = mpsc::channel(SENDS_QUEUED_MAX);
        let mut sender = JoinSet::new();
        sender.spawn(send_in_order(client.clone(), queue, replies.clone()));
        (Self { client, replies, sends, requests: JoinSet::new(), at_once: Vec::new(), _sender: sender }, inbox)
    }

    /// Does it in the background. Its [`Reply`] comes later, or is in [`take_at_once`](Self::take_at_once).
    pub fn perform(&mut self, effect: Effect) {
        if let Effect::Send { conversation, client_msg_id, body, expiry } = effect {
            match self.sends.try_send(Message { conversation, client_msg_id, body, expiry }) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => self.at_once.push(Reply::NoRoom { conversation, client_msg_id }),
                Err(TrySendError::Closed(_)) => {
                    let result = Err(SendError::Closed);
                    self.at_once.push(Reply::Sent { conversation, client_msg_id, result });
                }
            }
            return;
        }
        while self.requests.try_join_next().is_some() {}
        if self.requests.len() >= REQUESTS_MAX {
            return self.at_once.push(Reply::Busy(effect));
        }
        let (client, replies) = (self.client.clone(), self.replies.clone());
        self.requests.spawn(async move {
            let reply = request(&client, effect).await;
            // An error says that the screen is gone, and with it whoever wanted to know.
            let _ = replies.send(reply).await;
        });
    }

    /// What was refused at once since the last call.
    pub fn take_at_once(&mut self) -> Vec<Reply> {
        std::mem::take(&mut self.at_once)
    }
}

/// Messages reach the outbox in the order in which they were written.
async fn send_in_order(client: Client, mut queue: mpsc::Receiver<Message>, replies: mpsc::Sender<Reply>) {
    // No more than the outbox holds: every one of these has a place in it.
    let mut under_way = JoinSet::new();
    while let Some(Message { conversation, client_msg_id, body, expiry }) = queue.recv().await {
        while under_way.try_join_next().is_some() {}
        let options = SendOptions { client_msg_id: Some(client_msg_id), expiry, ..SendOptions::default() };
        let queued = client.send_with(conversation, body, options).await;
        let replies = replies.clone();
        under_way.spawn(async move {
            let result = match queued {
                Ok(sending) => sending.await,
                Err(error) => Err(error),
            };
            let _ = replies.send(Reply::Sent { conversation, client_msg_id, result }).await;
        });
    }
}

async fn request(client: &Client, effect: Effect) -> Reply {
    match effect {
        Effect::Send { conversation, client_msg_id, .. } => Reply::NoRoom { conversation, client_msg_id },
        Effect::MarkRead { conversation, seq } => {
            Reply::Read { conversation, result: client.mark_read(conversation, seq).await }
        }
        Effect::Load { conversation, from, direction } => {
            let result = client.history(conversation, from, direction, 0).await;
            Reply::Page { conversation, direction, result }
        }
        Effect::FindPeople(asked) => {
            let result = client.find_users_by_id(&asked).await;
            Reply::People { asked, result }
        }
        Effect::Describe => Reply::Described(client.conversations(0, None).await.map(|page| page.conversations)),
        Effect::Open(name) => {
            let result = client.open_direct(&name).await;
            Reply::Opened { name, result }
        }
        Effect::CreateGroup { title, names } => {
            let result = requests::create_group(client, &title, &names).await;
            Reply::Created { title, result }
        }
        Effect::ChangeMembers { group, change } => {
            Reply::MembersChanged(requests::change_members(client, group, &change).await)
        }
        Effect::ListMembers(group) => Reply::Members { group, result: client.list_members(group).await },
        Effect::Schedule(asked) => {
            let options = ScheduleOptions { repeat: asked.repeat.clone(), ..ScheduleOptions::default() };
            let result = client.schedule_with(asked.conversation, asked.body.clone(), asked.due_ms, options).await;
            Reply::Scheduled { asked, result }
        }
        Effect::ListScheduled => Reply::Planned(planned::list(client).await),
        Effect::CancelScheduled(hex) => Reply::Cancelled(planned::cancel(client, &hex).await),
        Effect::Reschedule { hex, change, choice } => {
            Reply::Rescheduled { choice, result: planned::change(client, &hex, change).await }
        }
        Effect::SendNow(hex) => Reply::SentNow(planned::send_now(client, &hex).await),
        Effect::SetExpiry { conversation, expiry } => Reply::ExpirySet(client.set_expiry(conversation, expiry).await),
        Effect::Remind(asked) => Reply::Reminding(reminders::set(client, &asked).await),
        Effect::ListReminders => Reply::Reminders(client.reminders().await),
        Effect::CountDue => {
            let listed = client.reminders().await.unwrap_or_default();
            Reply::DueCounted(listed.iter().filter(|one| one.is_due).count())
        }
        Effect::Dismiss(reminder) => Reply::Dismissed(reminders::dismiss(client, &reminder).await),
        Effect::Logout => Reply::LoggedOut(client.logout(Logout::ThisDevice).await),
    }
}
