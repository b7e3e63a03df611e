//! HTTP for operators: metrics and health. On a thread of its own, so that a scrape never costs a core a turn.

mod health;
mod listener;
mod offline;

pub use health::{Health, Stage};
pub use listener::{AdminError, AdminListener};
pub use offline::OfflineNotices;
