//! Pages of a log. A page is in one bucket, rarely in two, and nothing beyond the head is ever in it.

use super::{
    Log,
    pending::{damaged, entry},
    slot::{PageKey, Slot},
    state::State,
};
use crate::{
    chat::LogEntry,
    store::{
        Direction, LoadedConversation, PageLimit, StoreError,
        rows::MemberRow,
        scylla::tables::{BUCKET_ENTRIES, LogTables, bucket_of},
    },
    telemetry::metric::{HOW, STORE_READS},
};
use futures_util::FutureExt;
use godwit_proto::{ConversationId, Seq, UserId};
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::oneshot;

/// Rows that are asked for first: a page as clients ask for it, and not too much if each is as large as it can be.
const FIRST_ROWS: usize = 64;
/// Bytes that are asked for after that at once, going by how large the rows before them were.
const CHUNK_BYTES: usize = 512 * 1024;
const CHUNK_ROWS: (usize, usize) = (16, 1_024);

impl<T: LogTables> Log<T> {
    /// Goes by the state of a conversation, which is looked up when nobody has yet. With `certain`, an outcome that is unknown is
    /// waited for.
    pub(super) async fn with_state<V>(
        &self,
        slot: &Arc<Slot>,
        certain: bool,
        go: impl Fn(&mut State) -> V,
    ) -> Result<V, StoreError> {
        loop {
            let turn = {
                let mut inner = slot.lock();
                let may_go = !certain || inner.is_certain();
                if let Some(state) = inner.state.as_mut().filter(|_| may_go) {
                    return Ok(go(state));
                }
                inner.push_turn()?
            };
            self.start_worker(slot);
            turn.await.unwrap_or_else(|_| Err(dropped()))?;
        }
    }

    /// A page, which is shared with whoever asks for the same meanwhile.
    pub(super) async fn page(
        &self,
        conversation: ConversationId,
        from: Seq,
        direction: Direction,
        limit: PageLimit,
    ) -> Result<Vec<LogEntry>, StoreError> {
        let slot = self.0.slots.slot(conversation);
        loop {
            let rewrites = slot.lock().rewrites;
            let page = self.page_once(&slot, from, direction, limit).await?;
            // Rows of one commit are overwritten by several mutations, of which a page that was begun before may have seen some.
            if slot.lock().rewrites == rewrites {
                return Ok(page);
            }
        }
    }

    async fn page_once(
        &self,
        slot: &Arc<Slot>,
        from: Seq,
        direction: Direction,
        limit: PageLimit,
    ) -> Result<Vec<LogEntry>, StoreError> {
        let (head, version, rewritten) =
            self.with_state(slot, true, |state| (state.head, state.version, state.rewritten.clone())).await?;
        let is_forward = direction == Direction::Forward;
        let from = if is_forward { from.max(Seq::FIRST) } else { from.min(head) };
        if from > head || from == Seq::ZERO {
            return Ok(Vec::new());
        }
        let key = PageKey { version, from, is_forward, entries: limit.entries, bytes: limit.bytes };
        let page = {
            let mut inner = slot.lock();
            let shared = inner.pages.get(&key).cloned();
            metrics::counter!(STORE_READS, HOW => how(shared.is_some())).increment(1);
            shared.unwrap_or_else(|| {
                let (log, conversation) = (self.clone(), slot.conversation);
                let page = async move { log.rows(conversation, head, &rewritten, from, key.direction(), limit).await };
                let page = page.boxed().shared();
                inner.pages.insert(key, page.clone());
                page
            })
        };
        let page = page.await;
        slot.lock().pages.remove(&key);
        page
    }

