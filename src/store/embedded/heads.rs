//! The newest seq of the conversations that the commit thread saw last.

use foldhash::{HashMap, HashMapExt};
use godwit_proto::{ConversationId, Seq};

/// A bounded cache in two generations: when the young one is full, it becomes the old one, and what nobody asked for
/// since is forgotten with the old one. No list to maintain on every hit.
pub(super) struct Heads {
    young: HashMap<ConversationId, Seq>,
    old: HashMap<ConversationId, Seq>,
    generation_max: usize,
}

impl Heads {
    /// Remembers between `max` and twice as many.
    pub(super) fn new(max: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), generation_max: max.max(1) }
    }

    pub(super) fn find(&mut self, conversation: ConversationId) -> Option<Seq> {
        if let Some(head) = self.young.get(&conversation) {
            return Some(*head);
        }
        let head = self.old.remove(&conversation)?;
        self.put(conversation, head);
        Some(head)
    }

    pub(super) fn put(&mut self, conversation: ConversationId, head: Seq) {
        if self.young.len() >= self.generation_max && !self.young.contains_key(&conversation) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(conversation, head);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn conversation(n: u8) -> ConversationId {
        ConversationId::group([n; 16])
    }

    #[test]
    fn the_newest_head_counts_whichever_generation_it_was_in() {
        let mut heads = Heads::new(2);
        heads.put(conversation(1), Seq(1));
        heads.put(conversation(2), Seq(1));
        heads.put(conversation(3), Seq(1));
        heads.put(conversation(1), Seq(2));
        assert_eq!(heads.find(conversation(1)), Some(Seq(2)));
        assert_eq!(heads.find(conversation(2)), Some(Seq(1)));
        assert_eq!(heads.find(conversation(1)), Some(Seq(2)));
    }

    #[test]
    fn what_nobody_asks_for_is_forgotten() {
        let mut heads = Heads::new(2);
        for n in 0..100 {
            heads.put(conversation(n), Seq(u64::from(n)));
            assert!(heads.young.len() + heads.old.len() <= 4);
        }
        assert_eq!(heads.find(conversation(0)), None);
        assert_eq!(heads.find(conversation(99)), Some(Seq(99)));
    }
}
