//! What has to be read before something that is due can be done.

use super::timer;
use crate::{
    chat::{LogEntry, Sanction},
    store::{Direction, PageLimit, Store, StoreError, TimerId, TimerKey, TimerKind, TimerOwner, TimerRow},
};
use foldhash::HashSet;
use godwit_proto::{
    ConversationId, Seq, UserId,
    v1::{Message, entry::Content},
};
use std::sync::Arc;

/// Entries that are looked at in one go.
const PAGE: PageLimit = PageLimit { entries: 128, bytes: 1024 * 1024 };
/// Recipients that are read in one go.
const RECIPIENTS_PER_PAGE: usize = 512;

/// What there is to be done.
#[derive(Debug)]
pub enum Found {
    /// These are in the log, of what is due to disappear.
    Expired(Vec<LogEntry>),
    /// These begin to expire.
    Started {
        entries: Vec<LogEntry>,
        read_ms: u64,
        /// There is more to look at after them.
        rest: Option<TimerRow>,
    },
    /// A delivery ends.
    Delivery {
        /// `None`: there is nothing to be ended.
        entry: Option<LogEntry>,
        missed: Vec<UserId>,
        /// The timers that say who has it.
        confirmed: Vec<TimerKey>,
    },
    /// What a delivery was to end of is not in the log.
    NothingYet,
    /// A mute or a ban was to end. The conversation itself knows whether it is to end still.
    SanctionEnd {
        sanction: Sanction,
        user: UserId,
        /// The entry that it began with.
        since: Seq,
        until_ms: u64,
    },
}

/// Reads what these timers, all of one kind, are about.
pub async fn find(
    store: Arc<dyn Store>,
    conversation: ConversationId,
    rows: Vec<TimerRow>,
) -> Result<Found, StoreError> {
    if let Some(end) = rows.first().and_then(sanction_end) {
        return Ok(end);
    }
    match rows.first() {
        Some(row) if row.key.kind == TimerKind::EXPIRY_START => started(&*store, conversation, row).await,
        Some(row) if row.key.kind == TimerKind::DELIVERY_END => delivery(&*store, conversation, row).await,
        _ => expired(&*store, conversation, &rows).await,
    }
}

/// All about it is in the timer.
fn sanction_end(row: &TimerRow) -> Option<Found> {
    let sanction = match row.key.kind {
        TimerKind::MUTE_END => Sanction::Mute,
        TimerKind::BAN_END => Sanction::Ban,
        _ => return None,
    };
    let (user, since) = (timer::user(&row.key)?, timer::seq(&row.key)?);
    Some(Found::SanctionEnd { sanction, user, since, until_ms: row.due_ms })
}

async fn expired(store: &dyn Store, conversation: ConversationId, rows: &[TimerRow]) -> Result<Found, StoreError> {
    let mut due: Vec<(Seq, &TimerRow)> = rows.iter().filter_map(|row| Some((timer::seq(&row.key)?, row))).collect();
    due.sort_unstable_by_key(|(seq, _)| *seq);
    let mut entries = Vec::with_capacity(due.len());
    let mut rest = &due[..];
    while let Some(&(first, _)) = rest.first() {
        let page = store.read(conversation, first, Direction::Forward, PAGE).await?;
        let upto = page.last().map_or(first, |last| last.seq.max(first));
        let (here, later) = rest.split_at(rest.partition_point(|(seq, _)| *seq <= upto));
        let is_due = |entry: &LogEntry| {
            let mut of_seq = here[here.partition_point(|(seq, _)| *seq < entry.seq)..].iter();
            of_seq.any(|(seq, row)| *seq == entry.seq && is_about(row, entry, |message| message.expires_ms))
        };
        entries.extend(page.into_iter().filter(is_due));
        rest = later;
    }
    Ok(Found::Expired(entries))
}

