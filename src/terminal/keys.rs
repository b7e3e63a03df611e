//! What each key means.

use super::model::{Action, Edit};
use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// Every key that is not plain typing, for the help.
pub const KEYS: [(&str, &str); 7] = [
    ("↑ ↓", "choose a conversation"),
    ("Tab", "the next one with something unread"),
    ("PgUp PgDn", "scroll; Esc returns to the newest message"),
    ("Enter", "send"),
    ("Alt-Enter", "a line break in the message"),
    ("Ctrl-W Ctrl-U Ctrl-K", "delete a word, to the start, to the end"),
    ("F1 Ctrl-C", "help, quit"),
];

/// The action for a key, if it has one.
pub fn action(key: KeyEvent) -> Option<Action> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    let alt = key.modifiers.contains(KeyModifiers::ALT);
    let edit = |edit| Some(Action::Edit(edit));
    match key.code {
        KeyCode::Enter if alt || key.modifiers.contains(KeyModifiers::SHIFT) => Some(Action::Insert("\n".into())),
        KeyCode::Enter => Some(Action::Enter),
        KeyCode::Up => Some(Action::Move(-1)),
        KeyCode::Down => Some(Action::Move(1)),
        KeyCode::Tab => Some(Action::NextUnread),
        KeyCode::PageUp => Some(Action::Page { up: true }),
        KeyCode::PageDown => Some(Action::Page { up: false }),
        KeyCode::End if control => Some(Action::ScrollToEnd),
        KeyCode::Esc => Some(Action::Escape),
        KeyCode::F(1) => Some(Action::Help),
        KeyCode::Left if control || alt => edit(Edit::WordLeft),
        KeyCode::Right if control || alt => edit(Edit::WordRight),
        KeyCode::Left => edit(Edit::Left),
        KeyCode::Right => edit(Edit::Right),
        KeyCode::Home => edit(Edit::Home),
        KeyCode::End => edit(Edit::End),
        KeyCode::Backspace if control || alt => edit(Edit::DeleteWord),
        KeyCode::Backspace => edit(Edit::Backspace),
        KeyCode::Delete => edit(Edit::Delete),
        KeyCode::Char(letter) if control && !alt => match letter.to_ascii_lowercase() {
            'c' | 'd' => Some(Action::Quit),
            'a' => edit(Edit::Home),
            'e' => edit(Edit::End),
            'h' => edit(Edit::Backspace),
            'j' => Some(Action::Insert("\n".into())),
            'k' => edit(Edit::DeleteToEnd),
            'u' => edit(Edit::DeleteToStart),
            'w' => edit(Edit::DeleteWord),
            'n' => Some(Action::Move(1)),
            'p' => Some(Action::Move(-1)),
            _ => None,
        },
        KeyCode::Char('b') if alt && !control => edit(Edit::WordLeft),
        KeyCode::Char('f') if alt && !control => edit(Edit::WordRight),
        // AltGr arrives as Ctrl and Alt together, with the letter that it makes.
        KeyCode::Char(letter) if alt == control => Some(Action::Insert(letter.into())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;

    fn press(code: KeyCode, modifiers: KeyModifiers) -> Option<Action> {
        action(KeyEvent::new(code, modifiers))
    }

    #[test]
    fn letters_are_typed_and_chords_are_not() {
        let typed = |text: &str| Some(Action::Insert(text.into()));
        assert_eq!(press(KeyCode::Char('中'), KeyModifiers::NONE), typed("中"));
        assert_eq!(press(KeyCode::Char('Ä'), KeyModifiers::SHIFT), typed("Ä"));
        assert_eq!(press(KeyCode::Char('@'), KeyModifiers::CONTROL | KeyModifiers::ALT), typed("@"));
        assert_eq!(press(KeyCode::Char('x'), KeyModifiers::CONTROL), None);
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Action::Quit));
    }

    #[test]
    fn enter_sends_and_with_alt_breaks_the_line() {
        assert_eq!(press(KeyCode::Enter, KeyModifiers::NONE), Some(Action::Enter));
        assert_eq!(press(KeyCode::Enter, KeyModifiers::ALT), Some(Action::Insert("\n".into())));
    }

    #[test]
    fn a_key_that_is_let_go_does_nothing() {
        let released = KeyEvent::new_with_kind(KeyCode::Enter, KeyModifiers::NONE, KeyEventKind::Release);
        assert_eq!(action(released), None);
    }
}
