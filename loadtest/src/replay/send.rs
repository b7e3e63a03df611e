//! Sends the corpus: conversations side by side, within each the next message when the one before is acknowledged, or when
//! few enough of the same sender are not.

use super::{
    faults::{Fault, Faults},
    live::Live,
};
use anyhow::Context;
use godwit_client::{Client, SendError, SendOptions, Sending, Sent};
use std::{
    cmp::Reverse,
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::task::JoinSet;

/// How much is on its way at once.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Conversations that send.
    pub conversations: usize,
    /// Messages of one sender in one conversation that are not acknowledged; at least 1.
    pub window: usize,
}

/// Sends everything. Returns when every message is acknowledged or refused for good.
pub async fn send_all(live: &Arc<Live>, clients: &Arc<[Client]>, pace: Pace) -> anyhow::Result<Faults> {
    let Pace { conversations, window } = pace;
    let order: Arc<[usize]> = longest_first(live).into();
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..conversations.min(order.len()) {
        let (live, clients, order, next) = (live.clone(), clients.clone(), order.clone(), next.clone());
        workers.spawn(async move {
            let mut faults = Faults::default();
            while let Some(&conversation) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                let (live, clients, waiting) = (&live, &clients, VecDeque::new());
                Chain { live, clients, conversation, window, waiting, faults: &mut faults }.send().await?;
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

/// One conversation's messages, in order.
struct Chain<'a> {
    live: &'a Live,
    clients: &'a [Client],
    conversation: usize,
    window: usize,
    /// Handed over and not answered, oldest first; all of one sender.
    waiting: VecDeque<(usize, Sending)>,
    faults: &'a mut Faults,
}

impl Chain<'_> {
    async fn send(mut self) -> anyhow::Result<()> {
        let expected = &self.live.expected;
        let id = self.live.directory.ids[self.conversation];
        for &message in &expected.plan.conversations[self.conversation].messages {
            self.make_room_for(message).await?;
            let client = &self.clients[expected.plan.places[message].sender];
            let options = SendOptions { client_msg_id: Some(expected.ids.id(message)), ..SendOptions::default() };
            let body = expected.corpus.messages[message].text.clone();
            self.live.on_hand_over(message);
            match client.send_with(id, body, options).await {
                Ok(sending) => self.waiting.push_back((message, sending)),
                Err(error) => self.on_answer(message, Err(error))?,
            }
        }
        self.wait_until_at_most(0).await
    }

    /// The SDK keeps the order of what one sender hands it; between senders only an ack says that it is kept.
    async fn make_room_for(&mut self, message: usize) -> anyhow::Result<()> {
        let places = &self.live.expected.plan.places;
        let same_sender = |&(other, _): &(usize, Sending)| places[other].sender == places[message].sender;
        let room = if self.waiting.back().is_none_or(same_sender) { self.window - 1 } else { 0 };
        self.wait_until_at_most(room).await
    }

    async fn wait_until_at_most(&mut self, waiting: usize) -> anyhow::Result<()> {
        while self.waiting.len() > waiting
            && let Some((message, sending)) = self.waiting.pop_front()
        {
            let answer = sending.await;
            self.on_answer(message, answer)?;
        }
        Ok(())
    }

    fn on_answer(&mut self, message: usize, answer: Result<Sent, SendError>) -> anyhow::Result<()> {
        let plan = &self.live.expected.plan;
        match answer {
            Ok(sent) => self.live.on_ack(message, sent.seq.as_u64()),
            Err(SendError::Refused(refusal)) => self.faults.add(Fault::Refused, || {
                format!("{}: message {message} was refused: {refusal}", plan.describe(self.conversation))
            }),
            Err(error @ SendError::Closed) => {
                let number = plan.accounts[plan.places[message].sender];
                return Err(error).with_context(|| format!("the connection of {number} ended for good"));
            }
        }
        Ok(())
    }
}
