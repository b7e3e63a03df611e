//! Whether a lease may be taken, by what was seen of it.

use super::{Beat, LeaseRow, LeaseState};
use std::time::Duration;

/// One who waits for a lease. It goes by its own clock alone: what the holder's shows, or the database's, does not matter.
#[derive(Debug, Default)]
pub struct Watch {
    /// The beat that was seen last, and since when.
    seen: Option<(Beat, Duration)>,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Take it: nobody holds it.
    Free,
    /// Somebody does. Look again, after that time at the latest.
    Wait(Duration),
    /// Take it from its holder, who has not renewed it for so long that it believes no answer any more.
    TakeOver,
}

impl Watch {
    /// Judges a row that was *answered* at `elapsed`.
    ///
    /// The renewal that wrote a beat was begun before the beat was first seen, and the holder believes no answer half a lease
    /// after that. So the wait, 0.8 of a lease from the moment of that answer on, is longer, even where the two clocks do not
    /// run equally fast.
    pub fn observe(&mut self, row: Option<&LeaseRow>, elapsed: Duration) -> Verdict {
        let Some(row) = row.filter(|row| row.state == LeaseState::Held) else { return Verdict::Free };
        let since = match self.seen {
            Some((beat, since)) if beat == row.beat => since,
            _ => elapsed,
        };
        self.seen = Some((row.beat, since));
        match patience(row.lease).checked_sub(elapsed.saturating_sub(since)) {
            Some(left) if !left.is_zero() => Verdict::Wait(left),
            _ => Verdict::TakeOver,
        }
    }
}

fn patience(lease: Duration) -> Duration {
    lease * 4 / 5
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(incarnation: i64, number: i64) -> LeaseRow {
        LeaseRow {
            beat: Beat { incarnation, number },
            until_us: 0,
            lease: Duration::from_secs(10),
            address: String::new(),
            state: LeaseState::Held,
        }
    }

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_lease_that_is_not_there_or_was_given_back_is_free() {
        let mut watch = Watch::default();
        assert_eq!(watch.observe(None, at(0)), Verdict::Free);
        let released = LeaseRow { state: LeaseState::Released, ..row(1, 1) };
        assert_eq!(watch.observe(Some(&released), at(0)), Verdict::Free);
    }

    #[test]
    fn a_lease_that_stands_still_is_taken_over_after_most_of_its_length() {
        let mut watch = Watch::default();
        assert_eq!(watch.observe(Some(&row(1, 1)), at(500)), Verdict::Wait(at(8_000)));
        assert_eq!(watch.observe(Some(&row(1, 1)), at(8_499)), Verdict::Wait(at(1)));
        assert_eq!(watch.observe(Some(&row(1, 1)), at(8_500)), Verdict::TakeOver);
        assert_eq!(watch.observe(Some(&row(1, 1)), at(99_000)), Verdict::TakeOver);
    }

    #[test]
    fn every_beat_and_every_holder_begins_the_wait_anew() {
        let mut watch = Watch::default();
        watch.observe(Some(&row(1, 1)), at(0));
        assert_eq!(watch.observe(Some(&row(1, 2)), at(7_900)), Verdict::Wait(at(8_000)));
        assert_eq!(watch.observe(Some(&row(2, 2)), at(15_800)), Verdict::Wait(at(8_000)));
        assert_eq!(watch.observe(Some(&row(2, 2)), at(20_000)), Verdict::Wait(at(3_800)));
    }

    #[test]
    fn the_length_that_counts_is_the_holders() {
        let mut watch = Watch::default();
        let longer = LeaseRow { lease: Duration::from_secs(60), ..row(1, 1) };
        watch.observe(Some(&longer), at(0));
        assert_eq!(watch.observe(Some(&longer), at(40_000)), Verdict::Wait(at(8_000)));
    }
}
