//! Scheduled messages as the store's rows and the logs alone tell them: the simulator's own idea of what is true of each.

use crate::{client::Wish, clock::ServerClock};
use godwit::{
    chat::LogEntry,
    store::{TimerKey, TimerKind, TimerOwner, TimerRow},
};
use godwit_proto::{
    ClientMsgId, ConversationId, UserId,
    v1::{self, ErrorCode, scheduled_push::Change, server_frame::Body},
};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};

/// Reports of what could not be sent.
const FAILED: TimerKind = TimerKind(2);

/// The rule of every series.
pub const RULE: &str = "FREQ=MINUTELY";
const MINUTE_MS: u64 = 60_000;

/// All that was ever scheduled, with everything that was ever durable about it.
#[derive(Debug, Default)]
pub struct Schedules {
    pub clock: ServerClock,
    /// How late one is still sent.
    late_ms_max: u64,
    all: BTreeMap<(UserId, ClientMsgId), Schedule>,
    /// Which series an entry with this `client_msg_id` is of.
    of_series: BTreeMap<(UserId, ClientMsgId), Occurrence>,
}

/// What a message of a series is.
#[derive(Debug, Clone, Copy)]
struct Occurrence {
    schedule: ClientMsgId,
    /// `None`: its author asked for it.
    due_ms: Option<u64>,
    sent: bool,
}

#[derive(Debug, Default)]
struct Schedule {
    pending: Vec<Version>,
    failed: Vec<Version>,
    sent: bool,
    /// How often a series went on.
    moves: u64,
    /// Something of a series was sent.
    began: bool,
    /// The times that a series was sent at.
    sent_at: BTreeSet<u64>,
    /// Its author was told that it is durable.
    confirmed: bool,
    /// Its author was told that it is cancelled.
    cancelled: bool,
    /// Its author asked to have it sent at once.
    hurried: bool,
    /// A request that makes it may still be on its way, on a connection that is gone.
    in_doubt: bool,
}

/// A row, while it was durable like this: from one point in simulated time to another, which does not belong to it.
#[derive(Debug)]
struct Version {
    message: v1::ScheduledMessage,
    from_ms: u64,
    until_ms: u64,
}

impl Schedules {
    pub fn new(late_ms_max: u64) -> Self {
        Self { late_ms_max, ..Self::default() }
    }

    /// A row is durable. `member_since` tells since when somebody is a member.
    pub fn on_put(
        &mut self,
        now_ms: u64,
        row: &TimerRow,
        member_since: impl FnOnce(ConversationId, UserId) -> Option<u64>,
    ) {
        let message = v1::ScheduledMessage::decode(row.payload.clone()).unwrap();
        let (author, id) = place(&row.key);
        assert_eq!(message.schedule_id, id.to_bytes(), "{id:?}: a row tells of another");
        let (late_ms_max, schedule) = (self.late_ms_max, self.all.entry((author, id)).or_default());
        if row.key.kind == FAILED {
            let failure = message.failure.as_ref().unwrap_or_else(|| panic!("{id:?} failed for no reason"));
            let pending = schedule.pending.last().unwrap_or_else(|| panic!("{id:?} failed and was never to be sent"));
            // What is reported of a series may be its later times, missed when this one was in the log.
            let missed_later = message.recurrence.is_some() && failure.code() == ErrorCode::ScheduleMissed;
            let sent = schedule.sent || (!missed_later && schedule.sent_at.contains(&pending.message.due_ms));
            assert!(!sent, "{id:?} is said to have failed, and is in the log: {failure:?}");
            let is_true = match failure.code() {
                ErrorCode::NotAMember => {
                    let since_ms = member_since(conversation_of(&message), author);
                    since_ms.is_none_or(|since_ms| since_ms >= pending.from_ms)
                }
                ErrorCode::ScheduleMissed => {
                    self.clock.latest_between(pending.from_ms, now_ms) > message.due_ms + late_ms_max
                }
                _ => false,
            };
            assert!(is_true, "{id:?} did not fail for this reason: {failure:?}");
        } else {
            assert_eq!((row.due_ms, &message.failure), (message.due_ms, &None), "{id:?}: a row that lies");
            if message.recurrence.is_some() {
                schedule.check_move(&message, self.clock.latest_between(0, now_ms));
                let occurrence = Occurrence { schedule: id, due_ms: Some(message.due_ms), sent: false };
                self.of_series.entry((author, occurrence_id(id, message.due_ms))).or_insert(occurrence);
            }
        }
        let versions = schedule.versions(row.key.kind);
        end(versions, now_ms);
        versions.push(Version { message, from_ms: now_ms, until_ms: u64::MAX });
    }

