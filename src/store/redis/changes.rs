//! What a commit means for the summaries, and how the script is told.

use super::{encode, keys::Subject};
use crate::{
    chat::{LogEntry, MemberChange},
    store::{Commit, ConversationDetails, StoredSummary},
};
use godwit_proto::{ConversationId, Seq, UserId};
use redis::Cmd;

/// Rows of members in one change. A larger one is forgotten instead, so that no script keeps Redis busy for long.
const MEMBERS_MAX: usize = 64;

/// A change of one key.
#[derive(Debug)]
pub(super) enum Change {
    /// What a commit did to its conversation.
    Committed(Box<Committed>),
    /// A line that was made from the store.
    Rebuilt(ConversationId, Box<StoredSummary>),
    /// The list of a user, made from the store.
    RebuiltList(UserId, Vec<ConversationId>),
    /// Nobody knows what is true; the next who asks reads the store.
    Forget(Subject),
}

/// The part of a [`Commit`] that a list shows.
#[derive(Debug)]
pub(super) struct Committed {
    conversation: ConversationId,
    after: Seq,
    /// The newest of the new entries, and the newest of them that there is something to show of.
    last: Option<LogEntry>,
    shown: Option<LogEntry>,
    /// The newest entry that was replaced, [`Seq::ZERO`] for none.
    rewritten: Seq,
    details: Option<ConversationDetails>,
    members: Vec<MemberChange>,
}

impl Committed {
    pub(super) fn of(commit: &Commit) -> Self {
        Self {
            conversation: commit.conversation,
            after: commit.after,
            last: commit.entries.last().cloned(),
            shown: commit.entries.iter().rev().find(|entry| entry.is_shown).cloned(),
            rewritten: commit.rewritten.iter().map(|entry| entry.seq).max().unwrap_or(Seq::ZERO),
            details: commit.details.clone(),
            members: commit.members.clone(),
        }
    }

    pub(super) fn subject(&self) -> Subject {
        Subject::Conversation(self.conversation)
    }

    pub(super) fn is_small(&self) -> bool {
        self.members.len() <= MEMBERS_MAX
    }

    pub(super) fn conversation(&self) -> ConversationId {
        self.conversation
    }

    /// Whoever may have come or gone.
    pub(super) fn come_and_gone(&self) -> Vec<UserId> {
        let come_or_gone = |change: &&MemberChange| !matches!(change, MemberChange::Update(_));
        let mut users: Vec<_> = self.members.iter().filter(come_or_gone).map(MemberChange::user).collect();
        users.sort_unstable();
        users.dedup();
        users
    }

    fn args(&self, cmd: &mut Cmd) {
        let is_same = self.shown.is_some() && self.shown == self.last;
        let shown: &[u8] = match &self.shown {
            Some(_) if is_same => encode::SAME,
            Some(shown) => &shown.encoded,
            None => b"",
        };
        let recount = self.members.iter().any(|change| !matches!(change, MemberChange::Update(_)));
        cmd.arg("c").arg(self.after.0).arg(self.rewritten.0).arg(u8::from(recount));
        cmd.arg(self.last.as_ref().map_or(&b""[..], |last| &last.encoded)).arg(seq(self.last.as_ref()));
        cmd.arg(shown).arg(seq(self.shown.as_ref()));
        match &self.details {
            // Details may be encoded as nothing at all.
            Some(details) => cmd.arg([b"=", &*encode::details(details)].concat()),
            None => cmd.arg(""),
        };
        cmd.arg(self.members.len());
        for change in &self.members {
            let row = match change {
                MemberChange::Put(member) | MemberChange::Update(member) => encode::member(member),
                MemberChange::Remove(_) => Vec::new(),
            };
            cmd.arg(encode::member_field(change.user())).arg(row);
        }
    }
}

impl Change {
    pub(super) fn subject(&self) -> Subject {
        match self {
            Self::Committed(committed) => committed.subject(),
            Self::Rebuilt(conversation, _) => Subject::Conversation(*conversation),
            Self::RebuiltList(user, _) => Subject::List(*user),
            Self::Forget(subject) => *subject,
        }
    }

    /// About what it takes on the wire.
    pub(super) fn bytes(&self) -> usize {
        let entry = |entry: &Option<LogEntry>| entry.as_ref().map_or(0, |entry| entry.encoded.len());
        200 + match self {
            Self::Committed(committed) => {
                entry(&committed.last) + entry(&committed.shown) + 100 * committed.members.len()
            }
            Self::Rebuilt(_, summary) => entry(&summary.last) + entry(&summary.shown),
            Self::RebuiltList(_, ids) => 16 * ids.len(),
            Self::Forget(_) => 0,
        }
    }

    /// What `write.lua` takes for it.
    pub(super) fn args(&self, cmd: &mut Cmd) {
        match self {
            Self::Committed(committed) => committed.args(cmd),
            Self::Rebuilt(_, summary) => {
                cmd.arg("r");
                for field in encode::line(summary) {
                    cmd.arg(field);
                }
            }
            Self::RebuiltList(_, ids) => {
                cmd.arg("l").arg(encode::list(ids));
            }
            Self::Forget(_) => {
                cmd.arg("f");
            }
        }
    }
}

fn seq(entry: Option<&LogEntry>) -> u64 {
    entry.map_or(0, |entry| entry.seq.0)
}
