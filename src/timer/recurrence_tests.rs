#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
use super::*;
use proptest::prelude::*;

const BERLIN: &str = "Europe/Berlin";
const MINUTE_MS: u64 = 60_000;

fn ms(zone: &str, local: &str) -> u64 {
    let local: DateTime = local.parse().unwrap();
    let zone = TimeZone::get(zone).unwrap();
    zone.to_ambiguous_timestamp(local).compatible().unwrap().as_millisecond() as u64
}

fn rule(rule: &str, zone: &str) -> Recurrence {
    Recurrence::new(rule, zone, MINUTE_MS).unwrap()
}

/// When it is due in UTC: the first one and those that follow, at most `count`.
fn due(text: &str, zone: &str, first: &str, count: usize) -> Vec<String> {
    let recurrence = rule(text, zone);
    let first = recurrence.first(ms(zone, first)).unwrap();
    let all = std::iter::once(first).chain(recurrence.after(first).unwrap());
    all.take(count).map(|one| moment(one.due_ms)).collect()
}

fn moment(due_ms: u64) -> String {
    Timestamp::from_millisecond(due_ms as i64).unwrap().strftime("%Y-%m-%dT%H:%M").to_string()
}

fn refused(text: &str, zone: &str, first: &str) -> String {
    let recurrence = Recurrence::new(text, zone, MINUTE_MS);
    recurrence.and_then(|recurrence| recurrence.first(ms("UTC", first))).unwrap_err().to_string()
}

#[test]
fn nine_in_the_morning_stays_nine_in_the_morning_across_daylight_saving() {
    let spring = due("FREQ=DAILY", BERLIN, "2027-03-27T09:00", 3);
    assert_eq!(spring, ["2027-03-27T08:00", "2027-03-28T07:00", "2027-03-29T07:00"]);
    let autumn = due("FREQ=WEEKLY", BERLIN, "2026-10-20T09:00", 2);
    assert_eq!(autumn, ["2026-10-20T07:00", "2026-10-27T08:00"]);
}

#[test]
fn a_time_that_the_clock_skips_comes_as_much_later_and_the_next_one_is_at_its_own_time() {
    let due = due("FREQ=DAILY", BERLIN, "2027-03-27T02:30", 3);
    assert_eq!(due, ["2027-03-27T01:30", "2027-03-28T01:30", "2027-03-29T00:30"], "on the 28th the clock shows 03:30");
    // Also when the day begins with it.
    let cairo = self::due("FREQ=DAILY", "Africa/Cairo", "2027-04-29T00:15", 3);
    assert_eq!(cairo, ["2027-04-28T22:15", "2027-04-29T22:15", "2027-04-30T21:15"]);
}

#[test]
fn a_time_that_the_clock_shows_twice_is_the_first_of_the_two() {
    let due = due("FREQ=DAILY", BERLIN, "2026-10-24T02:30", 3);
    assert_eq!(due, ["2026-10-24T00:30", "2026-10-25T00:30", "2026-10-26T01:30"]);
    // A series may begin with the second.
    let recurrence = rule("FREQ=DAILY", BERLIN);
    let second = recurrence.first(ms("UTC", "2026-10-25T01:30")).unwrap();
    let next = recurrence.after(second).unwrap().next().unwrap();
    assert_eq!((second.local.hour(), moment(next.due_ms).as_str()), (2, "2026-10-26T01:30"));
}

#[test]
fn an_hour_that_the_clock_skips_or_repeats_is_used_once() {
    let spring = due("FREQ=HOURLY", BERLIN, "2027-03-28T01:00", 3);
    assert_eq!(spring, ["2027-03-28T00:00", "2027-03-28T01:00", "2027-03-28T02:00"]);
    let autumn = due("FREQ=HOURLY", BERLIN, "2026-10-25T02:00", 2);
    assert_eq!(autumn, ["2026-10-25T00:00", "2026-10-25T02:00"]);
}

