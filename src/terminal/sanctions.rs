//! Mutes and bans: as they are typed, and as they are shown.

use super::{
    commands::CommandError,
    local_time,
    people::People,
    when::{self, WhenError},
};
use godwit_client::{Client, ConversationId, FOR_GOOD_MS, RequestError, UserId, v1::entry::Content};
use jiff::tz::TimeZone;

/// How `/mute` is written.
pub const MUTE: &str = "/mute NAME 1h";
/// How `/ban` is written.
pub const BAN: &str = "/ban NAME 1d";

/// What the owner of a group may do to others for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sanction {
    /// They may not write.
    Mute,
    /// They are out and may not come back.
    Ban,
}

/// An entry of a log that begins a mute or a ban, or ends one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sanctioned {
    sanction: Sanction,
    /// Whose.
    pub member: u64,
    /// When it is to end; `None`: this is the end.
    until_ms: Option<u64>,
    /// For how long that is, from the entry on.
    for_ms: u64,
}

/// What the user wants of mutes and bans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SanctionChange {
    sanction: Sanction,
    /// Whose.
    pub names: Vec<String>,
    /// For how long, or no more.
    lasts: Lasts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lasts {
    Seconds(u64),
    ForGood,
    NoMore,
}

impl SanctionChange {
    /// Reads what follows `/mute` or `/ban`: a name, and for how long unless it is for good.
    pub fn parse(sanction: Sanction, words: Vec<String>, usage: &'static str) -> Result<Self, CommandError> {
        let mut words = words.into_iter();
        let (Some(name), span, None) = (words.next(), words.next(), words.next()) else {
            return Err(CommandError::Usage(usage));
        };
        let lasts = match span.map(|span| when::seconds(&span)) {
            None => Lasts::ForGood,
            Some(Ok(seconds)) if seconds > 0 => Lasts::Seconds(seconds),
            Some(Err(WhenError::TooFar)) => return Err(WhenError::TooFar.into()),
            Some(_) => return Err(CommandError::Usage(usage)),
        };
        Ok(Self { sanction, names: vec![name], lasts })
    }

    /// No more of it.
    pub fn lift(sanction: Sanction, names: Vec<String>) -> Self {
        Self { sanction, names, lasts: Lasts::NoMore }
    }

    /// Asks the server for it. `users` are those who have the names. How long it lasts is counted by the server's clock.
    pub async fn carry_out(
        &self,
        client: &Client,
        group: ConversationId,
        users: &[UserId],
    ) -> Result<(), RequestError> {
        let until_ms = match self.lasts {
            Lasts::NoMore => 0,
            Lasts::ForGood => FOR_GOOD_MS,
            Lasts::Seconds(seconds) => {
                let now_ms = client.heartbeat().await?.server_time_ms;
                now_ms.saturating_add(seconds.saturating_mul(1_000)).min(FOR_GOOD_MS - 1)
            }
        };
        for &user in users {
            match self.sanction {
                Sanction::Mute => client.mute_member(group, user, until_ms).await?,
                Sanction::Ban => client.ban_member(group, user, until_ms).await?,
            }
        }
        Ok(())
    }
}

impl Sanctioned {
    /// What an entry that was sent then says of mutes and bans.
    pub fn of(content: &Content, sent_ms: u64) -> Option<Self> {
        let (sanction, member, until_ms) = match content {
            Content::MemberMuted(muted) => (Sanction::Mute, muted.member_id, Some(muted.until_ms)),
            Content::MemberUnmuted(unmuted) => (Sanction::Mute, unmuted.member_id, None),
            Content::MemberBanned(banned) => (Sanction::Ban, banned.member_id, Some(banned.until_ms)),
            Content::MemberUnbanned(unbanned) => (Sanction::Ban, unbanned.member_id, None),
            _ => return None,
        };
        Some(Self { sanction, member, until_ms, for_ms: until_ms.unwrap_or(0).saturating_sub(sent_ms) })
    }

    /// As a sentence.
    pub fn sentence(&self, sender_id: u64, people: &People) -> String {
        let (sender, member) = (people.name(sender_id), people.name(self.member));
        let ended_itself = sender_id == self.member;
        match (self.sanction, self.until_ms) {
            (Sanction::Mute, Some(_)) => format!("{sender} muted {member} {}", self.duration()),
            (Sanction::Ban, Some(_)) => format!("{sender} banned {member} {}", self.duration()),
            (Sanction::Mute, None) if ended_itself => format!("{member} may write again"),
            (Sanction::Ban, None) if ended_itself => format!("{member} is not banned any more"),
            (Sanction::Mute, None) => format!("{sender} let {member} write again"),
            (Sanction::Ban, None) => format!("{sender} lifted the ban on {member}"),
        }
    }

