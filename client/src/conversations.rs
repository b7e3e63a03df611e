//! Every conversation of the user: what is handed to the application, what is missing, what is to be acknowledged.

use crate::{
    CatchUp, ClientLimits, Event, Refusal,
    acks::Acks,
    backlog::Backlog,
    expiry,
    position::ReadPosition,
    timeline::{Offered, Timeline},
};
use godwit_proto::{
    ConversationId, ConversationKind, Seq, UserId,
    v1::{self, ConversationPosition, ConversationSummary, Entry, ErrorCode, KnownConversation, entry::Content},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    time::{Duration, Instant},
};

/// The conversations of one client. Pure: what comes in are frames that were decoded, and `now`; what goes out are events,
/// pages to fetch and positions to acknowledge.
#[derive(Debug)]
pub(crate) struct Conversations {
    me: UserId,
    catch_up: CatchUp,
    limits: ClientLimits,
    map: BTreeMap<ConversationId, Conversation>,
    /// Counts sync requests.
    sync_requests: u64,
    /// Entries that wait in all timelines together.
    early_entries: usize,
    /// To be fetched as soon as there is a stream for it.
    fetch_queue: VecDeque<ConversationId>,
    /// To be fetched later if the entries do not arrive by themselves.
    fetch_later: BTreeSet<(Instant, ConversationId)>,
    /// Conversations that the newest sync said have more; empty again means synced.
    catching_up: HashSet<ConversationId>,
    /// One sync was walked to its end: a conversation that is unknown from here on is a new one.
    synced_before: bool,
    acks: Acks,
    pub(crate) backlog: Backlog,
}

#[derive(Debug)]
struct Conversation {
    timeline: Timeline,
    read: ReadPosition,
    fetch: Fetching,
    /// The newest entry that was handed over removed this user.
    is_left: bool,
    /// How many sync requests there had been at the newest push.
    pushed_during: u64,
    /// How messages expire that say nothing else, as far as this entry; never, before anything tells.
    expiry: (Seq, v1::Expiry),
    /// Own messages that say nothing else, built from their answers, which are still to be handed over.
    own_by_default: BTreeSet<Seq>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fetching {
    No,
    Later(Instant),
    Queued,
    UnderWay,
}

/// A page of the log to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fetch {
    pub(crate) conversation: ConversationId,
    pub(crate) from: Seq,
    pub(crate) limit: u32,
}

/// A page brought nothing although it should have.
const FETCH_RETRY: Duration = Duration::from_secs(1);

/// A page was refused without a hint when to come back.
const FETCH_REFUSED_RETRY: Duration = Duration::from_secs(30);

impl Conversations {
    pub(crate) fn new(me: UserId, catch_up: CatchUp, limits: ClientLimits, known: &[(ConversationId, Seq)]) -> Self {
        let known = known.iter().map(|&(id, seq)| (id, Conversation::new(Some(Seq(seq.0.saturating_add(1))), me)));
        Self {
            me,
            catch_up,
            limits,
            map: known.collect(),
            sync_requests: 0,
            early_entries: 0,
            fetch_queue: VecDeque::new(),
            fetch_later: BTreeSet::new(),
            catching_up: HashSet::new(),
            synced_before: false,
            acks: Acks::new(limits.ack_delay, limits.ack_interval),
            backlog: Backlog::default(),
        }
    }

    /// Whose conversations these are.
    pub(crate) fn me(&self) -> UserId {
        self.me
    }

    /// Entries that the server pushed.
    pub(crate) fn on_push(&mut self, id: ConversationId, entries: Vec<Entry>, now: Instant) {
        self.offer(id, entries, true, now);
        if let Some(conversation) = self.map.get_mut(&id) {
            conversation.pushed_during = self.sync_requests;
        }
        self.fetch_if_missing(id, now, false);
    }

    /// An own message became durable. With `by_default` it expires as the conversation says at its seq.
    pub(crate) fn on_own_entry(&mut self, id: ConversationId, entry: Entry, by_default: bool, now: Instant) {
        if self.backlog.has_room() {
            if by_default {
                let me = self.me;
                let conversation = self.map.entry(id).or_insert_with(|| Conversation::new(None, me));
                conversation.own_by_default.insert(Seq(entry.seq));
            }
            self.on_push(id, vec![entry], now);
        } else {
            self.on_exists(id, Seq(entry.seq), now);
        }
    }

    /// The log is known to reach up to `seq`: an answer said so.
    pub(crate) fn on_exists(&mut self, id: ConversationId, seq: Seq, now: Instant) {
        let me = self.me;
        let timeline = &mut self.map.entry(id).or_insert_with(|| Conversation::new(None, me)).timeline;
        timeline.exists_up_to(seq);
        if seq == Seq::FIRST {
            self.start_at(id, seq, now);
        }
        self.fetch_if_missing(id, now, false);
    }

