//! How a summary stands in Redis: one hash for a conversation, with the rows of those members that somebody asked for.
//!
//! | field | holds |
//! | --- | --- |
//! | `t` | the tag under which all of it is believed |
//! | `n` | members in all; the five below are there when this is |
//! | `d` | details |
//! | `l`, `q` | the newest entry and its seq; nothing and 0 in an empty log |
//! | `s`, `r` | the newest entry to show and its seq; `=` where it is the newest of all, nothing and 0 where there is none |
//! | a user's id | their row |
//!
//! A user's list is one string: the tag, `|`, and the ids, 16 bytes each, ascending.

use crate::{
    chat::{LogEntry, Member},
    store::{
        ConversationDetails, SHOWN_LOOK_BACK, StoredSummary,
        rows::{DamagedRow, DetailsRow, MemberRow},
    },
};
use bytes::Bytes;
use godwit_proto::{ConversationId, UserId};
use prost::Message;

/// Where the newest entry is the one to show, it is not kept twice.
pub(super) const SAME: &[u8] = b"=";

/// The fields that a reader asks for, before the one of the member.
pub(super) const FIELDS: [&str; 5] = ["t", "n", "d", "l", "s"];

#[derive(Clone, PartialEq, Message)]
struct Details {
    #[prost(string, tag = "1")]
    title: String,
    #[prost(message, optional, tag = "2")]
    rest: Option<DetailsRow>,
}

pub(super) fn details(details: &ConversationDetails) -> Vec<u8> {
    Details { title: details.title.clone(), rest: DetailsRow::of(details) }.encode_to_vec()
}

pub(super) fn member(member: &Member) -> Vec<u8> {
    MemberRow::from(member).encode_to_vec()
}

pub(super) fn member_field(user: UserId) -> String {
    user.as_u64().to_string()
}

/// The fields of a whole line, in the order in which the script takes them.
pub(super) fn line(summary: &StoredSummary) -> [Vec<u8>; 8] {
    let seq = |entry: &Option<LogEntry>| entry.as_ref().map_or(0, |entry| entry.seq.0).to_string().into_bytes();
    let bytes = |entry: &Option<LogEntry>| entry.as_ref().map(|entry| entry.encoded.to_vec()).unwrap_or_default();
    let is_same = summary.shown.is_some() && summary.shown == summary.last;
    [
        summary.member_count.to_string().into_bytes(),
        details(&summary.details),
        bytes(&summary.last),
        seq(&summary.last),
        if is_same { SAME.to_vec() } else { bytes(&summary.shown) },
        seq(&summary.shown),
        member_field(summary.member.user).into_bytes(),
        member(&summary.member),
    ]
}

/// What was read of a conversation: [`FIELDS`] and the member's row.
pub(super) type Fields = [Option<Vec<u8>>; 6];

/// `None`: something is not there, or not under this tag.
pub(super) fn read_line(fields: Fields, tag: &str) -> Result<Option<StoredSummary>, DamagedRow> {
    let [held, count, details, last, shown, member] = fields;
    if held.as_deref() != Some(tag.as_bytes()) {
        return Ok(None);
    }
    let (Some(count), Some(details), Some(last), Some(shown), Some(member)) = (count, details, last, shown, member)
    else {
        return Ok(None);
    };
    let details = Details::decode(&*details)?;
    let count = str::from_utf8(&count).ok().and_then(|count| count.parse().ok());
    let last = entry(last)?;
    let shown = if shown == SAME { last.clone() } else { entry(shown)? };
    let newest = last.as_ref().map_or(0, |last| last.seq.0);
    Ok(Some(StoredSummary {
        details: DetailsRow::details(details.rest, details.title)?,
        // Newer entries may have come after it, none of which there is something to show of.
        shown: shown.filter(|shown| shown.seq.0 + SHOWN_LOOK_BACK as u64 > newest),
        last,
        member: MemberRow::read(&member)?,
        member_count: count.ok_or_else(|| DamagedRow("a count of members that is no number".to_owned()))?,
    }))
}

pub(super) fn list(ids: &[ConversationId]) -> Vec<u8> {
    ids.iter().flat_map(|id| *id.as_bytes()).collect()
}

