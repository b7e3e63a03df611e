//! What schedules sent for a member who has not looked since.

use godwit_proto::Seq;
use std::sync::Arc;

/// Messages that schedules may send for a member before the member looks again. Each is a few bytes of the member's row,
/// which is written whole.
pub const SCHEDULED_UNREAD_MAX: usize = 256;

/// The seqs of a member's own scheduled messages after the member's position, ascending; at most
/// [`SCHEDULED_UNREAD_MAX`].
///
/// Nearly always there are none. Then it is one word without memory of its own, because every message copies its sender's
/// row; otherwise the copies share one list until it grows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scheduled(Option<Arc<Vec<Seq>>>);

impl Scheduled {
    /// None.
    pub const NONE: Self = Self(None);

    /// All of them, ascending.
    pub fn seqs(&self) -> &[Seq] {
        self.0.as_ref().map_or(&[], |seqs| seqs)
    }

    /// How many there are up to an entry.
    pub fn count(&self, last: Seq) -> u64 {
        match &self.0 {
            None => 0,
            Some(seqs) => seqs.partition_point(|seq| *seq <= last) as u64,
        }
    }

    /// There are as many as there may be.
    pub(super) fn is_full(&self) -> bool {
        self.seqs().len() >= SCHEDULED_UNREAD_MAX
    }

    /// Adds one after all others.
    pub(super) fn push(&mut self, seq: Seq) {
        Arc::make_mut(self.0.get_or_insert_default()).push(seq);
    }

    /// Takes one out. Returns whether it was there.
    pub(super) fn remove(&mut self, seq: Seq) -> bool {
        let found = self.seqs().binary_search(&seq).is_ok();
        if found {
            *self = self.seqs().iter().copied().filter(|other| *other != seq).collect();
        }
        found
    }

    /// Forgets those up to the member's position.
    pub(super) fn forget(&mut self, position: Seq) {
        if self.0.is_some() {
            let rest = &self.seqs()[self.count(position) as usize..];
            *self = rest.iter().copied().collect();
        }
    }
}

impl FromIterator<Seq> for Scheduled {
    /// They must be ascending.
    fn from_iter<I: IntoIterator<Item = Seq>>(seqs: I) -> Self {
        let seqs: Vec<Seq> = seqs.into_iter().collect();
        Self((!seqs.is_empty()).then(|| Arc::new(seqs)))
    }
}
