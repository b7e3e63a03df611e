//! When something happened, on the clock on the user's wall.

use time::{Date, OffsetDateTime, UtcOffset};

/// A moment as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp(OffsetDateTime);

impl Stamp {
    /// The moment in the time zone of this process; in UTC if the system cannot tell.
    pub fn local(unix_ms: u64) -> Self {
        let Self(utc) = Self::utc(unix_ms);
        let offset = UtcOffset::local_offset_at(utc).unwrap_or(UtcOffset::UTC);
        Self(utc.checked_to_offset(offset).unwrap_or(utc))
    }

    /// The moment in UTC. One that no calendar reaches is shown as the first of all.
    pub fn utc(unix_ms: u64) -> Self {
        let seconds = i64::try_from(unix_ms / 1000).ok();
        let moment = seconds.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
        Self(moment.unwrap_or(OffsetDateTime::UNIX_EPOCH))
    }

    /// `14:05`.
    pub fn time(&self) -> String {
        format!("{:02}:{:02}", self.0.hour(), self.0.minute())
    }

    /// `Saturday, 21 November 2026`.
    pub fn long_date(&self) -> String {
        let date = self.date();
        format!("{}, {} {} {}", date.weekday(), date.day(), date.month(), date.year())
    }

    /// In at most 6 cells: the time today, the day this year, the year before that.
    pub fn short(&self, today: &Self) -> String {
        let (date, today) = (self.date(), today.date());
        if date == today {
            self.time()
        } else if date.year() == today.year() {
            format!("{} {:.3}", date.day(), date.month().to_string())
        } else {
            date.year().to_string()
        }
    }

    /// Between the same two midnights.
    pub fn same_day(&self, other: &Self) -> bool {
        self.date() == other.date()
    }

    fn date(&self) -> Date {
        self.0.date()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    const NOW_MS: u64 = 1_795_269_599_000;

    #[test]
    fn a_date_is_written_out() {
        let now = Stamp::utc(NOW_MS);
        assert_eq!((now.long_date(), now.time()), ("Saturday, 21 November 2026".into(), "13:59".into()));
    }

    #[test]
    fn the_local_clock_is_within_a_day_of_utc() {
        let (Stamp(local), Stamp(utc)) = (Stamp::local(NOW_MS), Stamp::utc(NOW_MS));
        assert_eq!(local, utc, "the same moment");
        assert!((local.date() - utc.date()).whole_days().abs() <= 1);
    }

    #[test]
    fn the_short_form_says_no_more_than_needed() {
        let today = Stamp::utc(NOW_MS);
        assert_eq!(today.short(&today), "13:59");
        assert_eq!(Stamp::utc(1_795_000_000_000).short(&today), "18 Nov");
        assert_eq!(Stamp::utc(1_700_000_000_000).short(&today), "2023");
    }

    #[test]
    fn a_time_beyond_every_calendar_is_shown_all_the_same() {
        assert_eq!(Stamp::local(u64::MAX).long_date().split(' ').next_back(), Some("1970"));
    }
}
