//! The part of one conversation's log that is in memory.

use super::{expiry::Gone, sanctions::Sanctioned, sanitize, wording::NAMES_MAX};
use godwit_client::{
    ClientMsgId, Expiry, Seq,
    v1::{self, Direction, HistoryResponse, entry::Content},
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// The most entries of one conversation in memory. Beyond it those farthest from where the user reads are dropped, and
/// fetched from the server again when the user scrolls there.
pub const ENTRIES_MAX: usize = 2_000;

/// The most bytes of text of one conversation in memory.
pub const TEXT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The pause after a page could not be fetched.
const LOAD_RETRY: Duration = Duration::from_secs(5);

/// An entry, ready to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its place.
    pub seq: u64,
    /// Who wrote it.
    pub sender_id: u64,
    /// Unix time in milliseconds.
    pub sent_ms: u64,
    /// The sender's id of it, where it is one.
    pub client_msg_id: Option<ClientMsgId>,
    /// A schedule sent it.
    pub is_scheduled: bool,
    /// When it disappears, by the server's clock: Unix time in milliseconds; 0 while that is not known.
    pub expires_ms: u64,
    /// Not 0: so many milliseconds after somebody else has read it.
    pub expires_after_read_ms: u64,
    /// What it says.
    pub content: ItemContent,
}

/// What an entry says, safe to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemContent {
    /// A message.
    Text(String),
    /// Somebody made the group.
    Created {
        /// Its title.
        title: String,
        /// Those who were in it from the start, besides its maker.
        members: Vec<u64>,
    },
    /// Somebody added these.
    Added(Vec<u64>),
    /// Somebody removed this member, or left.
    Removed {
        /// Who is out.
        member: u64,
        /// The owner since then, if that changed.
        new_owner: Option<u64>,
    },
    /// A message was here.
    Gone(Gone),
    /// These messages have disappeared. Nothing is shown for it.
    Expired(Vec<u64>),
    /// A message was not delivered to these. Shown to its sender.
    Undelivered {
        /// Which.
        seq: u64,
        /// To whom.
        members: Vec<u64>,
    },
    /// From here on, messages that say nothing else disappear like this.
    ExpiryChanged(Expiry),
    /// Somebody was muted or banned, or is no more.
    Sanctioned(Sanctioned),
    /// Something that only a newer version understands.
    Unknown,
}

impl Item {
    /// Copies what is shown out of an entry, and so lets go of the frame that the entry came in.
    pub fn new(entry: &v1::Entry) -> Self {
        let content = match &entry.content {
            Some(Content::Message(message)) => ItemContent::Text(message_text(message)),
            Some(Content::GroupCreated(created)) => {
                ItemContent::Created { title: sanitize::line(&created.title), members: created.member_ids.clone() }
            }
            Some(Content::MembersAdded(added)) => ItemContent::Added(added.member_ids.clone()),
            Some(Content::MemberRemoved(removed)) => ItemContent::Removed {
                member: removed.member_id,
                new_owner: (removed.new_owner_id != 0).then_some(removed.new_owner_id),
            },
            Some(Content::Withdrawn(marker)) => ItemContent::Gone(Gone::new(marker)),
            Some(Content::Expired(expired)) => ItemContent::Expired(expired.seqs.clone()),
            Some(Content::Undelivered(missed)) => {
                ItemContent::Undelivered { seq: missed.seq, members: missed.member_ids.clone() }
            }
            Some(Content::ExpiryChanged(changed)) => {
                ItemContent::ExpiryChanged(changed.expiry.unwrap_or_default().into())
            }
            Some(content) => {
                Sanctioned::of(content, entry.sent_ms).map_or(ItemContent::Unknown, ItemContent::Sanctioned)
            }
            None => ItemContent::Unknown,
        };
        let (is_scheduled, expires_ms, expires_after_read_ms) = match &entry.content {
            Some(Content::Message(message)) => (message.scheduled, message.expires_ms, message.expires_after_read_ms),
            _ => (false, 0, 0),
        };
        Self {
            seq: entry.seq,
            sender_id: entry.sender_id,
            sent_ms: entry.sent_ms,
            client_msg_id: ClientMsgId::from_slice(&entry.client_msg_id).ok(),
            is_scheduled,
            expires_ms,
            expires_after_read_ms,
            content,
        }
    }

