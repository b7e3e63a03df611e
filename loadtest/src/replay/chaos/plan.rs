//! What will go wrong with the databases, and when: worked out before anything is sent, the same for the same seed.

use crate::replay::plan::Moment;
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus, seq::SliceRandom};
use serde::Serialize;
use std::{ops::Range, time::Duration};

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Strike {
    pub moment: Moment,
    pub blow: Blow,
    /// For how long: how long something is down, stands still or loses what it should pass on.
    pub time: Duration,
    /// With what chance each reply is lost, where any is.
    pub chance: f64,
}

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Blow {
    /// The CQL server is killed and started again.
    KillCql,
    /// The CQL server stands still.
    StallCql,
    /// Replies to what was done are lost.
    LoseReplies,
    /// Connections end with the next reply on each.
    CutReplies,
    /// Replies come late.
    HoldReplies,
    /// Requests come late, also those of a server that is no more.
    HoldRequests,
    /// Redis forgets everything.
    FlushRedis,
    /// Redis is killed and started again with what it saved at the last flush, before which it held more than that.
    KillRedis,
    /// Redis stands still.
    StallRedis,
}

/// Whom a blow strikes. Blows on one come one after another, those on different ones at the same time, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    Cql,
    Network,
    Redis,
}

/// All strikes of a replay, in order of their moments.
pub fn strikes(messages: usize, kills: &[Moment], seed: u64) -> Vec<Strike> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed ^ STREAM);
    let mut blows: Vec<Blow> = DECK.iter().flat_map(|&(blow, times)| [blow].repeat(times)).collect();
    blows.shuffle(&mut rng);
    let part = messages as f64 / blows.len() as f64;
    let mut strikes: Vec<Strike> = Vec::new();
    for (index, blow) in blows.into_iter().enumerate() {
        let own = ((index as f64 + rng.random_range(0.05..0.95)) * part) as usize;
        let previous = strikes.last().map(|strike| strike.moment.after_acks);
        // While something is wrong nothing is acknowledged, so without this no two things would be wrong at once.
        let together = rng.random_bool(TOGETHER_CHANCE);
        let after_acks = previous.filter(|_| together).unwrap_or(own);
        let delay = Duration::from_micros(rng.random_range(0..if together { TOGETHER_MAX_US } else { DELAY_MAX_US }));
        strikes.push(Strike::new(Moment { after_acks, delay }, blow, &mut rng));
    }
    // What a killed server had on its way arrives when another has taken its place.
    for kill in kills.iter().step_by(2) {
        let moment = Moment { after_acks: kill.after_acks, delay: Duration::ZERO };
        let strike = Strike::new(moment, Blow::HoldRequests, &mut rng);
        strikes.push(Strike { time: strike.time.max(UNTIL_TAKEN_OVER), ..strike });
    }
    strikes.sort_by_key(|strike| strike.moment.after_acks);
    strikes
}

impl Strike {
    fn new(moment: Moment, blow: Blow, rng: &mut Xoshiro256PlusPlus) -> Self {
        let time = blow.time_ms().map_or(0, |range| rng.random_range(range));
        // Often all are lost, often some between others that are not.
        let chance = rng.random_range(0.1_f64..1.5).min(1.0);
        Self { moment, blow, time: Duration::from_millis(time), chance }
    }
}

impl Blow {
    /// Whom it strikes.
    pub fn victim(self) -> Victim {
        match self {
            Self::KillCql | Self::StallCql => Victim::Cql,
            Self::LoseReplies | Self::CutReplies | Self::HoldReplies | Self::HoldRequests => Victim::Network,
            Self::FlushRedis | Self::KillRedis | Self::StallRedis => Victim::Redis,
        }
    }

    /// Words for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::KillCql => "CQL server killed",
            Self::StallCql => "CQL server stalled",
            Self::LoseReplies => "replies lost",
            Self::CutReplies => "connections cut before a reply",
            Self::HoldReplies => "replies held back",
            Self::HoldRequests => "requests held back",
            Self::FlushRedis => "Redis flushed",
            Self::KillRedis => "Redis killed",
            Self::StallRedis => "Redis stalled",
        }
    }

    /// For how long; `None` for what takes no time.
    fn time_ms(self) -> Option<Range<u64>> {
        match self {
            Self::KillCql => Some(0..1_500),
            // Some shorter and some longer than a server waits with its lease; so below.
            Self::StallCql => Some(300..6_000),
            Self::LoseReplies => Some(100..2_500),
            Self::CutReplies => Some(200..1_000),
            Self::HoldReplies => Some(100..3_000),
            Self::HoldRequests => Some(300..6_000),
            Self::FlushRedis => None,
            Self::KillRedis => Some(0..2_000),
            Self::StallRedis => Some(100..2_000),
        }
    }
}

/// How often each happens in a replay.
const DECK: [(Blow, usize); 9] = [
    (Blow::KillCql, 2),
    (Blow::StallCql, 3),
    (Blow::LoseReplies, 4),
    (Blow::CutReplies, 4),
    (Blow::HoldReplies, 2),
    (Blow::HoldRequests, 2),
    (Blow::FlushRedis, 3),
    (Blow::KillRedis, 2),
    (Blow::StallRedis, 1),
];
const TOGETHER_CHANCE: f64 = 0.3;
const TOGETHER_MAX_US: u64 = 2_000_000;
const DELAY_MAX_US: u64 = 20_000;
/// Longer than another server waits for the lease of one that was killed.
const UNTIL_TAKEN_OVER: Duration = Duration::from_secs(8);
/// The random decisions of chaos are not those of the rest of the plan, so that they change nothing there.
const STREAM: u64 = 0x6368_616f_7300;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    fn kills() -> Vec<Moment> {
        [1_000, 2_000, 3_000].map(|after_acks| Moment { after_acks, delay: Duration::from_millis(3) }).to_vec()
    }

    #[test]
    fn the_same_seed_makes_the_same_strikes_and_another_seed_others() {
        assert_eq!(strikes(5_000, &kills(), 7), strikes(5_000, &kills(), 7));
        assert_ne!(strikes(5_000, &kills(), 7), strikes(5_000, &kills(), 8));
    }

    #[test]
    fn everything_happens_in_order_within_the_replay() {
        let strikes = strikes(5_000, &[], 1);
        for (blow, times) in DECK {
            assert_eq!(strikes.iter().filter(|strike| strike.blow == blow).count(), times, "{blow:?}");
        }
        assert!(strikes.is_sorted_by_key(|strike| strike.moment.after_acks));
        assert!(strikes.iter().all(|strike| strike.moment.after_acks < 5_000 && strike.chance <= 1.0));
    }

    #[test]
    fn different_things_go_wrong_at_once_now_and_then() {
        let together = |seed| {
            let strikes = strikes(50_000, &[], seed);
            strikes.windows(2).any(|two| {
                two[0].moment.after_acks == two[1].moment.after_acks && two[0].blow.victim() != two[1].blow.victim()
            })
        };
        assert!((0..10).filter(|&seed| together(seed)).count() >= 5);
    }

    #[test]
    fn every_other_kill_leaves_requests_that_arrive_when_another_server_has_taken_over() {
        let held: Vec<usize> = strikes(5_000, &kills(), 3)
            .iter()
            .filter(|strike| strike.blow == Blow::HoldRequests && strike.time >= UNTIL_TAKEN_OVER)
            .map(|strike| strike.moment.after_acks)
            .collect();
        assert_eq!(held, [1_000, 3_000]);
    }
}
