//! Differences between what should be and what is: all of them counted, the first of each kind kept in words.

use serde::Serialize;

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A message that is not there.
    Lost,
    /// A message or entry that is there again.
    Duplicated,
    /// A message behind one that should follow it.
    Reordered,
    /// A seq that was skipped.
    SeqGap,
    /// A message that is not as it was sent, or an entry that contradicts what the server said elsewhere.
    Altered,
    /// An entry or conversation that nobody made.
    Unexpected,
    /// Unread, or the position that it counts from, is not what a recount of the log gives.
    UnreadWrong,
    /// A request that the server refused for good.
    Refused,
}

/// How many there are of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct FaultCounts {
    /// See [`Fault::Lost`], and so on.
    pub lost: u64,
    pub duplicated: u64,
    pub reordered: u64,
    pub seq_gaps: u64,
    pub altered: u64,
    pub unexpected: u64,
    pub unread_wrong: u64,
    pub refused: u64,
}

/// Counted and described faults.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// All.
    pub counts: FaultCounts,
    /// The first of each kind.
    pub described: Vec<(Fault, String)>,
}

impl Faults {
    /// Adds one. It is only put into words if it is among the first of its kind.
    pub fn add(&mut self, fault: Fault, words: impl FnOnce() -> String) {
        *self.counts.of(fault) += 1;
        if self.has_room_for(fault) {
            self.described.push((fault, words()));
        }
    }

    /// Adds those of another.
    pub fn merge(&mut self, other: Self) {
        self.counts = self.counts.plus(other.counts);
        for (fault, words) in other.described {
            if self.has_room_for(fault) {
                self.described.push((fault, words));
            }
        }
    }

    fn has_room_for(&self, fault: Fault) -> bool {
        self.described.iter().filter(|(kind, _)| *kind == fault).count() < DESCRIBED_PER_KIND_MAX
    }
}

impl FaultCounts {
    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            lost: self.lost + other.lost,
            duplicated: self.duplicated + other.duplicated,
            reordered: self.reordered + other.reordered,
            seq_gaps: self.seq_gaps + other.seq_gaps,
            altered: self.altered + other.altered,
            unexpected: self.unexpected + other.unexpected,
            unread_wrong: self.unread_wrong + other.unread_wrong,
            refused: self.refused + other.refused,
        }
    }

    fn of(&mut self, fault: Fault) -> &mut u64 {
        match fault {
            Fault::Lost => &mut self.lost,
            Fault::Duplicated => &mut self.duplicated,
            Fault::Reordered => &mut self.reordered,
            Fault::SeqGap => &mut self.seq_gaps,
            Fault::Altered => &mut self.altered,
            Fault::Unexpected => &mut self.unexpected,
            Fault::UnreadWrong => &mut self.unread_wrong,
            Fault::Refused => &mut self.refused,
        }
    }
}

const DESCRIBED_PER_KIND_MAX: usize = 5;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    #[test]
    fn all_are_counted_and_the_first_of_each_kind_described() {
        let mut faults = Faults::default();
        (0..100).for_each(|number| faults.add(Fault::Lost, || format!("{number}")));
        faults.add(Fault::SeqGap, || "gap".into());
        assert_eq!((faults.counts.lost, faults.counts.seq_gaps), (100, 1));
        assert_eq!(faults.described.len(), DESCRIBED_PER_KIND_MAX + 1);
    }

    #[test]
    fn merging_adds_up_and_keeps_the_bound() {
        let mut all = Faults::default();
        for _ in 0..20 {
            let mut one = Faults::default();
            one.add(Fault::Duplicated, || "again".into());
            all.merge(one);
        }
        assert_eq!(all.counts.duplicated, 20);
        assert_eq!(all.described.len(), DESCRIBED_PER_KIND_MAX);
    }
}
