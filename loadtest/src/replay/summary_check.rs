//! Compares a line of the conversation list with what its log says.

use super::recount::Recount;
use godwit_client::v1::{ConversationSummary, Entry};

/// What reading a whole log gave.
#[derive(Debug)]
pub struct ReadLog {
    /// Unread, by counting.
    pub recount: Recount,
    /// The oldest entry that the member may read.
    pub first_seq: u64,
    /// The newest entry.
    pub last: Option<Entry>,
}

/// What is wrong with a line of the list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SummaryFaults {
    /// Unread or its position: the listed and the counted ones.
    pub unread: Option<String>,
    /// Anything else.
    pub other: Option<String>,
}

/// Compares.
pub fn check_summary(summary: &ConversationSummary, log: &ReadLog, members: usize) -> SummaryFaults {
    let recount = &log.recount;
    let listed = (summary.unread, summary.read_seq);
    let counted = (recount.unread(), recount.position());
    let unread = (listed != counted).then(|| {
        format!(
            "{} unread after seq {} in the list, {} after seq {} in the log",
            listed.0, listed.1, counted.0, counted.1
        )
    });
    let last_seq = log.last.as_ref().map_or(0, |entry| entry.seq);
    let listed = (summary.last_seq, summary.last_ordinal, summary.first_seq, summary.member_count as usize);
    let read = (last_seq, recount.messages(), log.first_seq, members);
    let other = if listed != read {
        Some(format!("(last seq, messages, first seq, members) are {listed:?} in the list, {read:?} in the log"))
    } else if summary.last_entry != log.last {
        Some("the last entry in the list is not the last one of the log".to_owned())
    } else {
        None
    };
    SummaryFaults { unread, other }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;
    use godwit_client::{
        UserId,
        v1::{Message, entry::Content},
    };

    /// Three messages of somebody else, the first of them marked as read.
    fn log() -> ReadLog {
        let mut recount = Recount::new(UserId::new(7).unwrap(), 1);
        let entry = |seq| {
            let content = Some(Content::Message(Message::default()));
            Entry { seq, ordinal: seq, sender_id: 9, content, ..Entry::default() }
        };
        (1..=3).for_each(|seq| recount.on_entry(&entry(seq)));
        ReadLog { recount, first_seq: 1, last: Some(entry(3)) }
    }

    fn summary() -> ConversationSummary {
        ConversationSummary {
            last_entry: log().last,
            last_seq: 3,
            last_ordinal: 3,
            read_seq: 1,
            read_ordinal: 1,
            unread: 2,
            first_seq: 1,
            member_count: 2,
            ..ConversationSummary::default()
        }
    }

    fn check(break_it: impl FnOnce(&mut ConversationSummary)) -> (bool, bool) {
        let mut summary = summary();
        break_it(&mut summary);
        let faults = check_summary(&summary, &log(), 2);
        (faults.unread.is_some(), faults.other.is_some())
    }

    #[test]
    fn a_true_line_has_no_fault() {
        assert_eq!(check(|_| {}), (false, false));
    }

    #[test]
    fn another_unread_or_position_is_found() {
        assert_eq!(check(|summary| summary.unread = 3), (true, false));
        assert_eq!(check(|summary| summary.unread = 0), (true, false));
        assert_eq!(check(|summary| summary.read_seq = 2), (true, false));
    }

    #[test]
    fn everything_else_in_the_line_is_compared_too() {
        assert_eq!(check(|summary| summary.last_seq = 2), (false, true));
        assert_eq!(check(|summary| summary.last_ordinal = 4), (false, true));
        assert_eq!(check(|summary| summary.first_seq = 2), (false, true));
        assert_eq!(check(|summary| summary.member_count = 3), (false, true));
        assert_eq!(check(|summary| summary.last_entry = None), (false, true));
    }
}
