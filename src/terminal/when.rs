//! When a scheduled message is due, as a person writes it: pure, with the time and the zone passed in.

use super::{every::Every, local_time::Stamp, sanitize};
use godwit_client::Repeat;
use jiff::{
    Timestamp, ToSpan,
    civil::{Date, DateTime, Time},
    tz::{AmbiguousOffset, Offset, TimeZone},
};
use std::fmt;
use thiserror::Error;

/// A time, as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// `in 20m`: so many seconds from now.
    In(u64),
    /// `18:30`: when the clock shows this next.
    At(Time),
    /// `2026-12-24 18:30`.
    On(DateTime),
    /// `every monday 9:00`.
    Every(Every, Time),
}

/// A time, found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Unix time in milliseconds; of a series, the first time.
    pub unix_ms: u64,
    /// Set for a series.
    pub repeat: Option<Repeat>,
    /// Set when the clock shows this time twice that day.
    pub choice: Option<Choice>,
}

/// Which of two moments was taken that the clock shows the same time at, because it is put back between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    time: Time,
    offset: Offset,
    is_first: bool,
}

/// A time that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WhenError {
    /// Nothing that stands for a time.
    #[error("“{0}” is no time; write 18:30, or 2026-12-24 18:30, or in 20m (s, m, h, d), or every monday 9:00")]
    Unreadable(String),
    /// No days that come again.
    #[error("“{0}” does not come again; write every day, every weekday, every monday or every 15th, and then 9:00")]
    Every(String),
    /// The system does not say which zone its clock shows, only how far it is from UTC now.
    #[error("the name of your time zone is not known, which this needs; set it with TZ=Europe/Berlin, for example")]
    Zone,
    /// A date that no calendar has, or no date.
    #[error("“{0}” is no date; write it as 2026-12-24")]
    Date(String),
    /// The clock is put forward over it.
    #[error("the clock never shows {0}: it is put forward over it; choose another time")]
    Skipped(String),
    /// It is over.
    #[error("{0} has passed")]
    Passed(String),
    /// No calendar goes that far.
    #[error("that is too far ahead")]
    TooFar,
}

impl When {
    /// Reads a time off the beginning of a text. Returns the rest without spaces before it.
    pub fn split(text: &str) -> Result<(Self, &str), WhenError> {
        let (first, rest) = word(text);
        if first.eq_ignore_ascii_case("in") {
            let (span, rest) = word(rest);
            return Ok((Self::In(seconds(span)?), rest));
        }
        if first.eq_ignore_ascii_case("every") {
            let (days, rest) = word(rest);
            let every = Every::parse(days)?;
            let (clock, rest) = word(rest);
            return Ok((Self::Every(every, time(clock)?), rest));
        }
        if first.contains('-') {
            let date = Date::strptime("%Y-%m-%d", first).map_err(|_| WhenError::Date(sanitize::line(first)))?;
            let (clock, rest) = word(rest);
            return Ok((Self::On(date.to_datetime(time(clock)?)), rest));
        }
        Ok((Self::At(time(first)?), rest))
    }

    /// The same, where a span may stand without `in`: `2h`.
    pub fn split_soon(text: &str) -> Result<(Self, &str), WhenError> {
        let (first, rest) = word(text);
        let is_span = first.starts_with(|c: char| c.is_ascii_digit()) && !first.contains([':', '-']);
        if is_span { Ok((Self::In(seconds(first)?), rest)) } else { Self::split(text) }
    }

