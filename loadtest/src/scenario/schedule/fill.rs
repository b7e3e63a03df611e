//! Scheduling many messages as fast as the server takes them.

use super::plan::{Origin, Plan};
use crate::{
    scenario::crew::Crew,
    wire::{Link, Refused, Stamp},
    worker::Clients,
};
use anyhow::{Context, bail};
use bytes::BytesMut;
use futures_util::{StreamExt, TryStreamExt, stream};
use godwit_proto::{
    ConversationId,
    codec::encode_frame,
    v1::{ClientFrame, ScheduleRequest, ServerFrame, client_frame::Body, server_frame::Body as Reply},
};
use prost::Message;
use std::{
    collections::HashMap,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::io::AsyncWriteExt;

/// Everybody schedules what is theirs of these messages, and is sure of each. Counts in `confirmed`.
pub async fn fill(
    crew: &Crew,
    conversations: &Arc<[ConversationId]>,
    plan: Plan,
    numbers: Range<u64>,
    body_bytes: usize,
    confirmed: &Arc<AtomicU64>,
) -> anyhow::Result<()> {
    let (conversations, confirmed) = (conversations.clone(), confirmed.clone());
    let schedule = async move |clients: &mut Clients| {
        let authors = clients.links.iter_mut().map(|(&person, link)| Author {
            link,
            person,
            conversation: conversations[person as usize / 2],
            plan,
            body_bytes,
            confirmed: &confirmed,
        });
        let scheduling = stream::iter(authors).map(Ok);
        scheduling.try_for_each_concurrent(AUTHORS_AT_ONCE, |author| author.schedule(numbers.clone())).await
    };
    crew.each(schedule).await?;
    Ok(())
}

/// Somebody who schedules.
struct Author<'a> {
    link: &'a mut Link,
    person: u32,
    conversation: ConversationId,
    plan: Plan,
    body_bytes: usize,
    confirmed: &'a AtomicU64,
}

impl Author<'_> {
    async fn schedule(mut self, numbers: Range<u64>) -> anyhow::Result<()> {
        let mut wanted = self.plan.of_person(self.person, numbers.start, numbers.end);
        let (mut asked, mut again) = (HashMap::new(), Vec::new());
        loop {
            // Several requests in a packet.
            if asked.len() <= IN_FLIGHT / 2 {
                let mut out = BytesMut::new();
                while asked.len() < IN_FLIGHT
                    && let Some(number) = again.pop().or_else(|| wanted.next())
                {
                    asked.insert(self.request(number, &mut out), number);
                }
                if asked.is_empty() {
                    return Ok(());
                }
                self.link.send.write_all(&out).await?;
                self.link.send.flush().await?;
            }
            let frame = ServerFrame::decode(self.link.reader.next().await?)?;
            let Some(number) = asked.remove(&frame.request_id) else { continue };
            match frame.body {
                Some(Reply::Schedule(_)) => {
                    self.confirmed.fetch_add(1, Ordering::Relaxed);
                }
                Some(Reply::Error(error)) if error.retry_after_ms > 0 => {
                    tokio::time::sleep(Duration::from_millis(error.retry_after_ms.into())).await;
                    again.push(number);
                }
                Some(Reply::Error(error)) => {
                    let (code, retry_after_ms) = (error.code(), error.retry_after_ms);
                    let refused = Refused { code, message: error.message, retry_after_ms };
                    return Err(refused).context("scheduling a message");
                }
                _ => bail!("the server answered the scheduling of a message with something else"),
            }
        }
    }

    fn request(&mut self, number: u64, out: &mut BytesMut) -> u64 {
        let mut body = vec![b'.'; self.body_bytes];
        Stamp { sender: self.person, number, due_ns: 0 }.write(&mut body);
        let request = ScheduleRequest {
            schedule_id: self.plan.id(Origin::Scheduled { number }).to_bytes(),
            conversation_id: self.conversation.to_bytes(),
            body: body.into(),
            content_type: String::new(),
            due_ms: self.plan.due_ms(number),
            recurrence: None,
        };
        let request_id = self.link.next_request;
        self.link.next_request += 1;
        encode_frame(&ClientFrame { request_id, body: Some(Body::Schedule(request)) }, out);
        request_id
    }
}

/// Requests of one author without an answer. A server counts those that are being written against the author's limit.
pub const IN_FLIGHT: usize = 32;
/// Of each thread. Together they stay below what a server lets wait for its store.
const AUTHORS_AT_ONCE: usize = 48;
