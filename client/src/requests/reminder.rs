//! Reminders of messages.

use crate::{Client, RequestError};
use godwit_proto::{
    ConversationId, Seq,
    v1::{self, Reminder, client_frame::Body, server_frame::Body as Reply},
};

impl Client {
    /// Has the server remind the user of an entry on all devices, at `due_ms`: milliseconds since 1970-01-01 UTC, by the server's
    /// clock. The answer means that this is durable. One that there is of the same entry is replaced. `note` has at most 256 bytes,
    /// and is for the user alone.
    ///
    /// When it is due, [`Event::Reminder`](crate::Event::Reminder) tells; it stays in the list until it is dismissed.
    pub async fn set_reminder(
        &self,
        conversation: ConversationId,
        seq: Seq,
        due_ms: u64,
        note: impl Into<String>,
    ) -> Result<Reminder, RequestError> {
        let (conversation_id, seq) = (conversation.to_bytes(), seq.as_u64());
        let request = v1::SetReminderRequest { conversation_id, seq, due_ms, note: note.into() };
        expect!(self.ask(Body::SetReminder(request)).await?, SetReminder)?.reminder.ok_or(RequestError::Protocol)
    }

    /// All of the user's reminders: those that are due first, then those that will be, each in the order of time.
    pub async fn reminders(&self) -> Result<Vec<Reminder>, RequestError> {
        let request = v1::ListRemindersRequest {};
        Ok(expect!(self.ask_bulk(Body::ListReminders(request)).await?, ListReminders)?.reminders)
    }

    /// Takes a reminder back, or says that the user has seen it. One that is not there is no error.
    pub async fn dismiss_reminder(&self, conversation: ConversationId, seq: Seq) -> Result<(), RequestError> {
        let (conversation_id, seq) = (conversation.to_bytes(), seq.as_u64());
        let request = v1::DismissReminderRequest { conversation_id, seq };
        expect!(self.ask(Body::DismissReminder(request)).await?, DismissReminder).map(drop)
    }
}
