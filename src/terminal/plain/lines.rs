//! The lines of the plain mode. Programs read them: a word or a field that is here stays.

use crate::terminal::{
    expiry::Gone, local_time, people::People, planned::Planned, sanctions::Sanctioned, sanitize, wording,
};
use data_encoding::HEXLOWER;
use godwit_client::{
    ClientMsgId, ConnectionState, ConversationId, Expiry, Seq,
    v1::{self, Entry, ExpiryStart, Message, Recurrence, Reminder, Role, entry::Content},
};
use jiff::tz::TimeZone;

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
pub fn entry(name: &str, entry: &Entry, people: &People, zone: &TimeZone) -> Option<String> {
    let (word, last) = match entry.content.as_ref()? {
        Content::Message(message) => ("message", body(message) + &marks(message, zone)),
        Content::GroupCreated(created) => ("created", names(&created.member_ids, people)),
        Content::MembersAdded(added) => ("added", names(&added.member_ids, people)),
        Content::MemberRemoved(removed) => ("removed", field(&people.name(removed.member_id))),
        Content::Expired(expired) => ("expired", commas(&expired.seqs)),
        Content::Undelivered(missed) => {
            ("undelivered", format!("{}\t{}", missed.seq, names(&missed.member_ids, people)))
        }
        Content::Withdrawn(marker) => ("withdrawn", why(Gone::new(marker)).to_owned()),
        Content::ExpiryChanged(changed) => ("expiry", expiry(changed.expiry.unwrap_or_default())),
        content => {
            let sanctioned = Sanctioned::of(content, entry.sent_ms)?;
            sanctioned.line(&field(&people.name(sanctioned.member)), zone)
        }
    };
    let sender = field(&people.name(entry.sender_id));
    Some(format!("{word}\t{}\t{}\t{sender}\t{last}", field(name), entry.seq))
}

/// How messages disappear that say nothing else, when the user asks.
pub fn expiry_in_force(name: &str, in_force: Expiry) -> String {
    format!("expiry\t{}\t\t\t{}", field(name), expiry(in_force.into()))
}

