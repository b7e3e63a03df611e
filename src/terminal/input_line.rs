//! The line that the user edits.

use super::sanitize::cells;
use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation};

/// The most bytes that can be typed or pasted; a frame takes no more.
pub const INPUT_BYTES_MAX: usize = 64 * 1024;

/// Text and a cursor that stands between two graphemes, so that it never splits what looks like one character.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InputLine {
    text: String,
    /// In bytes.
    cursor: usize,
}

/// What of an [`InputLine`] is on the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputView {
    /// At most as wide as asked for.
    pub text: String,
    /// Cells from the left edge to the cursor; less than the width.
    pub cursor: usize,
}

impl InputLine {
    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Nothing is typed.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Takes the text and leaves nothing.
    pub fn take(&mut self) -> String {
        self.cursor = 0;
        std::mem::take(&mut self.text)
    }

    /// Inserts at the cursor what fits under [`INPUT_BYTES_MAX`]. Returns whether all of it did.
    pub fn insert(&mut self, text: &str) -> bool {
        let room = INPUT_BYTES_MAX.saturating_sub(self.text.len());
        let fits = (0..=room.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        self.text.insert_str(self.cursor, &text[..fits]);
        self.cursor += fits;
        // A combining mark joins the letter before it, and a letter can join what stands after the cursor.
        if !self.is_boundary(self.cursor) {
            self.cursor = self.next_boundary();
        }
        fits == text.len()
    }

    /// One grapheme to the left.
    pub fn left(&mut self) {
        self.cursor = self.previous_boundary();
    }

    /// One grapheme to the right.
    pub fn right(&mut self) {
        self.cursor = self.next_boundary();
    }

    /// To the beginning of the word.
    pub fn word_left(&mut self) {
        self.cursor = self.previous_word();
    }

    /// Behind the end of the word.
    pub fn word_right(&mut self) {
        let words = self.text[self.cursor..].unicode_word_indices();
        self.cursor = words.map(|(at, word)| self.cursor + at + word.len()).next().unwrap_or(self.text.len());
    }

    /// To the beginning.
    pub fn home(&mut self) {
        self.cursor = 0;
    }

    /// Behind the end.
    pub fn end(&mut self) {
        self.cursor = self.text.len();
    }

    /// Deletes the grapheme before the cursor.
    pub fn backspace(&mut self) {
        self.delete_back_to(self.previous_boundary());
    }

    /// Deletes the grapheme after the cursor.
    pub fn delete(&mut self) {
        let end = self.next_boundary();
        self.text.drain(self.cursor..end);
        self.settle();
    }

    /// Deletes the word before the cursor.
    pub fn delete_word(&mut self) {
        self.delete_back_to(self.previous_word());
    }

    /// Deletes everything before the cursor.
    pub fn delete_to_start(&mut self) {
        self.delete_back_to(0);
    }

    /// Deletes everything after the cursor.
    pub fn delete_to_end(&mut self) {
        self.text.truncate(self.cursor);
    }

    /// The part around the cursor that fits into `width` cells.
    pub fn view(&self, width: usize) -> InputView {
        let mut view = InputView { text: String::new(), cursor: 0 };
        if width == 0 {
            return view;
        }
        let (before, after) = self.text.split_at(self.cursor);
        // Backwards from the cursor, which itself takes a cell.
        let mut shown: Vec<String> = Vec::new();
        for grapheme in before.graphemes(true).rev().map(shape) {
            if view.cursor + cells(&grapheme) >= width {
                break;
            }
            view.cursor += cells(&grapheme);
            shown.push(grapheme);
        }
        view.text.extend(shown.into_iter().rev());
        let mut used = view.cursor;
        for grapheme in after.graphemes(true).map(shape) {
            used += cells(&grapheme);
            if used > width {
                break;
            }
            view.text.push_str(&grapheme);
        }
        view
    }

    fn delete_back_to(&mut self, start: usize) {
        self.text.drain(start..self.cursor);
        self.cursor = start;
        self.settle();
    }

    /// After a deletion two parts can have become one grapheme.
    fn settle(&mut self) {
        if !self.is_boundary(self.cursor) {
            self.cursor = self.previous_boundary();
        }
    }

    fn is_boundary(&self, at: usize) -> bool {
        // The whole text is one chunk, so the cursor never asks for more context.
        GraphemeCursor::new(at, self.text.len(), true).is_boundary(&self.text, 0).unwrap_or(true)
    }

    fn previous_boundary(&self) -> usize {
        let mut cursor = GraphemeCursor::new(self.cursor, self.text.len(), true);
        cursor.prev_boundary(&self.text, 0).ok().flatten().unwrap_or(0)
    }

    fn next_boundary(&self) -> usize {
        let mut cursor = GraphemeCursor::new(self.cursor, self.text.len(), true);
        cursor.next_boundary(&self.text, 0).ok().flatten().unwrap_or(self.text.len())
    }

    fn previous_word(&self) -> usize {
        self.text[..self.cursor].unicode_word_indices().next_back().map_or(0, |(at, _)| at)
    }
}

/// How a grapheme looks in the input line: everything in it takes at least one cell, so that the cursor can be seen to
/// move over it.
fn shape(grapheme: &str) -> String {
    match grapheme {
        "\n" | "\r\n" | "\r" => "↵".to_owned(),
        "\t" => "⇥".to_owned(),
        _ if grapheme.contains(char::is_control) => "\u{fffd}".to_owned(),
        _ if cells(grapheme) == 0 => "·".to_owned(),
        _ => grapheme.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;
    use proptest::prelude::*;

    const FAMILY: &str = "👩‍👩‍👧‍👦";

    fn typed(text: &str) -> InputLine {
        let mut line = InputLine::default();
        assert!(line.insert(text));
        line
    }

    fn shown(line: &InputLine, width: usize) -> (String, usize) {
        let view = line.view(width);
        (view.text, view.cursor)
    }

    #[test]
    fn the_cursor_moves_over_what_looks_like_one_character() {
        let mut line = typed(&format!("e\u{301}{FAMILY}中"));
        assert_eq!(shown(&line, 20).1, 5);
        let columns: Vec<_> = (0..4).map(|_| (line.left(), shown(&line, 20).1).1).collect();
        assert_eq!(columns, [3, 1, 0, 0]);
        line.right();
        assert_eq!(shown(&line, 20).1, 1);
    }

    #[test]
    fn backspace_and_delete_take_whole_characters() {
        let mut line = typed(&format!("a{FAMILY}中"));
        line.backspace();
        line.backspace();
        assert_eq!(line.text(), "a");
        let mut line = typed("🇩🇪🇯🇵x");
        line.home();
        line.delete();
        assert_eq!(line.text(), "🇯🇵x");
    }

    #[test]
    fn a_combining_mark_joins_the_letter_before_the_cursor() {
        let mut line = typed("e");
        line.insert("\u{301}");
        line.insert("!");
        assert_eq!(line.text(), "e\u{301}!");
        line.left();
        line.backspace();
        assert_eq!(line.text(), "!");
    }

    #[test]
    fn words_are_jumped_over_and_deleted() {
        let mut line = typed("one two  three");
        line.delete_word();
        assert_eq!(line.text(), "one two  ");
        line.word_left();
        line.insert("x");
        assert_eq!(line.text(), "one xtwo  ");
        line.home();
        line.word_right();
        line.delete_to_end();
        assert_eq!(line.text(), "one");
        line.delete_to_start();
        assert!(line.is_empty());
    }

    #[test]
    fn a_long_line_scrolls_with_the_cursor() {
        let mut line = typed("abcdefgh");
        assert_eq!(shown(&line, 5), ("efgh".into(), 4));
        line.home();
        assert_eq!(shown(&line, 5), ("abcde".into(), 0));
        let wide = typed("一二三四五");
        assert_eq!(shown(&wide, 6), ("四五".into(), 4));
        assert_eq!(shown(&wide, 0), (String::new(), 0));
        assert_eq!(shown(&wide, 1), (String::new(), 0));
    }

    #[test]
    fn pasted_line_breaks_show_as_one_cell_and_are_sent_as_they_are() {
        let line = typed("a\r\nb\tc\u{1b}");
        assert_eq!(shown(&line, 20), ("a↵b⇥c\u{fffd}".into(), 6));
        assert_eq!(line.text(), "a\r\nb\tc\u{1b}");
    }

    #[test]
    fn a_paste_beyond_the_limit_is_cut_between_characters() {
        let mut line = InputLine::default();
        assert!(!line.insert(&"中".repeat(INPUT_BYTES_MAX / 3 + 1)));
        assert_eq!(line.text().len(), INPUT_BYTES_MAX / 3 * 3);
    }

    proptest! {
        #[test]
        fn the_cursor_is_always_between_graphemes_and_in_view(
            edits in proptest::collection::vec((0u8..11, "[a中\u{301}👩\u{200d}🇩 ]{0,3}"), 0..40),
            width in 1usize..9,
        ) {
            let mut line = InputLine::default();
            for (edit, text) in edits {
                match edit {
                    0 => line.left(),
                    1 => line.right(),
                    2 => line.word_left(),
                    3 => line.word_right(),
                    4 => line.home(),
                    5 => line.backspace(),
                    6 => line.delete(),
                    7 => line.delete_word(),
                    _ => drop(line.insert(&text)),
                }
                prop_assert!(line.is_boundary(line.cursor));
                let view = line.view(width);
                prop_assert!(view.cursor < width && cells(&view.text) <= width);
            }
        }
    }
}
