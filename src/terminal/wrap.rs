//! Breaking text into lines of a number of cells.

use super::sanitize::cells;
use unicode_segmentation::UnicodeSegmentation;

/// The lines that `text` takes in `width` cells: at least one, none wider than `width`.
///
/// Breaks after spaces and around wide characters, and inside a word only if the word alone is too long. Punctuation that
/// closes stays with what it closes, as Chinese and Japanese typesetting wants it. Expects what
/// [`sanitize::text`](super::sanitize::text) returned.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    if width == 0 {
        return Vec::new();
    }
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        wrap_paragraph(paragraph, width, &mut lines);
    }
    lines
}

/// The beginning of `text` that fits, with an ellipsis if something is missing.
pub fn fit(text: &str, width: usize) -> String {
    if cells(text) <= width {
        return text.to_owned();
    }
    let mut fitted = String::new();
    let mut used = 1;
    for grapheme in text.graphemes(true) {
        used += cells(grapheme);
        if used > width {
            break;
        }
        fitted.push_str(grapheme);
    }
    if width > 0 {
        fitted.push('…');
    }
    fitted
}

/// [`fit`], followed by spaces up to the width.
pub fn fit_padded(text: &str, width: usize) -> String {
    let mut fitted = fit(text, width);
    let missing = width.saturating_sub(cells(&fitted));
    fitted.extend(std::iter::repeat_n(' ', missing));
    fitted
}

/// Stands for a character that is wider than the whole line.
const TOO_WIDE: &str = "?";

fn wrap_paragraph(paragraph: &str, width: usize, lines: &mut Vec<String>) {
    let mut line: Vec<&str> = Vec::new();
    let mut used = 0;
    // Where the line may be broken: the index of the first grapheme of the next line.
    let mut break_at = 0;
    let mut is_continuation = false;
    for grapheme in paragraph.graphemes(true) {
        let grapheme = if cells(grapheme) > width { TOO_WIDE } else { grapheme };
        let is_space = grapheme == " ";
        if is_continuation && line.is_empty() && is_space {
            continue;
        }
        if line.last().is_some_and(|&before| may_break(before, grapheme)) {
            break_at = line.len();
        }
        let mut is_swallowed = false;
        // The part after the break can again be too long together with what comes now.
        while used + cells(grapheme) > width {
            is_continuation = true;
            is_swallowed = is_space;
            let whole = is_space || break_at == 0;
            let rest = line.split_off(if whole { line.len() } else { break_at });
            push_line(&line, lines);
            line = rest;
            used = line.iter().map(|one| cells(one)).sum();
            break_at = 0;
        }
        if !is_swallowed {
            line.push(grapheme);
            used += cells(grapheme);
        }
    }
    // Spaces at a paragraph's very end may have ended the line before; only a paragraph that is empty shows an empty one.
    if !line.is_empty() || !is_continuation {
        push_line(&line, lines);
    }
}

fn push_line(line: &[&str], lines: &mut Vec<String>) {
    lines.push(line.concat().trim_end_matches(' ').to_owned());
}

fn may_break(before: &str, after: &str) -> bool {
    if before == " " {
        return after != " ";
    }
    let beside_wide = cells(before) > 1 || cells(after) > 1;
    beside_wide && after != " " && !closes(after) && !opens(before)
}

fn closes(grapheme: &str) -> bool {
    "、。，．・：；？！」』）】〉》〕］｝ー々…,.:;?!)]}".contains(grapheme)
}

fn opens(grapheme: &str) -> bool {
    "「『（【〈《〔［｛([{".contains(grapheme)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_stay_whole_and_spaces_at_a_break_disappear() {
        assert_eq!(wrap("the quick brown fox", 10), ["the quick", "brown fox"]);
        assert_eq!(wrap("the quick  brown", 9), ["the quick", "brown"]);
        assert_eq!(wrap("  indented code", 20), ["  indented code"]);
    }

    #[test]
    fn a_word_longer_than_the_line_is_broken_inside() {
        assert_eq!(wrap("see abcdefghij", 5), ["see", "abcde", "fghij"]);
    }

    #[test]
    fn chinese_and_japanese_break_anywhere_but_not_before_closing_punctuation() {
        assert_eq!(wrap("今天天气很好", 5), ["今天", "天气", "很好"]);
        assert_eq!(wrap("今天好。明天", 6), ["今天", "好。明", "天"]);
        assert_eq!(wrap("あ「いう", 4), ["あ", "「い", "う"]);
        assert_eq!(wrap("a👍。", 3), ["a", "👍", "。"], "no room for both");
    }

    #[test]
    fn an_emoji_family_takes_two_cells_and_is_never_split() {
        assert_eq!(wrap("👩‍👩‍👧‍👦👩‍👩‍👧‍👦👩‍👩‍👧‍👦", 4), ["👩‍👩‍👧‍👦👩‍👩‍👧‍👦", "👩‍👩‍👧‍👦"]);
    }

    #[test]
    fn empty_lines_stay() {
        assert_eq!(wrap("a\n\nb", 5), ["a", "", "b"]);
        assert_eq!(wrap("", 5), [""]);
        assert_eq!(wrap("ab   ", 2), ["ab"]);
    }

    #[test]
    fn what_is_wider_than_the_line_is_replaced() {
        assert_eq!(wrap("中a", 1), ["?", "a"]);
        assert!(wrap("a", 0).is_empty());
    }

    #[test]
    fn what_does_not_fit_ends_in_an_ellipsis() {
        assert_eq!(fit("hello", 5), "hello");
        assert_eq!(fit("hello!", 5), "hell…");
        assert_eq!(fit("中文字", 4), "中…");
        assert_eq!(fit("abc", 0), "");
        assert_eq!(fit_padded("中文字", 4), "中… ");
    }

    proptest! {
        #[test]
        fn no_line_is_too_wide_and_nothing_but_spaces_is_lost(text in "[a-c 中「」。👍\n]{0,60}", width in 2usize..12) {
            let lines = wrap(&text, width);
            prop_assert!(lines.iter().all(|line| cells(line) <= width));
            let squeeze = |text: &str| text.replace([' ', '\n'], "");
            prop_assert_eq!(squeeze(&lines.concat()), squeeze(&text));
        }
    }
}
