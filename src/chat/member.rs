//! A member of a conversation, and how far they have come in it.

use super::{Bans, Expiry, Ordinals, Scheduled};
use godwit_proto::{Seq, UserId};

/// A place in a log: an entry's seq, and the ordinal there. Ordered by seq.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Position {
    /// The last entry that is behind.
    pub seq: Seq,
    /// Unread-worthy entries up to and including it.
    pub ordinal: u64,
}

impl Position {
    /// Before the first entry.
    pub const START: Self = Self { seq: Seq::ZERO, ordinal: 0 };
}

/// What a member may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Reads, writes, leaves.
    Member,
    /// Adds and removes members too, mutes and bans them. A group has exactly one owner while it has members.
    Owner,
}

/// One member's standing in one conversation. The store keeps it as one row, written whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub user: UserId,
    /// Always [`Role::Member`] in a direct conversation.
    pub role: Role,
    /// The entry that made them a member; [`Position::START`] in a direct conversation.
    pub joined: Position,
    /// How far they said they have read, on any device.
    pub read: Position,
    /// The newest message that they sent by hand.
    pub own: Position,
    /// What schedules sent for them after [`position`](Self::position).
    pub scheduled: Scheduled,
    /// The messages whose delivery ended before they had them: by ordinal, all there ever were.
    pub missed: Ordinals,
    /// They may not write before then, in milliseconds since the epoch. 0: they may; [`NEVER_MS`](super::NEVER_MS): never
    /// again by themselves. The owner is never muted.
    pub muted_until_ms: u64,
}

impl Member {
    /// Somebody who has read nothing yet.
    pub fn new(user: UserId, role: Role, joined: Position) -> Self {
        Self {
            user,
            role,
            joined,
            read: Position::START,
            own: Position::START,
            scheduled: Scheduled::NONE,
            missed: Ordinals::NONE,
            muted_until_ms: 0,
        }
    }

    /// Where unread starts to count: the furthest of joined, read and own last message by hand.
    pub fn position(&self) -> Position {
        self.joined.max(self.read).max(self.own)
    }

    /// Unread messages, given the newest entry that counts and the messages that were withdrawn for everybody. The row may
    /// know of later ones.
    pub fn unread(&self, last: Position, withdrawn: &Ordinals) -> u64 {
        let after = self.position().ordinal;
        let gone = withdrawn.count_with(&self.missed, after, last.ordinal);
        let own = self.scheduled.count(last.seq);
        last.ordinal.saturating_sub(after).saturating_sub(own).saturating_sub(gone)
    }

    /// They said that they have read up to here, which is further than their position.
    pub(super) fn on_read(&mut self, position: Position) {
        self.read = position;
        self.scheduled.forget(position.seq);
    }

    /// They sent this by hand.
    pub(super) fn on_sent(&mut self, position: Position) {
        self.own = position;
        self.scheduled.forget(position.seq);
    }

    /// The first entry that they may read.
    pub fn first_seq(&self) -> Seq {
        self.joined.seq.max(Seq::FIRST)
    }
}

/// A change to a conversation's members, as the store writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberChange {
    /// Inserts or overwrites the whole row.
    Put(Member),
    /// Overwrites the row of somebody who is a member already: what every message does to its sender.
    Update(Member),
    /// Takes the member out.
    Remove(UserId),
}

impl MemberChange {
    /// Whose row it is.
    pub fn user(&self) -> UserId {
        match self {
            Self::Put(member) | Self::Update(member) => member.user,
            Self::Remove(user) => *user,
        }
    }
}

/// What is true of a whole conversation. The store keeps it as one row, written whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConversationDetails {
    /// What a group is called, at most 128 bytes. A direct conversation has an empty title.
    pub title: String,
    /// How messages expire that say nothing else.
    pub expiry: Expiry,
    /// The messages that were withdrawn for everybody, by ordinal. None of them is in a member's
    /// [`scheduled`](Member::scheduled).
    pub withdrawn: Ordinals,
    /// The newest message that expires from being read.
    pub expires_from_reading: Seq,
    /// Who may not be added to a group.
    pub bans: Bans,
}
