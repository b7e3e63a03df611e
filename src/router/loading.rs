//! What a conversation's owner asks of the store.

use super::{Completion, Task, services::refusal};
use crate::{
    chat::{Position, Question, Refusal},
    store::{Direction, PageLimit, Store, StoreError},
};
use futures_util::FutureExt;
use godwit_proto::{ConversationId, ConversationKind, v1::ErrorCode};
use std::sync::Arc;

/// Loads a conversation with the newest `tail` entries.
pub fn load(store: Arc<dyn Store>, id: ConversationId, tail: usize) -> Task {
    async move {
        let result = match store.load(id, tail).await {
            Err(error) => Err(refusal(&error)),
            Ok(Some(loaded)) => Ok(Some(loaded)),
            Ok(None) => match id.kind() {
                ConversationKind::Group => Ok(None),
                // Nobody talks to somebody who does not exist.
                ConversationKind::Direct(low, high) => match store.users(vec![low, high]).await {
                    Err(error) => Err(refusal(&error)),
                    Ok(users) if [low, high].iter().all(|id| users.iter().any(|user| user.id == *id)) => Ok(None),
                    Ok(_) => Err(Refusal::new(ErrorCode::UserNotFound, "the other user does not exist")),
                },
            },
        };
        Completion::Loaded(id, result)
    }
    .boxed()
}

/// Puts a conversation's question to the store, under a number that the answer carries.
pub fn ask(store: &dyn Store, id: ConversationId, number: u64, question: Question) -> Task {
    match question {
        Question::FindSend(user, msg) => {
            store.find_send(id, user, msg).map(move |result| Completion::Found(id, number, (user, msg), result)).boxed()
        }
        Question::Ordinal(seq) => store
            .read(id, seq, Direction::Forward, PageLimit { entries: 1, bytes: 1 })
            .map(move |result| {
                let ordinal = result.and_then(|entries| match entries.first() {
                    Some(entry) if entry.seq == seq => Ok(Position { seq, ordinal: entry.ordinal }),
                    _ => Err(StoreError::Unavailable(format!("entry {seq:?} of {id:?} is missing"))),
                });
                Completion::Ordinal(id, number, ordinal)
            })
            .boxed(),
    }
}
