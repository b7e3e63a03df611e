//! What `--link` says about the network.

use std::{fmt, str::FromStr, time::Duration};
use thiserror::Error;

/// What both directions between a client and the server are like, each for itself: `delay=30ms` makes a round trip of 60 ms,
/// and `loss=1%` loses 1 % of what goes up and 1 % of what comes down.
///
/// Written as `loss=1%,delay=40ms,jitter=5ms,rate=10mbit,queue=100ms,seed=7`: in any order, each key at most once, and every
/// one of them may be left out. Each client has a link of its own, so `rate` is that of one client.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LinkSpec {
    /// How many of a hundred datagrams are lost, each by its own chance.
    pub loss_percent: f64,
    /// What every datagram takes, apart from waiting for others.
    pub delay: Duration,
    /// Up to this much comes on top, as likely one as the other. Order is kept: who would arrive before an earlier one
    /// arrives with it.
    pub jitter: Duration,
    /// How fast datagrams leave the bottleneck, all headers from IP on included. Without one there is no bottleneck.
    pub rate: Option<Rate>,
    /// How much waits at most; what comes on top is dropped.
    pub queue: Option<Queue>,
    /// What chance starts from, when it should not be the seed of the run.
    pub seed: Option<u64>,
}

/// Bits per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(u64);

/// The length of the buffer in front of the bottleneck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// As long as it takes to send everything in it at the link's rate.
    Time(Duration),
    /// So many datagrams; on a link without a rate, so many under way.
    Datagrams(u32),
}

/// Why a text says nothing about a link.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SpecError {
    /// It is empty, or has a part without `=`.
    #[error("{part:?} is not KEY=VALUE; the keys are {KEYS}")]
    NotAPair {
        /// The part.
        part: String,
    },
    /// It has a key that says nothing here.
    #[error("{key:?} is no property of a link; they are {KEYS}")]
    UnknownKey {
        /// The key.
        key: String,
    },
    /// It has a key twice.
    #[error("{key} is given twice")]
    Repeated {
        /// The key.
        key: String,
    },
    /// A value is not what its key can have.
    #[error("{key}={value:?} cannot be: {key} is {allowed}")]
    Invalid {
        /// The key.
        key: String,
        /// What it should be.
        value: String,
        /// What it can be.
        allowed: &'static str,
    },
    /// The queue is a time, and no rate says how much that is.
    #[error("queue={queue} cannot be without a rate: say how many datagrams it holds, as in queue=200")]
    QueueTimeWithoutRate {
        /// The queue.
        queue: Queue,
    },
}

impl LinkSpec {
    /// What the help of an option that takes one says.
    pub const HELP: &str = "The network between clients and server, as loss=1%,delay=40ms,jitter=5ms,rate=10mbit,queue=100ms,seed=7: \
        each may be left out. Each client has a link of its own, and each direction of it has all of these, so \
        delay=30ms is a round trip of 60 ms. rate is in kbit, mbit or gbit a second; queue, in ms or in datagrams, is \
        what waits for it at most, 100 ms unless told otherwise. Jitter reorders nothing. The seed decides what is lost";

    /// The queue that is asked for, or else 100 ms at the link's rate, or else 1,000 datagrams.
    pub fn queue_or_default(&self) -> Queue {
        self.queue.unwrap_or(match self.rate {
            Some(_) => Queue::Time(QUEUE_TIME_DEFAULT),
            None => Queue::Datagrams(QUEUE_DATAGRAMS_DEFAULT),
        })
    }
}

impl Rate {
    /// How long this many bytes take.
    pub fn time_for(self, bytes: usize) -> Duration {
        // Neither 64 KiB times a billion nor the quotient, at 1 kbit at least, comes near the end of a u64.
        Duration::from_nanos((bytes as u64 * 8).saturating_mul(1_000_000_000) / self.0)
    }
}

const KEYS: &str = "loss, delay, jitter, rate, queue and seed";
const LOSS: &str = "a share in percent, from 0% to 100%";
const TIME: &str = "a time of at most 60s, with the unit us, ms or s";
const RATE: &str = "from 1kbit to 100gbit, with the unit kbit, mbit or gbit";
const QUEUE: &str = "a number of datagrams from 1 to 1000000, or a time of at most 60s with the unit us, ms or s";
const SEED: &str = "a whole number from 0 to 18446744073709551615";

const TIME_MAX: Duration = Duration::from_secs(60);
const RATES_BITS_PER_SECOND: std::ops::RangeInclusive<u64> = 1_000..=100_000_000_000;
const QUEUE_DATAGRAMS_MAX: u32 = 1_000_000;
const QUEUE_TIME_DEFAULT: Duration = Duration::from_millis(100);
const QUEUE_DATAGRAMS_DEFAULT: u32 = 1_000;

