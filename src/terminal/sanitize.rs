//! Text that somebody else wrote, made safe to show.
//!
//! A terminal obeys what it is sent. A message must not be able to move the cursor, change the title, turn the direction of
//! the text around it, or hide itself; so everything that came over the network goes through here before it is drawn.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// The most characters that share one cell. The longest emoji sequences have 10; hundreds of combining marks on one letter
/// would paint over the lines above and below.
pub const GRAPHEME_CHARS_MAX: usize = 16;

const TAB: &str = "    ";

/// A message: line breaks stay, tabs become spaces.
pub fn text(raw: &str) -> String {
    // Most text, and it saves looking for graphemes.
    if raw.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n')) {
        return raw.to_owned();
    }
    let mut clean = String::with_capacity(raw.len());
    for grapheme in raw.graphemes(true) {
        match grapheme {
            "\n" | "\r\n" | "\r" | "\u{2028}" | "\u{2029}" | "\u{85}" => clean.push('\n'),
            "\t" => clean.push_str(TAB),
            _ => push_grapheme(&mut clean, grapheme),
        }
    }
    clean
}

/// A name, a title, an error: one line, without spaces at its ends.
pub fn line(raw: &str) -> String {
    let text = text(raw);
    let mut clean = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !clean.is_empty() {
            clean.push(' ');
        }
        clean.push_str(word);
    }
    clean
}

/// One field of a line of the plain mode: loses nothing, and holds no control character. A program undoes it by reading
/// `\\`, `\n`, `\t`, `\r` and `\u{hex}`.
pub fn escaped(raw: &str) -> String {
    let mut field = String::with_capacity(raw.len());
    for c in raw.chars() {
        match c {
            '\\' => field.push_str("\\\\"),
            '\n' => field.push_str("\\n"),
            '\t' => field.push_str("\\t"),
            '\r' => field.push_str("\\r"),
            c if c.is_control() || is_hidden(c) || matches!(c, '\u{2028}' | '\u{2029}') => {
                field.extend(c.escape_unicode());
            }
            c => field.push(c),
        }
    }
    field
}

/// How many cells a grapheme takes.
pub fn cells(grapheme: &str) -> usize {
    grapheme.width()
}

fn push_grapheme(clean: &mut String, grapheme: &str) {
    let before = clean.len();
    let is_flag = grapheme.starts_with('\u{1f3f4}');
    let visible = grapheme.chars().filter(|&c| !is_hidden(c) && (is_flag || !is_tag(c)));
    clean.extend(visible.take(GRAPHEME_CHARS_MAX).map(picture));
    // A mark without a letter would sit on whatever stands before it.
    if clean[before..].width() == 0 {
        clean.truncate(before);
    }
}

/// The symbol that stands for a control character.
fn picture(c: char) -> char {
    match c {
        '\0'..='\u{1f}' => char::from_u32(0x2400 + c as u32).unwrap_or(char::REPLACEMENT_CHARACTER),
        '\u{7f}' => '\u{2421}',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

/// Characters that show nothing themselves and change how others show: direction marks, overrides and isolates, zero-width
/// spaces, annotations. The joiners stay: emoji and several scripts are written with them.
fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}'
        | '\u{200b}' | '\u{200e}' | '\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{1d173}'..='\u{1d17a}')
}

/// Invisible letters, which spell the region of a flag and otherwise hide text.
fn is_tag(c: char) -> bool {
    matches!(c, '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    #[test]
    fn an_escape_sequence_is_shown_and_not_obeyed() {
        assert_eq!(text("a\u{1b}[31mred\u{7}\u{7f}"), "a␛[31mred␇␡");
        assert_eq!(text("\u{9b}2J"), "\u{fffd}2J", "the one-character form of ESC [ does the same in some terminals");
        assert!(!text("\u{1b}]0;owned\u{7}\u{9d}\u{90}").chars().any(char::is_control));
    }

    #[test]
    fn the_direction_of_text_cannot_be_overridden() {
        assert_eq!(text("photo\u{202e}gnp.exe"), "photognp.exe");
        assert_eq!(line("\u{2066}bob\u{2069}\u{200f}\u{61c}"), "bob");
    }

    #[test]
    fn line_breaks_stay_in_a_message_and_not_in_a_name() {
        assert_eq!(text("a\r\nb\rc\u{2028}d\u{85}e"), "a\nb\nc\nd\ne");
        assert_eq!(line(" a\r\nb\t c "), "a b c");
        assert_eq!(text("a\tb"), "a    b");
    }

    #[test]
    fn emoji_sequences_and_scripts_with_joiners_stay_whole() {
        for whole in ["👩‍👩‍👧‍👦", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "👍🏽", "❤️", "中文", "日本語", "می‌خواهم", "e\u{301}"]
        {
            assert_eq!(text(whole), whole);
        }
    }

    #[test]
    fn text_cannot_be_hidden_between_letters() {
        assert_eq!(line("a\u{200b}d\u{feff}m\u{ad}i\u{2060}n"), "admin");
        assert_eq!(text("x\u{e0041}\u{e0042}"), "x");
    }

    #[test]
    fn a_letter_carries_a_bounded_number_of_marks() {
        let zalgo = format!("a{}b", "\u{301}".repeat(1000));
        assert_eq!(text(&zalgo).chars().count(), GRAPHEME_CHARS_MAX + 1);
    }

    #[test]
    fn a_mark_without_a_letter_is_dropped() {
        assert_eq!(text("\u{301}"), "");
        assert_eq!(text("\n\u{301}x"), "\nx");
    }

    #[test]
    fn a_plain_field_loses_nothing_and_holds_no_tab_or_line_break() {
        assert_eq!(escaped("a\\b\n\t\r\u{1b}\u{202e}中"), "a\\\\b\\n\\t\\r\\u{1b}\\u{202e}中");
        assert_eq!(escaped("👩‍👧"), "👩‍👧");
    }
}