    /// Rows as they are now, ascending. `from` is not beyond the head, nor zero.
    pub(super) async fn rows(
        &self,
        conversation: ConversationId,
        head: Seq,
        rewritten: &BTreeMap<Seq, LogEntry>,
        from: Seq,
        direction: Direction,
        limit: PageLimit,
    ) -> Result<Vec<LogEntry>, StoreError> {
        let mut page = Page { entries: Vec::new(), bytes: 0, limit };
        let mut next = from;
        let mut read_bytes = 0;
        let mut asked = FIRST_ROWS;
        loop {
            let bucket = bucket_of(next);
            let first = Seq((bucket * BUCKET_ENTRIES).max(1));
            let last = Seq((bucket * BUCKET_ENTRIES + BUCKET_ENTRIES - 1).min(head.0));
            let seqs = if direction == Direction::Forward { (next, last) } else { (first, next) };
            let count = asked.min(limit.entries.max(1) - page.entries.len());
            let count = count.min((seqs.1.0 - seqs.0.0 + 1) as usize);
            let mut rows = self.0.tables.log_rows(conversation, bucket, seqs, direction, count).await?;
            if direction == Direction::Backward {
                rows.reverse();
            }
            if rows.len() != count {
                return Err(damaged(&format!("{conversation:?} has {} of {count} rows from {next:?} on", rows.len())));
            }
            for row in rows {
                if row.seq != next {
                    return Err(damaged(&format!("{conversation:?} has {:?} in the place of {next:?}", row.seq)));
                }
                read_bytes += row.entry.len();
                let entry = match rewritten.get(&row.seq) {
                    Some(entry) => entry.clone(),
                    None => entry(row.entry)?,
                };
                if !page.push(entry) {
                    return Ok(page.into_entries(direction));
                }
                let is_end = if direction == Direction::Forward { next == head } else { next == Seq::FIRST };
                if is_end {
                    return Ok(page.into_entries(direction));
                }
                next = if direction == Direction::Forward { next.next() } else { Seq(next.0 - 1) };
            }
            if page.entries.len() >= limit.entries {
                return Ok(page.into_entries(direction));
            }
            let row_bytes = (read_bytes / page.entries.len()).max(1);
            let room = CHUNK_BYTES.min(limit.bytes.saturating_sub(page.bytes).saturating_add(row_bytes));
            asked = (room / row_bytes).clamp(CHUNK_ROWS.0, CHUNK_ROWS.1);
        }
    }

    /// One entry that is there.
    pub(super) async fn entry(
        &self,
        conversation: ConversationId,
        seq: Seq,
        rewritten: &BTreeMap<Seq, LogEntry>,
    ) -> Result<LogEntry, StoreError> {
        let one = PageLimit { entries: 1, bytes: 0 };
        let page = self.rows(conversation, seq, rewritten, seq, Direction::Forward, one).await?;
        page.into_iter().next().ok_or_else(|| damaged(&format!("{conversation:?} has no entry {seq:?}")))
    }

    /// A conversation whole, in its turn: after all commits that were asked for before.
    pub(super) async fn load_shared(
        &self,
        conversation: ConversationId,
        tail: usize,
    ) -> Result<Option<LoadedConversation>, StoreError> {
        let slot = self.0.slots.slot(conversation);
        let (answer, answered) = oneshot::channel();
        let is_shared = slot.lock().push_load(tail, answer)?;
        metrics::counter!(STORE_READS, HOW => how(is_shared)).increment(1);
        self.start_worker(&slot);
        answered.await.unwrap_or_else(|_| Err(dropped()))
    }

    /// A conversation whole. Nothing is on its way meanwhile.
    pub(super) async fn load_now(&self, slot: &Slot, tail: usize) -> Result<Option<LoadedConversation>, StoreError> {
        let conversation = slot.conversation;
        let (head, details, rewritten, changed) = {
            let inner = slot.lock();
            let Some(state) = inner.state.as_ref().filter(|state| state.exists) else { return Ok(None) };
            (state.head, state.details.clone(), state.rewritten.clone(), state.members.clone())
        };
        let members = async {
            let rows = self.0.tables.members(conversation).await?;
            let mut cells: BTreeMap<UserId, _> = rows.into_iter().map(|row| (row.user, row.member)).collect();
            cells.extend(changed.into_iter().map(|(user, cell)| (user, cell.value)));
            let there = cells.into_values().filter(|cell| !cell.is_empty());
            there.map(|cell| Ok(MemberRow::read(&cell)?)).collect::<Result<Vec<_>, StoreError>>()
        };
        let tail = async {
            if head == Seq::ZERO {
                return Ok(Vec::new());
            }
            let limit = PageLimit { entries: tail.max(1), bytes: usize::MAX };
            self.rows(conversation, head, &rewritten, head, Direction::Backward, limit).await
        };
        let (members, tail) = futures_util::future::try_join(members, tail).await?;
        Ok(Some(LoadedConversation { details, members, tail }))
    }
}

fn how(is_shared: bool) -> &'static str {
    if is_shared { "shared" } else { "done" }
}

/// The task that would answer has gone, with its runtime.
fn dropped() -> StoreError {
    StoreError::Unavailable("the store was stopped".to_owned())
}

/// What fits into a page.
struct Page {
    entries: Vec<LogEntry>,
    bytes: usize,
    limit: PageLimit,
}

impl Page {
    /// Adds an entry if there is room for it. The first always has.
    fn push(&mut self, entry: LogEntry) -> bool {
        let bytes = self.bytes + entry.encoded.len();
        if !self.entries.is_empty() && (self.entries.len() >= self.limit.entries || bytes > self.limit.bytes) {
            return false;
        }
        self.bytes = bytes;
        self.entries.push(entry);
        true
    }

    fn into_entries(mut self, direction: Direction) -> Vec<LogEntry> {
        if direction == Direction::Backward {
            self.entries.reverse();
        }
        self.entries
    }
}
