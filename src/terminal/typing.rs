//! Who is typing, as it is shown, and what is said of the user's own typing.

use super::people::People;
use godwit_client::ConversationId;
use std::collections::BTreeSet;

/// Who is typing. No more than the client keeps.
#[derive(Debug, Default)]
pub struct Typing {
    others: BTreeSet<(ConversationId, u64)>,
    /// Where the user has typed since it was taken, and whether anything is left of it.
    own: Option<(ConversationId, bool)>,
}

impl Typing {
    /// Somebody types, or not any more.
    pub fn on_other(&mut self, conversation: ConversationId, user: u64, is_typing: bool) {
        match is_typing {
            true => drop(self.others.insert((conversation, user))),
            false => drop(self.others.remove(&(conversation, user))),
        }
    }

    /// The user changed the input line. A command is nobody's business.
    pub fn on_own(&mut self, conversation: Option<ConversationId>, text: &str) {
        self.own = match conversation {
            Some(conversation) if text.is_empty() => Some((conversation, false)),
            Some(conversation) if !text.starts_with('/') => Some((conversation, true)),
            _ => None,
        };
    }

    /// What to say of the user's own typing: where, and whether it goes on.
    pub fn take_own(&mut self) -> Option<(ConversationId, bool)> {
        self.own.take()
    }

    /// Who is typing there, as a sentence; empty: nobody.
    pub fn sentence(&self, conversation: ConversationId, people: &People) -> String {
        let here = self.others.range((conversation, 0)..=(conversation, u64::MAX));
        let names: Vec<String> = here.map(|(_, user)| people.name(*user)).collect();
        match &names[..] {
            [] => String::new(),
            [one] => format!("{one} is typing…"),
            [one, other] => format!("{one} and {other} are typing…"),
            _ => format!("{} people are typing…", names.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;
    use godwit_client::v1::UserProfile;

    fn here() -> ConversationId {
        ConversationId::group([1; 16])
    }

    #[test]
    fn those_who_type_here_are_named_as_long_as_they_are_few() {
        let mut people = People::default();
        for (user_id, name) in [(1, "alice"), (2, "Bob"), (3, "小明")] {
            people.learn(&UserProfile { user_id, username: name.into(), display_name: String::new() });
        }
        let mut typing = Typing::default();
        typing.on_other(ConversationId::group([2; 16]), 1, true);
        assert_eq!(typing.sentence(here(), &people), "");
        typing.on_other(here(), 2, true);
        assert_eq!(typing.sentence(here(), &people), "Bob is typing…");
        typing.on_other(here(), 3, true);
        assert_eq!(typing.sentence(here(), &people), "Bob and 小明 are typing…");
        typing.on_other(here(), 1, true);
        assert_eq!(typing.sentence(here(), &people), "3 people are typing…");
        (1..=3).for_each(|user| typing.on_other(here(), user, false));
        assert_eq!(typing.sentence(here(), &people), "");
    }

    #[test]
    fn what_the_user_types_is_said_unless_it_is_a_command() {
        let mut typing = Typing::default();
        typing.on_own(Some(here()), "hi");
        assert_eq!((typing.take_own(), typing.take_own()), (Some((here(), true)), None));
        typing.on_own(Some(here()), "");
        assert_eq!(typing.take_own(), Some((here(), false)));
        typing.on_own(Some(here()), "/mute bob");
        assert_eq!(typing.take_own(), None);
        typing.on_own(None, "hi");
        assert_eq!(typing.take_own(), None);
    }
}
