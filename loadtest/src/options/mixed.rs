//! `mixed` on the command line.

use super::{Common, CompareOptions, Order, positive};
use crate::{
    replay::{corpus::Corpus, generate},
    scenario::{Habits, MixedLoad, Scenario},
};
use clap::Args;
use std::{num::NonZeroUsize, path::PathBuf, sync::Arc, time::Duration};

/// A day of real traffic.
#[derive(Debug, Clone, Args)]
pub struct MixedOptions {
    /// Messages to learn from how long messages are and how unevenly people write: a JSON object a line with from, to (or
    /// null), and text. Made up from the seed if not given
    #[arg(long, value_name = "FILE")]
    corpus: Option<PathBuf>,
    /// People, each with a phone; everybody has some friends and is in some groups of 3 to 60
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(2..))]
    people: u32,
    /// Messages a second of all together, on the average of the day
    #[arg(long, value_name = "R", default_value = "200", value_parser = positive)]
    rate: f64,
    /// Seconds that the day takes
    #[arg(long, value_name = "S", default_value = "60")]
    duration: NonZeroUsize,
    /// Seconds after which memory is looked at for the first time, to be compared with that at the end [default: 600, or a
    /// sixth of a shorter day]
    #[arg(long, value_name = "S")]
    early: Option<usize>,
    /// Share of the people whose phones lose the network now and then
    #[arg(long, value_name = "0..1", default_value_t = 0.3, value_parser = share)]
    churn: f64,
    /// Seconds for which such a phone has the network, on the average
    #[arg(long, value_name = "S", default_value = "20", value_parser = positive)]
    online: f64,
    /// Seconds for which it does not
    #[arg(long, value_name = "S", default_value = "5", value_parser = positive)]
    away: f64,
    /// Seconds that what is under way at the end has to arrive
    #[arg(long, value_name = "S", default_value_t = 5)]
    cool_down: u64,
    #[command(flatten)]
    common: Common,
}

impl MixedOptions {
    pub fn order(self) -> anyhow::Result<Order> {
        let duration_s = self.duration.get();
        let seed = self.common.clients.seed;
        let load = MixedLoad {
            people: self.people,
            rate_per_s: self.rate,
            duration_s,
            early_s: self.early.unwrap_or(EARLY_S.min(duration_s / 6)),
            restless_share: self.churn,
            online_mean_s: self.online,
            away_mean_s: self.away,
            habits: Arc::new(habits(self.corpus, seed)?),
            seed,
            patience: Duration::from_secs(self.cool_down),
        };
        let compare = CompareOptions::godwit_only(NonZeroUsize::MIN);
        Ok(Order { scenario: Scenario::Mixed(load), compare, common: self.common })
    }
}

/// What a corpus, or one that is made up, says about people.
pub fn habits(corpus: Option<PathBuf>, seed: u64) -> anyhow::Result<Habits> {
    let corpus_is_real = corpus.is_some();
    let corpus = match corpus {
        Some(path) => Corpus::read(&path, None)?,
        None => generate::corpus(seed, MADE_UP_MESSAGES),
    };
    let messages = corpus.messages.iter().map(|message| (message.from, message.text.len()));
    Ok(Habits::of(messages, corpus_is_real))
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("not between 0 and 1".to_owned()) }
}

const EARLY_S: usize = 600;
const MADE_UP_MESSAGES: usize = 5_000;
