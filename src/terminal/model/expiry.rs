//! How the messages of a conversation disappear.

use super::{Model, Now};
use crate::terminal::{effects::Effect, expiry};
use godwit_client::Expiry;

impl Model {
    pub(super) fn show_expiry(&mut self, now: Now) {
        match self.selected().map(|one| (one.is_described, one.expiry)) {
            Some((true, in_force)) => self.notify(format!("here {}", expiry::words(in_force)), false, now),
            Some((false, _)) => self.fail("the server has not described this conversation yet", now),
            None => self.fail("choose a conversation first: /to NAME", now),
        }
    }

    pub(super) fn set_expiry(&mut self, expiry: Expiry, now: Now) {
        match self.selected().map(|one| one.id) {
            Some(conversation) => self.effects.push(Effect::SetExpiry { conversation, expiry }),
            None => self.fail("choose a conversation first: /to NAME", now),
        }
    }
}

#[cfg(test)]
#[path = "expiry_tests.rs"]
mod tests;
