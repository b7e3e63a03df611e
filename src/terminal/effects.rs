//! What the screen asks the client for, and what it hears back.

use super::{planned::Planned, reminders::Reminding, requests::ActionError, sanctions::SanctionChange, when::Choice};
use godwit_client::{
    ClientMsgId, ConversationId, Expiry, Repeat, RequestError, ScheduleChange, SendError, Sent, Seq, UserId,
    v1::{
        ConversationSummary, Direction, HistoryResponse, MarkReadResponse, Member, Reminder, ScheduledMessage,
        UserProfile,
    },
};

/// Something that the model wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send a message. Those to one conversation are sent in the order of these.
    Send {
        /// Where to.
        conversation: ConversationId,
        /// Its id.
        client_msg_id: ClientMsgId,
        /// What it says.
        body: String,
        /// When it disappears; `None`: as the conversation says.
        expiry: Option<Expiry>,
    },
    /// Everything up to `seq` was seen.
    MarkRead {
        /// Where.
        conversation: ConversationId,
        /// How far.
        seq: Seq,
    },
    /// Fetch a page of the log.
    Load {
        /// Of which conversation.
        conversation: ConversationId,
        /// The first entry of the page; 0 for the newest.
        from: Seq,
        /// Where the page goes from there.
        direction: Direction,
    },
    /// Look names up.
    FindPeople(Vec<UserId>),
    /// Fetch the newest page of the conversation list: something happened in one that is not known.
    Describe,
    /// Find the direct conversation with this user.
    Open(String),
    /// Make a group.
    CreateGroup {
        /// What it is called.
        title: String,
        /// Its members.
        names: Vec<String>,
    },
    /// Change who is in a group.
    ChangeMembers {
        /// Which.
        group: ConversationId,
        /// How.
        change: MemberChange,
    },
    /// List who is in a group.
    ListMembers(ConversationId),
    /// Have the server send a message later.
    Schedule(Scheduling),
    /// List what is scheduled, and what could not be sent.
    ListScheduled,
    /// Take the scheduled message back whose id begins with these hexadecimal digits.
    CancelScheduled(String),
    /// Change the scheduled message whose id begins with these digits.
    Reschedule {
        /// Which.
        hex: String,
        /// How.
        change: ScheduleChange,
        /// Which of two moments was taken.
        choice: Option<Choice>,
    },
    /// Send the scheduled message now whose id begins with these digits.
    SendNow(String),
    /// Set how messages disappear that say nothing else.
    SetExpiry {
        /// Of which conversation.
        conversation: ConversationId,
        /// How.
        expiry: Expiry,
    },
    /// Have the server remind the user of a message.
    Remind(Reminding),
    /// List the reminders.
    ListReminders,
    /// Look how many reminders are due.
    CountDue,
    /// Take this reminder back.
    Dismiss(Reminder),
    /// Revoke this device's token.
    Logout,
}

/// A message that is to be scheduled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheduling {
    /// Where to.
    pub conversation: ConversationId,
    /// What it says.
    pub body: String,
    /// Unix time in milliseconds.
    pub due_ms: u64,
    /// When it is sent again.
    pub repeat: Option<Repeat>,
    /// Which of two moments was taken.
    pub choice: Option<Choice>,
    /// The line as it was typed, to be corrected if the server refuses.
    pub line: String,
}

/// A change to the members of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberChange {
    /// Add these.
    Add(Vec<String>),
    /// Remove these.
    Remove(Vec<String>),
    /// Leave.
    Leave,
    /// Mute or ban somebody, or no more.
    Sanction(SanctionChange),
}

/// What became of an effect.
#[derive(Debug)]
pub enum Reply {
    /// Of [`Effect::Send`].
    Sent {
        /// Where to.
        conversation: ConversationId,
        /// Which message.
        client_msg_id: ClientMsgId,
        /// Durable or refused for good.
        result: Result<Sent, SendError>,
    },
    /// Of [`Effect::Send`], at once: too many messages wait already.
    NoRoom {
        /// Where to.
        conversation: ConversationId,
        /// Which message.
        client_msg_id: ClientMsgId,
    },
    /// Of [`Effect::MarkRead`].
    Read {
        /// Where.
        conversation: ConversationId,
        /// The new position.
        result: Result<MarkReadResponse, RequestError>,
    },
    /// Of [`Effect::Load`].
    Page {
        /// Of which conversation.
        conversation: ConversationId,
        /// As asked.
        direction: Direction,
        /// The page.
        result: Result<HistoryResponse, RequestError>,
    },
    /// Of [`Effect::FindPeople`].
    People {
        /// Those who were asked for.
        asked: Vec<UserId>,
        /// Those who exist.
        result: Result<Vec<UserProfile>, RequestError>,
    },
    /// Of [`Effect::Describe`].
    Described(Result<Vec<ConversationSummary>, RequestError>),
    /// Of [`Effect::Open`].
    Opened {
        /// As asked.
        name: String,
        /// The conversation and its other user.
        result: Result<(ConversationId, UserProfile), RequestError>,
    },
    /// Of [`Effect::CreateGroup`].
    Created {
        /// What it is called.
        title: String,
        /// The new group.
        result: Result<ConversationId, ActionError>,
    },
    /// Of [`Effect::ListMembers`].
    Members {
        /// Of which group.
        group: ConversationId,
        /// Who is in it.
        result: Result<Vec<Member>, RequestError>,
    },
    /// Of [`Effect::ChangeMembers`]. The change itself arrives as an entry.
    MembersChanged(Result<(), ActionError>),
    /// Of [`Effect::Schedule`].
    Scheduled {
        /// As asked.
        asked: Scheduling,
        /// As it is durable.
        result: Result<ScheduledMessage, RequestError>,
    },
    /// Of [`Effect::ListScheduled`].
    Planned(Result<Vec<Planned>, RequestError>),
    /// Of [`Effect::CancelScheduled`]: which one.
    Cancelled(Result<ClientMsgId, ActionError>),
    /// Of [`Effect::Reschedule`].
    Rescheduled {
        /// Which of two moments was taken.
        choice: Option<Choice>,
        /// As it is durable.
        result: Result<ScheduledMessage, ActionError>,
    },
    /// Of [`Effect::SendNow`]. Its entry arrives by itself.
    SentNow(Result<Sent, ActionError>),
    /// Of [`Effect::SetExpiry`]. The change itself arrives as an entry.
    ExpirySet(Result<(), RequestError>),
    /// Of [`Effect::Remind`].
    Reminding(Result<Reminder, ActionError>),
    /// Of [`Effect::ListReminders`].
    Reminders(Result<Vec<Reminder>, RequestError>),
    /// Of [`Effect::CountDue`].
    DueCounted(usize),
    /// Of [`Effect::Dismiss`].
    Dismissed(Result<(), ActionError>),
    /// Of [`Effect::Logout`].
    LoggedOut(Result<(), RequestError>),
    /// So many requests wait for an answer that this one was not made.
    Busy(Effect),
}
