//! The user's scheduled messages, as the server lists them.

use super::{requests::ActionError, timeline, when::Due};
use data_encoding::HEXLOWER;
use godwit_client::{
    Client, ClientMsgId, ConversationId, Refusal, RequestError, ScheduleChange, ScheduledFilter, Sent,
    v1::{Message, Recurrence, ScheduledMessage},
};

/// The most of each kind that are listed: those that will be sent, and those that could not be.
pub const LISTED_MAX: usize = 1_000;

/// The digits of an id that are shown.
pub const ID_DIGITS: usize = 8;

/// A scheduled message.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// Its id.
    pub id: ClientMsgId,
    /// Where to.
    pub conversation: ConversationId,
    /// When: Unix time in milliseconds.
    pub due_ms: u64,
    /// What it says, as it came.
    pub message: Message,
    /// Why it was not sent.
    pub failure: Option<Refusal>,
    /// When it is sent again.
    pub recurrence: Option<Recurrence>,
}

/// One of them, as a person names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The one with this number in the last list, from 1.
    Number(usize),
    /// The one whose id begins with these hexadecimal digits.
    Id(String),
}

impl Planned {
    /// `None` for one with ids of a kind that only a newer version knows.
    pub fn new(scheduled: ScheduledMessage) -> Option<Self> {
        let ScheduledMessage { schedule_id, conversation_id, body, content_type, due_ms, failure, recurrence, .. } =
            scheduled;
        Some(Self {
            id: ClientMsgId::from_slice(&schedule_id).ok()?,
            conversation: ConversationId::from_slice(&conversation_id).ok()?,
            due_ms,
            message: Message { body, content_type, scheduled: true, ..Message::default() },
            failure: failure.map(Refusal::from),
            recurrence,
        })
    }

    /// What it says, safe to show.
    pub fn text(&self) -> String {
        timeline::message_text(&self.message)
    }

    /// All hexadecimal digits of its id.
    pub fn hex(&self) -> String {
        HEXLOWER.encode(&self.id.0)
    }
}

impl Which {
    /// Reads a number of at most four digits, or the beginning of an id.
    pub fn parse(word: &str) -> Option<Self> {
        let is_number = word.len() <= 4 && word.bytes().all(|byte| byte.is_ascii_digit());
        match is_number {
            true => word.parse().ok().map(Self::Number),
            false => {
                let is_id = (4..=32).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_hexdigit());
                is_id.then(|| Self::Id(word.to_ascii_lowercase()))
            }
        }
    }

    /// The id, or how it begins, given the ids of the last list.
    pub fn hex(&self, listed: &[ClientMsgId]) -> Result<String, ActionError> {
        match self {
            Self::Id(hex) => Ok(hex.clone()),
            Self::Number(number) => {
                let id = number.checked_sub(1).and_then(|index| listed.get(index));
                let id = id.ok_or(ActionError::NotListed { number: *number, listed: listed.len() })?;
                Ok(HEXLOWER.encode(&id.0))
            }
        }
    }
}

/// Those that will be sent, then those that could not be; each by due time.
pub async fn list(client: &Client) -> Result<Vec<Planned>, RequestError> {
    let mut planned = Vec::new();
    for failed in [false, true] {
        let listed_max = planned.len() + LISTED_MAX;
        let filter = ScheduledFilter { conversation: None, failed };
        let mut last: Option<ScheduledMessage> = None;
        while planned.len() < listed_max {
            let page = client.list_scheduled(filter, 0, last.as_ref()).await?;
            let position = |one: &ScheduledMessage| (one.due_ms, one.schedule_id.clone());
            let newest = page.scheduled.last().cloned();
            // A page that does not advance would be asked for until the end of time.
            let advanced = newest.as_ref().map(position) > last.as_ref().map(position);
            planned.extend(page.scheduled.into_iter().filter_map(Planned::new));
            if !page.more || !advanced {
                break;
            }
            last = newest;
        }
        planned.truncate(listed_max);
    }
    Ok(planned)
}

