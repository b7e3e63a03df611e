//! Whether everything that was scheduled was sent once, and not before its time.

use super::plan::Plan;
use crate::{
    peer::{Verdict, empty_histogram, record_us},
    scenario::Quantiles,
};
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};

/// What became of what was scheduled. Where the server's process is not known, memory is zero.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Firings {
    /// Confirmed by the server.
    pub pending: u64,
    /// Of these, due in the run.
    pub due: u64,
    /// Of these, in the log of their conversation.
    pub fired: u64,
    /// Due and not in the log in the end as either member reads it; or not due, and not in the list of what is scheduled.
    pub lost: u64,
    /// In the log more than once, or in another log.
    pub duplicated: u64,
    /// Sent, or heard by somebody, before it was due.
    pub early: u64,
    /// In the log and, long after that, still in the list.
    pub unsettled: u64,
    /// Times that the server was killed meanwhile.
    pub kills: u32,
    /// From when it was due until it was sent, both by the server's clock.
    pub lag_p50_ms: f64,
    pub lag_p99_ms: f64,
    pub lag_max_ms: f64,
    /// From when it was due until a recipient who was connected had it.
    pub heard_p50_ms: f64,
    pub heard_p99_ms: f64,
    pub heard_max_ms: f64,
    /// By how much the server's memory grew while it took those that are not due in the run, for each. Its buffers and caches,
    /// which fill up and then grow no more, are in it.
    pub bytes_per_pending: f64,
    /// The same for the second half of them, when most buffers and caches are full.
    pub bytes_per_pending_later: f64,
    /// On the disk, once everything is written and sorted.
    pub disk_bytes_per_pending: f64,
    /// How fast the server took them.
    pub scheduled_per_s: f64,
}

/// An entry that was scheduled, as a log has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    pub number: u64,
    pub sent_ms: u64,
}

/// What a member of a pair finds in the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Witness {
    pub person: u32,
    /// In the log, in its order.
    pub sent: Vec<Sighting>,
    /// In the list of what they have scheduled.
    pub listed: Vec<u64>,
    /// Those that were heard before they were due.
    pub heard_early: Vec<u64>,
}

impl Firings {
    /// Compares what was scheduled with what everybody found. Who is a pair's second member has the number after the first's.
    pub fn judge<'a>(plan: &Plan, witnesses: impl IntoIterator<Item = &'a Witness>) -> Self {
        let mut fates = vec![Fate::default(); plan.pending as usize];
        let (mut firings, mut lag_us) =
            (Self { pending: plan.pending, due: plan.due, ..Self::default() }, empty_histogram());
        for witness in witnesses {
            for &Sighting { number, sent_ms } in &witness.sent {
                let author = plan.author(number);
                if author / 2 != witness.person / 2 {
                    firings.duplicated += 1;
                    continue;
                }
                let (fate, due_ms) = (&mut fates[number as usize], plan.due_ms(number));
                fate.early |= sent_ms < due_ms;
                let seen = if author == witness.person { &mut fate.seen_by_author } else { &mut fate.seen_by_other };
                *seen += 1;
                if author == witness.person && *seen == 1 && number < plan.due {
                    record_us(&mut lag_us, Duration::from_millis(sent_ms.saturating_sub(due_ms)));
                }
            }
            witness.heard_early.iter().for_each(|&number| fates[number as usize].early = true);
            witness.listed.iter().for_each(|&number| fates[number as usize].listed = true);
        }
        for (number, fate) in (0..).zip(&fates) {
            let (most, least) =
                (fate.seen_by_author.max(fate.seen_by_other), fate.seen_by_author.min(fate.seen_by_other));
            let is_due = number < plan.due;
            firings.fired += u64::from(is_due && most > 0);
            firings.lost += u64::from(if is_due { least == 0 } else { most == 0 && !fate.listed });
            firings.duplicated += u64::from(most.saturating_sub(1));
            firings.early += u64::from(fate.early);
            firings.unsettled += u64::from(most > 0 && fate.listed);
        }
        let lag = Quantiles::of(&lag_us);
        (firings.lag_p50_ms, firings.lag_p99_ms, firings.lag_max_ms) = (lag.p50_ms, lag.p99_ms, lag.max_ms);
        firings
    }

    /// Every one once, and none early.
    pub fn is_clean(&self) -> bool {
        let Self { due, fired, lost, duplicated, early, unsettled, .. } = *self;
        fired == due && lost == 0 && duplicated == 0 && early == 0 && unsettled == 0
    }
}

/// What became of one.
#[derive(Debug, Clone, Copy, Default)]
struct Fate {
    seen_by_author: u32,
    seen_by_other: u32,
    early: bool,
    listed: bool,
}