    /// A row is gone, if it was there.
    pub fn on_removed(&mut self, now_ms: u64, key: &TimerKey) {
        if let Some(schedule) = self.all.get_mut(&place(key)) {
            end(schedule.versions(key.kind), now_ms);
        }
    }

    /// A message that says that a schedule sent it is durable.
    pub fn on_sent(&mut self, now_ms: u64, conversation: ConversationId, entry: &LogEntry, sent: &v1::Message) {
        let mut id = entry.client_msg_id;
        let occurrence = self.of_series.get_mut(&(entry.sender, id)).map(|known| {
            assert!(!known.sent, "{known:?} was sent twice");
            known.sent = true;
            *known
        });
        id = occurrence.map_or(id, |known| known.schedule);
        let schedule = self.all.get_mut(&(entry.sender, id));
        let schedule = schedule.unwrap_or_else(|| panic!("{id:?} was sent and never scheduled"));
        let may = !schedule.cancelled || schedule.in_doubt;
        assert!(may, "{id:?} was sent after it was said to be cancelled");
        let pending = schedule.pending.last().filter(|version| version.until_ms == u64::MAX);
        let pending = pending.unwrap_or_else(|| panic!("{id:?} was sent and is not to be sent"));
        let (from_ms, message) = (pending.from_ms, &pending.message);
        let planned = (conversation_of(message), &message.body, &message.content_type);
        assert_eq!((conversation, &sent.body, &sent.content_type), planned, "{id:?}: something else was sent");
        let is_series = message.recurrence.is_some();
        assert_eq!(is_series, occurrence.is_some(), "{id:?}: sent under an id that is not its own");
        let hurried = match occurrence {
            Some(known) => known.due_ms.is_none(),
            None => schedule.hurried,
        };
        if let Some(due_ms) = occurrence.and_then(|known| known.due_ms) {
            assert_eq!(message.due_ms, due_ms, "{id:?}: sent at another time of its series");
            schedule.sent_at.insert(due_ms);
        }
        if !hurried {
            let (sent_ms, due_ms) = (entry.sent_ms, message.due_ms);
            // A clock that is set back may be read before by who finds that it is due, and after by who sends it.
            let is_due = sent_ms >= due_ms || self.clock.was_set_between(from_ms, now_ms);
            let was_due = self.clock.latest_between(from_ms, now_ms) >= due_ms;
            assert!(is_due && was_due, "{id:?} was sent at {sent_ms}, before it was due at {due_ms}");
        }
        schedule.sent |= !is_series;
        schedule.began |= is_series;
    }

    /// Its author wants it sent before it is due; one of a series under a `client_msg_id` of its own.
    pub fn hurry(&mut self, author: UserId, id: ClientMsgId, of_series: ClientMsgId) {
        self.all.entry((author, id)).or_default().hurried = true;
        let occurrence = Occurrence { schedule: id, due_ms: None, sent: false };
        self.of_series.entry((author, of_series)).or_insert(occurrence);
    }

    /// A request to make it was lost, so nobody knows when it arrives, nor what it undoes then.
    pub fn doubt(&mut self, author: UserId, id: ClientMsgId) {
        self.all.entry((author, id)).or_default().in_doubt = true;
    }

