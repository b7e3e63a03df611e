//! What there is in the end, read from the server by a member who forgets all that came before.

use super::{
    person::page,
    plan::{Origin, Plan},
    verdict::{Sighting, Witness},
};
use crate::scenario::session::Session;
use anyhow::{Context, bail, ensure};
use godwit_proto::{
    ConversationId,
    v1::{ListScheduledRequest, client_frame::Body, server_frame::Body as Reply},
};
use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

/// What one person finds.
#[derive(Debug, Default)]
pub struct Found {
    pub witness: Witness,
    /// What was written by hand, by sender.
    pub chat: BTreeMap<u32, Vec<u64>>,
    /// Entries that never came to this person otherwise.
    pub missed: u64,
}

/// Reads the conversation from its first entry, and the list of what is scheduled.
pub async fn read_back(
    session: &Session,
    plan: &Plan,
    person: u32,
    conversation: ConversationId,
    came: &HashSet<u64>,
) -> anyhow::Result<Found> {
    let mut found = Found { witness: Witness { person, ..Witness::default() }, ..Found::default() };
    let mut held = 0;
    loop {
        let page = page(session, conversation, held + 1).await?;
        for entry in &page.entries {
            ensure!(entry.seq == held + 1, "entry {} of a conversation follows on entry {held}", entry.seq);
            held = entry.seq;
            match plan.origin(&entry.client_msg_id) {
                Some(Origin::Scheduled { number }) => {
                    found.witness.sent.push(Sighting { number, sent_ms: entry.sent_ms });
                }
                Some(Origin::Chat { sender, number }) => found.chat.entry(sender).or_default().push(number.into()),
                None => bail!("a conversation has an entry that nobody made"),
            }
            found.missed += u64::from(!came.contains(&entry.seq));
        }
        if !page.more {
            break;
        }
    }
    for _ in 0..LISTINGS_MAX {
        found.witness.listed = list(session, plan).await?;
        if found.witness.listed.iter().all(|&number| number >= plan.due) {
            break;
        }
        // It is sent before it is taken out of the list.
        tokio::time::sleep(LIST_AGAIN).await;
    }
    Ok(found)
}

async fn list(session: &Session, plan: &Plan) -> anyhow::Result<Vec<u64>> {
    let (mut listed, mut request) = (Vec::new(), ListScheduledRequest::default());
    loop {
        let answer = session.bulk(Body::ListScheduled(request.clone())).await.context("listing what is scheduled")?;
        let Reply::ListScheduled(page) = answer else {
            bail!("the server answered the asking for what is scheduled with something else")
        };
        for message in &page.scheduled {
            let Some(Origin::Scheduled { number }) = plan.origin(&message.schedule_id) else {
                bail!("the server lists a message that nobody scheduled")
            };
            ensure!(message.due_ms == plan.due_ms(number), "the server lists a message with another time than its own");
            listed.push(number);
        }
        match page.scheduled.last() {
            Some(last) if page.more => {
                (request.after_due_ms, request.after_schedule_id) = (last.due_ms, last.schedule_id.clone());
            }
            _ => return Ok(listed),
        }
    }
}

/// So often, and so long apart, until nothing that was sent is in the list.
const LISTINGS_MAX: usize = 10;
const LIST_AGAIN: Duration = Duration::from_millis(500);
