//! The lines of the plain mode. Programs read them: a word or a field that is here stays.

use crate::terminal::{people::People, sanitize, wording};
use data_encoding::HEXLOWER;
use godwit_client::{
    ConnectionState, ConversationId, Seq,
    v1::{Entry, Role, entry::Content},
};

/// A field, such that it cannot end the line or begin the next field.
pub fn field(text: &str) -> String {
    sanitize::escaped(text)
}

/// How the connection is.
pub fn state(state: &ConnectionState) -> String {
    match state {
        ConnectionState::Connecting => "state\tconnecting".to_owned(),
        ConnectionState::Connected => "state\tconnected".to_owned(),
        ConnectionState::Reconnecting { retry_in, reason, .. } => {
            format!("state\treconnecting\t{}\t{}", retry_in.as_millis(), field(reason))
        }
        ConnectionState::Closed { code, reason } => {
            let code = code.map(wording::code_name).unwrap_or_default();
            format!("state\tclosed\t{code}\t{}", field(reason))
        }
    }
}

/// A conversation and how much of it is unread.
pub fn conversation(name: &str, id: ConversationId, last_seq: Seq, unread: u64) -> String {
    format!("conversation\t{}\t{}\t{}\t{unread}", field(name), HEXLOWER.encode(id.as_bytes()), last_seq.as_u64())
}

/// The conversation that lines go to from now on.
pub fn opened(name: &str, id: ConversationId) -> String {
    format!("opened\t{}\t{}", field(name), HEXLOWER.encode(id.as_bytes()))
}

/// An entry of a log; `None` for one that only a newer version understands.
pub fn entry(name: &str, entry: &Entry, people: &People) -> Option<String> {
    let (word, last) = match entry.content.as_ref()? {
        // Not `Item`'s text: that is made for the eye, this must lose nothing.
        Content::Message(message) if is_text(&message.content_type) => {
            ("message", field(&String::from_utf8_lossy(&message.body)))
        }
        Content::Message(message) => {
            ("message", field(&format!("[{}, {} bytes]", message.content_type, message.body.len())))
        }
        Content::GroupCreated(created) => ("created", names(&created.member_ids, people)),
        Content::MembersAdded(added) => ("added", names(&added.member_ids, people)),
        Content::MemberRemoved(removed) => ("removed", field(&people.name(removed.member_id))),
    };
    let sender = field(&people.name(entry.sender_id));
    Some(format!("{word}\t{}\t{}\t{sender}\t{last}", field(name), entry.seq))
}

/// Everybody who is named in an entry's line.
pub fn people(entry: &Entry) -> impl Iterator<Item = u64> {
    let (members, member) = match &entry.content {
        Some(Content::GroupCreated(created)) => (created.member_ids.as_slice(), None),
        Some(Content::MembersAdded(added)) => (added.member_ids.as_slice(), None),
        Some(Content::MemberRemoved(removed)) => (&[][..], Some(removed.member_id)),
        Some(Content::Message(_)) | None => (&[][..], None),
    };
    members.iter().copied().chain(member).chain([entry.sender_id])
}

/// A message of this run that is durable.
pub fn sent(name: &str, seq: Seq, line: u64) -> String {
    format!("sent\t{}\t{}\t{line}", field(name), seq.as_u64())
}

/// A message of this run that was not sent.
pub fn failed(name: &str, line: u64, code: &str, text: &str) -> String {
    format!("failed\t{}\t{line}\t{code}\t{}", field(name), field(text))
}

/// How much is unread now.
pub fn unread(name: &str, count: u64) -> String {
    format!("unread\t{}\t{count}", field(name))
}

/// Somebody who is in a conversation.
pub fn member(name: &str, username: &str, role: Role) -> String {
    let role = if role == Role::Owner { "owner" } else { "member" };
    format!("member\t{}\t{}\t{role}", field(name), field(username))
}

/// A line that could not be done.
pub fn error(code: &str, text: &str, line: u64) -> String {
    format!("error\t{code}\t{}\t{line}", field(text))
}

fn is_text(content_type: &str) -> bool {
    matches!(content_type, "" | "text/plain")
}

fn names(ids: &[u64], people: &People) -> String {
    ids.iter().map(|&id| field(&people.name(id))).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;
    use godwit_client::v1::{MembersAdded, Message, UserProfile};
    use std::time::Duration;

    fn people() -> People {
        let mut people = People::default();
        for (user_id, name) in [(1, "alice"), (2, "bob")] {
            people.learn(&UserProfile { user_id, username: name.into(), display_name: "x".into() });
        }
        people
    }

    fn said(content: Content) -> Entry {
        Entry { seq: 7, sender_id: 1, content: Some(content), ..Entry::default() }
    }

    #[test]
    fn a_message_is_one_line_whatever_is_in_it() {
        let body = "two\nlines\tand \\ \u{1b}[2J".into();
        let message = said(Content::Message(Message { body, content_type: String::new(), scheduled: false }));
        let line = entry("#a\tb", &message, &people()).unwrap();
        assert_eq!(line, "message\t#a\\tb\t7\talice\ttwo\\nlines\\tand \\\\ \\u{1b}[2J");
    }

    #[test]
    fn members_are_listed_with_commas() {
        let added = said(Content::MembersAdded(MembersAdded { member_ids: vec![2, 0x1f] }));
        assert_eq!(entry("#g", &added, &people()).unwrap(), "added\t#g\t7\talice\tbob,user:1f");
    }

    #[test]
    fn what_only_a_newer_version_understands_is_left_out() {
        assert_eq!(entry("bob", &Entry { seq: 1, ..Entry::default() }, &people()), None);
    }

    #[test]
    fn states_have_stable_words() {
        let reason = "timed\nout".to_owned();
        let lost = ConnectionState::Reconnecting { attempt: 1, retry_in: Duration::from_millis(250), reason };
        assert_eq!(state(&lost), "state\treconnecting\t250\ttimed\\nout");
        assert_eq!(state(&ConnectionState::Connected), "state\tconnected");
        let closed =
            ConnectionState::Closed { code: Some(godwit_client::v1::ErrorCode::SessionEnded), reason: String::new() };
        assert_eq!(state(&closed), "state\tclosed\tSESSION_ENDED\t");
    }
}
