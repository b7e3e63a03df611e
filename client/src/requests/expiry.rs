//! How the messages of a conversation expire.

use crate::{Client, Expiry, RequestError, client::random_msg_id};
use godwit_proto::{
    ConversationId,
    v1::{self, client_frame::Body, server_frame::Body as Reply},
};

impl Client {
    /// Sets how messages of a conversation expire from now on that say nothing else: those sent with
    /// [`SendOptions::expiry`](crate::SendOptions::expiry) `None`, and scheduled ones. Either user of a direct conversation
    /// may, and the owner of a group. The entry that tells everybody follows as [`Event::Entry`](crate::Event::Entry), unless
    /// it was so already.
    pub async fn set_expiry(&self, conversation: ConversationId, expiry: Expiry) -> Result<(), RequestError> {
        let expiry = v1::Expiry::from(expiry);
        self.takes_expiry(expiry.after_ms).map_err(RequestError::Refused)?;
        let request = v1::SetExpiryRequest {
            conversation_id: conversation.to_bytes(),
            client_msg_id: random_msg_id().to_bytes(),
            expiry: Some(expiry),
        };
        expect!(self.ask(Body::SetExpiry(request)).await?, SetExpiry).map(drop)
    }
}
