//! Reminders of messages: requests that take more than one call of the client, shared by the screen and the line mode.

use super::{requests::ActionError, sanitize, timeline};
use godwit_client::{
    Client, ConversationId, Seq,
    v1::{Direction, Entry, Message, Reminder, entry::Content},
};

/// Entries among which the newest message is looked for; others tell of changes.
const LOOKED_AT: u32 = 20;
/// The most characters of a message that are noted. The server takes 256 bytes.
const QUOTE_CHARS_MAX: usize = 60;

/// A message that the user wants to be reminded of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reminding {
    /// Where it is.
    pub conversation: ConversationId,
    /// Which it is; `None`: the newest.
    pub seq: Option<Seq>,
    /// Unix time in milliseconds.
    pub due_ms: u64,
    /// Told when it is due; `None`: how the message begins.
    pub note: Option<String>,
}

/// Finds the message, and has the server remind of it.
pub async fn set(client: &Client, asked: &Reminding) -> Result<Reminder, ActionError> {
    let (from, direction, limit) = match asked.seq {
        Some(seq) => (seq, Direction::Forward, 1),
        None => (Seq::ZERO, Direction::Backward, LOOKED_AT),
    };
    let entries = client.history(asked.conversation, from, direction, limit).await?.entries;
    let entry = chosen(&entries, asked.seq).ok_or(ActionError::NoMessage)?;
    let note = asked.note.clone().unwrap_or_else(|| quote(entry));
    Ok(client.set_reminder(asked.conversation, Seq(entry.seq), asked.due_ms, note).await?)
}

/// Dismisses the one with this number in the last list, from 1.
pub async fn dismiss(client: &Client, reminder: &Reminder) -> Result<(), ActionError> {
    let conversation = ConversationId::from_slice(&reminder.conversation_id).map_err(|_| ActionError::NoMessage)?;
    Ok(client.dismiss_reminder(conversation, Seq(reminder.seq)).await?)
}

/// The one with this number in the last list, from 1.
pub fn numbered(listed: &[Reminder], number: usize) -> Result<&Reminder, ActionError> {
    let reminder = number.checked_sub(1).and_then(|index| listed.get(index));
    reminder.ok_or(ActionError::NoReminder { number, listed: listed.len() })
}

/// What it is of, safe to show.
pub fn what(reminder: &Reminder) -> String {
    match reminder.note.is_empty() {
        true => format!("message #{}", reminder.seq),
        false => sanitize::line(&reminder.note),
    }
}

fn chosen(entries: &[Entry], seq: Option<Seq>) -> Option<&Entry> {
    let is_message = |entry: &&Entry| matches!(entry.content, Some(Content::Message(_)));
    match seq {
        Some(seq) => entries.iter().find(|entry| entry.seq == seq.as_u64()),
        None => entries.iter().rfind(is_message),
    }
}

/// How a message begins. Of one that disappears nothing is kept.
fn quote(entry: &Entry) -> String {
    match &entry.content {
        Some(Content::Message(message)) if stays(message) => {
            let line = timeline::message_text(message).replace('\n', " ");
            let quote: String = line.chars().take(QUOTE_CHARS_MAX).collect();
            quote
        }
        _ => String::new(),
    }
}

fn stays(message: &Message) -> bool {
    message.expires_ms == 0 && message.expires_after_read_ms == 0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;
    use godwit_client::v1::GroupCreated;

    fn said(seq: u64, message: Message) -> Entry {
        Entry { seq, content: Some(Content::Message(message)), ..Entry::default() }
    }

    #[test]
    fn the_newest_message_is_chosen_unless_another_is_named() {
        let text = |body: &'static str| Message { body: body.into(), ..Message::default() };
        let group = Some(Content::GroupCreated(GroupCreated::default()));
        let log = [said(1, text("a")), said(2, text("b")), Entry { seq: 3, content: group, ..Entry::default() }];
        assert_eq!(chosen(&log, None).unwrap().seq, 2);
        assert_eq!(chosen(&log, Some(Seq(1))).unwrap().seq, 1);
        assert_eq!(chosen(&log, Some(Seq(4))), None);
        assert_eq!(chosen(&[], None), None);
    }

    #[test]
    fn a_message_is_quoted_unless_it_disappears() {
        let long = Message { body: format!("two\nlines {}", "界".repeat(100)).into(), ..Message::default() };
        let noted = quote(&said(1, long.clone()));
        assert!(noted.starts_with("two lines 界") && noted.len() <= 256, "{noted}");
        for fleeting in [Message { expires_ms: 1, ..long.clone() }, Message { expires_after_read_ms: 1, ..long }] {
            assert_eq!(quote(&said(1, fleeting)), "");
        }
    }

    #[test]
    fn a_number_that_is_not_in_the_last_list_says_what_is() {
        let listed = [Reminder { seq: 7, ..Reminder::default() }];
        assert_eq!(what(numbered(&listed, 1).unwrap()), "message #7");
        assert!(numbered(&listed, 2).unwrap_err().to_string().contains("which has 1"));
        assert!(numbered(&[], 0).unwrap_err().to_string().contains("/reminders"));
    }
}