/// `None`: it is not there, or not under this tag.
pub(super) fn read_list(value: Option<&[u8]>, tag: &str) -> Result<Option<Vec<ConversationId>>, DamagedRow> {
    let ids = value.and_then(|value| value.strip_prefix(tag.as_bytes())?.strip_prefix(b"|"));
    let Some(ids) = ids else { return Ok(None) };
    let (ids, rest) = ids.as_chunks::<16>();
    if !rest.is_empty() {
        return Err(DamagedRow("a list that is cut off".to_owned()));
    }
    let ids = ids.iter().map(|id| ConversationId::from_slice(id).map_err(|error| DamagedRow(error.to_string())));
    ids.collect::<Result<Vec<_>, _>>().map(Some)
}

fn entry(encoded: Vec<u8>) -> Result<Option<LogEntry>, DamagedRow> {
    if encoded.is_empty() {
        return Ok(None);
    }
    Ok(Some(LogEntry::decode(Bytes::from(encoded))?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::chat::{Position, Role};
    use godwit_proto::{v1, v1::WithdrawnReason};

    fn message(seq: u64) -> LogEntry {
        let content = v1::entry::Content::Message(v1::Message { body: "hello".into(), ..v1::Message::default() });
        let client_msg_id = ConversationId::group([1; 16]).to_bytes();
        let entry = v1::Entry { seq, ordinal: seq, sender_id: 2, client_msg_id, content: Some(content), sent_ms: 5 };
        LogEntry::new(&entry)
    }

    fn summary(last: Option<LogEntry>, shown: Option<LogEntry>) -> StoredSummary {
        StoredSummary {
            details: ConversationDetails { title: "birds".into(), ..ConversationDetails::default() },
            last,
            shown,
            member: Member::new(UserId::new(7).unwrap(), Role::Owner, Position::START),
            member_count: 3,
        }
    }

    fn stored(summary: &StoredSummary) -> Fields {
        let [count, details, last, _, shown, _, _, member] = line(summary).map(Some);
        [Some(b"1.a.1".to_vec()), count, details, last, shown, member]
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let marker = message(9).withdrawn(WithdrawnReason::Expired);
        for summary in [
            summary(None, None),
            summary(Some(message(9)), Some(message(9))),
            summary(Some(marker.clone()), Some(message(4))),
            summary(Some(marker), None),
        ] {
            assert_eq!(read_line(stored(&summary), "1.a.1").unwrap(), Some(summary));
        }
    }

    #[test]
    fn a_line_that_lacks_something_or_has_another_tag_is_none() {
        let fields = stored(&summary(None, None));
        assert_eq!(read_line(fields.clone(), "1.a.2").unwrap(), None);
        for missing in 0..fields.len() {
            let mut fields = fields.clone();
            fields[missing] = None;
            assert_eq!(read_line(fields, "1.a.1").unwrap(), None);
        }
    }

    #[test]
    fn what_is_shown_is_not_further_back_than_the_store_would_look() {
        let shown = |last: u64| {
            let last = message(last).withdrawn(WithdrawnReason::Expired);
            read_line(stored(&summary(Some(last), Some(message(1)))), "1.a.1").unwrap().unwrap().shown
        };
        assert_eq!(shown(SHOWN_LOOK_BACK as u64), Some(message(1)));
        assert_eq!(shown(SHOWN_LOOK_BACK as u64 + 1), None);
    }

    #[test]
    fn a_list_is_read_as_it_was_written() {
        let ids = [ConversationId::group([1; 16]), ConversationId::group([2; 16])];
        for ids in [&ids[..], &[]] {
            let value = [b"1.a.1|", &*list(ids)].concat();
            assert_eq!(read_list(Some(&value), "1.a.1").unwrap().as_deref(), Some(ids));
            assert_eq!(read_list(Some(&value), "1.a.2").unwrap(), None);
        }
        assert_eq!(read_list(None, "1.a.1").unwrap(), None);
        assert!(read_list(Some(b"1.a.1|cut"), "1.a.1").is_err());
    }
}