/// What to change so that it is due then, and says this.
pub fn change_to(due: Due, text: Option<String>) -> ScheduleChange {
    let (body, repeat) = (text.map(Into::into), due.repeat.map(Some));
    ScheduleChange { body, due_ms: Some(due.unix_ms), repeat, ..ScheduleChange::default() }
}

/// Cancels the one whose id begins with these digits, and says which one it was.
pub async fn cancel(client: &Client, hex: &str) -> Result<ClientMsgId, ActionError> {
    let id = id(client, hex).await?;
    client.cancel_scheduled(id).await?;
    Ok(id)
}

/// Changes the one whose id begins with these digits.
pub async fn change(client: &Client, hex: &str, change: ScheduleChange) -> Result<ScheduledMessage, ActionError> {
    Ok(client.change_scheduled(id(client, hex).await?, change).await?)
}

/// Sends the one whose id begins with these digits now.
pub async fn send_now(client: &Client, hex: &str) -> Result<Sent, ActionError> {
    Ok(client.send_scheduled(id(client, hex).await?).await?)
}

async fn id(client: &Client, hex: &str) -> Result<ClientMsgId, ActionError> {
    match ClientMsgId::from_slice(&HEXLOWER.decode(hex.as_bytes()).unwrap_or_default()) {
        Ok(id) => Ok(id),
        Err(_) => find(hex, &list(client).await?),
    }
}

fn find(hex: &str, planned: &[Planned]) -> Result<ClientMsgId, ActionError> {
    let mut found = planned.iter().filter(|one| one.hex().starts_with(hex)).map(|one| one.id);
    match (found.next(), found.next()) {
        (Some(id), None) => Ok(id),
        (None, _) => Err(ActionError::NotPlanned(hex.to_owned())),
        (Some(_), Some(_)) => Err(ActionError::ManyPlanned(hex.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    fn planned(first: u8, second: u8) -> Planned {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&[first, second]);
        let conversation = ConversationId::group([1; 16]);
        Planned {
            id: ClientMsgId(id),
            conversation,
            due_ms: 0,
            message: Message::default(),
            failure: None,
            recurrence: None,
        }
    }

    #[test]
    fn a_few_decimal_digits_are_a_number_and_anything_else_is_how_an_id_begins() {
        for (word, expected) in [
            ("1", Some(Which::Number(1))),
            ("0999", Some(Which::Number(999))),
            ("12345678", Some(Which::Id("12345678".into()))),
            ("AB12", Some(Which::Id("ab12".into()))),
            ("abc", None),
            ("wxyz", None),
            ("-1", None),
            ("", None),
            ("é123", None),
        ] {
            assert_eq!(Which::parse(word), expected, "{word}");
        }
        assert_eq!(Which::parse(&"a".repeat(33)), None);
    }

    #[test]
    fn a_number_that_is_not_in_the_last_list_says_what_is() {
        let listed = [planned(0xab, 1).id];
        assert!(Which::Number(1).hex(&listed).unwrap().starts_with("ab01"));
        let said = |number, listed: &[ClientMsgId]| Which::Number(number).hex(listed).unwrap_err().to_string();
        assert_eq!(said(2, &listed), "there is no number 2 in the last list, which has 1");
        assert_eq!(said(0, &listed), "there is no number 0 in the last list, which has 1");
        assert_eq!(said(1, &[]), "there is no number 1: nothing was listed; /scheduled does it");
    }

    #[test]
    fn the_beginning_of_an_id_must_mean_one_message() {
        let all = [planned(0xab, 1), planned(0xab, 2), planned(0xcd, 1)];
        assert_eq!(find("cd01", &all), Ok(all[2].id));
        assert_eq!(find("ab02", &all), Ok(all[1].id));
        assert_eq!(find("ab0", &all), Err(ActionError::ManyPlanned("ab0".into())));
        assert_eq!(find("ffff", &all), Err(ActionError::NotPlanned("ffff".into())));
    }
}
