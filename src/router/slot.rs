//! The place of one conversation in its owner's memory.

use super::{CoreId, ReplyTo};
use crate::chat::{Conversation, Input};
use godwit_proto::{Seq, UserId};
use std::{collections::VecDeque, sync::Arc};

/// One conversation, loaded or on its way.
pub struct Slot {
    /// `None` while it is loaded.
    pub conversation: Option<Conversation<ReplyTo>>,
    /// The store was asked something; inputs wait until it answers.
    pub waiting: bool,
    /// The number of the question that the store was asked. An answer to another one is late, and says what is not true
    /// any more.
    pub question: Option<u64>,
    pub parked: VecDeque<Input<ReplyTo>>,
    /// Used since the clock came by.
    pub touched: bool,
    /// Set from the first change that failed until it is loaded again.
    pub loss: Option<Loss>,
    /// The members by the core that owns them, for the recipients that they were made from.
    pub by_core: Option<(Arc<[UserId]>, Grouped)>,
}

/// What a lost conversation leaves to be told once it is loaded again: some of its changes may have been written although
/// nobody knew.
pub struct Loss {
    /// Entries up to here were pushed before.
    pub pushed: Seq,
    /// Changes since then: at most so many entries are to be pushed.
    pub changes: usize,
    /// Whose read position may have moved.
    pub readers: Vec<UserId>,
}

/// Users by the core that owns them.
pub type Grouped = Arc<[(CoreId, Arc<[UserId]>)]>;

impl Slot {
    pub fn loading() -> Self {
        Self {
            conversation: None,
            waiting: true,
            question: None,
            parked: VecDeque::new(),
            touched: true,
            loss: None,
            by_core: None,
        }
    }

    /// Whether an input can be handled at once.
    pub fn is_ready(&self) -> bool {
        !self.waiting && self.parked.is_empty() && self.conversation.is_some()
    }

    /// Whether letting go of it loses nothing.
    pub fn is_idle(&self) -> bool {
        !self.waiting && self.parked.is_empty() && self.conversation.as_ref().is_some_and(Conversation::is_idle)
    }
}
