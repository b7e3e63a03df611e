//! What comes again: a rule of iCalendar (RFC 5545, section 3.3.10) on the clock of a time zone.
//!
//! The `rrule` crate counts through the calendar, on a clock that is never put forward or back. What the clock of the zone shows
//! then is turned into moments here, so that 09:00 stays 09:00 across daylight saving.

use jiff::{
    SignedDuration, Timestamp,
    civil::DateTime,
    tz::{Offset, TimeZone},
};
use rrule::{Frequency, NWeekday, RRule, RRuleSet};
use thiserror::Error;

/// Bytes of a rule at most.
pub const RULE_BYTES_MAX: usize = 256;
/// Bytes of a time zone's name at most.
const ZONE_BYTES_MAX: usize = 64;
/// Times of day at most that a rule lists. A yearly rule multiplies them by the days of a year.
const TIMES_A_DAY_MAX: usize = 24;
/// Occurrences whose distance is looked at before a rule is accepted: those of a day, and one of the next.
const LOOKED_AT: usize = TIMES_A_DAY_MAX + 1;

/// A rule, understood.
#[derive(Debug, Clone)]
pub struct Recurrence {
    zone: TimeZone,
    /// Without COUNT and UNTIL, which are kept apart.
    rule: String,
    count: Option<u32>,
    until: Option<Timestamp>,
    /// Occurrences are at least this far apart. What the rule gives in between is passed over.
    distance_ms_min: u64,
}

/// One time at which it is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occurrence {
    /// Milliseconds since 1970-01-01 UTC.
    pub due_ms: u64,
    /// What the clock shows then, or would show if it were not put forward over it, in whole seconds.
    pub local: DateTime,
    /// How many the rule gives before this one.
    pub passed: u32,
}

/// A rule that cannot be used. The text says what could.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidRecurrence {
    /// Too long, or no rule.
    #[error("an rrule is parts like FREQ=WEEKLY;BYDAY=MO, without a name before it, in at most {RULE_BYTES_MAX} bytes")]
    Unreadable,
    /// The library says what is wrong.
    #[error("the rrule is refused: {0}")]
    Refused(String),
    /// A part that is not supported with this frequency.
    #[error("{part} is not supported with FREQ={freq}; {instead}")]
    Unsupported {
        /// Which.
        part: &'static str,
        /// With what.
        freq: String,
        /// What to do.
        instead: &'static str,
    },
    /// The rule ends in a way that is none.
    #[error("COUNT is a number above 0, UNTIL a time in UTC like 20261224T183000Z, and a rule has one of them at most")]
    End,
    /// Not in the time zone database.
    #[error("there is no time zone of this name; use one of the IANA database, like Europe/Berlin or UTC")]
    Zone,
    /// Several times a day, and too many.
    #[error("a rule lists at most {TIMES_A_DAY_MAX} times of the day")]
    TimesADay,
    /// It is never due then.
    #[error("the rule gives no time at {0}, when it is due first; change due_ms or the rule so that they agree")]
    NotFirst(DateTime),
    /// Too often.
    #[error("occurrences must be at least {0} s apart")]
    TooOften(u64),
    /// No calendar goes there.
    #[error("that time is beyond the calendar")]
    Beyond,
}

impl Recurrence {
    /// Reads a rule. Costs a few microseconds.
    pub fn new(rule: &str, zone: &str, distance_ms_min: u64) -> Result<Self, InvalidRecurrence> {
        let is_text = |c: u8| c.is_ascii_alphanumeric() || b"=;,+-".contains(&c);
        if rule.is_empty() || rule.len() > RULE_BYTES_MAX || !rule.bytes().all(is_text) {
            return Err(InvalidRecurrence::Unreadable);
        }
        let (mut parts, mut count, mut until) = (Vec::new(), None, None);
        for part in rule.to_ascii_uppercase().split(';') {
            let (name, value) = part.split_once('=').ok_or(InvalidRecurrence::Unreadable)?;
            match name {
                "COUNT" | "UNTIL" if count.is_some() || until.is_some() => return Err(InvalidRecurrence::End),
                "COUNT" => {
                    let number = value.parse().ok().filter(|number| *number > 0);
                    count = Some(number.ok_or(InvalidRecurrence::End)?);
                }
                "UNTIL" => {
                    let time = DateTime::strptime("%Y%m%dT%H%M%SZ", value).ok();
                    let time = time.and_then(|time| Offset::UTC.to_timestamp(time).ok());
                    until = Some(time.ok_or(InvalidRecurrence::End)?);
                }
                _ => parts.push(part.to_owned()),
            }
        }
        let is_name = !zone.is_empty() && zone.len() <= ZONE_BYTES_MAX;
        let zone = Some(zone).filter(|_| is_name).and_then(|zone| TimeZone::get(zone).ok());
        let zone = zone.ok_or(InvalidRecurrence::Zone)?;
        Ok(Self { zone, rule: parts.join(";"), count, until, distance_ms_min })
    }