    /// Holds what the server answers between two points in time against what was durable then.
    pub fn on_answer(
        &mut self,
        author: UserId,
        id: ClientMsgId,
        wish: &Wish,
        (from_ms, now_ms): (u64, u64),
        body: &Body,
    ) {
        let schedule = self.all.entry((author, id)).or_default();
        match body {
            Body::Schedule(response) => {
                let message = response.scheduled.as_ref().unwrap();
                let durable = schedule.versions_like(message).iter().any(|version| {
                    version.message == *message && version.from_ms <= now_ms && version.until_ms >= from_ms
                });
                assert!(durable, "{id:?}: an answer of what is not durable: {message:?}");
                schedule.confirmed = true;
            }
            Body::CancelScheduled(_) => {
                let gone = |versions| was_absent(versions, from_ms, now_ms);
                assert!(gone(&schedule.pending) && gone(&schedule.failed), "{id:?} is cancelled, and still durable");
                schedule.cancelled = true;
            }
            Body::Error(error) if error.code() == ErrorCode::ScheduleNotFound => {
                assert!(was_absent(&schedule.pending, from_ms, now_ms), "{id:?} is there, and was not found");
            }
            Body::Error(error) if error.code() == ErrorCode::DueOutOfRange => {
                let (Wish::Create { due_ms, .. } | Wish::Change { due_ms }) = wish else {
                    panic!("{id:?}: {wish:?} has no time to be out of range")
                };
                let latest_ms = self.clock.latest_between(from_ms, now_ms);
                assert!(latest_ms > due_ms + self.late_ms_max, "{id:?}: {wish:?} is not out of range");
            }
            _ => {}
        }
    }

    pub fn on_push(&self, author: UserId, push: &v1::ScheduledPush) {
        let find = |id: &[u8]| {
            let id = ClientMsgId::from_slice(id).unwrap();
            self.all.get(&(author, id)).unwrap_or_else(|| panic!("{id:?}: pushed, but not durable"))
        };
        match push.change.as_ref().unwrap() {
            Change::Saved(message) => {
                let mut versions = find(&message.schedule_id).versions_like(message).iter();
                assert!(versions.any(|version| version.message == *message), "pushed, but not durable: {message:?}");
            }
            Change::Cancelled(id) | Change::Ended(id) => {
                let schedule = find(id);
                let mut versions = schedule.pending.iter().chain(&schedule.failed);
                assert!(versions.any(|version| version.until_ms < u64::MAX), "pushed as gone, but durable: {id:?}");
            }
        }
    }

    /// Holds a page against what was durable all the while, and what was at all.
    pub fn on_page(
        &self,
        author: UserId,
        request: &v1::ListScheduledRequest,
        (from_ms, now_ms): (u64, u64),
        page: &v1::ListScheduledResponse,
    ) {
        let place = |message: &v1::ScheduledMessage| (message.due_ms, message.schedule_id.clone());
        let after = (request.after_due_ms, request.after_schedule_id.clone());
        let places: Vec<_> = page.scheduled.iter().map(place).collect();
        assert!(places.iter().all(|place| *place > after) && places.is_sorted(), "a list is out of order: {page:?}");
        let mine = self.all.iter().filter(|((user, _), _)| *user == author).map(|(_, schedule)| schedule);
        let versions = mine.flat_map(|schedule| if request.failed { &schedule.failed } else { &schedule.pending });
        let versions: Vec<&Version> =
            versions.filter(|version| version.from_ms <= now_ms && version.until_ms >= from_ms).collect();
        for message in &page.scheduled {
            let durable = versions.iter().any(|version| version.message == *message);
            assert!(durable, "listed, but not durable: {message:?}");
        }
        for version in versions {
            let place = place(&version.message);
            let all_along = version.from_ms <= from_ms && version.until_ms > now_ms;
            let on_page = place > after && (!page.more || places.last().is_some_and(|last| place <= *last));
            let wanted = all_along
                && on_page
                && (request.conversation_id.is_empty() || request.conversation_id == version.message.conversation_id);
            assert!(!wanted || places.contains(&place), "a list leaves out {:?}", version.message);
        }
    }