const TIME_UNITS: [(&str, u64); 3] = [("us", 1), ("ms", 1_000), ("s", 1_000_000)];
const RATE_UNITS: [(&str, u64); 3] = [("kbit", 1_000), ("mbit", 1_000_000), ("gbit", 1_000_000_000)];

impl FromStr for LinkSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let mut spec = Self::default();
        let mut seen = Vec::new();
        for part in text.split(',').map(str::trim) {
            let (key, value) = part.split_once('=').ok_or_else(|| SpecError::NotAPair { part: part.to_owned() })?;
            let (key, value) = (key.trim(), value.trim());
            let allowed = spec.set(key, value)?;
            if let Err(allowed) = allowed {
                return Err(SpecError::Invalid { key: key.to_owned(), value: value.to_owned(), allowed });
            }
            if seen.contains(&key) {
                return Err(SpecError::Repeated { key: key.to_owned() });
            }
            seen.push(key);
        }
        match (spec.queue, spec.rate) {
            (Some(queue @ Queue::Time(_)), None) => Err(SpecError::QueueTimeWithoutRate { queue }),
            _ => Ok(spec),
        }
    }
}

impl LinkSpec {
    /// Sets one property. The inner error is what the property can be.
    fn set(&mut self, key: &str, value: &str) -> Result<Result<(), &'static str>, SpecError> {
        let parsed = match key {
            "loss" => percent(value).map(|loss| self.loss_percent = loss).ok_or(LOSS),
            "delay" => time(value).map(|delay| self.delay = delay).ok_or(TIME),
            "jitter" => time(value).map(|jitter| self.jitter = jitter).ok_or(TIME),
            "rate" => rate(value).map(|rate| self.rate = Some(rate)).ok_or(RATE),
            "queue" => queue(value).map(|queue| self.queue = Some(queue)).ok_or(QUEUE),
            "seed" => value.parse().map(|seed| self.seed = Some(seed)).map_err(|_| SEED),
            _ => return Err(SpecError::UnknownKey { key: key.to_owned() }),
        };
        Ok(parsed)
    }
}

fn percent(text: &str) -> Option<f64> {
    let percent = decimal(text.strip_suffix('%').unwrap_or(text))?;
    (percent <= 100.0).then_some(percent)
}

fn time(text: &str) -> Option<Duration> {
    let time = Duration::from_micros(with_unit(text, &TIME_UNITS)?);
    (time <= TIME_MAX).then_some(time)
}

fn rate(text: &str) -> Option<Rate> {
    let bits_per_second = with_unit(text, &RATE_UNITS)?;
    RATES_BITS_PER_SECOND.contains(&bits_per_second).then_some(Rate(bits_per_second))
}

fn queue(text: &str) -> Option<Queue> {
    match text.parse() {
        Ok(datagrams @ 1..=QUEUE_DATAGRAMS_MAX) => Some(Queue::Datagrams(datagrams)),
        Ok(_) => None,
        Err(_) => time(text).filter(|time| !time.is_zero()).map(Queue::Time),
    }
}

/// A decimal number with a unit, in whole ones of the smallest unit.
fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits_end = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(digits_end);
    let (_, worth) = units.iter().find(|(name, _)| *name == unit)?;
    // What is too large for a u64 becomes the largest, which no property allows.
    Some((decimal(number)? * *worth as f64).round() as u64)
}

/// A number as people write it. What Rust reads as a float beyond that (`inf`, `1e3`, `-0`) is none.
fn decimal(text: &str) -> Option<f64> {
    text.chars().all(|c| c.is_ascii_digit() || c == '.').then(|| text.parse().ok())?
}

impl fmt::Display for LinkSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "loss={}%", self.loss_percent)?;
        if !self.delay.is_zero() {
            write!(f, ",delay={}", Time(self.delay))?;
        }
        if !self.jitter.is_zero() {
            write!(f, ",jitter={}", Time(self.jitter))?;
        }
        if let Some(rate) = self.rate {
            write!(f, ",rate={rate}")?;
        }
        if let Some(queue) = self.queue {
            write!(f, ",queue={queue}")?;
        }
        if let Some(seed) = self.seed {
            write!(f, ",seed={seed}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        in_largest_unit(f, self.0, &RATE_UNITS)
    }
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Queue::Time(time) => write!(f, "{}", Time(*time)),
            Queue::Datagrams(datagrams) => write!(f, "{datagrams}"),
        }
    }
}

/// A time as a link spec has it.
struct Time(Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        in_largest_unit(f, self.0.as_micros() as u64, &TIME_UNITS)
    }
}

