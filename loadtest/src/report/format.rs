//! Figures with as many digits as they deserve.

use jiff::Timestamp;
use std::time::SystemTime;

/// Bytes of memory are shown in these.
pub const KIB: f64 = 1024.0;
pub const MIB: f64 = 1024.0 * KIB;

/// A whole number, its digits in groups: `12,345`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Three digits, but never fewer than stand before the point nor more than three behind it: `12,345`, `1.23`, `0.012`.
/// What is not a number is a dash.
pub fn figure(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    // By what it will be rounded to, or 9.999 would become 10.00.
    match value.abs() {
        size if size >= 99.95 => {
            let sign = if value < 0.0 { "-" } else { "" };
            format!("{sign}{}", count(size.round() as u64))
        }
        size if size >= 9.995 => format!("{value:.1}"),
        size if size >= 0.9995 => format!("{value:.2}"),
        0.0 => "0".to_owned(),
        _ => format!("{value:.3}"),
    }
}

/// The same for something that has a unit.
pub fn with_unit(value: f64, unit: &str) -> String {
    if unit.is_empty() { figure(value) } else { format!("{} {unit}", figure(value)) }
}

/// One figure ÷ another.
pub fn ratio(value: f64) -> String {
    format!("{value:.2}")
}

/// Binary gigabytes.
pub fn gibibytes(bytes: u64) -> String {
    format!("{} GiB", figure(bytes as f64 / (1024.0 * MIB)))
}

/// A time of the day in UTC, to the second.
pub fn utc(time: SystemTime) -> String {
    // No clock shows a time that a calendar lacks.
    let moment = Timestamp::try_from(time).unwrap_or_default();
    moment.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn whole_numbers_are_grouped() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn figures_have_three_digits_where_that_makes_sense() {
        let figures = [0.0, 0.0004, 0.0123, 0.9999, 1.234, 9.999, 12.34, 99.99, 123.4, 12_345.6, -150.0];
        let shown = ["0", "0.000", "0.012", "1.00", "1.23", "10.0", "12.3", "100", "123", "12,346", "-150"];
        assert_eq!(figures.map(figure), shown);
        assert_eq!(figure(f64::NAN), "–");
        assert_eq!(with_unit(1.5, "ms"), "1.50 ms");
    }

    #[test]
    fn a_time_is_said_in_utc() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_582_934_400 + 3_661);
        assert_eq!(utc(time), "2020-02-29 01:01:01 UTC");
    }
}
