//! What the application hears from the client.

use crate::{clock::ServerClock, expiry};
use futures_util::Stream;
use godwit_proto::{
    ClientMsgId, ConversationId, Seq, UserId,
    v1::{ConversationSummary, Entry, ErrorCode, Reminder, ScheduledMessage},
};
use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::sync::mpsc;

/// Something happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The connection came, went or is being looked for.
    State(ConnectionState),
    /// The next entry of a conversation. Per conversation strictly in order of seq, without gaps and without repetition,
    /// own messages included, across reconnects.
    ///
    /// Entries also tell what becomes of messages that were handed over before, and name them by their seqs:
    /// [`Expired`](godwit_proto::v1::Expired) that they have disappeared,
    /// [`Undelivered`](godwit_proto::v1::Undelivered) who did not get one in time, which may be this user. The application
    /// drops them. One that went before it was handed over comes as the [`Withdrawn`](godwit_proto::v1::Withdrawn) in its
    /// place, and so does one whose `expires_ms` has passed by [`Client::server_time_ms`](crate::Client::server_time_ms) when
    /// the application takes the event, even if the server's word is still to come.
    /// [`ExpiryChanged`](godwit_proto::v1::ExpiryChanged) says how messages expire from there on.
    ///
    /// The entry of an own message is built here, from the answer. Whether it expires as the conversation says is known once
    /// a [`Summary`](Self::Summary) or an entry told so: not in a conversation of [`ClientConfig::known`] in which nothing
    /// happened since. The server says when it has expired in any case.
    ///
    /// [`ClientConfig::known`]: crate::ClientConfig::known
    Entry {
        /// Where.
        conversation: ConversationId,
        /// The entry.
        entry: Entry,
        /// It just happened, as opposed to being caught up on from the log.
        live: bool,
    },
    /// A conversation as the server describes it, sent when a sync found that it is new to this client or that it
    /// changed: title, role, unread. The entries follow, as far as [`CatchUp`](crate::CatchUp) wants them.
    Summary(Box<ConversationSummary>),
    /// The user read up to here on another device.
    Read {
        /// Where.
        conversation: ConversationId,
        /// The position that unread counts from.
        read_seq: Seq,
        /// Its ordinal: [`Unread`](crate::Unread) makes of both how many messages are unread.
        read_ordinal: u64,
    },
    /// The user is no member of this conversation any more. If it comes back, it begins anew.
    Removed {
        /// Which.
        conversation: ConversationId,
    },
    /// A scheduled message was saved on another device, new or changed; or it was due and could not be sent, and its
    /// `failure` says why; or one of a series was sent, and this is when the next one is. That one was sent is told by its
    /// [`Entry`](Self::Entry), whose `client_msg_id` is its `schedule_id` if it is no series. Of two with the same id, the one
    /// with the higher `revision` is the newer one.
    ///
    /// These three events are missed while there is no connection: after [`Synced`](Self::Synced),
    /// [`Client::list_scheduled`](crate::Client::list_scheduled) tells what there is.
    Scheduled(Box<ScheduledMessage>),
    /// A scheduled message was cancelled on another device.
    ScheduleCancelled {
        /// Which.
        schedule_id: ClientMsgId,
    },
    /// The last message of a series was sent.
    ScheduleEnded {
        /// Which.
        schedule_id: ClientMsgId,
    },
    /// A reminder is due, if it says [`is_due`](Reminder::is_due); or it was set on another device. This one and the next are missed
    /// while there is no connection: after [`Synced`](Self::Synced), [`Client::reminders`](crate::Client::reminders) tells.
    Reminder(Box<Reminder>),
    /// A reminder was dismissed on another device, or the user may not read the entry any more.
    ReminderDismissed {
        /// Where the entry is.
        conversation: ConversationId,
        /// Which it is.
        seq: Seq,
    },
    /// Somebody else types in a conversation, or not any more. It may be missed; what was heard ends in any case.
    Typing {
        /// Where.
        conversation: ConversationId,
        /// Who.
        user: UserId,
        /// False: not any more.
        is_typing: bool,
    },
    /// Everything that happened before the (re)connect, or before the server asked for a new sync, was handed over.
    Synced,
}

/// How the connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionState {
    /// The first attempt is under way.
    Connecting,
    /// Logged in. What was not acknowledged is being sent again.
    Connected,
    /// Lost; the next attempt is made after `retry_in`.
    Reconnecting {
        /// Attempts since the connection was lost: 1 for the first.
        attempt: u32,
        /// When the next attempt starts.
        retry_in: Duration,
        /// What went wrong, for people.
        reason: String,
    },
    /// For good: the last event.
    Closed {
        /// The server's reason, where it had one. `None` after [`Client::shutdown`](crate::Client::shutdown).
        code: Option<ErrorCode>,
        /// The same for people.
        reason: String,
    },
}

/// The events of one client, in order.
///
/// The queue behind it is bounded. An application that does not take events makes the client stop reading pushes:
/// nothing is lost, and the server keeps the rest. Requests and sends go on. Dropping it says that the application wants
/// no events; the client then acknowledges and discards what arrives.
#[derive(Debug)]
pub struct Events {
    receiver: mpsc::Receiver<Event>,
    clock: ServerClock,
}

impl Events {
    pub(crate) fn new(receiver: mpsc::Receiver<Event>, clock: ServerClock) -> Self {
        Self { receiver, clock }
    }

    /// The next event, or `None` after [`ConnectionState::Closed`]. May be dropped while it waits; nothing gets lost.
    pub async fn next(&mut self) -> Option<Event> {
        let event = self.receiver.recv().await?;
        Some(self.current(event))
    }

    /// The next event if it is there already.
    pub fn try_next(&mut self) -> Option<Event> {
        let event = self.receiver.try_recv().ok()?;
        Some(self.current(event))
    }

    /// The event as it is now: it may have waited long.
    fn current(&self, mut event: Event) -> Event {
        match &mut event {
            Event::Entry { entry, .. } => expiry::withdraw_expired(entry, self.clock.now_ms()),
            Event::Summary(summary) => expiry::withdraw_expired_last(summary, self.clock.now_ms()),
            _ => {}
        }
        event
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let event = self.receiver.poll_recv(cx);
        event.map(|event| event.map(|event| self.current(event)))
    }
}