    /// Everybody who is named where it is shown.
    pub fn people(&self) -> impl Iterator<Item = u64> {
        let (members, one) = match &self.content {
            ItemContent::Created { members, .. } | ItemContent::Added(members) => (members.as_slice(), [None, None]),
            ItemContent::Removed { member, new_owner } => (&[][..], [Some(*member), *new_owner]),
            ItemContent::Undelivered { members, .. } => (members.as_slice(), [None, None]),
            ItemContent::Sanctioned(sanctioned) => (&[][..], [Some(sanctioned.member), None]),
            _ => (&[][..], [None, None]),
        };
        members.iter().copied().take(NAMES_MAX).chain(one.into_iter().flatten()).chain([self.sender_id])
    }

    /// Its time has come, though nobody said so yet.
    pub fn is_over(&self, server_ms: u64) -> bool {
        (1..=server_ms).contains(&self.expires_ms)
    }

    fn text_bytes(&self) -> usize {
        match &self.content {
            ItemContent::Text(text) => text.len(),
            ItemContent::Created { members: many, .. }
            | ItemContent::Added(many)
            | ItemContent::Undelivered { members: many, .. }
            | ItemContent::Expired(many) => many.len() * 8,
            _ => 0,
        }
    }
}

/// The text of a message, or what it is instead.
pub fn message_text(message: &v1::Message) -> String {
    match message.content_type.as_str() {
        "" | "text/plain" => sanitize::text(&String::from_utf8_lossy(&message.body)),
        other => format!("[{}, {} bytes]", sanitize::line(other), message.body.len()),
    }
}

/// A window of the log without gaps: what is held is `first..=last` for some `first` and `last`.
#[derive(Debug)]
pub struct Timeline {
    items: BTreeMap<u64, Item>,
    text_bytes: usize,
    /// The first seq that the user may read.
    first_seq: u64,
    /// The newest seq that is known to exist.
    last_seq: u64,
    /// The user looks into this conversation, so entries are kept.
    is_open: bool,
    is_loading: bool,
    load_not_before: Option<Instant>,
}

impl Timeline {
    /// Knows nothing.
    pub fn new() -> Self {
        Self {
            items: BTreeMap::new(),
            text_bytes: 0,
            first_seq: 1,
            last_seq: 0,
            is_open: false,
            is_loading: false,
            load_not_before: None,
        }
    }

    /// The server says how far the log reaches.
    pub fn on_bounds(&mut self, first_seq: u64, last_seq: u64) {
        self.first_seq = self.first_seq.max(first_seq);
        self.last_seq = self.last_seq.max(last_seq);
    }

    /// The next entry of the log.
    pub fn on_entry(&mut self, item: Item) {
        self.last_seq = self.last_seq.max(item.seq);
        // Where the window ended before the newest entry, this one is fetched when the user scrolls there.
        let follows = self.items.last_key_value().is_none_or(|(&last, _)| item.seq == last + 1);
        if self.is_open && follows && !self.is_loading_first() {
            self.insert(item);
            self.trim_oldest();
        }
    }

    /// A page that was asked for.
    pub fn on_page(&mut self, direction: Direction, page: &HistoryResponse) {
        self.is_loading = false;
        self.on_bounds(page.first_seq, page.last_seq);
        if !self.is_open {
            return;
        }
        match direction {
            Direction::Forward => {
                for item in page.entries.iter().map(Item::new) {
                    if self.items.last_key_value().is_some_and(|(&last, _)| item.seq == last + 1) {
                        self.insert(item);
                    }
                }
                self.trim_oldest();
            }
            Direction::Backward | Direction::Unspecified => {
                // The answer to a question from before the window was emptied.
                let is_stale = self.items.is_empty() && page.entries.last().is_some_and(|one| one.seq < page.last_seq);
                if is_stale {
                    return;
                }
                for item in page.entries.iter().rev().map(Item::new) {
                    if self.items.first_key_value().is_none_or(|(&first, _)| item.seq + 1 == first) {
                        self.insert(item);
                    }
                }
                while self.is_over_limit() {
                    if let Some((_, dropped)) = self.items.pop_last() {
                        self.text_bytes -= dropped.text_bytes();
                    }
                }
                // A server that has nothing where it said that there was something is not asked forever.
                if page.entries.is_empty() {
                    self.first_seq = self.items.first_key_value().map_or(self.last_seq + 1, |(&first, _)| first);
                }
            }
        }
    }

    /// A page could not be fetched.
    pub fn on_page_failed(&mut self, now: Instant) {
        self.is_loading = false;
        self.load_not_before = Some(now + LOAD_RETRY);
    }

    /// Keeps entries from now on.
    pub fn open(&mut self) {
        self.is_open = true;
    }

    /// Lets go of all entries.
    pub fn close(&mut self) {
        self.is_open = false;
        self.items.clear();
        self.text_bytes = 0;
    }

