//! Messages that disappear, line by line.

use super::{Plain, lines};
use crate::terminal::expiry::Expire;
use godwit_client::Expiry;

impl Plain<'_> {
    /// Tells or sets how the messages of the current conversation disappear.
    pub(super) async fn expire(&self, expire: Expire, number: u64) {
        let Some(conversation) = self.current.get() else {
            return self.error("NO_CONVERSATION", "no conversation is chosen: /to NAME", number).await;
        };
        match expire {
            Expire::Set(expiry) => match self.client.set_expiry(conversation, expiry).await {
                Ok(()) => self.output.print(format!("done\t{number}")).await,
                Err(error) => self.request_failed(&error.into(), number).await,
            },
            Expire::Show => {
                let expiry: Expiry = self.book.borrow().expiry(conversation);
                self.output.print(lines::expiry_in_force(&self.name(conversation), expiry)).await;
            }
            // Handled by the caller, which has the sends to wait for.
            Expire::Send { .. } => {}
        }
    }
}
