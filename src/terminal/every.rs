//! What is sent again and again, as a person writes it: pure, as `when` is.

use super::{sanitize, when::WhenError};
use godwit_client::{Repeat, v1::Recurrence};
use jiff::{
    civil::{Date, Weekday},
    tz::TimeZone,
};

/// Days that come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Every {
    /// `every day`.
    Day,
    /// `every weekday`: Monday to Friday.
    WorkingDay,
    /// `every monday`.
    Week(Weekday),
    /// `every 15th`. A month without this day is passed over.
    Month(i8),
}

impl Every {
    /// Reads the word after `every`.
    pub fn parse(word: &str) -> Result<Self, WhenError> {
        let lower = word.to_lowercase();
        let day = match lower.as_str() {
            "day" => Some(Self::Day),
            "weekday" => Some(Self::WorkingDay),
            name => DAYS.iter().find(|(day, _)| *day == name || day[..3] == *name).map(|(_, day)| Self::Week(*day)),
        };
        let of_month = || {
            let number = ["st", "nd", "rd", "th"].iter().find_map(|end| lower.strip_suffix(end))?;
            number.parse().ok().filter(|day| (1..=31).contains(day)).map(Self::Month)
        };
        day.or_else(of_month).ok_or_else(|| WhenError::Every(sanitize::line(word)))
    }

    /// Whether it is on this day.
    pub fn is_on(self, date: Date) -> bool {
        match self {
            Self::Day => true,
            Self::WorkingDay => !matches!(date.weekday(), Weekday::Saturday | Weekday::Sunday),
            Self::Week(day) => date.weekday() == day,
            Self::Month(day) => date.day() == day,
        }
    }

    /// The rule, counted from the first time in this time zone. The day is that of the first time, so that a series that is moved to
    /// another day goes on there.
    pub fn repeat(self, zone: &TimeZone) -> Result<Repeat, WhenError> {
        let rrule = match self {
            Self::Day => DAILY,
            Self::WorkingDay => WORKING_DAYS,
            Self::Week(_) => WEEKLY,
            Self::Month(_) => MONTHLY,
        };
        let time_zone = zone.iana_name().ok_or(WhenError::Zone)?.to_owned();
        Ok(Repeat { rrule: rrule.to_owned(), time_zone })
    }
}

/// How often, in words: those that people write here, or the rule as it is. Safe to show.
pub fn words(recurrence: &Recurrence, zone: &TimeZone) -> String {
    let often = match recurrence.rrule.as_str() {
        DAILY => "every day".to_owned(),
        WORKING_DAYS => "every weekday".to_owned(),
        WEEKLY => "every week".to_owned(),
        MONTHLY => "every month".to_owned(),
        rule => format!("again by {}", sanitize::line(rule)),
    };
    match zone.iana_name() {
        Some(name) if name == recurrence.time_zone => often,
        _ => format!("{often}, {} time", sanitize::line(&recurrence.time_zone)),
    }
}

const DAILY: &str = "FREQ=DAILY";
const WORKING_DAYS: &str = "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR";
const WEEKLY: &str = "FREQ=WEEKLY";
const MONTHLY: &str = "FREQ=MONTHLY";

const DAYS: [(&str, Weekday); 7] = [
    ("monday", Weekday::Monday),
    ("tuesday", Weekday::Tuesday),
    ("wednesday", Weekday::Wednesday),
    ("thursday", Weekday::Thursday),
    ("friday", Weekday::Friday),
    ("saturday", Weekday::Saturday),
    ("sunday", Weekday::Sunday),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    #[test]
    fn days_are_named_as_people_name_them() {
        for (word, every) in [
            ("day", Every::Day),
            ("Weekday", Every::WorkingDay),
            ("MONDAY", Every::Week(Weekday::Monday)),
            ("sun", Every::Week(Weekday::Sunday)),
            ("1st", Every::Month(1)),
            ("31st", Every::Month(31)),
        ] {
            assert_eq!(Every::parse(word), Ok(every), "{word}");
        }
        for word in ["", "mo", "0th", "32nd", "15", "th", "hour", "mañana"] {
            let said = Every::parse(word).unwrap_err().to_string();
            assert!(said.contains("every monday"), "{word}: {said}");
        }
    }

    #[test]
    fn a_rule_is_told_in_words_and_one_of_another_program_as_it_is() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let told = |rrule: &str, zone: &str| {
            words(&Recurrence { rrule: rrule.into(), time_zone: zone.into(), ..Recurrence::default() }, &berlin)
        };
        for every in ["day", "weekday"] {
            let repeat = Every::parse(every).unwrap().repeat(&berlin).unwrap();
            assert_eq!(told(&repeat.rrule, &repeat.time_zone), format!("every {every}"));
        }
        assert_eq!(told("FREQ=WEEKLY", "Asia/Tokyo"), "every week, Asia/Tokyo time");
        assert_eq!(told("FREQ=HOURLY\u{1b}", "Europe/Berlin"), "again by FREQ=HOURLY␛");
        assert_eq!(Every::Day.repeat(&TimeZone::fixed(jiff::tz::offset(1))), Err(WhenError::Zone));
    }
}