    /// What to ask for when the user looks at the first entry held: from where backwards; [`Seq::ZERO`] for the newest.
    pub fn start_loading_older(&mut self, now: Instant) -> Option<Seq> {
        let from = match self.items.first_key_value() {
            Some((&first, _)) if first > self.first_seq => first - 1,
            None if self.last_seq >= self.first_seq => 0,
            _ => return None,
        };
        self.start_loading(now).then_some(Seq(from))
    }

    /// What to ask for when the user looks at the last entry held: from where forwards.
    pub fn start_loading_newer(&mut self, now: Instant) -> Option<Seq> {
        let from = self.items.last_key_value().map(|(&last, _)| last + 1).filter(|&from| from <= self.last_seq)?;
        self.start_loading(now).then_some(Seq(from))
    }

    /// There are entries before the first one held.
    pub fn has_older(&self) -> bool {
        match self.items.first_key_value() {
            Some((&first, _)) => first > self.first_seq,
            None => self.last_seq >= self.first_seq,
        }
    }

    /// The last entry held is the newest there is.
    pub fn reaches_end(&self) -> bool {
        self.items.last_key_value().map_or(self.last_seq < self.first_seq, |(&last, _)| last >= self.last_seq)
    }

    /// A page is under way.
    pub fn is_loading(&self) -> bool {
        self.is_loading
    }

    /// The newest seq that is known to exist.
    pub fn last_seq(&self) -> Seq {
        Seq(self.last_seq)
    }

    /// A message is gone, and its text with it.
    pub fn withdraw(&mut self, seq: u64, gone: Gone) {
        if let Some(item) = self.items.get_mut(&seq)
            && matches!(item.content, ItemContent::Text(_))
        {
            self.text_bytes -= item.text_bytes();
            (item.content, item.expires_ms, item.expires_after_read_ms) = (ItemContent::Gone(gone), 0, 0);
        }
    }

    /// The entry with this seq, if it is held.
    pub fn item(&self, seq: u64) -> Option<&Item> {
        self.items.get(&seq)
    }

    /// What is held, ascending.
    pub fn items(&self) -> impl DoubleEndedIterator<Item = &Item> {
        self.items.values()
    }

    fn is_loading_first(&self) -> bool {
        // The page that is under way ends at the newest entry. One that arrives before it would become the window's
        // start, and the page would be fetched a second time.
        self.is_loading && self.items.is_empty()
    }

    fn start_loading(&mut self, now: Instant) -> bool {
        let may = self.is_open && !self.is_loading && self.load_not_before.is_none_or(|at| at <= now);
        if may {
            self.is_loading = true;
            self.load_not_before = None;
        }
        may
    }

    fn insert(&mut self, item: Item) {
        self.text_bytes += item.text_bytes();
        if let Some(replaced) = self.items.insert(item.seq, item) {
            self.text_bytes -= replaced.text_bytes();
        }
    }

    fn trim_oldest(&mut self) {
        while self.is_over_limit() {
            if let Some((_, dropped)) = self.items.pop_first() {
                self.text_bytes -= dropped.text_bytes();
            }
        }
    }

