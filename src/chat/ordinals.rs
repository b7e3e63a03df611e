//! Messages of a conversation that do not count, by their ordinals.

use roaring::RoaringTreemap;
use std::{fmt, sync::Arc};

/// A compressed set of ordinals.
///
/// Ordinals and not seqs, because those of messages that were withdrawn one after the other are dense, whatever the entries
/// between them, and a stretch takes a few bytes however long it is. At worst it is a bit for every message.
///
/// Nearly always it is empty. Then it is one word without memory of its own, because every message copies its sender's row;
/// otherwise the copies share one set until it changes.
#[derive(Clone, PartialEq, Default)]
pub struct Ordinals(Option<Arc<RoaringTreemap>>);

impl Ordinals {
    /// None.
    pub const NONE: Self = Self(None);

    /// How many there are after one ordinal and up to another.
    pub fn count(&self, after: u64, upto: u64) -> u64 {
        match &self.0 {
            None => 0,
            Some(set) => set.rank(upto).saturating_sub(set.rank(after)),
        }
    }

    /// As [`count`](Self::count), of those in this set or in `other`.
    pub fn count_with(&self, other: &Self, after: u64, upto: u64) -> u64 {
        match &other.0 {
            None => self.count(after, upto),
            Some(others) => {
                let more = others.iter().skip_while(|ordinal| *ordinal <= after).take_while(|ordinal| *ordinal <= upto);
                self.count(after, upto) + more.filter(|ordinal| !self.contains(*ordinal)).count() as u64
            }
        }
    }

    /// Whether it is among them.
    pub fn contains(&self, ordinal: u64) -> bool {
        self.0.as_ref().is_some_and(|set| set.contains(ordinal))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Adds one. Returns whether it was new.
    pub fn insert(&mut self, ordinal: u64) -> bool {
        Arc::make_mut(self.0.get_or_insert_default()).insert(ordinal)
    }

    /// Bytes of [`to_bytes`](Self::to_bytes), about.
    pub fn encoded_len(&self) -> usize {
        self.0.as_ref().map_or(0, |set| set.serialized_size())
    }

    /// As the store keeps it: Roaring's portable format for 64 bits; nothing when it is empty.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.encoded_len());
        if let Some(set) = &self.0 {
            let mut set = RoaringTreemap::clone(set);
            set.optimize();
            // A vector takes whatever is written to it.
            set.serialize_into(&mut bytes).unwrap_or_else(|error| unreachable!("no room in memory: {error}"));
        }
        bytes
    }

    /// From what the store kept; `None` if that is damaged.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self::NONE);
        }
        Some(Self(Some(Arc::new(RoaringTreemap::deserialize_from(bytes).ok()?))))
    }
}

impl FromIterator<u64> for Ordinals {
    fn from_iter<I: IntoIterator<Item = u64>>(ordinals: I) -> Self {
        let set: RoaringTreemap = ordinals.into_iter().collect();
        Self((!set.is_empty()).then(|| Arc::new(set)))
    }
}

// Sets without a total order among their parts can still be told apart.
impl Eq for Ordinals {}

impl fmt::Debug for Ordinals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().flat_map(|set| set.iter())).finish()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn they_are_counted_between_two_positions() {
        let some: Ordinals = [3, 4, 9].into_iter().collect();
        assert_eq!((some.count(0, 9), some.count(3, 8), some.count(4, 4)), (3, 1, 0));
        let others: Ordinals = [4, 5, 10].into_iter().collect();
        assert_eq!((some.count_with(&others, 0, 9), some.count_with(&others, 4, 10)), (4, 3));
        assert_eq!((Ordinals::NONE.count(0, 9), Ordinals::NONE.count_with(&some, 0, 9)), (0, 3));
    }

    #[test]
    fn a_long_stretch_takes_a_few_bytes_and_reads_back() {
        let many: Ordinals = (1..=100_000).collect();
        assert!(many.to_bytes().len() < 100, "{}", many.to_bytes().len());
        assert_eq!(Ordinals::from_bytes(&many.to_bytes()), Some(many));
        assert_eq!(Ordinals::from_bytes(&[]), Some(Ordinals::NONE));
        assert_eq!(Ordinals::from_bytes(&[1, 2, 3]), None);
    }
}
