//! Has everything go wrong that can go wrong between a server and its databases, while it is under load.

mod plan;

pub use plan::{Strike, strikes};

use super::live::Live;
use crate::services::{Services, Weather};
use plan::{Blow, Victim};
use serde::Serialize;
use std::{
    sync::{Mutex, PoisonError, atomic::Ordering},
    time::Instant,
};

/// The databases, and what will happen to them.
#[derive(Debug)]
pub struct Chaos {
    pub services: Services,
    pub strikes: Vec<Strike>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Struck {
    pub blow: Blow,
    /// When it was planned, and when it began after the first message.
    pub after_acks: usize,
    pub at_s: f64,
    /// How long until everything was as it should be, a restart included.
    pub took_s: f64,
    /// Replies, or chunks of requests, that were lost, cut or held back.
    pub hits: u64,
}

impl Chaos {
    /// Strikes as planned; returns when all is over, and all databases run again.
    pub async fn run(&mut self, live: &Live) -> anyhow::Result<Vec<Struck>> {
        let began = Instant::now();
        let Self { services: Services { cql, proxy, redis, .. }, strikes } = self;
        let struck = Mutex::new(Vec::new());
        let on = |victim| strikes.iter().copied().filter(move |strike| strike.blow.victim() == victim);
        let note = |strike: Strike, at: Instant, hits| {
            let (at_s, took_s) = ((at - began).as_secs_f64(), at.elapsed().as_secs_f64());
            let after_acks = strike.moment.after_acks;
            let one = Struck { blow: strike.blow, after_acks, at_s, took_s, hits };
            struck.lock().unwrap_or_else(PoisonError::into_inner).push(one);
        };
        let database = async {
            for strike in on(Victim::Cql) {
                let at = begin(strike, live).await;
                match strike.blow {
                    Blow::KillCql => cql.kill_and_restart(strike.time).await?,
                    _ => cql.stall(strike.time).await?,
                }
                note(strike, at, 0);
            }
            anyhow::Ok(())
        };
        let network = async {
            for strike in on(Victim::Network) {
                let at = begin(strike, live).await;
                let weather = match strike.blow {
                    Blow::CutReplies => Weather::CutReplies,
                    Blow::HoldReplies => Weather::HoldReplies,
                    Blow::HoldRequests => Weather::HoldRequests,
                    _ => Weather::LoseReplies { chance: strike.chance },
                };
                note(strike, at, proxy.under(weather, strike.time).await);
            }
            anyhow::Ok(())
        };
        let summaries = async {
            for strike in on(Victim::Redis) {
                let at = begin(strike, live).await;
                match strike.blow {
                    Blow::KillRedis => redis.kill_and_restart(strike.time).await?,
                    Blow::StallRedis => redis.stall(strike.time).await?,
                    _ => {
                        // What a kill then brings back is older than what there was in between.
                        redis.save().await?;
                        redis.flush().await?;
                    }
                }
                note(strike, at, 0);
            }
            anyhow::Ok(())
        };
        tokio::try_join!(database, network, summaries)?;
        let mut struck = struck.into_inner().unwrap_or_else(PoisonError::into_inner);
        struck.sort_by(|one, other| one.at_s.total_cmp(&other.at_s));
        Ok(struck)
    }
}

/// Waits for the moment, and says that it has come.
async fn begin(strike: Strike, live: &Live) -> Instant {
    live.reach(strike.moment).await;
    let acked = live.acked.load(Ordering::Relaxed);
    let (name, time) = (strike.blow.name(), strike.time.as_secs_f64());
    eprintln!(
        "chaos: after {acked} messages: {name}{}",
        if time > 0.0 { format!(" for {time:.1} s") } else { String::new() }
    );
    Instant::now()
}

/// How often each thing happened, and what it struck, in words.
pub fn summary(struck: &[Struck]) -> Vec<(&'static str, String)> {
    let mut rows: Vec<(Blow, usize, f64, u64)> = Vec::new();
    for one in struck {
        match rows.iter_mut().find(|(blow, ..)| *blow == one.blow) {
            Some((_, times, took_s, hits)) => {
                *times += 1;
                *took_s += one.took_s;
                *hits += one.hits;
            }
            None => rows.push((one.blow, 1, one.took_s, one.hits)),
        }
    }
    let words = |(blow, times, took_s, hits): (Blow, usize, f64, u64)| {
        let hits = if hits > 0 { format!(", {hits} struck") } else { String::new() };
        (blow.name(), format!("{times}, {took_s:.1} s in all{hits}"))
    };
    rows.into_iter().map(words).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    #[test]
    fn what_happened_more_than_once_is_one_line_with_its_sums() {
        let one = |blow, took_s, hits| Struck { blow, after_acks: 1, at_s: 0.0, took_s, hits };
        let struck = [one(Blow::CutReplies, 1.0, 3), one(Blow::KillRedis, 2.0, 0), one(Blow::CutReplies, 0.5, 4)];
        let expected = [
            ("connections cut before a reply", "2, 1.5 s in all, 7 struck".to_owned()),
            ("Redis killed", "1, 2.0 s in all".to_owned()),
        ];
        assert_eq!(summary(&struck), expected);
    }
}