    /// For the list of conversations, where the sender stands before it.
    pub fn in_short(&self, sender_id: u64) -> &'static str {
        match (self.sanction, self.until_ms) {
            (Sanction::Mute, Some(_)) => "muted somebody",
            (Sanction::Ban, Some(_)) => "banned somebody",
            (Sanction::Mute, None) if sender_id == self.member => "may write again",
            (Sanction::Ban, None) if sender_id == self.member => "is not banned any more",
            (Sanction::Mute, None) => "let somebody write again",
            (Sanction::Ban, None) => "lifted a ban",
        }
    }

    /// The word and the last fields of its line in the plain mode; `name` is the member's, ready to be printed.
    pub fn line(&self, name: &str, zone: &TimeZone) -> (&'static str, String) {
        let until = self.until_ms.map(|until_ms| match until_ms {
            FOR_GOOD_MS => "never".to_owned(),
            _ => local_time::iso(until_ms, zone),
        });
        match (self.sanction, until) {
            (Sanction::Mute, Some(until)) => ("muted", format!("{name}\t{until}")),
            (Sanction::Ban, Some(until)) => ("banned", format!("{name}\t{until}")),
            (Sanction::Mute, None) => ("unmuted", name.to_owned()),
            (Sanction::Ban, None) => ("unbanned", name.to_owned()),
        }
    }

    /// In the two largest units. The request was on its way for a moment, so what was an hour is a little less now.
    fn duration(&self) -> String {
        if self.until_ms == Some(FOR_GOOD_MS) {
            return "for good".to_owned();
        }
        let seconds = self.for_ms.saturating_add(500) / 1_000;
        let (large, small, names) = match seconds {
            0..3_570 => (seconds / 60, seconds % 60, ["m", "s"]),
            3_570..84_600 => ((seconds + 30) / 3_600, (seconds + 30) / 60 % 60, ["h", "m"]),
            _ => ((seconds + 1_800) / 86_400, (seconds + 1_800) / 3_600 % 24, ["d", "h"]),
        };
        match (large, small) {
            (0, small) => format!("for {small}{}", names[1]),
            (large, 0) => format!("for {large}{}", names[0]),
            (large, small) => format!("for {large}{}{small}{}", names[0], names[1]),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;
    use godwit_client::v1::{MemberBanned, MemberMuted, MemberUnbanned, MemberUnmuted, UserProfile};

    fn people() -> People {
        let mut people = People::default();
        for (user_id, name) in [(1, "alice"), (2, "bob")] {
            people.learn(&UserProfile { user_id, username: name.into(), display_name: String::new() });
        }
        people
    }

    fn muted(until_ms: u64) -> Sanctioned {
        Sanctioned::of(&Content::MemberMuted(MemberMuted { member_id: 2, until_ms }), 1_000_000).unwrap()
    }

    #[test]
    fn what_the_owner_did_is_a_sentence_that_says_for_how_long() {
        let said = |seconds: u64| muted(1_000_000 + seconds * 1_000 - 20).sentence(1, &people());
        assert_eq!(said(45), "alice muted bob for 45s");
        assert_eq!(said(90), "alice muted bob for 1m30s");
        assert_eq!(said(3_600), "alice muted bob for 1h");
        assert_eq!(said(5_400), "alice muted bob for 1h30m");
        assert_eq!(said(86_400), "alice muted bob for 1d");
        assert_eq!(muted(FOR_GOOD_MS).sentence(1, &people()), "alice muted bob for good");
        let banned = Content::MemberBanned(MemberBanned { member_id: 2, until_ms: FOR_GOOD_MS, removed: true });
        assert_eq!(Sanctioned::of(&banned, 0).unwrap().sentence(1, &people()), "alice banned bob for good");
    }

    #[test]
    fn an_end_says_whether_somebody_made_it() {
        let unmuted = Sanctioned::of(&Content::MemberUnmuted(MemberUnmuted { member_id: 2 }), 0).unwrap();
        assert_eq!(unmuted.sentence(2, &people()), "bob may write again");
        assert_eq!(unmuted.sentence(1, &people()), "alice let bob write again");
        let unbanned = Sanctioned::of(&Content::MemberUnbanned(MemberUnbanned { member_id: 2 }), 0).unwrap();
        assert_eq!(unbanned.sentence(2, &people()), "bob is not banned any more");
        assert_eq!(unbanned.line("bob", &TimeZone::UTC), ("unbanned", "bob".to_owned()));
    }

    #[test]
    fn a_line_for_programs_says_until_when() {
        assert_eq!(muted(FOR_GOOD_MS).line("bob", &TimeZone::UTC), ("muted", "bob\tnever".to_owned()));
        assert_eq!(muted(0).line("bob", &TimeZone::UTC).1, "bob\t1970-01-01T00:00:00+00:00");
    }

    #[test]
    fn a_span_is_what_it_is_for_scheduled_messages_and_none_is_for_good() {
        let read =
            |text: &str| SanctionChange::parse(Sanction::Mute, text.split(' ').map(str::to_owned).collect(), MUTE);
        let mute = |lasts| SanctionChange { sanction: Sanction::Mute, names: vec!["bob".into()], lasts };
        assert_eq!(read("bob 1h30m"), Ok(mute(Lasts::Seconds(5_400))));
        assert_eq!(read("bob"), Ok(mute(Lasts::ForGood)));
        for wrong in ["bob soon", "bob 0s", "bob 1h 2h"] {
            assert_eq!(read(wrong), Err(CommandError::Usage(MUTE)), "{wrong}");
        }
    }
}
