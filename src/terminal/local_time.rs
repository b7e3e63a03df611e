//! When something happened, on the clock on the user's wall.

/// A moment as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Of the common era.
    pub year: i32,
    /// 1..=12.
    pub month: u8,
    /// 1..=31.
    pub day: u8,
    /// Days since Sunday.
    pub weekday: u8,
    /// 0..=23.
    pub hour: u8,
    /// 0..=59.
    pub minute: u8,
}

impl Stamp {
    /// The moment in the time zone of this process; in UTC if the system cannot tell.
    pub fn local(unix_ms: u64) -> Self {
        local(unix_ms).unwrap_or_else(|| Self::utc(unix_ms))
    }

    /// The moment in UTC.
    pub fn utc(unix_ms: u64) -> Self {
        let minutes = unix_ms / 60_000;
        let days = minutes / (24 * 60);
        // Counted from 0000-03-01, so that the leap day is a year's last ("chrono-Compatible Low-Level Date Algorithms",
        // Howard Hinnant).
        let since = days + 719_468;
        let (era, of_era) = (since / 146_097, since % 146_097);
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let march_based = (5 * of_year + 2) / 153;
        let month = (march_based + 2) % 12 + 1;
        Self {
            year: (year + era * 400 + u64::from(month <= 2)) as i32,
            month: month as u8,
            day: (of_year - (153 * march_based + 2) / 5 + 1) as u8,
            weekday: ((days + 4) % 7) as u8,
            hour: (minutes / 60 % 24) as u8,
            minute: (minutes % 60) as u8,
        }
    }

    /// `14:05`.
    pub fn time(&self) -> String {
        format!("{:02}:{:02}", self.hour, self.minute)
    }

    /// `Saturday, 21 November 2026`.
    pub fn long_date(&self) -> String {
        let weekday = WEEKDAYS.get(usize::from(self.weekday)).copied().unwrap_or_default();
        format!("{weekday}, {} {} {}", self.day, self.month_name(), self.year)
    }

    /// In at most 6 cells: the time today, the day this year, the year before that.
    pub fn short(&self, today: &Self) -> String {
        if self.same_day(today) {
            self.time()
        } else if self.year == today.year {
            format!("{} {}", self.day, &self.month_name()[..3])
        } else {
            self.year.to_string()
        }
    }

    /// Between the same two midnights.
    pub fn same_day(&self, other: &Self) -> bool {
        (self.year, self.month, self.day) == (other.year, other.month, other.day)
    }

    fn month_name(&self) -> &'static str {
        MONTHS[usize::from(self.month.clamp(1, 12)) - 1]
    }
}

const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

// The C library knows the time zone rules of this machine, and `libc` is its only binding without further rules of its own.
#[allow(unsafe_code)]
fn local(unix_ms: u64) -> Option<Stamp> {
    let seconds = libc::time_t::try_from(unix_ms / 1000).ok()?;
    let mut parts = std::mem::MaybeUninit::<libc::tm>::uninit();
    // SAFETY: both pointers are valid for the call, and the answer is not null only if `parts` was written. It reads the
    // environment, which this process never changes.
    let parts = unsafe {
        if libc::localtime_r(&seconds, parts.as_mut_ptr()).is_null() {
            return None;
        }
        parts.assume_init()
    };
    Some(Stamp {
        year: parts.tm_year.checked_add(1900)?,
        month: u8::try_from(parts.tm_mon + 1).ok()?,
        day: u8::try_from(parts.tm_mday).ok()?,
        weekday: u8::try_from(parts.tm_wday).ok()?,
        hour: u8::try_from(parts.tm_hour).ok()?,
        minute: u8::try_from(parts.tm_min).ok()?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    #[test]
    fn utc_is_right_across_leap_days_and_centuries() {
        let at = |seconds: u64| {
            let stamp = Stamp::utc(seconds * 1000);
            format!("{} {}", stamp.long_date(), stamp.time())
        };
        assert_eq!(at(0), "Thursday, 1 January 1970 00:00");
        assert_eq!(at(951_827_696), "Tuesday, 29 February 2000 12:34");
        assert_eq!(at(1_795_269_599), "Saturday, 21 November 2026 13:59");
        assert_eq!(at(4_107_542_400), "Monday, 1 March 2100 00:00");
    }

    #[test]
    fn the_local_clock_is_within_a_day_of_utc() {
        let ms = 1_795_269_599_000;
        let (local, utc) = (local(ms).unwrap(), Stamp::utc(ms));
        assert_eq!((local.year, local.month), (utc.year, utc.month));
        assert!(local.day.abs_diff(utc.day) <= 1);
    }

    #[test]
    fn the_short_form_says_no_more_than_needed() {
        let today = Stamp::utc(1_795_269_599_000);
        assert_eq!(today.short(&today), "13:59");
        assert_eq!(Stamp::utc(1_795_000_000_000).short(&today), "18 Nov");
        assert_eq!(Stamp::utc(1_700_000_000_000).short(&today), "2023");
    }
}
