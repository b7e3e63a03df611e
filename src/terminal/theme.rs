//! Colours: the sixteen of the terminal itself, so that they follow its light or dark background.

use ratatui::style::{Color, Modifier, Style};

/// Times, separators, hints.
pub const DIM: Style = Style::new().add_modifier(Modifier::DIM);
/// Names of conversations and panes.
pub const TITLE: Style = Style::new().add_modifier(Modifier::BOLD);
/// The selected row.
pub const SELECTED: Style = Style::new().add_modifier(Modifier::REVERSED);
/// Numbers of unread messages, and where they begin.
pub const NEW: Style = Style::new().fg(Color::Yellow).add_modifier(Modifier::BOLD);
/// What went wrong.
pub const ERROR: Style = Style::new().fg(Color::Red);
/// A message that is not durable yet.
pub const PENDING: Style = Style::new().add_modifier(Modifier::DIM).add_modifier(Modifier::ITALIC);
/// Changes of members.
pub const CHANGE: Style = Style::new().add_modifier(Modifier::DIM).add_modifier(Modifier::ITALIC);
/// Connected.
pub const GOOD: Style = Style::new().fg(Color::Green);
/// Connecting.
pub const WAITING: Style = Style::new().fg(Color::Yellow);

const AUTHORS: [Color; 6] =
    [Color::Cyan, Color::Magenta, Color::Blue, Color::Yellow, Color::LightRed, Color::LightMagenta];

/// An author's own colour, always the same. Ids are random, so their lowest bits spread.
pub fn author(id: u64, is_me: bool) -> Style {
    let color = if is_me { Color::Green } else { AUTHORS[(id % AUTHORS.len() as u64) as usize] };
    Style::new().fg(color).add_modifier(Modifier::BOLD)
}
