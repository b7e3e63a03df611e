//! Dead letters as operators see them.

use crate::{
    admin::OfflineNotices,
    router::{DeadLetter, OfflineHandle},
};
use data_encoding::HEXLOWER;
use serde::Serialize;

/// One of them. Ids are text, because a reader of JSON may round numbers of 64 bits.
#[derive(Serialize)]
struct Shown {
    user_id: String,
    conversation_id: String,
    newest_seq: u64,
    unread: u64,
    attempts: u8,
    error: String,
    failed_ms: u64,
}

impl OfflineNotices for OfflineHandle {
    fn dead_letters(&self) -> String {
        let shown: Vec<Shown> = Self::dead_letters(self).into_iter().map(Shown::from).collect();
        serde_json::json!({ "dead_letters": shown }).to_string()
    }

    fn replay(&self) -> String {
        serde_json::json!({ "replayed": Self::replay(self) }).to_string()
    }
}

impl From<DeadLetter> for Shown {
    fn from(DeadLetter { notice, attempts, error, failed_ms }: DeadLetter) -> Self {
        Self {
            user_id: notice.user.as_u64().to_string(),
            conversation_id: HEXLOWER.encode(notice.conversation.as_bytes()),
            newest_seq: notice.newest.as_u64(),
            unread: notice.unread,
            attempts,
            error,
            failed_ms,
        }
    }
}
