#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use super::*;
use jiff::civil::datetime;
use proptest::prelude::*;

/// Central European time: forward at 02:00 on 28 March 2027, back at 03:00 on 25 October 2026.
fn berlin() -> TimeZone {
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
}

/// Unix time in milliseconds of what a clock `hours` ahead of UTC shows.
fn at(year: i16, month: i8, day: i8, hour: i8, minute: i8, hours: i8) -> u64 {
    let shown = datetime(year, month, day, hour, minute, 0, 0);
    Offset::constant(hours).to_timestamp(shown).unwrap().as_millisecond() as u64
}

fn due(text: &str, now_ms: u64) -> Result<Due, WhenError> {
    When::split(text)?.0.resolve(now_ms, &berlin())
}

fn due_ms(text: &str, now_ms: u64) -> u64 {
    due(text, now_ms).unwrap().unix_ms
}

fn error(text: &str, now_ms: u64) -> String {
    due(text, now_ms).unwrap_err().to_string()
}

#[test]
fn the_text_begins_where_the_time_ends() {
    for (line, text) in [
        ("18:30 see you", "see you"),
        ("  8:05   in  time", "in  time"),
        ("2026-12-24 18:30 merry christmas", "merry christmas"),
        ("in 20m 18:30", "18:30"),
        ("IN 1h30m\nlines", "lines"),
        ("in 20m", ""),
        ("18:30", ""),
    ] {
        assert_eq!(When::split(line).unwrap().1, text, "{line}");
    }
}

#[test]
fn a_time_of_day_is_today_or_tomorrow_if_it_has_passed() {
    let noon = at(2026, 11, 21, 12, 0, 1);
    assert_eq!(due_ms("12:01", noon), at(2026, 11, 21, 12, 1, 1));
    assert_eq!(due_ms("12:00", noon), at(2026, 11, 22, 12, 0, 1), "it has just passed");
    assert_eq!(due_ms("0:00", noon), at(2026, 11, 22, 0, 0, 1));
    assert_eq!(due_ms("23:59", noon), at(2026, 11, 21, 23, 59, 1));
}

#[test]
fn today_is_the_day_of_the_users_clock() {
    // 00:30 on the 22nd in Berlin, still the 21st in UTC.
    let now = at(2026, 11, 21, 23, 30, 0);
    assert_eq!(due_ms("00:15", now), at(2026, 11, 23, 0, 15, 1));
    assert_eq!(due_ms("18:30", now), at(2026, 11, 22, 18, 30, 1));
}

#[test]
fn a_date_in_another_season_has_the_offset_of_that_season() {
    let winter = at(2026, 11, 21, 12, 0, 1);
    assert_eq!(due_ms("2026-12-24 18:30", winter), at(2026, 12, 24, 18, 30, 1));
    assert_eq!(due_ms("2027-07-01 18:30", winter), at(2027, 7, 1, 18, 30, 2));
    let night_before_summer = at(2027, 3, 27, 20, 0, 1);
    assert_eq!(due_ms("19:00", night_before_summer), at(2027, 3, 28, 19, 0, 2), "23 hours later");
}

#[test]
fn a_span_is_counted_and_not_shown_by_a_clock() {
    let now = at(2027, 3, 27, 20, 0, 1);
    for (text, seconds) in [("in 90s", 90), ("in 20m", 1_200), ("in 1h30m", 5_400), ("in 1d", 86_400), ("in 0s", 0)] {
        assert_eq!(due_ms(text, now), now + seconds * 1000, "{text}");
    }
}

#[test]
fn a_time_that_the_clock_is_put_forward_over_is_refused() {
    let before = at(2027, 3, 28, 1, 0, 1);
    let said = "the clock never shows 02:30 on Sunday, 28 March 2027: it is put forward over it; choose another time";
    assert_eq!(error("02:30", before), said);
    assert_eq!(error("2027-03-28 02:30", at(2026, 11, 21, 12, 0, 1)), said);
    assert_eq!(error("02:30", at(2027, 3, 27, 12, 0, 1)), said, "tomorrow");
    assert_eq!(due_ms("03:00", before), at(2027, 3, 28, 3, 0, 2));
    let after = at(2027, 3, 28, 3, 5, 2);
    assert_eq!(due_ms("02:30", after), at(2027, 3, 29, 2, 30, 2), "that day is over it");
}

#[test]
fn of_a_time_that_comes_twice_the_first_that_has_not_passed_is_taken_and_named() {
    let (first, second) = (at(2026, 10, 25, 2, 30, 2), at(2026, 10, 25, 2, 30, 1));
    let evening = due("2026-10-25 02:30", at(2026, 10, 24, 20, 0, 2)).unwrap();
    assert_eq!(evening.unix_ms, first);
    let said = "the clock shows 02:30 twice then, and the first one was taken, at UTC+02";
    assert_eq!(evening.choice.unwrap().to_string(), said);
    let between = due("02:30", first).unwrap();
    assert_eq!(between.unix_ms, second);
    let said = between.choice.unwrap().to_string();
    assert!(said.contains("the second was taken, at UTC+01"), "{said}");
    assert_eq!(due("02:30", second).unwrap(), Due { unix_ms: at(2026, 10, 26, 2, 30, 1), repeat: None, choice: None });
    assert_eq!(due("03:00", first).unwrap().choice, None);
}

