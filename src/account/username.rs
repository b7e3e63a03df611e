//! What a user may be called, and when two names are the same.

use caseless::Caseless;
use thiserror::Error;
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

/// The longest name, in characters after normalisation.
pub const USERNAME_CHARS_MAX: usize = 32;

/// The longest name, in bytes of UTF-8 after normalisation.
pub const USERNAME_BYTES_MAX: usize = 64;

/// A name that follows the rules: letters, digits and marks of any script, and `.`, `_`, `-`; a letter or digit first.
///
/// It is kept in NFKC, so that a name looks the same however it was typed. Two names with the same [`key`](Self::key) are
/// the same name. Letters of different scripts that look alike are not told apart from forgery: that needs a person.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Username {
    name: String,
    key: String,
}

impl Username {
    /// Normalises and checks what a user wrote.
    pub fn parse(text: &str) -> Result<Self, InvalidUsername> {
        // Before normalising, whose cost grows with the text: a frame full of it would keep a core busy. NFKC leaves at
        // least a quarter of a text's bytes, so nothing that could become a name is refused here.
        if text.len() > 4 * USERNAME_BYTES_MAX {
            return Err(InvalidUsername::Long);
        }
        let name: String = text.nfkc().collect();
        let Some(first) = name.chars().next() else { return Err(InvalidUsername::Empty) };
        if name.len() > USERNAME_BYTES_MAX || name.chars().count() > USERNAME_CHARS_MAX {
            return Err(InvalidUsername::Long);
        }
        if let Some(bad) = name.chars().find(|&c| !is_allowed(c)) {
            return Err(InvalidUsername::Character(bad));
        }
        if !first.is_alphanumeric() || is_combining_mark(first) {
            return Err(InvalidUsername::Start);
        }
        let key = name_key(&name);
        Ok(Self { name, key })
    }

    /// As the user wrote it, normalised.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// What must be unique: the name without regard to case.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The name and its key.
    pub fn into_parts(self) -> (String, String) {
        (self.name, self.key)
    }
}

/// Full case folding can leave something that normalises further, and that can fold further; the second round reaches the
/// fixed point (Unicode 3.13, D146 does the same).
fn name_key(name: &str) -> String {
    let once: String = name.chars().default_case_fold().nfkc().collect();
    once.chars().default_case_fold().nfkc().collect()
}

fn is_allowed(c: char) -> bool {
    matches!(c, '.' | '_' | '-') || ((c.is_alphanumeric() || is_combining_mark(c)) && !is_invisible(c))
}

/// Letters and marks that show nothing: two names that differ only in them look the same. (Format characters, among them
/// those that turn the direction of text, are no letters and not allowed anyway.) Default_Ignorable_Code_Point of Unicode
/// 16, as far as its characters are letters or marks.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{34f}'                        // combining grapheme joiner
        | '\u{115f}' | '\u{1160}'        // Hangul fillers
        | '\u{17b4}' | '\u{17b5}'        // Khmer inherent vowels
        | '\u{180b}'..='\u{180f}'        // Mongolian variation selectors
        | '\u{3164}' | '\u{ffa0}'        // Hangul fillers again
        | '\u{fe00}'..='\u{fe0f}'        // variation selectors
        | '\u{e0100}'..='\u{e01ef}'      // and their supplement
    )
}

