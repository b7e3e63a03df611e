//! What others see beside a user's messages.

use std::fmt;
use thiserror::Error;

/// The longest display name, in bytes of UTF-8.
pub const DISPLAY_NAME_BYTES_MAX: usize = 64;

/// One line of any text that does not disturb the lines around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisplayName(String);

impl DisplayName {
    /// Trims and checks what a user wrote; nothing of it means the username.
    pub fn parse(text: &str, username: &str) -> Result<Self, InvalidDisplayName> {
        let trimmed = text.trim();
        if trimmed.len() > DISPLAY_NAME_BYTES_MAX {
            return Err(InvalidDisplayName::Long);
        }
        if let Some(bad) = trimmed.chars().find(|&c| disturbs(c)) {
            return Err(InvalidDisplayName::Character(bad));
        }
        Ok(Self(if trimmed.is_empty() { username } else { trimmed }.to_owned()))
    }

    /// The text.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Display for DisplayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Control characters, line and paragraph separators, and whatever turns the direction of the text after it. (The joiners
/// that emoji and several scripts need are none of these.)
fn disturbs(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}')
}

/// Which rule a display name breaks. Answer `INVALID_ARGUMENT` with this text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidDisplayName {
    /// Too long.
    #[error("a display name has at most {DISPLAY_NAME_BYTES_MAX} bytes of UTF-8")]
    Long,
    /// A character that would disturb what stands around the name.
    #[error("a display name is one line of plain text; it cannot contain {0:?}")]
    Character(char),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_means_the_username() {
        assert_eq!(DisplayName::parse("  ", "alice").unwrap().into_string(), "alice");
    }

    #[test]
    fn emoji_with_joiners_are_fine_and_turned_text_is_not() {
        assert_eq!(DisplayName::parse(" Ann 👩‍🚀 ", "ann").unwrap().into_string(), "Ann 👩‍🚀");
        assert_eq!(DisplayName::parse("a\u{202e}b", "a"), Err(InvalidDisplayName::Character('\u{202e}')));
        assert_eq!(DisplayName::parse("a\nb", "a"), Err(InvalidDisplayName::Character('\n')));
        assert_eq!(DisplayName::parse(&"a".repeat(65), "a"), Err(InvalidDisplayName::Long));
    }
}
