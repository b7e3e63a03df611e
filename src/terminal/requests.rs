//! Requests of the chat commands that take more than one call of the client, shared by the screen and the plain mode.

use super::{effects::MemberChange, sanitize, wording};
use godwit_client::{Client, ConversationId, RequestError, UserId, v1::ErrorCode};
use thiserror::Error;

/// Why a command did nothing, or not all of it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ActionError {
    /// Some of the names that were given are nobody's. Nothing was done.
    #[error("nobody is called {0}")]
    Nobody(String),
    /// A direct conversation has no members to change.
    #[error("this is no group")]
    NoGroup,
    /// No scheduled message of the last list has this number.
    #[error("there is no number {number}{}", last_list(*.listed))]
    NotListed {
        /// As it was given.
        number: usize,
        /// How many the last list has.
        listed: usize,
    },
    /// No scheduled message has an id that begins like this.
    #[error("no scheduled message has an id that begins with {0}")]
    NotPlanned(String),
    /// Several have.
    #[error("several scheduled messages have an id that begins with {0}; more digits would tell them apart")]
    ManyPlanned(String),
    /// There is nothing to be reminded of.
    #[error("there is no such message here")]
    NoMessage,
    /// No reminder of the last list has this number.
    #[error("there is no number {number}{}", last_reminders(*.listed))]
    NoReminder {
        /// As it was given.
        number: usize,
        /// How many the last list has.
        listed: usize,
    },
    /// The server refused, or the client is closed.
    #[error("{}", wording::request_error(.0))]
    Request(#[from] RequestError),
}

impl ActionError {
    /// The code for programs.
    pub fn code(&self) -> String {
        match self {
            Self::Nobody(_) => wording::code_name(ErrorCode::UserNotFound),
            Self::NoGroup => "NO_GROUP".to_owned(),
            Self::NotListed { .. } | Self::NoReminder { .. } => "NOT_LISTED".to_owned(),
            Self::NoMessage => wording::code_name(ErrorCode::SeqOutOfRange),
            Self::NotPlanned(_) => wording::code_name(ErrorCode::ScheduleNotFound),
            Self::ManyPlanned(_) => "AMBIGUOUS_ID".to_owned(),
            Self::Request(error) => request_code(error),
        }
    }
}

/// The code of a failed request for programs: the server's, or what happened here.
pub fn request_code(error: &RequestError) -> String {
    match error {
        RequestError::Refused(refusal) => wording::code_name(refusal.code),
        RequestError::Closed => "CLOSED".to_owned(),
        RequestError::Protocol => "PROTOCOL".to_owned(),
    }
}

/// Makes a group with these users.
pub async fn create_group(client: &Client, title: &str, names: &[String]) -> Result<ConversationId, ActionError> {
    let members = find_all(client, names).await?;
    Ok(client.create_group(title, &members).await?)
}

/// Changes who is in a group.
pub async fn change_members(client: &Client, group: ConversationId, change: &MemberChange) -> Result<(), ActionError> {
    match change {
        MemberChange::Add(names) => {
            let users = find_all(client, names).await?;
            client.add_members(group, &users).await?;
        }
        MemberChange::Remove(names) => {
            for user in find_all(client, names).await? {
                client.remove_member(group, user).await?;
            }
        }
        MemberChange::Leave => client.leave(group).await?,
        MemberChange::Sanction(change) => {
            let users = find_all(client, &change.names).await?;
            change.carry_out(client, group, &users).await?;
        }
    }
    Ok(())
}

/// The ids of these users, all or none.
async fn find_all(client: &Client, names: &[String]) -> Result<Vec<UserId>, ActionError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let found = client.find_users(names).await?;
    let mut ids: Vec<UserId> = found.iter().filter_map(|profile| UserId::new(profile.user_id).ok()).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.len() < names.len() {
        let known: Vec<String> = found.iter().map(|profile| profile.username.to_lowercase()).collect();
        let missing = missing_names(names, &known);
        if !missing.is_empty() {
            return Err(ActionError::Nobody(missing));
        }
    }
    Ok(ids)
}

/// Which names were not found. The server compares more forgivingly than this does, so a name may be listed that differs
/// from the one found in nothing that can be seen; it is only asked when somebody is missing or named twice.
fn missing_names(names: &[String], known: &[String]) -> String {
    let missing = names.iter().filter(|name| !known.contains(&name.to_lowercase()));
    missing.map(|name| sanitize::line(name)).collect::<Vec<_>>().join(", ")
}

fn last_list(listed: usize) -> String {
    match listed {
        0 => ": nothing was listed; /scheduled does it".to_owned(),
        listed => format!(" in the last list, which has {listed}"),
    }
}

fn last_reminders(listed: usize) -> String {
    match listed {
        0 => ": nothing was listed; /reminders does it".to_owned(),
        listed => format!(" in the last list, which has {listed}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn the_names_that_nobody_has_are_listed() {
        let known = strings(&["alice", "bob"]);
        assert_eq!(missing_names(&strings(&["Alice", "bobb", "carol\u{1b}"]), &known), "bobb, carol␛");
        assert_eq!(missing_names(&strings(&["BOB", "bob"]), &known), "", "named twice is not missing");
    }
}