/// Whether an entry is the one that a timer was made for, or what is left of that.
fn is_about(row: &TimerRow, entry: &LogEntry, due_ms: impl Fn(&Message) -> u64) -> bool {
    message(entry).is_none_or(|message| timer::is_for(row, due_ms(&message)))
}

async fn started(store: &dyn Store, conversation: ConversationId, row: &TimerRow) -> Result<Found, StoreError> {
    let (read_ms, reader) = (row.due_ms, timer::user(&row.key));
    let (after, upto) = (timer::after(row).unwrap_or(Seq::ZERO), timer::seq(&row.key).unwrap_or(Seq::ZERO));
    let page = store.read(conversation, after.next(), Direction::Forward, PAGE).await?;
    let last = page.last().map(|entry| entry.seq).filter(|last| *last < upto);
    let rest = last.map(|last| {
        let payload = last.as_u64().to_be_bytes().to_vec().into();
        TimerRow { payload, ..row.clone() }
    });
    let begins = |message: &Message| message.expires_after_read_ms > 0 && message.expires_ms == 0;
    let is_read = |entry: &LogEntry| entry.seq <= upto && Some(entry.sender) != reader;
    let entries = page.into_iter().filter(|entry| is_read(entry) && message(entry).as_ref().is_some_and(begins));
    Ok(Found::Started { entries: entries.collect(), read_ms, rest })
}

async fn delivery(store: &dyn Store, conversation: ConversationId, row: &TimerRow) -> Result<Found, StoreError> {
    let seq = timer::seq(&row.key).unwrap_or(Seq::ZERO);
    let entry = store.read(conversation, seq, Direction::Forward, PageLimit { entries: 1, bytes: 1 }).await?;
    let is_about = |entry: &LogEntry| entry.seq == seq && is_about(row, entry, |message| message.deliver_by_ms);
    let Some(entry) = entry.into_iter().find(is_about) else { return Ok(Found::NothingYet) };
    let open = message(&entry).map(|message| (message, entry));
    let open = open.filter(|(message, _)| message.deliver_by_ms > 0 && !message.delivery_ended);
    let Some((open, entry)) = open else {
        return Ok(Found::Delivery { entry: None, missed: Vec::new(), confirmed: Vec::new() });
    };
    let confirmed = confirmed(store, conversation, seq, open.deliver_by_ms).await?;
    let have: HashSet<UserId> = confirmed.iter().filter_map(timer::user).collect();
    let members = store.load(conversation, 1).await?.map(|loaded| loaded.members).unwrap_or_default();
    let was_there = members.iter().filter(|member| member.joined.seq < seq && member.user != entry.sender);
    let missed = was_there.map(|member| member.user).filter(|user| !have.contains(user)).collect();
    Ok(Found::Delivery { entry: Some(entry), missed, confirmed })
}

/// The timers that say who has a message.
async fn confirmed(
    store: &dyn Store,
    conversation: ConversationId,
    seq: Seq,
    deliver_by_ms: u64,
) -> Result<Vec<TimerKey>, StoreError> {
    let due_ms = timer::delivered_due_ms(deliver_by_ms);
    let owner = TimerOwner::Conversation(conversation);
    // Those of one message are due at the same time; others may be too.
    let mut after = Some((due_ms - 1, TimerId([u8::MAX; 16])));
    let mut confirmed = Vec::new();
    loop {
        let rows = store.timers_of(TimerKind::DELIVERED, owner, after, RECIPIENTS_PER_PAGE).await?;
        let here = rows.iter().filter(|row| row.due_ms == due_ms && timer::seq(&row.key) == Some(seq));
        confirmed.extend(here.map(|row| row.key));
        match rows.last() {
            Some(last) if rows.len() == RECIPIENTS_PER_PAGE && last.due_ms == due_ms => {
                after = Some((last.due_ms, last.key.id));
            }
            _ => return Ok(confirmed),
        }
    }
}

fn message(entry: &LogEntry) -> Option<Message> {
    match entry.to_proto().content {
        Some(Content::Message(message)) => Some(message),
        _ => None,
    }
}