/// Which rule a name breaks. Answer `INVALID_USERNAME` with this text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidUsername {
    /// Nothing is left of it.
    #[error("a username has at least one character")]
    Empty,
    /// Too long after normalisation.
    #[error("a username has at most {USERNAME_CHARS_MAX} characters and {USERNAME_BYTES_MAX} bytes of UTF-8")]
    Long,
    /// A character that no name contains.
    #[error("a username is made of letters, digits and '.', '_', '-'; it cannot contain {0:?}")]
    Character(char),
    /// A mark or punctuation in front.
    #[error("a username begins with a letter or a digit")]
    Start,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(text: &str) -> String {
        Username::parse(text).unwrap().key().to_owned()
    }

    #[test]
    fn names_of_many_scripts_are_allowed() {
        for name in ["alice", "Łukasz.K", "小明", "नमस्ते", "Ünal_2", "Дмитрий", "ひなた", "أحمد", "u-1", "7", "ณัฐ"]
        {
            assert_eq!(Username::parse(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn names_that_differ_only_in_case_or_form_are_the_same() {
        for (one, other) in [
            ("alice", "ALICE"),
            ("straße", "STRASSE"),
            ("Σίσυφος", "ΣΊΣΥΦΟΣ"),
            ("Åsa", "A\u{30a}sa"),
            ("ａｌｉｃｅ", "Alice"),
            ("\u{1d5ae}leg", "Oleg"),
            ("ﬁn", "FIN"),
            ("ᾴ", "Α\u{301}Ι"),
        ] {
            assert_eq!(key(one), key(other), "{one} and {other}");
        }
    }

    #[test]
    fn a_name_that_cannot_be_seen_or_read_aloud_is_refused() {
        for text in [
            "a b",
            "a\tb",
            "a\0",
            "a\u{200b}b",
            "a\u{202e}b",
            "a\u{200d}b",
            "a\u{3164}",
            "a\u{fe0f}",
            "a\u{34f}",
            "a/b",
            "😀",
            "a@b",
            "a\u{ad}",
        ] {
            assert!(matches!(Username::parse(text), Err(InvalidUsername::Character(_))), "{text:?}");
        }
    }

    #[test]
    fn a_name_begins_with_a_letter_or_digit() {
        for text in [".a", "-", "_x", "\u{301}a"] {
            assert_eq!(Username::parse(text), Err(InvalidUsername::Start), "{text:?}");
        }
        assert_eq!(Username::parse(""), Err(InvalidUsername::Empty));
    }

    #[test]
    fn the_length_counts_after_normalisation_in_characters_and_bytes() {
        assert!(Username::parse(&"a".repeat(32)).is_ok());
        assert_eq!(Username::parse(&"a".repeat(33)), Err(InvalidUsername::Long));
        assert!(Username::parse(&"明".repeat(21)).is_ok());
        assert_eq!(Username::parse(&"明".repeat(22)), Err(InvalidUsername::Long));
        // One character that becomes eighteen.
        assert_eq!(Username::parse(&"\u{fdfa}".repeat(2)), Err(InvalidUsername::Long));
        assert!(Username::parse(&"e\u{301}".repeat(32)).is_ok());
        assert_eq!(Username::parse(&"a".repeat(60_000)), Err(InvalidUsername::Long));
    }

    proptest! {
        #[test]
        fn a_parsed_name_parses_to_itself_and_its_key_is_its_own_key(text in "\\PC{0,40}") {
            if let Ok(parsed) = Username::parse(&text) {
                let again = Username::parse(parsed.as_str());
                prop_assert_eq!(again.as_ref(), Ok(&parsed));
                prop_assert_eq!(name_key(parsed.key()), parsed.key());
            }
        }

        #[test]
        fn every_single_letter_has_a_stable_key(c in any::<char>()) {
            if let Ok(parsed) = Username::parse(&c.to_string()) {
                prop_assert_eq!(name_key(parsed.key()), parsed.key());
            }
        }

        #[test]
        fn case_never_makes_another_name(name in "[a-zA-ZÀ-ɏͰ-Ͽἀ-῾Ѐ-ԯԱ-ևႠ-Ⴥ0-9._-]{1,12}") {
            let Ok(parsed) = Username::parse(&name) else { return Ok(()) };
            // Dotless i and its like: Unicode folds them to themselves but has capitals of other letters for them.
            prop_assume!(!name.chars().any(|c| "ıİſ".contains(c)));
            for variant in [parsed.as_str().to_uppercase(), parsed.as_str().to_lowercase()] {
                prop_assert_eq!(name_key(&variant.nfkc().collect::<String>()), parsed.key(), "{}", variant);
            }
        }
    }
}
