//! Who is who.

use super::sanitize;
use godwit_client::{UserId, v1::UserProfile};
use std::collections::{HashMap, HashSet};

/// The most users whose names are kept. Beyond it everybody is forgotten and looked up again when shown.
pub const PEOPLE_MAX: usize = 20_000;

/// The names of users, as far as they were looked up.
///
/// What is shown is the username, which is unique. A display name can be anybody's, so it never stands alone.
#[derive(Debug, Default)]
pub struct People {
    known: HashMap<u64, Person>,
    /// Shown but not known, and not asked for yet.
    wanted: HashSet<u64>,
    asked: HashSet<u64>,
}

#[derive(Debug)]
struct Person {
    username: String,
    display_name: String,
}

impl People {
    /// Remembers a profile.
    pub fn learn(&mut self, profile: &UserProfile) {
        if self.known.len() >= PEOPLE_MAX {
            self.known.clear();
            self.asked.clear();
        }
        let person =
            Person { username: sanitize::line(&profile.username), display_name: sanitize::line(&profile.display_name) };
        self.asked.remove(&profile.user_id);
        self.wanted.remove(&profile.user_id);
        self.known.insert(profile.user_id, person);
    }

    /// Notes that these are about to be shown.
    pub fn want(&mut self, ids: impl IntoIterator<Item = u64>) {
        for id in ids {
            if self.wanted.len() < PEOPLE_MAX && !self.known.contains_key(&id) && !self.asked.contains(&id) {
                self.wanted.insert(id);
            }
        }
    }

    /// Those to look up now. They are not returned again, unless [`forget_asked`](Self::forget_asked) says so.
    pub fn take_wanted(&mut self) -> Vec<UserId> {
        let wanted: Vec<UserId> = self.wanted.drain().filter_map(|id| UserId::new(id).ok()).collect();
        self.asked.extend(wanted.iter().map(|id| id.as_u64()));
        wanted
    }

    /// The look-up failed: they may be asked for again.
    pub fn forget_asked(&mut self, ids: &[UserId]) {
        for id in ids {
            self.asked.remove(&id.as_u64());
        }
    }

    /// Whether the user's name is known.
    pub fn knows(&self, id: u64) -> bool {
        self.known.contains_key(&id)
    }

    /// The username, or the id while it is unknown.
    pub fn name(&self, id: u64) -> String {
        self.known.get(&id).map_or_else(|| format!("user:{id:x}"), |person| person.username.clone())
    }

    /// The username, with the display name behind it if that says something else.
    pub fn full_name(&self, id: u64) -> String {
        match self.known.get(&id) {
            Some(Person { username, display_name })
                if !display_name.is_empty() && !display_name.eq_ignore_ascii_case(username) =>
            {
                format!("{username} ({display_name})")
            }
            _ => self.name(id),
        }
    }

    /// Several names in one line.
    pub fn names(&self, ids: &[u64]) -> String {
        let names: Vec<String> = ids.iter().map(|&id| self.name(id)).collect();
        match names.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
            _ => names.concat(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    fn profile(user_id: u64, username: &str, display_name: &str) -> UserProfile {
        UserProfile { user_id, username: username.into(), display_name: display_name.into() }
    }

    #[test]
    fn a_display_name_never_hides_the_username() {
        let mut people = People::default();
        people.learn(&profile(1, "mallory", "alice"));
        people.learn(&profile(2, "bob", "Bob"));
        assert_eq!(people.name(1), "mallory");
        assert_eq!(people.full_name(1), "mallory (alice)");
        assert_eq!(people.full_name(2), "bob");
        assert_eq!(people.full_name(0x1f), "user:1f");
    }

    #[test]
    fn names_are_shown_without_what_a_terminal_would_obey() {
        let mut people = People::default();
        people.learn(&profile(1, "bob\u{1b}[2J", "\u{202e}ecila\n"));
        assert_eq!(people.full_name(1), "bob␛[2J (ecila)");
    }

    #[test]
    fn a_user_is_looked_up_once_and_again_after_a_failure() {
        let mut people = People::default();
        people.want([5, 5, 0]);
        let asked = people.take_wanted();
        assert_eq!(asked, [UserId::new(5).unwrap()]);
        people.want([5]);
        assert!(people.take_wanted().is_empty());
        people.forget_asked(&asked);
        people.want([5]);
        assert_eq!(people.take_wanted(), asked);
    }

    #[test]
    fn names_are_listed_as_people_write_them() {
        let mut people = People::default();
        (1..=3).for_each(|id| people.learn(&profile(id, &format!("u{id}"), "")));
        assert_eq!(people.names(&[1]), "u1");
        assert_eq!(people.names(&[1, 2, 3]), "u1, u2 and u3");
    }

    #[test]
    fn the_number_of_people_is_bounded() {
        let mut people = People::default();
        (1..=PEOPLE_MAX as u64 + 1).for_each(|id| people.learn(&profile(id, "x", "")));
        assert!(people.known.len() <= PEOPLE_MAX);
        assert!(people.knows(PEOPLE_MAX as u64 + 1));
    }
}
