//! Which commits of a turn may be written.

use super::{error::RowError, heads::Heads, rows::ConversationRow, shared::Shared, timers::TimerTurn};
use crate::{
    chat::LogEntry,
    store::{Commit, CommitOutcome, Direction, PageLimit, StoreError},
};
use foldhash::{HashMap, HashMapExt};
use godwit_proto::{ConversationId, Seq};
use prost::Message;

/// The commits of a turn that were admitted so far.
pub(super) struct Turn<'a> {
    shared: &'a Shared,
    known_heads: &'a mut Heads,
    admitted: Vec<Commit>,
    /// Where the logs will stand after this turn. Kept apart until it is synced, so that a turn that fails leaves nothing.
    heads: HashMap<ConversationId, Seq>,
}

impl<'a> Turn<'a> {
    pub(super) fn new(shared: &'a Shared, known_heads: &'a mut Heads) -> Self {
        Self { shared, known_heads, admitted: Vec::new(), heads: HashMap::new() }
    }

    /// Admits a commit that continues its log, and its timers with it. The outcome holds once the turn is synced.
    pub(super) fn admit(&mut self, mut commit: Commit, timers: &mut TimerTurn<'_>) -> CommitOutcome {
        match self.judge(&commit) {
            Ok(CommitOutcome::Durable) => {
                if let Err(error) = timers.admit_all(std::mem::take(&mut commit.timers)) {
                    return CommitOutcome::NotWritten(error);
                }
                let head = commit.entries.last().map_or(commit.after, |entry| entry.seq);
                self.heads.insert(commit.conversation, head);
                self.admitted.push(commit);
                CommitOutcome::Durable
            }
            Ok(outcome) => outcome,
            Err(error) => CommitOutcome::NotWritten(StoreError::from(error)),
        }
    }

    /// What is to be written, and where it leaves each log.
    pub(super) fn finish(self) -> (Vec<Commit>, HashMap<ConversationId, Seq>) {
        (self.admitted, self.heads)
    }

    fn judge(&mut self, commit: &Commit) -> Result<CommitOutcome, RowError> {
        let head = self.head(commit.conversation)?;
        if head == commit.after {
            return Ok(CommitOutcome::Durable);
        }
        let Some(last) = commit.entries.last() else { return Ok(CommitOutcome::Conflict) };
        let there = last.seq <= head && self.has_exactly(commit.conversation, &commit.entries)?;
        Ok(if there { CommitOutcome::AlreadyDurable } else { CommitOutcome::Conflict })
    }

    fn head(&mut self, conversation: ConversationId) -> Result<Seq, RowError> {
        if let Some(head) = self.heads.get(&conversation) {
            return Ok(*head);
        }
        if let Some(head) = self.known_heads.find(conversation) {
            return Ok(head);
        }
        let head = self.shared.head(conversation)?;
        self.known_heads.put(conversation, head);
        Ok(head)
    }

    /// Whether the log has these entries, in what is durable or in what this turn adds and rewrites.
    fn has_exactly(&self, conversation: ConversationId, entries: &[LogEntry]) -> Result<bool, RowError> {
        let Some(first) = entries.first() else { return Ok(true) };
        let limit = PageLimit { entries: entries.len(), bytes: usize::MAX };
        let mut there = self.shared.read_log(conversation, first.seq, Direction::Forward, limit)?;
        for admitted in self.admitted.iter().filter(|admitted| admitted.conversation == conversation) {
            for rewritten in &admitted.rewritten {
                there
                    .iter_mut()
                    .filter(|entry| entry.seq == rewritten.seq)
                    .for_each(|entry| *entry = rewritten.clone());
            }
            there.extend(admitted.entries.iter().filter(|entry| entry.seq >= first.seq).cloned());
        }
        there.truncate(entries.len());
        Ok(there == entries)
    }
}

impl Shared {
    /// The newest durable seq of a log.
    fn head(&self, conversation: ConversationId) -> Result<Seq, RowError> {
        // The overlay first: what has left it by then is in the rows.
        if let Some(head) = self.overlay(|overlay| overlay.find(conversation).and_then(|pending| pending.head())) {
            return Ok(head);
        }
        match self.keyspaces.conversations.get(conversation.as_bytes())? {
            Some(value) => Ok(Seq(ConversationRow::decode(&*value)?.head)),
            None => Ok(Seq::ZERO),
        }
    }
}