/// In the largest unit that says it as a whole number; with decimals in the smallest where none does.
fn in_largest_unit(f: &mut fmt::Formatter<'_>, value: u64, units: &[(&str, u64)]) -> fmt::Result {
    match units.iter().rev().find(|(_, worth)| value.is_multiple_of(*worth)) {
        Some((name, worth)) => write!(f, "{}{name}", value / worth),
        None => write!(f, "{}{}", value as f64 / units[0].1 as f64, units[0].0),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;
    use proptest::{option, prelude::*};

    fn parse(text: &str) -> Result<LinkSpec, String> {
        text.parse().map_err(|error: SpecError| error.to_string())
    }

    #[test]
    fn each_key_means_what_it_says() {
        let spec = parse("rate=10mbit, loss=1.5%,delay=40ms,jitter=500us,queue=250,seed=9").unwrap();
        assert_eq!(spec.loss_percent, 1.5);
        assert_eq!(spec.delay, Duration::from_millis(40));
        assert_eq!(spec.jitter, Duration::from_micros(500));
        assert_eq!(spec.rate, Some(Rate(10_000_000)));
        assert_eq!(spec.queue, Some(Queue::Datagrams(250)));
        assert_eq!(spec.seed, Some(9));
    }

    #[test]
    fn the_help_has_an_example_that_can_be_read_and_all_keys() {
        let example = LinkSpec::HELP.split_whitespace().find(|word| word.contains(',') && word.contains('=')).unwrap();
        let spec = parse(example.trim_end_matches(':')).unwrap();
        assert_eq!(spec.to_string(), "loss=1%,delay=40ms,jitter=5ms,rate=10mbit,queue=100ms,seed=7");
    }

    #[test]
    fn a_queue_is_a_tenth_of_a_second_where_there_is_a_rate() {
        assert_eq!(parse("rate=1gbit").unwrap().queue_or_default(), Queue::Time(Duration::from_millis(100)));
        assert_eq!(parse("delay=1s").unwrap().queue_or_default(), Queue::Datagrams(1_000));
        assert_eq!(parse("rate=1gbit,queue=0.5s").unwrap().queue_or_default(), Queue::Time(Duration::from_millis(500)));
    }

    #[test]
    fn an_error_names_the_key_and_the_value_and_what_is_allowed() {
        for (text, words) in [
            ("loss=101%", ["loss", "101%", "0% to 100%"]),
            ("loss=-1", ["loss", "-1", "0% to 100%"]),
            ("loss=NaN", ["loss", "NaN", "0% to 100%"]),
            ("delay=40", ["delay", "40", "us, ms or s"]),
            ("jitter=2min", ["jitter", "2min", "us, ms or s"]),
            ("delay=61s", ["delay", "61s", "at most 60s"]),
            ("rate=10", ["rate", "10", "kbit, mbit or gbit"]),
            ("rate=0mbit", ["rate", "0mbit", "from 1kbit"]),
            ("queue=0", ["queue", "0", "from 1"]),
            ("rate=1mbit,queue=0ms", ["queue", "0ms", "from 1"]),
            ("seed=x", ["seed", "x", "whole number"]),
            ("lost=1%", ["lost", "no property", "jitter"]),
            ("loss=1%,delay", ["delay", "KEY=VALUE", "seed"]),
            ("", ["\"\"", "KEY=VALUE", "loss"]),
            ("loss=1%,loss=1%", ["loss", "twice", ""]),
            ("queue=20ms", ["queue", "20ms", "rate"]),
        ] {
            let error = parse(text).unwrap_err();
            assert!(words.iter().all(|word| error.contains(word)), "{text}: {error}");
        }
    }

    #[test]
    fn a_datagram_takes_as_long_as_the_rate_says() {
        assert_eq!(Rate(1_000_000).time_for(1_250), Duration::from_millis(10));
        assert_eq!(Rate(1_000).time_for(65_535), Duration::from_millis(524_280));
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_as_the_same(
            loss in 0u32..=1_000_000,
            delay_us in 0u64..=60_000_000,
            jitter_ms in 0u64..=60_000,
            rate in option::of(1_000u64..=100_000_000_000),
            datagrams in option::of(1u32..=1_000_000),
            seed in option::of(any::<u64>()),
        ) {
            let spec = LinkSpec {
                loss_percent: f64::from(loss) / 10_000.0,
                delay: Duration::from_micros(delay_us),
                jitter: Duration::from_millis(jitter_ms),
                rate: rate.map(Rate),
                queue: datagrams.map(Queue::Datagrams),
                seed,
            };
            prop_assert_eq!(spec.to_string().parse::<LinkSpec>(), Ok(spec));
        }

        #[test]
        fn a_queue_in_time_is_read_as_it_was_printed(queue_us in 1u64..=60_000_000) {
            let queue = Some(Queue::Time(Duration::from_micros(queue_us)));
            let spec = LinkSpec { rate: Some(Rate(64_000)), queue, ..LinkSpec::default() };
            prop_assert_eq!(spec.to_string().parse::<LinkSpec>(), Ok(spec));
        }

        #[test]
        fn no_text_breaks_the_parser(text in "[a-z=%,.0-9 ]{0,40}") {
            if let Ok(spec) = text.parse::<LinkSpec>() {
                prop_assert_eq!(spec.to_string().parse::<LinkSpec>(), Ok(spec));
            }
        }
    }
}