#[test]
fn a_month_without_the_day_is_passed_over_and_the_last_day_is_minus_one() {
    let on_31st = due("FREQ=MONTHLY", "UTC", "2026-12-31T18:00", 3);
    assert_eq!(on_31st, ["2026-12-31T18:00", "2027-01-31T18:00", "2027-03-31T18:00"]);
    let last = due("FREQ=MONTHLY;BYMONTHDAY=-1", "UTC", "2027-01-31T18:00", 3);
    assert_eq!(last, ["2027-01-31T18:00", "2027-02-28T18:00", "2027-03-31T18:00"]);
    let working_day = due("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", "UTC", "2027-01-29T18:00", 3);
    assert_eq!(working_day, ["2027-01-29T18:00", "2027-02-26T18:00", "2027-03-31T18:00"]);
    let leap = due("FREQ=YEARLY", "UTC", "2028-02-29T12:00", 2);
    assert_eq!(leap, ["2028-02-29T12:00", "2032-02-29T12:00"]);
}

#[test]
fn count_and_until_end_a_series_also_when_it_is_counted_from_the_middle() {
    for end in ["COUNT=3", "UNTIL=20261123T080000Z"] {
        let all = due(&format!("FREQ=DAILY;{end}"), BERLIN, "2026-11-21T09:00", 9);
        assert_eq!(all, ["2026-11-21T08:00", "2026-11-22T08:00", "2026-11-23T08:00"], "{end}");
        let recurrence = rule(&format!("FREQ=DAILY;{end}"), BERLIN);
        let mut at = recurrence.first(ms(BERLIN, "2026-11-21T09:00")).unwrap();
        let mut sent = 1;
        while let Some(next) = recurrence.after(at).unwrap().next() {
            assert_eq!(next.passed, sent);
            (at, sent) = (next, sent + 1);
        }
        assert_eq!(sent, 3, "{end}");
    }
}

#[test]
fn milliseconds_are_kept() {
    let recurrence = rule("FREQ=MINUTELY", "UTC");
    let first = recurrence.first(1_800_000_000_123).unwrap();
    assert_eq!(recurrence.after(first).unwrap().next().unwrap().due_ms, 1_800_000_060_123);
}

#[test]
fn a_rule_that_cannot_be_used_says_what_could() {
    let saturday = "2026-11-21T09:00";
    for (text, zone, expected) in [
        ("", "UTC", "FREQ=WEEKLY;BYDAY=MO"),
        ("RRULE:FREQ=DAILY", "UTC", "without a name"),
        ("FREQ=DAILY\nRDATE:20261121T090000Z", "UTC", "FREQ=WEEKLY;BYDAY=MO"),
        ("FREQ=SOMETIMES", "UTC", "SOMETIMES"),
        ("INTERVAL=2", "UTC", "FREQ"),
        ("FREQ=DAILY", "Europe/Atlantis", "Europe/Berlin"),
        ("FREQ=DAILY", "../../etc/passwd", "Europe/Berlin"),
        ("FREQ=DAILY", "", "Europe/Berlin"),
        ("FREQ=DAILY;COUNT=0", "UTC", "COUNT is a number above 0"),
        ("FREQ=DAILY;COUNT=2;UNTIL=20271121T090000Z", "UTC", "one of them at most"),
        ("FREQ=DAILY;UNTIL=20271121", "UTC", "UNTIL a time in UTC"),
        ("FREQ=DAILY;UNTIL=20251121T090000Z", "UTC", "UNTIL"),
        ("FREQ=DAILY;INTERVAL=0", "UTC", "1 or more"),
        ("FREQ=SECONDLY", "UTC", "FREQ=MINUTELY"),
        ("FREQ=MINUTELY;BYSECOND=0,30", "UTC", "BYSECOND"),
        ("FREQ=WEEKLY;BYDAY=MO", "UTC", "no time at 2026-11-21T09:00:00"),
        ("FREQ=DAILY;BYHOUR=8,9,10;BYMINUTE=0,5,10,15,20,25,30,35,40", "UTC", "24 times"),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "UTC", "no time at"),
        ("FREQ=DAILY;BYMONTHDAY=21", "UTC", "FREQ=MONTHLY"),
        ("FREQ=WEEKLY;BYDAY=SA,2SU", "UTC", "FREQ=MONTHLY"),
    ] {
        let said = refused(text, zone, saturday);
        assert!(said.contains(expected), "{text}: {said}");
    }
    let hourly = Recurrence::new("FREQ=DAILY;BYHOUR=9;BYMINUTE=0,30", "UTC", 60 * MINUTE_MS).unwrap();
    assert_eq!(hourly.first(ms("UTC", saturday)), Err(InvalidRecurrence::TooOften(3_600)));
    assert_eq!(rule("FREQ=DAILY", "UTC").first(u64::MAX), Err(InvalidRecurrence::Beyond));
}

