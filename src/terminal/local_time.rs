//! When something happened, on the clock on the user's wall.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

/// A moment as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp(DateTime);

impl Stamp {
    /// The moment in a time zone. One that no calendar reaches is shown as the first of all.
    pub fn new(unix_ms: u64, zone: &TimeZone) -> Self {
        Self(zone.to_datetime(moment(unix_ms)))
    }

    /// `14:05`.
    pub fn time(&self) -> String {
        self.0.strftime("%H:%M").to_string()
    }

    /// `Saturday, 21 November 2026`.
    pub fn long_date(&self) -> String {
        self.0.strftime("%A, %-d %B %Y").to_string()
    }

    /// In at most 6 cells: the time today, the day this year, the year before that.
    pub fn short(&self, today: &Self) -> String {
        if self.same_day(today) {
            self.time()
        } else if self.0.year() == today.0.year() {
            self.0.strftime("%-d %b").to_string()
        } else {
            self.0.strftime("%Y").to_string()
        }
    }

    /// The time, and as much of the date as is needed: `14:05`, `24 Dec 14:05`, `1 Jan 2027 14:05`.
    pub fn time_and_day(&self, today: &Self) -> String {
        let format = if self.same_day(today) {
            "%H:%M"
        } else if self.0.year() == today.0.year() {
            "%-d %b %H:%M"
        } else {
            "%-d %b %Y %H:%M"
        };
        self.0.strftime(format).to_string()
    }

    /// Between the same two midnights.
    pub fn same_day(&self, other: &Self) -> bool {
        self.0.date() == other.0.date()
    }
}

impl From<DateTime> for Stamp {
    fn from(shown: DateTime) -> Self {
        Self(shown)
    }
}

/// For programs: `2026-12-24T18:30:00+01:00`, in the time zone.
pub fn iso(unix_ms: u64, zone: &TimeZone) -> String {
    moment(unix_ms).to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

fn moment(unix_ms: u64) -> Timestamp {
    let unix_ms = i64::try_from(unix_ms).ok();
    unix_ms.and_then(|unix_ms| Timestamp::from_millisecond(unix_ms).ok()).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    const NOW_MS: u64 = 1_795_269_599_000;

    fn utc(unix_ms: u64) -> Stamp {
        Stamp::new(unix_ms, &TimeZone::UTC)
    }

    #[test]
    fn a_date_is_written_out() {
        let now = utc(NOW_MS);
        assert_eq!((now.long_date(), now.time()), ("Saturday, 21 November 2026".into(), "13:59".into()));
    }

    #[test]
    fn the_clock_of_a_zone_shows_the_season() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        assert_eq!(Stamp::new(NOW_MS, &zone).time(), "14:59");
        assert_eq!(iso(NOW_MS, &zone), "2026-11-21T14:59:59+01:00");
        let summer_ms = NOW_MS + 200 * 86_400_000;
        assert_eq!(Stamp::new(summer_ms, &zone).time(), "15:59");
        assert_eq!(iso(summer_ms, &zone), "2027-06-09T15:59:59+02:00");
    }

    #[test]
    fn the_short_form_says_no_more_than_needed() {
        let today = utc(NOW_MS);
        assert_eq!(today.short(&today), "13:59");
        assert_eq!(utc(1_795_000_000_000).short(&today), "18 Nov");
        assert_eq!(utc(1_700_000_000_000).short(&today), "2023");
        assert_eq!(today.time_and_day(&today), "13:59");
        assert_eq!(utc(NOW_MS + 33 * 86_400_000).time_and_day(&today), "24 Dec 13:59");
        assert_eq!(utc(NOW_MS + 41 * 86_400_000).time_and_day(&today), "1 Jan 2027 13:59");
    }

    #[test]
    fn a_time_beyond_every_calendar_is_shown_all_the_same() {
        let system = TimeZone::system();
        assert!(["1969", "1970"].contains(&Stamp::new(u64::MAX, &system).long_date().split(' ').next_back().unwrap()));
        let last_ms = Timestamp::MAX.as_second() as u64 * 1000;
        assert!(Stamp::new(last_ms, &TimeZone::fixed(jiff::tz::offset(14))).long_date().contains("9999"));
    }
}