#[test]
fn a_date_that_has_passed_is_refused() {
    let now = at(2026, 11, 21, 12, 0, 1);
    assert_eq!(error("2026-11-21 11:59", now), "11:59 on Saturday, 21 November 2026 has passed");
    assert_eq!(error("2026-03-29 02:30", now), "02:30 on Sunday, 29 March 2026 has passed", "it never was");
}

#[test]
fn what_is_no_time_is_named_and_an_example_given() {
    let now = at(2026, 11, 21, 12, 0, 1);
    for text in ["25:00", "24:00", "18:60", "18:3", "18.30", "1830", "6pm", "tomorrow", "+1:00", "-", ""] {
        let said = error(text, now);
        assert!(said.contains("is no time") || said.contains("is no date"), "{text}: {said}");
    }
    for text in ["in", "in 20", "in m", "in 20x", "in -5m", "in 1m30", "in ½h", "in 5µs"] {
        assert!(error(text, now).starts_with("“in"), "{text}");
    }
    assert_eq!(error("2026-02-30 10:00", now), "“2026-02-30” is no date; write it as 2026-12-24");
    assert!(error("2026-12-24 x", now).contains("“x” is no time"));
    assert!(error("18:30\u{1b}[2J", now).contains("18:30␛"), "shown and not obeyed");
    for text in ["in 99999999999999999999s", "in 9999999999999d", "in 3000000d"] {
        assert_eq!(error(text, now), "that is too far ahead", "{text}");
    }
}

proptest! {
    #[test]
    fn whatever_is_typed_is_a_later_moment_or_an_error(text in "(in )?[0-9:dhms-]{0,12}( [0-9:]{0,6})?", now_ms: u64) {
        if let Ok((when, _)) = When::split(&text)
            && let Ok(due) = when.resolve(now_ms, &berlin())
        {
            prop_assert!(due.unix_ms >= now_ms, "{:?}", when);
        }
    }

    /// The clock then shows what was written, and it is the first time that it does.
    #[test]
    fn a_time_of_day_is_the_next_one_that_the_clock_shows(minute in 0u32..1440, hours in 0u64..24 * 400) {
        let now_ms = at(2026, 3, 1, 0, 0, 1) + hours * 3_600_000;
        let written = format!("{:02}:{:02}", minute / 60, minute % 60);
        if let Ok(due) = due(&written, now_ms) {
            prop_assert_eq!(Stamp::new(due.unix_ms, &berlin()).time(), written.clone());
            let minutes = (1..).map(|minute| now_ms / 60_000 * 60_000 + minute * 60_000);
            let shown = minutes.take_while(|&ms| ms < due.unix_ms).find(|&ms| Stamp::new(ms, &berlin()).time() == written);
            prop_assert_eq!(shown, None);
        }
    }
}

#[test]
fn what_comes_again_begins_at_its_next_time() {
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let first = |text: &str, now_ms| When::split(text).unwrap().0.resolve(now_ms, &zone).unwrap();
    // A Saturday.
    let noon = at(2026, 11, 21, 12, 0, 1);
    assert_eq!(first("every day 12:00 x", noon).unix_ms, at(2026, 11, 22, 12, 0, 1));
    assert_eq!(first("every saturday 12:01", noon).unix_ms, at(2026, 11, 21, 12, 1, 1));
    assert_eq!(first("every sat 12:00", noon).unix_ms, at(2026, 11, 28, 12, 0, 1));
    assert_eq!(first("every weekday 9:00", noon).unix_ms, at(2026, 11, 23, 9, 0, 1));
    assert_eq!(first("every 31st 9:00", noon).unix_ms, at(2026, 12, 31, 9, 0, 1));
    let monthly = first("EVERY 15TH 9:00", noon);
    assert_eq!(monthly.repeat.unwrap().time_zone, "Europe/Berlin");
    // It does not begin with a time that the clock is put forward over.
    assert_eq!(first("every day 2:30", at(2027, 3, 27, 12, 0, 1)).unix_ms, at(2027, 3, 29, 2, 30, 2));
    // The second of two is no reason to wait for a day.
    assert_eq!(first("every day 2:30", at(2026, 10, 25, 2, 45, 2)).unix_ms, at(2026, 10, 25, 2, 30, 1));
    assert!(error("every day", noon).contains("“” is no time"));
    assert!(error("every hour 9:00", noon).contains("“hour” does not come again"));
    assert!(error("every day 9:00", noon).contains("TZ=Europe/Berlin"), "a zone without a name");
}
