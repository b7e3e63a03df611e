//! Reads everything back from devices that the server has never seen, and compares it with the corpus.

use super::{
    accounts::Dialer,
    faults::{Fault, Faults},
    live::Live,
    log_check::LogCheck,
    recount::Recount,
    summary_check::{ReadLog, check_summary},
};
use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use godwit_client::{
    Client, ConversationId, Seq,
    v1::{ConversationSummary, Direction, Entry},
};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::task::JoinSet;

/// What members marked as read: by account and conversation.
pub type Marks = HashMap<(usize, usize), Seq>;

/// Reads every conversation as each of its members, counting entries in `done`.
pub async fn read_back(
    live: Arc<Live>,
    dialer: Arc<Dialer>,
    marks: Arc<Marks>,
    done: Arc<AtomicU64>,
) -> anyhow::Result<Faults> {
    let memberships = live.expected.plan.memberships();
    stream::iter(memberships.into_iter().enumerate())
        .map(|(account, memberships)| {
            let (live, dialer, marks, done) = (live.clone(), dialer.clone(), marks.clone(), done.clone());
            // A task each, so that more than one core compares. The set ends its task when it is dropped.
            let mut task = JoinSet::new();
            task.spawn(async move {
                let user = Some(live.expected.users[account]);
                // Nothing reads these events: the client discards what is pushed.
                let (client, _) = dialer.fresh_device(account, user).await?;
                let mut reader =
                    Reader { live: &live, client, account, marks: &marks, done: &done, faults: Faults::default() };
                reader.read_account(&memberships).await?;
                reader.client.shutdown().await;
                anyhow::Ok(reader.faults)
            });
            async move { task.join_next().await.context("a reader did not start")?.context("a reader")? }
        })
        .buffer_unordered(READING_MAX)
        .try_fold(Faults::default(), |mut all, faults| async {
            all.merge(faults);
            Ok(all)
        })
        .await
}

/// One account's fresh device.
struct Reader<'a> {
    live: &'a Live,
    client: Client,
    account: usize,
    marks: &'a Marks,
    done: &'a AtomicU64,
    faults: Faults,
}