/// Everybody who is named in an entry's line.
pub fn people(entry: &Entry) -> impl Iterator<Item = u64> {
    let (members, member) = match &entry.content {
        Some(Content::GroupCreated(created)) => (created.member_ids.as_slice(), None),
        Some(Content::MembersAdded(added)) => (added.member_ids.as_slice(), None),
        Some(Content::Undelivered(missed)) => (missed.member_ids.as_slice(), None),
        Some(Content::MemberRemoved(removed)) => (&[][..], Some(removed.member_id)),
        Some(content) => (&[][..], Sanctioned::of(content, entry.sent_ms).map(|sanctioned| sanctioned.member)),
        None => (&[][..], None),
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

/// A message that will be sent later: saved by a line of input, or on another device.
pub fn scheduled(name: &str, id: ClientMsgId, due: &str, line: Option<u64>) -> String {
    format!("scheduled\t{}\t{}\t{due}\t{}", field(name), hex(id), number(line))
}

/// A scheduled message that was due and was not sent.
pub fn unsent(name: &str, id: ClientMsgId, code: &str, text: &str) -> String {
    format!("unsent\t{}\t{}\t{code}\t{}", field(name), hex(id), field(text))
}

/// A scheduled message in the list.
pub fn listed(index: usize, name: &str, due: &str, planned: &Planned) -> String {
    let line = format!("listed\t{index}\t{}\t{}\t{due}\t{}", field(name), hex(planned.id), body(&planned.message));
    match &planned.failure {
        Some(why) => format!("{line}\t{}\t{}", wording::code_name(why.code), field(&wording::refusal(why))),
        None => line,
    }
}

/// A scheduled message that was taken back, by a line of input or on another device.
pub fn cancelled(id: ClientMsgId, line: Option<u64>) -> String {
    format!("cancelled\t{}\t{}", hex(id), number(line))
}

/// The one of the line before is sent again and again.
pub fn repeats(id: ClientMsgId, recurrence: &Recurrence) -> String {
    let Recurrence { rrule, time_zone, missed, .. } = recurrence;
    format!("repeats\t{}\t{}\t{}\t{missed}", hex(id), field(rrule), field(time_zone))
}

/// The last message of a series was sent.
pub fn ended(id: ClientMsgId) -> String {
    format!("ended\t{}", hex(id))
}

/// A reminder, or one that is due.
pub fn reminder(name: &str, due: &str, reminder: &Reminder, line: Option<u64>) -> String {
    let word = if reminder.is_due { "due" } else { "reminder" };
    format!("{word}\t{}\t{}\t{due}\t{}\t{}", field(name), reminder.seq, field(&reminder.note), number(line))
}

/// A reminder that is gone.
pub fn dismissed(name: &str, seq: Seq) -> String {
    format!("dismissed\t{}\t{}", field(name), seq.as_u64())
}

/// Something to know about how a line was understood.
pub fn note(text: &str, line: u64) -> String {
    format!("note\t{}\t{line}", field(text))
}

/// A line that could not be done.
pub fn error(code: &str, text: &str, line: u64) -> String {
    format!("error\t{code}\t{}\t{line}", field(text))
}

/// Not `Item`'s text: that is made for the eye, this must lose nothing.
fn body(message: &Message) -> String {
    match message.content_type.as_str() {
        "" | "text/plain" => field(&String::from_utf8_lossy(&message.body)),
        other => field(&format!("[{other}, {} bytes]", message.body.len())),
    }
}

/// What follows the text of a message, where there is something to say.
fn marks(message: &Message, zone: &TimeZone) -> String {
    let mut marks = String::new();
    if message.scheduled {
        marks += "\tscheduled";
    }
    if message.expires_ms > 0 {
        marks += &format!("\texpires {}", local_time::iso(message.expires_ms, zone));
    } else if message.expires_after_read_ms > 0 {
        marks += &format!("\texpires-after-read {}", message.expires_after_read_ms);
    }
    marks
}

fn expiry(expiry: v1::Expiry) -> String {
    let start = if expiry.start() == ExpiryStart::Read { "read" } else { "sent" };
    format!("{}\t{start}", expiry.after_ms)
}

fn why(gone: Gone) -> &'static str {
    match gone {
        Gone::Expired => "expired",
        Gone::Missed => "undelivered",
    }
}

fn commas(seqs: &[u64]) -> String {
    seqs.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
}

fn hex(id: ClientMsgId) -> String {
    HEXLOWER.encode(&id.0)
}

fn number(line: Option<u64>) -> String {
    line.map(|line| line.to_string()).unwrap_or_default()
}

fn names(ids: &[u64], people: &People) -> String {
    ids.iter().map(|&id| field(&people.name(id))).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;
    use godwit_client::{
        Refusal,
        v1::{ErrorCode, MemberMuted, MembersAdded, UserProfile, WithdrawnReason},
    };
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
        let message = said(Content::Message(Message {
            body,
            content_type: String::new(),
            scheduled: false,
            ..Message::default()
        }));
        let line = entry("#a\tb", &message, &people(), &TimeZone::UTC).unwrap();
        assert_eq!(line, "message\t#a\\tb\t7\talice\ttwo\\nlines\\tand \\\\ \\u{1b}[2J");
    }

    #[test]
    fn a_message_that_a_schedule_sent_says_so_behind_its_text() {
        let message = Message { body: "hi".into(), scheduled: true, ..Message::default() };
        let line = entry("bob", &said(Content::Message(message)), &people(), &TimeZone::UTC).unwrap();
        assert_eq!(line, "message\tbob\t7\talice\thi\tscheduled");
    }

    #[test]
    fn a_message_that_disappears_says_when() {
        let line = |message| entry("bob", &said(Content::Message(message)), &people(), &TimeZone::UTC).unwrap();
        let at = Message { body: "hi".into(), expires_ms: 1_795_269_600_000, scheduled: true, ..Message::default() };
        assert_eq!(line(at), "message\tbob\t7\talice\thi\tscheduled\texpires 2026-11-21T14:00:00+00:00");
        let read = Message { body: "hi".into(), expires_after_read_ms: 5000, ..Message::default() };
        assert_eq!(line(read), "message\tbob\t7\talice\thi\texpires-after-read 5000");
    }

    #[test]
    fn what_became_of_messages_has_lines_of_its_own() {
        let line = |content| entry("#g", &said(content), &people(), &TimeZone::UTC).unwrap();
        let expired = Content::Expired(v1::Expired { seqs: vec![3, 5] });
        assert_eq!(line(expired), "expired\t#g\t7\talice\t3,5");
        let undelivered = Content::Undelivered(v1::Undelivered { seq: 4, member_ids: vec![2, 0x1f] });
        assert_eq!(line(undelivered), "undelivered\t#g\t7\talice\t4\tbob,user:1f");
        let marker =
            |reason: WithdrawnReason| Content::Withdrawn(v1::Withdrawn { reason: reason.into(), scheduled: false });
        assert_eq!(line(marker(WithdrawnReason::Expired)), "withdrawn\t#g\t7\talice\texpired");
        assert_eq!(line(marker(WithdrawnReason::Undelivered)), "withdrawn\t#g\t7\talice\tundelivered");
        let hour = Expiry::AfterRead(Duration::from_secs(3600));
        let changed = Content::ExpiryChanged(v1::ExpiryChanged { expiry: Some(hour.into()) });
        assert_eq!(line(changed), "expiry\t#g\t7\talice\t3600000\tread");
        assert_eq!(expiry_in_force("#g", Expiry::Never), "expiry\t#g\t\t\t0\tsent");
    }

    #[test]
    fn a_scheduled_message_is_listed_with_why_it_was_not_sent() {
        let (id, due) = (ClientMsgId([0xab; 16]), "2026-12-24T18:30:00+01:00");
        let message = Message { body: "a\tb".into(), scheduled: true, ..Message::default() };
        let conversation = ConversationId::group([1; 16]);
        let planned = Planned { id, conversation, due_ms: 0, message, failure: None, recurrence: None };
        let hex = "ab".repeat(16);
        assert_eq!(listed(1, "bob", due, &planned), format!("listed\t1\tbob\t{hex}\t{due}\ta\\tb"));
        let failure = Refusal { code: ErrorCode::NotAMember, message: String::new(), retry_after: None };
        let line = listed(2, "bob", due, &Planned { failure: Some(failure), ..planned });
        assert!(line.ends_with("\ta\\tb\tNOT_A_MEMBER\tyou are not in this conversation"), "{line}");
        assert_eq!(scheduled("bob", id, due, None), format!("scheduled\tbob\t{hex}\t{due}\t"));
        assert_eq!(cancelled(id, Some(7)), format!("cancelled\t{hex}\t7"));
    }

    #[test]
    fn a_reminder_says_whether_it_is_due() {
        let set = Reminder { seq: 7, note: "a\tb".into(), ..Reminder::default() };
        assert_eq!(reminder("bob", "TIME", &set, Some(3)), "reminder\tbob\t7\tTIME\ta\\tb\t3");
        let due = Reminder { is_due: true, ..set };
        assert_eq!(reminder("bob", "TIME", &due, None), "due\tbob\t7\tTIME\ta\\tb\t");
        assert_eq!(dismissed("bob", Seq(7)), "dismissed\tbob\t7");
    }

    #[test]
    fn members_are_listed_with_commas() {
        let added = said(Content::MembersAdded(MembersAdded { member_ids: vec![2, 0x1f] }));
        assert_eq!(entry("#g", &added, &people(), &TimeZone::UTC).unwrap(), "added\t#g\t7\talice\tbob,user:1f");
    }

    #[test]
    fn a_mute_says_whom_and_until_when() {
        let muted = said(Content::MemberMuted(MemberMuted { member_id: 2, until_ms: u64::MAX }));
        assert_eq!(entry("#g", &muted, &people(), &TimeZone::UTC).unwrap(), "muted\t#g\t7\talice\tbob\tnever");
        assert!(super::people(&muted).eq([2, muted.sender_id]));
    }

    #[test]
    fn what_only_a_newer_version_understands_is_left_out() {
        assert_eq!(entry("bob", &Entry { seq: 1, ..Entry::default() }, &people(), &TimeZone::UTC), None);
    }

    #[test]
    fn states_have_stable_words() {
        let reason = "timed\nout".to_owned();
        let lost = ConnectionState::Reconnecting { attempt: 1, retry_in: Duration::from_millis(250), reason };
        assert_eq!(state(&lost), "state\treconnecting\t250\ttimed\\nout");
        assert_eq!(state(&ConnectionState::Connected), "state\tconnected");
        let closed = ConnectionState::Closed { code: Some(ErrorCode::SessionEnded), reason: String::new() };
        assert_eq!(state(&closed), "state\tclosed\tSESSION_ENDED\t");
    }
}