    /// The user read up to here on another device, or on this one.
    pub(crate) fn on_read(&mut self, id: ConversationId, seq: Seq, ordinal: u64, elsewhere: bool) {
        let moved = self.map.get_mut(&id).is_some_and(|conversation| conversation.read.on_read(seq, ordinal));
        if moved && elsewhere {
            self.backlog.push(Event::Read { conversation: id, read_seq: seq, read_ordinal: ordinal });
        }
    }

    /// The next request of a sync walk that came as far as `after`.
    pub(crate) fn sync_request(&mut self, after: Option<ConversationId>, known_max: usize) -> v1::SyncRequest {
        self.sync_requests += 1;
        let start = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let mut listed = self.map.range((start, std::ops::Bound::Unbounded)).filter_map(|(id, conversation)| {
            let position = conversation.timeline.position()?;
            Some(KnownConversation {
                conversation_id: id.to_bytes(),
                seq: position.as_u64(),
                read_seq: conversation.read.seq().as_u64(),
            })
        });
        let known = listed.by_ref().take(known_max.max(1)).collect();
        let known_continues = listed.next().is_some();
        v1::SyncRequest { after: after.map(ConversationId::to_bytes).unwrap_or_default(), known, known_continues }
    }

    /// A sync found this conversation new or changed.
    pub(crate) fn on_summary(&mut self, id: ConversationId, summary: ConversationSummary, now: Instant) {
        let me = self.me;
        let conversation = self.map.entry(id).or_insert_with(|| Conversation::new(None, me));
        let (first, last) = (Seq(summary.first_seq.max(1)), Seq(summary.last_seq));
        conversation.expires(last, summary.expiry.unwrap_or_default());
        let timeline = &mut conversation.timeline;
        timeline.exists_up_to(last);
        let start = match (timeline.position(), self.catch_up) {
            (None, CatchUp::FromNewest) if !self.synced_before => {
                // What was pushed while the sync was under way happened after the connect, so the application hears it.
                let after_last = Seq(last.0.saturating_add(1));
                first.max(timeline.first_heard().map_or(after_last, |heard| heard.min(after_last)))
            }
            _ => first,
        };
        let read_moved = conversation.read.on_read(Seq(summary.read_seq), summary.read_ordinal);
        let known_before = timeline.position().is_some();
        let acked = Seq(summary.acked_seq);
        let read =
            Event::Read { conversation: id, read_seq: Seq(summary.read_seq), read_ordinal: summary.read_ordinal };
        self.backlog.push(Event::Summary(Box::new(summary)));
        if read_moved && known_before {
            self.backlog.push(read);
        }
        self.start_at(id, start, now);
        if let Some(conversation) = self.map.get(&id) {
            if conversation.timeline.missing().is_some() {
                self.catching_up.insert(id);
            }
            if conversation.timeline.position().is_some_and(|position| position > acked) {
                self.acks.owe(id, now);
            }
        }
        self.fetch_if_missing(id, now, true);
    }

    /// The walk came to its end.
    pub(crate) fn on_sync_walked(&mut self, now: Instant) {
        self.synced_before = true;
        // Heard of since, and not in the walk: where they begin is still to be found out.
        let unplaced: Vec<_> =
            self.map.iter().filter(|(_, one)| one.timeline.position().is_none()).map(|(&id, _)| id).collect();
        for id in unplaced {
            self.fetch_if_missing(id, now, true);
        }
    }

    /// Whether everything that the newest sync found has been handed over.
    pub(crate) fn caught_up(&self) -> bool {
        self.catching_up.is_empty()
    }

    /// A sync found that the user is no member of this conversation any more. Returns whether that is certain: an entry
    /// that was pushed since the sync asked may have taken the user in again, and only another sync can tell.
    pub(crate) fn on_sync_removed(&mut self, id: ConversationId) -> bool {
        let is_certain = self.map.get(&id).is_none_or(|conversation| conversation.pushed_during < self.sync_requests);
        if is_certain {
            self.on_removed(id);
        }
        is_certain
    }

    /// The user is no member of this conversation any more.
    pub(crate) fn on_removed(&mut self, id: ConversationId) {
        let Some(conversation) = self.map.remove(&id) else { return };
        self.early_entries -= conversation.timeline.early_entries();
        self.catching_up.remove(&id);
        // Without a beginning the application never heard of it.
        if conversation.timeline.position().is_some() {
            self.backlog.push(Event::Removed { conversation: id });
        }
    }

