//! The conversations, as far as the plain mode must know them.

use crate::terminal::{people::People, sanitize};
use godwit_client::{
    ConversationId, ConversationKind, Expiry, Seq, Unread, UserId,
    v1::{ConversationSummary, Entry, UserProfile, entry::Content},
};
use std::collections::HashMap;

/// Names and positions of as many conversations as the client itself holds.
pub struct Book {
    me: UserId,
    /// Who is who.
    pub people: People,
    conversations: HashMap<ConversationId, Known>,
}

struct Known {
    title: Option<String>,
    unread: Unread,
    active_ms: u64,
    expiry: Expiry,
}

impl Book {
    /// Empty, but for the user.
    pub fn new(me: UserId, username: String) -> Self {
        let mut people = People::default();
        people.learn(&UserProfile { user_id: me.as_u64(), username, display_name: String::new() });
        Self { me, people, conversations: HashMap::new() }
    }

    /// The peer's username, or `#` and the title.
    pub fn name(&self, id: ConversationId) -> String {
        match id.peer_of(self.me) {
            Some(peer) => self.people.name(peer.as_u64()),
            None => {
                let title = self.conversations.get(&id).and_then(|known| known.title.as_deref());
                format!("#{}", title.unwrap_or_default())
            }
        }
    }

    /// The user is in it, or talks to a peer.
    pub fn has(&self, id: ConversationId) -> bool {
        self.conversations.contains_key(&id) || id.peer_of(self.me).is_some()
    }

    /// The group with this title, without regard to case; of several, the one that was active last.
    pub fn find_title(&self, title: &str) -> Option<ConversationId> {
        let title = sanitize::line(title).to_lowercase();
        let named = self
            .conversations
            .iter()
            .filter(|(_, known)| known.title.as_ref().is_some_and(|one| sanitize::line(one).to_lowercase() == title));
        named.max_by_key(|(id, known)| (known.active_ms, **id)).map(|(&id, _)| id)
    }

    /// A group whose title is not known.
    pub fn lacks_title(&self, id: ConversationId) -> bool {
        id.kind() == ConversationKind::Group && self.conversations.get(&id).is_none_or(|known| known.title.is_none())
    }

    /// The user just made this group.
    pub fn set_title(&mut self, id: ConversationId, title: &str) {
        self.known(id).title.get_or_insert_with(|| title.to_owned());
    }

    /// The user chose it; whoever reads the output knows about it from now on.
    pub fn add(&mut self, id: ConversationId) {
        self.known(id);
    }

    /// The server's view.
    pub fn on_summary(&mut self, id: ConversationId, summary: &ConversationSummary) {
        let known = self.known(id);
        known.unread.on_summary(summary);
        known.expiry = summary.expiry.unwrap_or_default().into();
        if id.kind() == ConversationKind::Group {
            known.title = Some(summary.title.clone());
        }
        let active_ms = summary.last_entry.as_ref().map_or(0, |entry| entry.sent_ms);
        known.active_ms = known.active_ms.max(active_ms);
    }

    /// The next entry. Returns whether the conversation is new.
    pub fn on_entry(&mut self, id: ConversationId, entry: &Entry) -> bool {
        let is_new = !self.conversations.contains_key(&id);
        let known = self.known(id);
        known.unread.on_entry(entry);
        known.active_ms = known.active_ms.max(entry.sent_ms);
        match &entry.content {
            Some(Content::GroupCreated(created)) => known.title = Some(created.title.clone()),
            Some(Content::ExpiryChanged(changed)) => known.expiry = changed.expiry.unwrap_or_default().into(),
            _ => {}
        }
        is_new
    }

    /// The user read this far. Returns what is unread now, if that is news.
    pub fn on_read(&mut self, id: ConversationId, seq: u64, ordinal: u64) -> Option<u64> {
        let unread = &mut self.known(id).unread;
        unread.on_read(Seq(seq), ordinal).then(|| unread.count())
    }

    /// The user is in it no more.
    pub fn remove(&mut self, id: ConversationId) {
        self.conversations.remove(&id);
    }

    /// How its messages disappear that say nothing else, as far as is known.
    pub fn expiry(&self, id: ConversationId) -> Expiry {
        self.conversations.get(&id).map_or(Expiry::Never, |known| known.expiry)
    }

    /// The newest seq.
    pub fn last_seq(&self, id: ConversationId) -> Seq {
        self.position(id).0
    }

    /// The newest seq, and how many messages are unread.
    pub fn position(&self, id: ConversationId) -> (Seq, u64) {
        self.conversations.get(&id).map_or((Seq::ZERO, 0), |known| (known.unread.last_seq(), known.unread.count()))
    }

    fn known(&mut self, id: ConversationId) -> &mut Known {
        let unread = Unread::new(self.me);
        self.conversations.entry(id).or_insert(Known { title: None, unread, active_ms: 0, expiry: Expiry::Never })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;
    use godwit_client::v1::GroupCreated;

    fn book() -> Book {
        Book::new(UserId::new(1).unwrap(), "alice".into())
    }

    fn created(title: &str, sent_ms: u64) -> Entry {
        let content = Content::GroupCreated(GroupCreated { title: title.into(), member_ids: vec![] });
        Entry { seq: 1, sent_ms, sender_id: 1, content: Some(content), ..Entry::default() }
    }

    #[test]
    fn of_two_groups_with_one_title_the_active_one_is_found() {
        let (quiet, active) = (ConversationId::group([1; 16]), ConversationId::group([2; 16]));
        let mut book = book();
        assert!(book.on_entry(active, &created("Lunch", 9)));
        assert!(book.on_entry(quiet, &created("lunch", 5)));
        assert_eq!(book.find_title(" LUNCH "), Some(active));
        book.remove(active);
        assert_eq!(book.find_title("lunch"), Some(quiet));
        assert_eq!(book.find_title("dinner"), None);
    }

    #[test]
    fn a_group_has_no_title_until_it_is_told() {
        let group = ConversationId::group([1; 16]);
        let mut book = book();
        book.on_entry(group, &Entry { seq: 5, ..Entry::default() });
        assert!(book.lacks_title(group));
        book.on_summary(group, &ConversationSummary { title: "Lunch".into(), ..ConversationSummary::default() });
        assert_eq!((book.lacks_title(group), book.name(group)), (false, "#Lunch".into()));
    }
}