/// What was written by hand meanwhile, as one member reads it in the end: the numbers of each sender's messages, in the
/// order of the log. `acked` is how many of them had been answered as durable.
pub fn judge_chat(read: &BTreeMap<u32, Vec<u64>>, acked: &BTreeMap<u32, u64>) -> Verdict {
    let mut verdict = Verdict::default();
    for (sender, &acked) in acked {
        let numbers = read.get(sender).map_or(&[][..], Vec::as_slice);
        let mut sorted = numbers.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        verdict.duplicated += (numbers.len() - sorted.len()) as u64;
        verdict.disordered += numbers.windows(2).filter(|pair| pair[1] < pair[0]).count() as u64;
        verdict.lost += acked - sorted.iter().filter(|&&number| number <= acked).count() as u64;
    }
    verdict
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::{super::plan::tests::PLAN, *};

    /// A run in which everything went well: what is due is sent 3 ms later, what is not is still in the list.
    fn all_well() -> Vec<Witness> {
        let sent = |pair: u32| {
            let of_pair = (0..PLAN.due).filter(move |&number| PLAN.author(number) / 2 == pair);
            of_pair.map(|number| Sighting { number, sent_ms: PLAN.due_ms(number) + 3 }).collect()
        };
        let witness = |person: u32| Witness {
            person,
            sent: sent(person / 2),
            listed: PLAN.of_person(person, PLAN.due, PLAN.pending).collect(),
            heard_early: Vec::new(),
        };
        (0..PLAN.people).map(witness).collect()
    }

    fn judged(witnesses: &[Witness]) -> Firings {
        Firings::judge(&PLAN, witnesses)
    }

    #[test]
    fn a_run_in_which_every_one_fires_once_is_clean() {
        let firings = judged(&all_well());
        assert!(firings.is_clean(), "{firings:?}");
        assert_eq!((firings.pending, firings.due, firings.fired), (10, 6, 6));
        assert!((3.0..3.1).contains(&firings.lag_max_ms), "{firings:?}");
    }

    #[test]
    fn one_that_a_member_does_not_find_is_lost() {
        let mut witnesses = all_well();
        witnesses[1].sent.pop();
        let firings = judged(&witnesses);
        assert_eq!((firings.lost, firings.fired, firings.is_clean()), (1, 6, false));
        let number = witnesses[0].sent.pop().unwrap().number;
        witnesses[PLAN.author(number) as usize].listed.push(number);
        let firings = judged(&witnesses);
        assert_eq!((firings.lost, firings.fired, firings.unsettled), (1, 5, 0), "still waiting long after it was due");
    }

    #[test]
    fn one_that_is_not_due_and_not_in_the_list_any_more_is_lost() {
        let mut witnesses = all_well();
        witnesses[2].listed.clear();
        let firings = judged(&witnesses);
        assert_eq!((firings.lost, firings.is_clean()), (1, false));
    }

    #[test]
    fn one_that_is_in_a_log_twice_or_in_another_log_is_duplicated() {
        let mut witnesses = all_well();
        let again = witnesses[0].sent[0];
        witnesses[0].sent.push(again);
        witnesses[1].sent.push(again);
        assert_eq!((judged(&witnesses).duplicated, judged(&witnesses).is_clean()), (1, false));
        let mut witnesses = all_well();
        witnesses[3].sent.push(again);
        assert_eq!((judged(&witnesses).duplicated, judged(&witnesses).is_clean()), (1, false));
    }

    #[test]
    fn one_that_is_sent_or_heard_before_it_is_due_is_early() {
        let mut witnesses = all_well();
        witnesses[0].sent[0].sent_ms -= 4;
        witnesses[1].sent[0].sent_ms -= 4;
        assert_eq!((judged(&witnesses).early, judged(&witnesses).is_clean()), (1, false));
        let mut witnesses = all_well();
        witnesses[1].heard_early.push(0);
        assert_eq!((judged(&witnesses).early, judged(&witnesses).is_clean()), (1, false));
        // One that is due in days.
        let mut witnesses = all_well();
        for person in [2, 3] {
            witnesses[person].sent.push(Sighting { number: 6, sent_ms: PLAN.first_due_ms });
        }
        witnesses[2].listed.clear();
        let firings = judged(&witnesses);
        assert_eq!((firings.early, firings.lost, firings.is_clean()), (1, 0, false));
    }

    #[test]
    fn one_that_is_sent_and_still_in_the_list_is_unsettled() {
        let mut witnesses = all_well();
        witnesses[1].listed.push(1);
        assert_eq!((judged(&witnesses).unsettled, judged(&witnesses).is_clean()), (1, false));
    }

    #[test]
    fn what_was_written_by_hand_is_there_once_and_in_order() {
        let judge = |numbers: &[u64], acked| judge_chat(&[(1, numbers.to_vec())].into(), &[(1, acked)].into());
        assert!(judge(&[1, 2, 3], 3).is_clean());
        assert!(judge(&[1, 2, 3], 2).is_clean(), "durable, though nobody was told");
        assert_eq!(judge(&[1, 3], 3), Verdict { lost: 1, ..Verdict::default() });
        assert_eq!(judge(&[1, 2, 2, 3], 3), Verdict { duplicated: 1, ..Verdict::default() });
        assert_eq!(judge(&[2, 1, 3], 3), Verdict { disordered: 1, ..Verdict::default() });
        assert_eq!(judge_chat(&BTreeMap::new(), &[(1, 2)].into()).lost, 2);
    }
}