impl Reader<'_> {
    async fn read_account(&mut self, memberships: &[(usize, usize)]) -> anyhow::Result<()> {
        let (mut summaries, unread_total) = self.list().await?;
        let mut unread_counted = 0;
        for &(conversation, slot) in memberships {
            let id = self.live.directory.ids[conversation];
            let members = &self.live.expected.plan.conversations[conversation].members;
            let log = self.read_forward(conversation, id).await?;
            unread_counted += log.recount.unread();
            match summaries.remove(&id) {
                Some(summary) => {
                    let found = check_summary(&summary, &log, members.len());
                    self.report(conversation, Fault::UnreadWrong, found.unread);
                    self.report(conversation, Fault::Altered, found.other);
                }
                None => self.report(conversation, Fault::UnreadWrong, Some("not in the list".into())),
            }
            if members[slot].reads_backward {
                self.read_backward(conversation, id).await?;
            }
        }
        let number = self.live.expected.plan.accounts[self.account];
        for id in summaries.keys() {
            self.faults.add(Fault::Unexpected, || format!("{number} has {id:?} in the list, where nothing was sent"));
        }
        if unread_total != unread_counted {
            let words = || format!("{number} has {unread_total} unread in all, but {unread_counted} by counting");
            self.faults.add(Fault::UnreadWrong, words);
        }
        Ok(())
    }

    /// The whole conversation list, and unread in all conversations.
    async fn list(&mut self) -> anyhow::Result<(HashMap<ConversationId, ConversationSummary>, u64)> {
        let number = self.live.expected.plan.accounts[self.account];
        let mut summaries = HashMap::new();
        let mut last = None;
        loop {
            let page = self.client.conversations(0, last.as_ref()).await.context("reading a conversation list")?;
            let before = summaries.len();
            last = page.conversations.last().cloned();
            for summary in page.conversations {
                let id = ConversationId::from_slice(&summary.conversation_id)?;
                if summaries.insert(id, summary).is_some() {
                    self.faults.add(Fault::Duplicated, || format!("{number} has {id:?} twice in the list"));
                }
            }
            if !page.more {
                return Ok((summaries, page.unread_total));
            }
            if summaries.len() == before {
                self.faults.add(Fault::Lost, || format!("the list of {number} has more pages, but they hold nothing"));
                return Ok((summaries, page.unread_total));
            }
        }
    }

    /// The log from its beginning, and what it says about unread.
    async fn read_forward(&mut self, conversation: usize, id: ConversationId) -> anyhow::Result<ReadLog> {
        let expected = &self.live.expected;
        let marked = self.marks.get(&(self.account, conversation)).map_or(0, |seq| seq.as_u64());
        let mut check = LogCheck::new(expected, conversation, self.account, "read back");
        let recount = Recount::new(expected.users[self.account], marked);
        let mut log = ReadLog { recount, first_seq: 0, last: None };
        let mut from = Seq::FIRST;
        loop {
            let page = self.client.history(id, from, Direction::Forward, 0).await;
            let page = page.with_context(|| format!("reading {}", expected.plan.describe(conversation)))?;
            for entry in &page.entries {
                self.check_entry(conversation, &mut check, entry);
                log.recount.on_entry(entry);
            }
            log.first_seq = page.first_seq;
            self.done.fetch_add(page.entries.len() as u64, Ordering::Relaxed);
            let read_to = page.entries.last().map_or(0, |entry| entry.seq);
            log.last = page.entries.into_iter().last().or(log.last);
            if page.more != (read_to < page.last_seq) {
                let words = format!("a page up to seq {read_to} of {} says more: {}", page.last_seq, page.more);
                self.report(conversation, Fault::Altered, Some(words));
            }
            if !page.more || read_to < from.as_u64() {
                break;
            }
            from = Seq(read_to).next();
        }
        check.finish(expected, &mut self.faults);
        Ok(log)
    }

    /// The same log from its end. Its entries are checked in the order of the log.
    async fn read_backward(&mut self, conversation: usize, id: ConversationId) -> anyhow::Result<()> {
        let expected = &self.live.expected;
        let mut pages = Vec::new();
        let mut from = Seq::ZERO;
        loop {
            let page = self.client.history(id, from, Direction::Backward, BACKWARD_PAGE_ENTRIES).await;
            let page = page.with_context(|| format!("reading {} backwards", expected.plan.describe(conversation)))?;
            let reached = page.entries.first().map_or(0, |entry| entry.seq);
            pages.push(page.entries);
            if !page.more || reached <= 1 {
                break;
            }
            from = Seq(reached - 1);
        }
        let mut check = LogCheck::new(expected, conversation, self.account, "read backwards");
        for entry in pages.iter().rev().flatten() {
            self.check_entry(conversation, &mut check, entry);
        }
        check.finish(expected, &mut self.faults);
        Ok(())
    }

    fn check_entry(&mut self, conversation: usize, check: &mut LogCheck, entry: &Entry) {
        let expected = &self.live.expected;
        let Some(position) = check.on_entry(expected, entry, &mut self.faults) else { return };
        let message = expected.plan.conversations[conversation].messages[position];
        if let Some(acked) = self.live.acked_seq(message)
            && acked != entry.seq
        {
            let words = format!("message {message} was acknowledged as seq {acked} and is seq {}", entry.seq);
            self.report(conversation, Fault::Altered, Some(words));
        }
    }

    fn report(&mut self, conversation: usize, fault: Fault, words: Option<String>) {
        let Some(words) = words else { return };
        let plan = &self.live.expected.plan;
        let number = plan.accounts[self.account];
        self.faults.add(fault, || format!("{}, read back by {number}: {words}", plan.describe(conversation)));
    }
}

const READING_MAX: usize = 32;
const BACKWARD_PAGE_ENTRIES: u32 = 100;
