//! Whether everything that was to disappear did, once, and not before its time.

use super::{Plan, person::Seen};
use crate::{
    peer::{empty_histogram, record_us},
    scenario::{Firings, Quantiles},
};
use std::time::Duration;

/// Compares what everybody saw. Each message counts as its author's partner saw it.
pub fn judge(plan: &Plan, seen: &[Seen]) -> Firings {
    let mut firings = Firings { pending: plan.pending, due: plan.due, ..Firings::default() };
    let (mut lag_us, mut known) = (empty_histogram(), 0);
    let last_due_ms = plan.due_ms(plan.due.saturating_sub(1)).unwrap_or(0) + SLACK_MS;
    for seen in seen {
        for (seq, &expires_ms) in &seen.expires_ms {
            let went_ms = seen.went_ms.get(seq).map_or(&[][..], Vec::as_slice);
            let is_kept = seen.kept.binary_search(seq).is_ok();
            let is_due = expires_ms <= last_due_ms;
            known += u64::from(is_due);
            firings.duplicated += (went_ms.len() as u64).saturating_sub(1);
            match went_ms.first() {
                Some(went_ms) => {
                    firings.fired += u64::from(is_due);
                    firings.early += u64::from(*went_ms < expires_ms);
                    // Said to be gone, and there.
                    firings.unsettled += u64::from(is_kept);
                    record_us(&mut lag_us, Duration::from_millis(went_ms.saturating_sub(expires_ms)));
                }
                None => firings.lost += u64::from(is_due || !is_kept),
            }
        }
    }
    // Of those that nobody was pushed, nobody knows.
    firings.lost += plan.due.saturating_sub(known);
    let lag = Quantiles::of(&lag_us);
    (firings.lag_p50_ms, firings.lag_p99_ms, firings.lag_max_ms) = (lag.p50_ms, lag.p99_ms, lag.max_ms);
    firings
}

/// A message that is on its way for a while expires later by as much than was planned.
const SLACK_MS: u64 = 24 * 3_600_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, missing_docs)]
    use super::{super::tests::PLAN, *};

    /// Two due messages each, which went 3 ms late, and one that stays.
    fn all_well() -> Vec<Seen> {
        let person = |first: u64| {
            let due_ms = |number| PLAN.due_ms(number).unwrap();
            let at = [(first, due_ms(first)), (first + 2, due_ms(first + 2)), (first + 4, u64::MAX)];
            Seen {
                acked: 3,
                expires_ms: at.into(),
                went_ms: at[..2].iter().map(|(seq, at_ms)| (*seq, vec![at_ms + 3])).collect(),
                kept: vec![first + 4],
            }
        };
        vec![person(0), person(1)]
    }

    #[test]
    fn what_goes_in_time_and_once_is_clean() {
        let firings = judge(&PLAN, &all_well());
        assert!(firings.is_clean(), "{firings:?}");
        assert_eq!((firings.fired, firings.lag_max_ms.round()), (4, 3.0));
    }

    #[test]
    fn what_stays_goes_twice_or_goes_early_is_told() {
        let judged = |change: fn(&mut Seen)| {
            let mut seen = all_well();
            change(&mut seen[0]);
            let firings = judge(&PLAN, &seen);
            assert!(!firings.is_clean());
            (firings.lost, firings.duplicated, firings.early, firings.unsettled)
        };
        assert_eq!(judged(|seen| drop(seen.went_ms.remove(&0))), (1, 0, 0, 0));
        assert_eq!(judged(|seen| seen.expires_ms.retain(|seq, _| *seq > 0)), (1, 0, 0, 0));
        assert_eq!(judged(|seen| seen.kept.clear()), (1, 0, 0, 0), "gone without a word");
        assert_eq!(judged(|seen| seen.went_ms.get_mut(&0).unwrap().push(u64::MAX)), (0, 1, 0, 0));
        assert_eq!(judged(|seen| seen.went_ms.get_mut(&0).unwrap()[0] -= 4), (0, 0, 1, 0));
        assert_eq!(judged(|seen| seen.kept.insert(0, 0)), (0, 0, 0, 1));
    }
}