#[test]
fn the_end_of_the_calendar_ends_a_series() {
    assert_eq!(due("FREQ=YEARLY;INTERVAL=65535", "UTC", "2026-11-21T09:00", 5).len(), 1);
    assert_eq!(due("FREQ=DAILY", "UTC", "9999-12-29T09:00", 5), ["9999-12-29T09:00", "9999-12-30T09:00"]);
}

/// Parts of rules, also of those that nobody should write.
fn hostile_rule() -> impl Strategy<Value = String> {
    let numbers = |range: std::ops::Range<i32>| {
        proptest::collection::vec(range, 1..5)
            .prop_map(|all| all.iter().map(i32::to_string).collect::<Vec<_>>().join(","))
    };
    let day = (-6..7_i32, 0..7_usize).prop_map(|(number, day)| {
        let number = if number == 0 { String::new() } else { number.to_string() };
        number + ["MO", "TU", "WE", "TH", "FR", "SA", "SU"][day]
    });
    let part = prop_oneof![
        numbers(-2..14).prop_map(|all| format!("BYMONTH={all}")),
        numbers(-32..33).prop_map(|all| format!("BYMONTHDAY={all}")),
        numbers(-368..368).prop_map(|all| format!("BYYEARDAY={all}")),
        numbers(-54..55).prop_map(|all| format!("BYWEEKNO={all}")),
        numbers(-3..26).prop_map(|all| format!("BYHOUR={all}")),
        numbers(-1..61).prop_map(|all| format!("BYMINUTE={all}")),
        numbers(-1..61).prop_map(|all| format!("BYSECOND={all}")),
        numbers(-40..40).prop_map(|all| format!("BYSETPOS={all}")),
        proptest::collection::vec(day, 1..4).prop_map(|all| format!("BYDAY={}", all.join(","))),
        (0..70_000_u32).prop_map(|interval| format!("INTERVAL={interval}")),
        (0..9_u32).prop_map(|interval| format!("INTERVAL={interval}")),
        Just("WKST=SU".to_owned()),
        Just("COUNT=4294967295".to_owned()),
    ];
    let freq =
        proptest::sample::select(&["YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY", "SECONDLY"][..]);
    (freq, proptest::collection::vec(part, 0..4))
        .prop_map(|(freq, parts)| [vec![format!("FREQ={freq}")], parts].concat().join(";"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn a_hostile_rule_costs_little_and_what_it_gives_ascends(
        text in hostile_rule(), first_s in 0..253_000_000_000_u64, zone in proptest::sample::select(&["UTC", BERLIN][..])
    ) {
        let begun = std::time::Instant::now();
        let Ok(recurrence) = Recurrence::new(&text, zone, MINUTE_MS) else { return Ok(()) };
        let _ = recurrence.first(first_s * 1_000);
        // Few rules match a time at random, so begin with one that this does.
        let local = Offset::UTC.to_datetime(Timestamp::from_second(first_s as i64).unwrap());
        let Ok(rules) = recurrence.rules(local) else { return Ok(()) };
        if rules.get_rrule().iter().any(|rule| check(rule).is_err() || !may_match(rule, local)) { return Ok(()) }
        let Some(local) = recurrence.shown(&rules, local).next() else { return Ok(()) };
        let due_ms = recurrence.zone.to_ambiguous_timestamp(local).compatible().map_or(0, |at| at.as_millisecond() as u64);
        let Ok(first) = recurrence.first(due_ms) else { return Ok(()) };
        let mut before = first;
        for next in recurrence.after(first).unwrap().take(20) {
            prop_assert!(next.due_ms >= before.due_ms + MINUTE_MS && next.passed > before.passed, "{text}");
            // Counted from any of them, the rest is the same.
            let again = recurrence.after(before).unwrap().next().unwrap();
            prop_assert_eq!(again, next, "{}", text);
            before = next;
        }
        // Without optimisation, and with another 20 counted from the middle, it takes some twenty times as long as once with it.
        prop_assert!(begun.elapsed().as_millis() < 5_000, "{text} took {:?}", begun.elapsed());
    }
}