    /// All times have passed and everything has settled: each came to one end.
    pub fn check_settled(&self) {
        for ((_, id), schedule) in &self.all {
            let is_there = |versions: &[Version]| versions.last().is_some_and(|version| version.until_ms == u64::MAX);
            let (pending, failed) = (is_there(&schedule.pending), is_there(&schedule.failed));
            assert!(!pending, "{id:?} is still to be sent: {schedule:?}");
            assert!(!(schedule.sent && failed), "{id:?} was sent, and is said to have failed: {schedule:?}");
            let came_to_an_end = schedule.sent || schedule.began || failed || schedule.cancelled || !schedule.confirmed;
            assert!(came_to_an_end, "{id:?} was neither sent nor said to have failed: {schedule:?}");
        }
    }

    pub fn sent(&self) -> u64 {
        self.all.values().map(|schedule| u64::from(schedule.sent) + schedule.sent_at.len() as u64).sum()
    }

    /// Of series, also those that were missed.
    pub fn moves(&self) -> u64 {
        self.all.values().map(|schedule| schedule.moves).sum()
    }
}

impl Schedule {
    fn versions(&mut self, kind: TimerKind) -> &mut Vec<Version> {
        if kind == FAILED { &mut self.failed } else { &mut self.pending }
    }

    /// A series goes from a time that was sent, or that was missed and is counted, to one that the rule gives.
    fn check_move(&mut self, message: &v1::ScheduledMessage, latest_ms: u64) {
        let Some(before) = self.pending.last().filter(|version| version.until_ms == u64::MAX) else { return };
        let (Some(old), Some(new)) = (&before.message.recurrence, &message.recurrence) else { return };
        if new.passed == 0 || new.passed == old.passed {
            return;
        }
        let (was_ms, due_ms) = (before.message.due_ms, message.due_ms);
        let by = u64::from(new.passed - old.passed);
        assert_eq!(due_ms, was_ms + by * MINUTE_MS, "{message:?}: the rule gives another time");
        let sent = u64::from(self.sent_at.contains(&was_ms));
        assert_eq!(by, sent + u64::from(new.missed - old.missed), "{message:?}: neither sent nor missed");
        assert!(latest_ms >= was_ms + (by - 1) * MINUTE_MS, "{message:?}: passed over before it was due");
        self.moves += 1;
    }

    fn versions_like(&self, message: &v1::ScheduledMessage) -> &[Version] {
        if message.failure.is_some() { &self.failed } else { &self.pending }
    }
}

fn place(key: &TimerKey) -> (UserId, ClientMsgId) {
    let TimerOwner::User(author) = key.owner else { panic!("{key:?}: a conversation schedules nothing") };
    (author, ClientMsgId(key.id.0))
}

/// As docs/PROTOCOL.md has it.
fn occurrence_id(schedule: ClientMsgId, due_ms: u64) -> ClientMsgId {
    let input = [&b"godwit/1 occurrence"[..], &schedule.0, &due_ms.to_be_bytes()].concat();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &input);
    ClientMsgId::from_slice(&hash.as_ref()[..16]).unwrap()
}

fn conversation_of(message: &v1::ScheduledMessage) -> ConversationId {
    ConversationId::from_slice(&message.conversation_id).unwrap()
}

fn end(versions: &mut [Version], now_ms: u64) {
    if let Some(version) = versions.last_mut() {
        version.until_ms = version.until_ms.min(now_ms);
    }
}

/// Whether there was a time without any, between two points that both belong to it.
fn was_absent(versions: &[Version], from_ms: u64, to_ms: u64) -> bool {
    let mut there_until_ms = from_ms;
    for version in versions {
        if version.from_ms <= there_until_ms && version.until_ms > there_until_ms {
            there_until_ms = version.until_ms;
        }
    }
    there_until_ms <= to_ms
}
