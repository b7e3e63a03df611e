//! How changes and refusals are put into words.

use super::{expiry, people::People, timeline::ItemContent};
use crate::terminal::sanitize;
use godwit_client::{Expiry, Refusal, RequestError, SendError, v1::ErrorCode};

/// A change, as a sentence. Empty for a message and for what is only a note about others.
pub fn change(content: &ItemContent, sender_id: u64, people: &People) -> String {
    let sender = people.name(sender_id);
    match content {
        ItemContent::Text(_) | ItemContent::Expired(_) => String::new(),
        ItemContent::Created { title, members } if members.is_empty() => format!("{sender} made the group {title}"),
        ItemContent::Created { title, members } => {
            format!("{sender} made the group {title} with {}", some_names(members, people))
        }
        ItemContent::Added(members) => format!("{sender} added {}", some_names(members, people)),
        ItemContent::Removed { member, new_owner } => {
            let what = match *member == sender_id {
                true => format!("{sender} left"),
                false => format!("{sender} removed {}", people.name(*member)),
            };
            match new_owner {
                Some(owner) => format!("{what}; the group is now {}'s", people.name(*owner)),
                None => what,
            }
        }
        ItemContent::Gone(gone) => gone.words().to_owned(),
        ItemContent::Undelivered { members, .. } => format!("not delivered to {}", some_names(members, people)),
        ItemContent::ExpiryChanged(Expiry::Never) => format!("{sender} lets messages stay"),
        ItemContent::ExpiryChanged(expiry) => format!("from here on {} (set by {sender})", expiry::words(*expiry)),
        ItemContent::Sanctioned(sanctioned) => sanctioned.sentence(sender_id, people),
        ItemContent::Unknown => "something that needs a newer version of godwit".to_owned(),
    }
}

/// A change, for the list of conversations, where the sender stands before it.
pub fn change_in_short(content: &ItemContent, sender_id: u64) -> &'static str {
    match content {
        ItemContent::Created { .. } => "made the group",
        ItemContent::Added(_) => "added people",
        ItemContent::Removed { member, .. } if *member == sender_id => "left",
        ItemContent::Removed { .. } => "removed somebody",
        ItemContent::Sanctioned(sanctioned) => sanctioned.in_short(sender_id),
        ItemContent::ExpiryChanged(_) => "changed how messages disappear",
        ItemContent::Text(_)
        | ItemContent::Gone(_)
        | ItemContent::Expired(_)
        | ItemContent::Undelivered { .. }
        | ItemContent::Unknown => "",
    }
}

/// A refusal, for the person who caused it.
pub fn refusal(refusal: &Refusal) -> String {
    match refusal.code {
        ErrorCode::NotAMember => "you are not in this conversation".to_owned(),
        ErrorCode::Forbidden => "only the owner of the group may do that".to_owned(),
        ErrorCode::MessageTooLarge | ErrorCode::FrameTooLarge => "the message is too long".to_owned(),
        ErrorCode::GroupFull => "the group is full".to_owned(),
        ErrorCode::TooManyBans => "as many are banned from the group as the server takes".to_owned(),
        ErrorCode::ScheduleNotFound => "there is no such scheduled message (any more)".to_owned(),
        ErrorCode::TooManyScheduled => "you have scheduled as many messages as the server takes".to_owned(),
        ErrorCode::DueOutOfRange => "the server takes no such time: it has passed, or is too far ahead".to_owned(),
        ErrorCode::TooManyReminders => "you have as many reminders as the server takes; /dismiss makes room".to_owned(),
        ErrorCode::ScheduleMissed => "the server was away when it was due".to_owned(),
        ErrorCode::DeadlinePassed => "it came too late to be delivered".to_owned(),
        ErrorCode::UserNotFound if !refusal.message.is_empty() => sanitize::line(&refusal.message),
        code if refusal.message.is_empty() => code_name(code),
        code => format!("{} ({})", sanitize::line(&refusal.message), code_name(code)),
    }
}

/// Why a request has no answer.
pub fn request_error(error: &RequestError) -> String {
    match error {
        RequestError::Refused(refused) => refusal(refused),
        RequestError::Closed | RequestError::Protocol => error.to_string(),
    }
}

/// Why a message was not sent.
pub fn send_error(error: &SendError) -> String {
    match error {
        SendError::Refused(refused) => refusal(refused),
        SendError::Closed => error.to_string(),
    }
}

/// Why a connection was lost, without the code and its number where the client put them before the words.
pub fn reason(text: &str) -> String {
    let words = text.strip_prefix("ERROR_CODE_").and_then(|rest| rest.split_once("): ")).map(|(_, words)| words);
    sanitize::line(words.unwrap_or(text))
}

/// The code without what all codes have in common: `NOT_A_MEMBER`.
pub fn code_name(code: ErrorCode) -> String {
    code.as_str_name().trim_start_matches("ERROR_CODE_").to_owned()
}

/// The most names in one sentence.
pub const NAMES_MAX: usize = 8;

fn some_names(ids: &[u64], people: &People) -> String {
    match ids.len().checked_sub(NAMES_MAX) {
        None | Some(0) => people.names(ids),
        Some(more) => {
            let first: Vec<String> = ids[..NAMES_MAX].iter().map(|&id| people.name(id)).collect();
            format!("{} and {more} more", first.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;
    use godwit_client::v1::UserProfile;

    fn people() -> People {
        let mut people = People::default();
        for (user_id, name) in [(1, "alice"), (2, "bob"), (3, "小明")] {
            people.learn(&UserProfile { user_id, username: name.into(), display_name: String::new() });
        }
        people
    }

    #[test]
    fn changes_of_members_are_sentences() {
        let say = |content: ItemContent| change(&content, 1, &people());
        let created = ItemContent::Created { title: "lunch".into(), members: vec![2, 3] };
        assert_eq!(say(created), "alice made the group lunch with bob and 小明");
        assert_eq!(say(ItemContent::Added(vec![2])), "alice added bob");
        assert_eq!(say(ItemContent::Removed { member: 2, new_owner: None }), "alice removed bob");
        assert_eq!(say(ItemContent::Removed { member: 1, new_owner: Some(3) }), "alice left; the group is now 小明's");
        assert!(say(ItemContent::Added((10..40).collect())).ends_with("and 22 more"));
    }

    #[test]
    fn a_refusal_is_put_into_words_or_quoted_with_its_code() {
        let said = |code, message: &str| refusal(&Refusal { code, message: message.into(), retry_after: None });
        assert_eq!(said(ErrorCode::NotAMember, "x"), "you are not in this conversation");
        assert_eq!(said(ErrorCode::StoreFull, "no\nroom"), "no room (STORE_FULL)");
        assert_eq!(said(ErrorCode::Internal, ""), "INTERNAL");
        assert_eq!(reason("ERROR_CODE_SHUTTING_DOWN (403): the server is stopping"), "the server is stopping");
        assert_eq!(reason("timed\tout"), "timed out");
    }
}