    /// The first occurrence, if the rule has one at `due_ms`: of several, it is the first.
    pub fn first(&self, due_ms: u64) -> Result<Occurrence, InvalidRecurrence> {
        let moment = i64::try_from(due_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let moment = moment.ok_or(InvalidRecurrence::Beyond)?;
        let local = self.zone.to_datetime(moment);
        let local = local.with().subsec_nanosecond(0).build().map_err(|_| InvalidRecurrence::Beyond)?;
        let first = Occurrence { due_ms, local, passed: 0 };
        if self.until.is_some_and(|until| until < moment) {
            return Err(InvalidRecurrence::End);
        }
        let rules = self.rules(local)?;
        rules.get_rrule().iter().try_for_each(check)?;
        if !rules.get_rrule().iter().all(|rule| may_match(rule, local)) {
            return Err(InvalidRecurrence::NotFirst(local));
        }
        let mut clock = self.shown(&rules, local);
        if clock.next() != Some(local) {
            return Err(InvalidRecurrence::NotFirst(local));
        }
        let mut before = local;
        for shown in clock.take(LOOKED_AT) {
            let distance = shown.duration_since(before).as_millis();
            if distance < i128::from(self.distance_ms_min) {
                return Err(InvalidRecurrence::TooOften(self.distance_ms_min / 1_000));
            }
            before = shown;
        }
        Ok(first)
    }

    /// Those after one, in order. To take one costs a few microseconds; to find out that there is none, a few milliseconds at
    /// most.
    pub fn after(&self, from: Occurrence) -> Result<impl Iterator<Item = Occurrence>, InvalidRecurrence> {
        let shown = self.shown(&self.rules(from.local)?, from.local);
        let mut due_ms_min = from.due_ms.saturating_add(self.distance_ms_min.max(1));
        let numbered = shown.zip(from.passed..self.count.unwrap_or(u32::MAX)).skip(1);
        let moments = numbered.map_while(move |(local, passed)| {
            let moment = self.zone.to_ambiguous_timestamp(local).compatible().ok()?;
            let due_ms = u64::try_from(moment.as_millisecond()).ok()?.checked_add(from.due_ms % 1_000)?;
            self.until.is_none_or(|until| moment <= until).then_some(Occurrence { due_ms, local, passed })
        });
        // The clock is put forward over two of them, or shows one time twice and the first of the series was the second.
        Ok(moments.filter(move |occurrence| {
            let is_apart = occurrence.due_ms >= due_ms_min;
            if is_apart {
                due_ms_min = occurrence.due_ms.saturating_add(self.distance_ms_min.max(1));
            }
            is_apart
        }))
    }

    /// The rule as the library has it, counted from one occurrence. An occurrence lies in a period of the rule, so counting from
    /// it gives what counting from the first one would, and costs nothing for what has passed.
    fn rules(&self, from: DateTime) -> Result<RRuleSet, InvalidRecurrence> {
        let start = shift(from, cycles(from)).ok_or(InvalidRecurrence::Beyond)?;
        let text = format!("DTSTART:{}\nRRULE:{}", start.strftime("%Y%m%dT%H%M%SZ"), self.rule);
        let rules: RRuleSet = text.parse().map_err(|error: rrule::RRuleError| {
            InvalidRecurrence::Refused(error.to_string().replace(|c: char| c.is_control(), " "))
        })?;
        Ok(rules.limit())
    }

    /// What the clock shows at each occurrence, if it were never put forward or back.
    fn shown(&self, rules: &RRuleSet, from: DateTime) -> impl Iterator<Item = DateTime> + use<> {
        let cycles = cycles(from);
        rules.into_iter().map_while(move |shown| {
            let shown = Offset::UTC.to_datetime(Timestamp::from_second(shown.timestamp()).ok()?);
            shift(shown, -cycles)
        })
    }
}

/// Whether this much of a rule is supported: what the library counts as the standard says, in bounded time, and such that one can
/// go on counting from any occurrence.
fn check(rule: &RRule) -> Result<(), InvalidRecurrence> {
    let freq = rule.get_freq();
    let unsupported = |part, instead| Err(InvalidRecurrence::Unsupported { part, freq: freq.to_string(), instead });
    let is_calendar = matches!(freq, Frequency::Monthly | Frequency::Yearly);
    let days = rule.get_by_weekday();
    if freq == Frequency::Secondly {
        return unsupported("any part", "use FREQ=MINUTELY");
    }
    if rule.get_interval() == 0 {
        return unsupported("INTERVAL=0", "it is 1 or more");
    }
    if rule.get_by_second().len() > 1 {
        return unsupported("BYSECOND", "it is due at the second of due_ms");
    }
    if !is_calendar && days.iter().any(|day| matches!(day, NWeekday::Nth(..))) {
        return unsupported("BYDAY with a number", "use FREQ=MONTHLY or FREQ=YEARLY");
    }
    if !is_calendar && !rule.get_by_month_day().is_empty() {
        return unsupported("BYMONTHDAY", "use FREQ=MONTHLY or FREQ=YEARLY");
    }
    if !is_calendar && !rule.get_by_set_pos().is_empty() {
        return unsupported("BYSETPOS", "use FREQ=MONTHLY or FREQ=YEARLY");
    }
    if freq != Frequency::Yearly && !rule.get_by_year_day().is_empty() {
        return unsupported("BYYEARDAY", "use FREQ=YEARLY");
    }
    let is_minutely = freq == Frequency::Minutely;
    if is_minutely && !(rule.get_by_hour().is_empty() && rule.get_by_minute().is_empty()) {
        return unsupported("BYHOUR or BYMINUTE", "use FREQ=HOURLY or FREQ=DAILY");
    }
    match rule.get_by_hour().len().max(1) * rule.get_by_minute().len().max(1) {
        0..=TIMES_A_DAY_MAX => Ok(()),
        _ => Err(InvalidRecurrence::TimesADay),
    }
}

/// False: the rule gives no time then. What recurs by days or less is counted a step at a time, which may take long to find
/// nothing; what matches once does so again soon.
fn may_match(rule: &RRule, local: DateTime) -> bool {
    let lists =
        |listed: &[u8], shown: i8| listed.is_empty() || listed.iter().any(|&one| i16::from(one) == i16::from(shown));
    let days = rule.get_by_weekday();
    let is_day = |day: &NWeekday| match day {
        NWeekday::Every(day) => day.num_days_from_monday() == local.weekday().to_monday_zero_offset() as u32,
        NWeekday::Nth(..) => true,
    };
    lists(rule.get_by_month(), local.month())
        && lists(rule.get_by_hour(), local.hour())
        && lists(rule.get_by_minute(), local.minute())
        && (days.is_empty() || days.iter().any(is_day))
}

/// Seconds until the calendar is the same again, days of the week included.
const CYCLE_SECONDS: i64 = 146_097 * 86_400;
const CYCLE_YEARS: i16 = 400;

/// How many cycles later a series is counted: as late as the library goes, which gives up in the year 10000. So it looks no further
/// than 100 to 500 years for the next occurrence of a rule that has none.
fn cycles(from: DateTime) -> i64 {
    i64::from(((9_899 - from.year()) / CYCLE_YEARS).max(0))
}

fn shift(local: DateTime, cycles: i64) -> Option<DateTime> {
    local.checked_add(SignedDuration::from_secs(cycles * CYCLE_SECONDS)).ok()
}

#[cfg(test)]
#[path = "recurrence_tests.rs"]
mod tests;
