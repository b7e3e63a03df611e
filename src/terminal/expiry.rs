//! Messages that disappear: what `/expire` asks for, and how an expiry is put into words. Pure.

use super::when::When;
use godwit_client::{Expiry, v1};
use std::time::Duration;

/// What follows `/expire`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expire {
    /// Nothing: tell what is in force.
    Show,
    /// `1h`, `1h read`, `off`: so for every message of this conversation from now on that says nothing else.
    Set(Expiry),
    /// `10m: text`: so for this one.
    Send {
        /// When it disappears.
        expiry: Expiry,
        /// What it says.
        text: String,
    },
}

/// Why a message is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// It has disappeared, for everybody.
    Expired,
    /// Its delivery ended before it reached this user.
    Missed,
}

impl Expire {
    /// `None`: it is written otherwise.
    pub fn parse(rest: &str) -> Option<Self> {
        if rest.is_empty() {
            return Some(Self::Show);
        }
        match rest.split_once(':') {
            None => read(rest).map(Self::Set),
            Some((expiry, text)) => {
                let text = text.trim_start();
                let expiry = read(expiry).filter(|_| !text.is_empty())?;
                Some(Self::Send { expiry, text: text.to_owned() })
            }
        }
    }
}

impl Gone {
    /// As a marker says it.
    pub fn new(marker: &v1::Withdrawn) -> Self {
        match marker.reason() {
            v1::WithdrawnReason::Undelivered => Self::Missed,
            v1::WithdrawnReason::Expired | v1::WithdrawnReason::Unspecified => Self::Expired,
        }
    }

    /// What stands in the place of the message.
    pub fn words(self) -> &'static str {
        match self {
            Self::Expired => "a message expired",
            Self::Missed => "a message did not reach you in time",
        }
    }
}

/// How messages expire, as half a sentence.
pub fn words(expiry: Expiry) -> String {
    match expiry {
        Expiry::Never => "messages stay".to_owned(),
        Expiry::AfterSent(after) => format!("messages disappear {} after they are sent", span(after)),
        Expiry::AfterRead(after) => format!("messages disappear {} after they are read", span(after)),
    }
}

/// `1h30m`: the two largest units, rounded down.
pub fn span(span: Duration) -> String {
    let units = [(86_400, 'd'), (3_600, 'h'), (60, 'm'), (1, 's')];
    let mut rest = span.as_secs();
    if rest == 0 {
        return format!("{}ms", span.as_millis());
    }
    let mut text = String::new();
    let largest = units.iter().position(|(seconds, _)| rest >= *seconds).unwrap_or(0);
    for (seconds, unit) in &units[largest..units.len().min(largest + 2)] {
        if rest >= *seconds {
            text += &format!("{}{unit}", rest / seconds);
            rest %= seconds;
        }
    }
    text
}

/// What is left of a message's time, and after how many milliseconds that is to be written otherwise: minutes, and seconds
/// at the end. Above 0.
pub fn left(left_ms: u64) -> (String, u64) {
    const MINUTE_MS: u64 = 60_000;
    let step_ms = if left_ms > MINUTE_MS { MINUTE_MS } else { 1_000 };
    // 2m until less than that is left.
    let steps = left_ms.div_ceil(step_ms);
    (span(Duration::from_millis(steps * step_ms)), left_ms - (steps - 1) * step_ms)
}

/// `1h`, `1h read`, `off`.
fn read(text: &str) -> Option<Expiry> {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words[..] {
        [word] if word.eq_ignore_ascii_case("off") => Some(Expiry::Never),
        [word] => read_span(word).map(Expiry::AfterSent),
        [word, start] if start.eq_ignore_ascii_case("read") => read_span(word).map(Expiry::AfterRead),
        _ => None,
    }
}

fn read_span(word: &str) -> Option<Duration> {
    match When::split(&format!("in {word}")) {
        Ok((When::In(seconds), "")) if seconds > 0 => Some(Duration::from_secs(seconds)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn send(expiry: Expiry, text: &str) -> Option<Expire> {
        Some(Expire::Send { expiry, text: text.into() })
    }

    #[test]
    fn an_expiry_is_for_the_conversation_or_with_a_colon_for_one_message() {
        for (written, expected) in [
            ("", Some(Expire::Show)),
            ("1m", Some(Expire::Set(Expiry::AfterSent(MINUTE)))),
            ("60s  READ", Some(Expire::Set(Expiry::AfterRead(MINUTE)))),
            ("off", Some(Expire::Set(Expiry::Never))),
            ("1m: at 18:30: tea", send(Expiry::AfterSent(MINUTE), "at 18:30: tea")),
            ("1m read:tea", send(Expiry::AfterRead(MINUTE), "tea")),
            ("Off: tea", send(Expiry::Never, "tea")),
            ("1m:  ", None),
            (": tea", None),
            ("0s", None),
            ("1m later", None),
            ("18:30", None),
            ("tea", None),
        ] {
            assert_eq!(Expire::parse(written), expected, "{written}");
        }
    }

    #[test]
    fn a_span_is_written_as_it_is_typed() {
        for (seconds, expected) in [(45, "45s"), (3_600, "1h"), (5_400, "1h30m"), (90_061, "1d1h"), (86_460, "1d")] {
            assert_eq!(span(Duration::from_secs(seconds)), expected);
        }
        assert_eq!(span(Duration::from_millis(250)), "250ms");
    }

    #[test]
    fn what_is_left_is_written_anew_whenever_it_changes_and_is_never_nothing() {
        assert_eq!(left(120_001), ("3m".into(), 1));
        assert_eq!(left(120_000), ("2m".into(), 60_000));
        assert_eq!(left(60_000), ("1m".into(), 1_000));
        assert_eq!(left(59_000), ("59s".into(), 1_000));
        assert_eq!(left(1), ("1s".into(), 1));
    }
}