    /// Finds the moment. `now_ms` is Unix time in milliseconds, `zone` the one that the user's clock shows.
    pub fn resolve(self, now_ms: u64, zone: &TimeZone) -> Result<Due, WhenError> {
        match self {
            Self::In(seconds) => {
                let unix_ms = seconds.checked_mul(1000).and_then(|ms| now_ms.checked_add(ms));
                let unix_ms = unix_ms.filter(|&ms| moment(ms).is_some()).ok_or(WhenError::TooFar)?;
                Ok(Due { unix_ms, repeat: None, choice: None })
            }
            Self::On(written) => {
                let now = moment(now_ms).ok_or(WhenError::TooFar)?;
                next(written, now, zone)?.ok_or_else(|| WhenError::Passed(words(written)))
            }
            Self::At(time) => {
                let now = moment(now_ms).ok_or(WhenError::TooFar)?;
                let today = zone.to_datetime(now).date();
                if let Some(due) = next(today.to_datetime(time), now, zone)? {
                    return Ok(due);
                }
                let tomorrow = today.tomorrow().map_err(|_| WhenError::TooFar)?;
                next(tomorrow.to_datetime(time), now, zone)?.ok_or(WhenError::TooFar)
            }
            Self::Every(every, time) => {
                let repeat = every.repeat(zone)?;
                let now = moment(now_ms).ok_or(WhenError::TooFar)?;
                let today = zone.to_datetime(now).date();
                // What the clock is put forward over is no time to begin with.
                let days = today.series(1.day()).take(MONTHS_APART_DAYS_MAX).filter(|day| every.is_on(*day));
                let first = days.into_iter().find_map(|day| next(day.to_datetime(time), now, zone).ok().flatten());
                first.map(|due| Due { repeat: Some(repeat), ..due }).ok_or(WhenError::TooFar)
            }
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (time, offset) = (self.time.strftime("%H:%M"), self.offset);
        match self.is_first {
            true => write!(f, "the clock shows {time} twice then, and the first one was taken, at UTC{offset}"),
            false => {
                write!(
                    f,
                    "the clock shows {time} twice then; the first one has passed, the second was taken, at UTC{offset}"
                )
            }
        }
    }
}

/// The first moment after `now` at which the clock shows this; `None` if there is none any more.
fn next(written: DateTime, now: Timestamp, zone: &TimeZone) -> Result<Option<Due>, WhenError> {
    let candidates = match zone.to_ambiguous_timestamp(written).offset() {
        AmbiguousOffset::Unambiguous { offset } => [Some((offset, None)), None],
        AmbiguousOffset::Fold { before, after } => {
            let choice = |offset, is_first| Some(Choice { time: written.time(), offset, is_first });
            [Some((before, choice(before, true))), Some((after, choice(after, false)))]
        }
        // The clock shows later times already, and so it will not be asked to show this one.
        AmbiguousOffset::Gap { .. } if zone.to_datetime(now) > written => return Ok(None),
        AmbiguousOffset::Gap { .. } => return Err(WhenError::Skipped(words(written))),
    };
    for (offset, choice) in candidates.into_iter().flatten() {
        let moment = offset.to_timestamp(written).map_err(|_| WhenError::TooFar)?;
        if moment > now {
            let unix_ms = u64::try_from(moment.as_millisecond()).map_err(|_| WhenError::TooFar)?;
            return Ok(Some(Due { unix_ms, repeat: None, choice }));
        }
    }
    Ok(None)
}

/// Days in which each day of a month comes at least twice: once may have passed, and the clock be put forward over another.
const MONTHS_APART_DAYS_MAX: usize = 31 + 28 + 31 + 30 + 31;

fn words(written: DateTime) -> String {
    let stamp = Stamp::from(written);
    format!("{} on {}", stamp.time(), stamp.long_date())
}

fn moment(unix_ms: u64) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(unix_ms).ok()?).ok()
}

fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim_start())
}

/// `18:30`, `8:05`.
fn time(word: &str) -> Result<Time, WhenError> {
    let read = |digits: &str, lengths: std::ops::RangeInclusive<usize>| {
        let is_number = lengths.contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit());
        is_number.then(|| digits.parse().ok()).flatten()
    };
    let parts = word.split_once(':').and_then(|(hour, minute)| Some((read(hour, 1..=2)?, read(minute, 2..=2)?)));
    let time = parts.and_then(|(hour, minute): (i8, i8)| Time::new(hour, minute, 0, 0).ok());
    time.ok_or_else(|| WhenError::Unreadable(sanitize::line(word)))
}

/// `20m`, `1h30m`. A day has 24 hours, whatever the clock does.
pub fn seconds(word: &str) -> Result<u64, WhenError> {
    let unreadable = || WhenError::Unreadable(sanitize::line(&format!("in {word}")));
    let mut rest = word;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = rest.split_at(digits);
        let unit_seconds = match unit.chars().next() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3_600,
            Some('d') => 86_400,
            _ => return Err(unreadable()),
        };
        if number.is_empty() {
            return Err(unreadable());
        }
        let number: u64 = number.parse().map_err(|_| WhenError::TooFar)?;
        total = number.checked_mul(unit_seconds).and_then(|more| total.checked_add(more)).ok_or(WhenError::TooFar)?;
        rest = &unit[1..];
    }
    if word.is_empty() { Err(unreadable()) } else { Ok(total) }
}

#[cfg(test)]
#[path = "when_tests.rs"]
mod tests;
