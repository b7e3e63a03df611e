//! Events on their way to the application.

use crate::{ConnectionState, Event};
use std::collections::VecDeque;

/// Events that are ready and that the application has no room for yet.
///
/// Bounded by those who fill it: while it is not empty, lanes are not read and pages are not fetched, so it holds what
/// one frame brought, a page for each fetch under way, and [`OWN_ENTRIES_MAX`] own messages.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    events: VecDeque<Event>,
}

/// With this many events waiting, an own message that became durable is left to be fetched from the log.
const OWN_ENTRIES_MAX: usize = 256;

impl Backlog {
    /// Adds an event. News about the connection replaces news that the application did not see yet: a client that loses
    /// and finds the server for hours must not fill the queue of an application that looks away.
    pub(crate) fn push(&mut self, event: Event) {
        if is_about_connection(&event) {
            while self.events.back().is_some_and(is_about_connection) {
                self.events.pop_back();
            }
        }
        self.events.push_back(event);
    }

    /// The next event.
    pub(crate) fn pop(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Whether an own message may be added.
    pub(crate) fn has_room(&self) -> bool {
        self.events.len() < OWN_ENTRIES_MAX
    }
}

fn is_about_connection(event: &Event) -> bool {
    matches!(event, Event::State(ConnectionState::Reconnecting { .. } | ConnectionState::Connected))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
    use super::*;
    use std::time::Duration;

    fn reconnecting(attempt: u32) -> Event {
        let reason = String::new();
        Event::State(ConnectionState::Reconnecting { attempt, retry_in: Duration::ZERO, reason })
    }

    #[test]
    fn only_the_newest_state_of_the_connection_waits_for_the_application() {
        let mut backlog = Backlog::default();
        backlog.push(Event::Synced);
        for attempt in 1..1000 {
            backlog.push(reconnecting(attempt));
            backlog.push(Event::State(ConnectionState::Connected));
        }
        backlog.push(reconnecting(1000));
        assert_eq!(backlog.pop(), Some(Event::Synced));
        assert_eq!(backlog.pop(), Some(reconnecting(1000)));
        assert!(backlog.is_empty());
    }
}