    /// The next page to fetch, under way from now on.
    pub(crate) fn next_fetch(&mut self, now: Instant, page_max: u32) -> Option<Fetch> {
        while let Some(&(at, id)) = self.fetch_later.first()
            && at <= now
        {
            self.fetch_later.pop_first();
            if let Some(conversation) = self.map.get_mut(&id)
                && conversation.fetch == Fetching::Later(at)
            {
                conversation.fetch = Fetching::Queued;
                self.fetch_queue.push_back(id);
            }
        }
        while let Some(id) = self.fetch_queue.pop_front() {
            let Some(conversation) = self.map.get_mut(&id).filter(|one| one.fetch == Fetching::Queued) else {
                continue;
            };
            // The answer to any page tells where the conversation begins.
            let missing = match conversation.timeline.position() {
                None => Some(conversation.timeline.newest().max(Seq::FIRST)).map(|newest| (newest, newest)),
                Some(_) => conversation.timeline.missing(),
            };
            let Some((from, to)) = missing else {
                conversation.fetch = Fetching::No;
                continue;
            };
            conversation.fetch = Fetching::UnderWay;
            let limit = u32::try_from(to.0 - from.0 + 1).unwrap_or(u32::MAX).min(page_max.max(1));
            return Some(Fetch { conversation: id, from, limit });
        }
        None
    }

    /// A page arrived.
    pub(crate) fn on_page(&mut self, id: ConversationId, page: v1::HistoryResponse, now: Instant) {
        let Some(conversation) = self.map.get_mut(&id) else { return };
        let before = conversation.timeline.position();
        conversation.fetch = Fetching::No;
        conversation.timeline.exists_up_to(Seq(page.last_seq));
        self.start_at(id, Seq(page.first_seq.max(1)), now);
        self.offer(id, page.entries, false, now);
        let Some(conversation) = self.map.get(&id) else { return };
        if conversation.timeline.position() > before || conversation.timeline.missing().is_none() {
            self.fetch_if_missing(id, now, true);
        } else {
            // A server that says that there is more and does not send it is not asked in a tight loop.
            self.fetch_later(id, now + FETCH_RETRY);
        }
    }

    /// A page was refused.
    pub(crate) fn on_page_refused(&mut self, id: ConversationId, refusal: &Refusal, now: Instant) {
        let Some(conversation) = self.map.get_mut(&id) else { return };
        conversation.fetch = Fetching::No;
        if refusal.code == ErrorCode::NotAMember {
            self.on_removed(id);
        } else {
            self.fetch_later(id, now + refusal.retry_after.unwrap_or(FETCH_REFUSED_RETRY));
        }
    }

    /// Nothing is under way any more; the sync on the next connection finds what is missing.
    pub(crate) fn on_connection_lost(&mut self) {
        self.fetch_queue.clear();
        self.fetch_later.clear();
        self.catching_up.clear();
        self.map.values_mut().for_each(|conversation| conversation.fetch = Fetching::No);
    }

    /// When [`next_fetch`](Self::next_fetch) may have something new.
    pub(crate) fn fetch_due(&self) -> Option<Instant> {
        self.fetch_later.first().map(|&(at, _)| at)
    }

    /// When acknowledgements leave at the latest.
    pub(crate) fn acks_due(&self) -> Option<Instant> {
        self.acks.due()
    }

    /// A frame's worth of positions to acknowledge; empty when the server knows them all.
    pub(crate) fn take_acks(&mut self, now: Instant) -> Vec<ConversationPosition> {
        let owed = self.acks.take(now);
        let position = |id: &ConversationId| self.map.get(id).and_then(|one| one.timeline.position());
        owed.iter()
            .filter_map(|id| position(id).map(|seq| (id, seq)))
            .filter(|(_, seq)| *seq > Seq::ZERO)
            .map(|(id, seq)| ConversationPosition { conversation_id: id.to_bytes(), seq: seq.as_u64() })
            .collect()
    }

    fn offer(&mut self, id: ConversationId, entries: Vec<Entry>, live: bool, now: Instant) {
        let me = self.me;
        let timeline = &mut self.map.entry(id).or_insert_with(|| Conversation::new(None, me)).timeline;
        let others_wait = self.early_entries - timeline.early_entries();
        let (mut ready, mut repeated) = (Vec::with_capacity(entries.len()), false);
        for entry in entries {
            if let Some(start) = beginning(id, &entry, me, self.synced_before) {
                timeline.start_at(start, |entry, live| ready.push((entry, live)));
            }
            let room = others_wait + timeline.early_entries() < self.limits.early_entries_max;
            repeated |= timeline.offer(entry, live, room, |entry, live| ready.push((entry, live))) == Offered::Repeated;
        }
        self.early_entries = others_wait + timeline.early_entries();
        if repeated {
            // Its acknowledgement did not arrive, or came late.
            self.acks.owe(id, now);
        }
        self.hand_over(id, ready, now);
    }

    fn start_at(&mut self, id: ConversationId, start: Seq, now: Instant) {
        let Some(conversation) = self.map.get_mut(&id) else { return };
        let waited = conversation.timeline.early_entries();
        let mut ready = Vec::new();
        conversation.timeline.start_at(start, |entry, live| ready.push((entry, live)));
        self.early_entries = self.early_entries - waited + conversation.timeline.early_entries();
        self.hand_over(id, ready, now);
    }