    fn is_over_limit(&self) -> bool {
        // One entry stays even if it alone is above the limit of bytes: the user looks at it.
        self.items.len() > ENTRIES_MAX || (self.text_bytes > TEXT_BYTES_MAX && self.items.len() > 1)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    fn entry(seq: u64) -> v1::Entry {
        let message = v1::Message { body: format!("m{seq}").into(), ..v1::Message::default() };
        v1::Entry { seq, sender_id: 1, content: Some(Content::Message(message)), ..v1::Entry::default() }
    }

    fn page(seqs: std::ops::RangeInclusive<u64>, last_seq: u64) -> HistoryResponse {
        HistoryResponse { entries: seqs.map(entry).collect(), first_seq: 1, last_seq, ..HistoryResponse::default() }
    }

    fn seqs(timeline: &Timeline) -> Vec<u64> {
        timeline.items().map(|item| item.seq).collect()
    }

    fn opened(last_seq: u64) -> Timeline {
        let mut timeline = Timeline::new();
        timeline.on_bounds(1, last_seq);
        timeline.open();
        timeline
    }

    #[test]
    fn a_conversation_that_nobody_opened_holds_no_entries() {
        let mut timeline = Timeline::new();
        timeline.on_entry(Item::new(&entry(1)));
        assert_eq!((seqs(&timeline), timeline.last_seq()), (vec![], Seq(1)));
    }

    #[test]
    fn older_pages_are_asked_for_one_at_a_time_until_the_first_entry() {
        let now = Instant::now();
        let mut timeline = opened(5);
        assert_eq!(timeline.start_loading_older(now), Some(Seq::ZERO));
        assert_eq!(timeline.start_loading_older(now), None, "one is under way");
        timeline.on_page(Direction::Backward, &page(4..=5, 5));
        assert_eq!(timeline.start_loading_older(now), Some(Seq(3)));
        timeline.on_page(Direction::Backward, &page(1..=3, 5));
        assert_eq!(seqs(&timeline), [1, 2, 3, 4, 5]);
        assert_eq!(timeline.start_loading_older(now), None);
        assert!(timeline.reaches_end() && !timeline.has_older());
    }

    #[test]
    fn an_entry_that_arrives_while_a_page_is_fetched_is_shown_once() {
        let mut timeline = opened(2);
        timeline.start_loading_older(Instant::now());
        timeline.on_entry(Item::new(&entry(3)));
        timeline.on_page(Direction::Backward, &page(1..=3, 3));
        timeline.on_entry(Item::new(&entry(4)));
        assert_eq!(seqs(&timeline), [1, 2, 3, 4]);
        let mut timeline = opened(2);
        timeline.start_loading_older(Instant::now());
        timeline.on_entry(Item::new(&entry(3)));
        timeline.on_page(Direction::Backward, &page(1..=2, 2));
        assert!(!timeline.reaches_end(), "the page was older than the entry");
        assert_eq!(timeline.start_loading_newer(Instant::now()), Some(Seq(3)));
    }

    #[test]
    fn memory_is_bounded_and_what_was_dropped_can_be_fetched_again() {
        let max = ENTRIES_MAX as u64;
        let mut timeline = opened(0);
        (1..=max + 10).for_each(|seq| timeline.on_entry(Item::new(&entry(seq))));
        assert_eq!(timeline.items().count(), ENTRIES_MAX);
        assert_eq!(timeline.start_loading_older(Instant::now()), Some(Seq(10)));
        timeline.on_page(Direction::Backward, &page(1..=10, max + 10));
        assert_eq!((timeline.items().count(), timeline.reaches_end()), (ENTRIES_MAX, false));
        timeline.on_entry(Item::new(&entry(max + 11)));
        assert!(seqs(&timeline).windows(2).all(|pair| pair[0] + 1 == pair[1]), "never a gap");
        assert_eq!(timeline.start_loading_newer(Instant::now()), Some(Seq(max + 1)));
        timeline.on_page(Direction::Forward, &page(max + 1..=max + 11, max + 11));
        assert!(timeline.reaches_end());
    }

    #[test]
    fn a_page_that_was_asked_for_before_the_window_was_emptied_is_ignored() {
        let mut timeline = opened(9);
        timeline.start_loading_older(Instant::now());
        timeline.on_page(Direction::Backward, &page(8..=9, 9));
        timeline.start_loading_older(Instant::now());
        timeline.close();
        timeline.open();
        timeline.on_page(Direction::Backward, &page(5..=7, 9));
        assert_eq!(seqs(&timeline), [0; 0]);
        assert_eq!(timeline.start_loading_older(Instant::now()), Some(Seq::ZERO));
    }

    #[test]
    fn large_messages_count_by_their_size() {
        let mut timeline = opened(0);
        for seq in 1..=3 {
            let body = vec![b'x'; TEXT_BYTES_MAX / 2].into();
            let content = Some(Content::Message(v1::Message {
                body,
                content_type: String::new(),
                scheduled: false,
                ..v1::Message::default()
            }));
            timeline.on_entry(Item::new(&v1::Entry { seq, content, ..v1::Entry::default() }));
        }
        assert_eq!(seqs(&timeline), [2, 3]);
    }

    #[test]
    fn a_page_that_failed_is_asked_for_again_after_a_pause() {
        let now = Instant::now();
        let mut timeline = opened(5);
        timeline.start_loading_older(now);
        timeline.on_page_failed(now);
        assert_eq!(timeline.start_loading_older(now), None);
        assert_eq!(timeline.start_loading_older(now + LOAD_RETRY), Some(Seq::ZERO));
    }

    #[test]
    fn what_is_no_text_is_named_and_not_printed() {
        let image = v1::Message {
            body: vec![0x1b; 7].into(),
            content_type: "image/png".into(),
            scheduled: false,
            ..v1::Message::default()
        };
        assert_eq!(message_text(&image), "[image/png, 7 bytes]");
        let broken = v1::Message {
            body: vec![b'a', 0xff, 0x1b].into(),
            content_type: String::new(),
            scheduled: false,
            ..v1::Message::default()
        };
        assert_eq!(message_text(&broken), "a\u{fffd}␛");
    }
}
