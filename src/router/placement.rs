//! Which core owns which virtual shard.

use super::CoreId;
use godwit_proto::{ConversationId, UserId, Vshard};

/// The placement of one machine: fixed, `vshard % cores`, which is also what steering does with the vshard that a client
/// puts into its first connection ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    cores: u16,
}

impl Placement {
    /// Spreads all vshards over this many cores, 1..=4096.
    pub fn new(cores: u16) -> Self {
        assert!(cores > 0 && cores <= godwit_proto::VSHARDS, "{cores} cores");
        Self { cores }
    }

    /// How many cores there are.
    pub fn cores(self) -> u16 {
        self.cores
    }

    /// The owner of a user's sessions and presence.
    pub fn of_user(self, user: UserId) -> CoreId {
        self.of(Vshard::of_user(user))
    }

    /// The single writer of a conversation.
    pub fn of_conversation(self, conversation: ConversationId) -> CoreId {
        self.of(Vshard::of_conversation(conversation))
    }

    /// The owner of a slot.
    pub fn of(self, vshard: Vshard) -> CoreId {
        CoreId(vshard.index() % self.cores)
    }
}