    fn hand_over(&mut self, id: ConversationId, ready: Vec<(Entry, bool)>, now: Instant) {
        let Some(conversation) = self.map.get_mut(&id) else { return };
        if ready.iter().any(|(entry, _)| is_awaited(entry)) {
            self.acks.owe_at_once(id, now);
        } else if !ready.is_empty() {
            self.acks.owe(id, now);
        }
        for (mut entry, live) in ready {
            conversation.on_hand_over(id, &mut entry);
            conversation.read.on_entry(&entry);
            conversation.is_left = match &entry.content {
                Some(Content::MemberRemoved(removed)) => removed.member_id == self.me.as_u64(),
                Some(Content::MemberBanned(banned)) => banned.removed && banned.member_id == self.me.as_u64(),
                _ => false,
            };
            self.backlog.push(Event::Entry { conversation: id, entry, live });
        }
        let timeline = &conversation.timeline;
        if timeline.position().is_some_and(|position| position >= timeline.newest()) {
            self.catching_up.remove(&id);
            if conversation.is_left {
                self.on_removed(id);
            }
        }
    }

    /// Has what is missing fetched: now, or after the time in which it usually arrives by itself.
    fn fetch_if_missing(&mut self, id: ConversationId, now: Instant, at_once: bool) {
        let Some(conversation) = self.map.get_mut(&id) else { return };
        let unplaced = conversation.timeline.position().is_none();
        // While the first sync is under way, it is the one to say where a conversation begins.
        if (unplaced && !self.synced_before) || (!unplaced && conversation.timeline.missing().is_none()) {
            return;
        }
        match conversation.fetch {
            Fetching::UnderWay | Fetching::Queued => {}
            Fetching::No | Fetching::Later(_) if at_once || unplaced => {
                conversation.fetch = Fetching::Queued;
                self.fetch_queue.push_back(id);
            }
            Fetching::No => self.fetch_later(id, now + self.limits.gap_delay),
            Fetching::Later(_) => {}
        }
    }

    fn fetch_later(&mut self, id: ConversationId, at: Instant) {
        let Some(conversation) = self.map.get_mut(&id) else { return };
        conversation.fetch = Fetching::Later(at);
        self.fetch_later.insert((at, id));
    }
}

/// The time of its acknowledgement decides whether it was delivered.
fn is_awaited(entry: &Entry) -> bool {
    matches!(&entry.content, Some(Content::Message(message)) if message.deliver_by_ms > 0 && !message.delivery_ended)
}

/// Where a conversation begins, as far as an entry of it tells.
fn beginning(id: ConversationId, entry: &Entry, me: UserId, is_new: bool) -> Option<Seq> {
    match (&entry.content, id.kind()) {
        // Whoever is added reads from there on; before it they were out, perhaps not for the first time.
        (Some(Content::MembersAdded(added)), _) if added.member_ids.contains(&me.as_u64()) => Some(Seq(entry.seq)),
        // Unheard of before, so all of it is new.
        (_, ConversationKind::Direct(..)) if is_new => Some(Seq::FIRST),
        _ => (entry.seq == 1).then_some(Seq::FIRST),
    }
}

impl Conversation {
    fn new(next: Option<Seq>, me: UserId) -> Self {
        Self {
            timeline: Timeline::new(next),
            read: ReadPosition::new(me),
            fetch: Fetching::No,
            is_left: false,
            pushed_during: 0,
            expiry: (Seq::ZERO, v1::Expiry::default()),
            own_by_default: BTreeSet::new(),
        }
    }

    /// Messages that say nothing else expire like this from `since` on.
    fn expires(&mut self, since: Seq, expiry: v1::Expiry) {
        if since >= self.expiry.0 {
            self.expiry = (since, expiry);
        }
    }

    /// The next entry in order of seq.
    fn on_hand_over(&mut self, id: ConversationId, entry: &mut Entry) {
        let seq = Seq(entry.seq);
        let mut is_by_default = false;
        // What is before this one was handed over already, built or fetched.
        while let Some(own) = self.own_by_default.first().filter(|&&own| own <= seq) {
            is_by_default = *own == seq;
            self.own_by_default.pop_first();
        }
        match &mut entry.content {
            Some(Content::ExpiryChanged(changed)) => self.expires(seq, changed.expiry.unwrap_or_default()),
            // One that was fetched instead says so itself.
            Some(Content::Message(message))
                if is_by_default && (message.expires_ms, message.expires_after_read_ms) == (0, 0) =>
            {
                expiry::stamp(message, self.expiry.1, id, entry.sent_ms);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
#[path = "conversations_tests.rs"]
mod tests;
