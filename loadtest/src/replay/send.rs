//! Sends the corpus: conversations side by side, within each the next message when the one before is acknowledged.

use super::{
    faults::{Fault, Faults},
    live::Live,
};
use anyhow::Context;
use godwit_client::{Client, SendError, SendOptions};
use std::{
    cmp::Reverse,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::task::JoinSet;

/// Sends everything, `in_flight` conversations at a time. Returns when every message is acknowledged or refused for good.
pub async fn send_all(live: &Arc<Live>, clients: &Arc<[Client]>, in_flight: usize) -> anyhow::Result<Faults> {
    let order: Arc<[usize]> = longest_first(live).into();
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..in_flight.min(order.len()) {
        let (live, clients, order, next) = (live.clone(), clients.clone(), order.clone(), next.clone());
        workers.spawn(async move {
            let mut faults = Faults::default();
            while let Some(&conversation) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                send_conversation(&live, &clients, conversation, &mut faults).await?;
            }
            anyhow::Ok(faults)
        });
    }
    let mut faults = Faults::default();
    while let Some(done) = workers.join_next().await {
        faults.merge(done.context("a sender")??);
    }
    Ok(faults)
}

/// A long conversation that is begun last would be waited for alone at the end.
fn longest_first(live: &Live) -> Vec<usize> {
    let conversations = &live.expected.plan.conversations;
    let mut order: Vec<usize> = (0..conversations.len()).collect();
    order.sort_by_key(|&conversation| Reverse(conversations[conversation].messages.len()));
    order
}

async fn send_conversation(
    live: &Live,
    clients: &[Client],
    conversation: usize,
    faults: &mut Faults,
) -> anyhow::Result<()> {
    let expected = &live.expected;
    let id = live.directory.ids[conversation];
    for &message in &expected.plan.conversations[conversation].messages {
        let client = &clients[expected.plan.places[message].sender];
        let options = SendOptions { client_msg_id: Some(expected.ids.id(message)), ..SendOptions::default() };
        let body = expected.corpus.messages[message].text.clone();
        live.on_hand_over(message);
        let answer = match client.send_with(id, body, options).await {
            Ok(sending) => sending.await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(sent) => live.on_ack(message, sent.seq.as_u64()),
            Err(SendError::Refused(refusal)) => faults.add(Fault::Refused, || {
                format!("{}: message {message} was refused: {refusal}", expected.plan.describe(conversation))
            }),
            Err(error @ SendError::Closed) => {
                let number = expected.plan.accounts[expected.plan.places[message].sender];
                return Err(error).with_context(|| format!("the connection of {number} ended for good"));
            }
        }
    }
    Ok(())
}
