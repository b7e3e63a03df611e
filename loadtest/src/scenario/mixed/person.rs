//! One person of `mixed`: writes, reads, loses the network, comes back and catches up.

use super::{
    log::Log,
    plan::{Plan, Rhythm, exponential},
};
use crate::{
    peer::{Progress, Tally, record_ns},
    scenario::{
        crew::{ns, random_id},
        session::Session,
    },
    wire::{Dialect, Dialer, Link, Stamp, godwit},
    worker::{Entry, enter},
};
use anyhow::{Context, bail, ensure};
use bytes::BytesMut;
use godwit_proto::{
    ClientMsgId, ConversationId,
    v1::{
        ConversationPosition, ConversationSummary, Direction, EntriesPush, HistoryRequest, HistoryResponse,
        KnownConversation, MarkReadRequest, ServerFrame, SyncRequest, client_frame::Body, entry::Content,
        server_frame::Body as Reply,
    },
};
use rand::{RngExt, rngs::Xoshiro256PlusPlus, seq::IndexedRandom};
use std::{
    cell::RefCell,
    collections::HashMap,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::time::sleep_until;

/// What all people of one thread share.
pub struct Shared {
    pub origin: Instant,
    /// Nobody writes from here on.
    pub until: Duration,
    /// What is under way then has this long to arrive.
    pub patience: Duration,
    /// How long somebody who loses the network now and then is there, and away, on the average.
    pub online_mean_s: f64,
    pub away_mean_s: f64,
    pub plan: Arc<Plan>,
    pub dialer: Rc<Dialer>,
    pub tally: RefCell<Tally>,
    pub progress: Arc<Progress>,
}

/// One person.
pub struct Person {
    pub number: u32,
    /// How to come back.
    pub entry: Entry,
    pub logs: Vec<Log>,
    pub by_id: HashMap<ConversationId, usize>,
    pub rhythm: Rhythm,
    pub rng: Xoshiro256PlusPlus,
    pub shared: Rc<Shared>,
    pub story: Story,
}

/// What somebody lived through, apart from the messages.
#[derive(Debug, Clone, Copy, Default)]
pub struct Story {
    pub comebacks: u64,
    /// Messages that came in pages because they were said while the person was away.
    pub caught_up: u64,
    pub marks: u64,
    pub pages: u64,
    pub refused: u64,
    pub resyncs: u64,
    /// Connections that ended without having been told to.
    pub broken: u64,
}

enum Asked {
    Message { log: usize, number: u64, id: ClientMsgId, due_ns: u64 },
    Mark,
}

/// What is under way on one connection.
#[derive(Default)]
struct Open {
    asked: HashMap<u64, Asked>,
    /// The last message of each conversation that has no answer.
    last: HashMap<usize, ClientMsgId>,
    /// Conversations of which something arrived that is not acknowledged.
    unacked: Vec<usize>,
}

impl Person {
    /// Until the run is over and what was under way has arrived. `link` is the first connection.
    pub async fn live(mut self, link: Link) -> anyhow::Result<Self> {
        let mut link = Some(link);
        let over = self.shared.until + self.shared.patience;
        loop {
            let opened = match link.take() {
                Some(link) => link,
                None => enter(&self.shared.dialer, Dialect::Godwit, &self.entry, self.number).await?,
            };
            let mut session = Session::open(opened);
            let leave_at = self.leave_at();
            let left = match self.catch_up(&session).await {
                Ok(()) => self.stay(&mut session, leave_at.unwrap_or(over)).await,
                Err(error) => Err(error),
            };
            if let Err(error) = &left {
                tracing::warn!(person = self.number, "a connection did not last: {error:#}");
                self.story.broken += 1;
            }
            if leave_at.is_none() && left.is_ok() {
                self.look_back(&session).await?;
                session.connection.close();
                return Ok(self);
            }
            self.logs.iter_mut().for_each(|log| log.on_leave(0));
            session.connection.close();
            drop(session);
            let away = exponential(&mut self.rng, self.shared.away_mean_s);
            // Everybody is there at the end, to see what arrived.
            sleep_until((self.shared.origin + (self.now() + away).min(self.shared.until)).into()).await;
            self.story.comebacks += 1;
        }
    }

    /// When the network is lost next; `None` if not before the end.
    fn leave_at(&mut self) -> Option<Duration> {
        if !self.shared.plan.restless[self.number as usize] {
            return None;
        }
        let leave_at = self.now() + exponential(&mut self.rng, self.shared.online_mean_s);
        (leave_at < self.shared.until).then_some(leave_at)
    }

    /// Asks what is new, and reads all of it.
    async fn catch_up(&mut self, session: &Session) -> anyhow::Result<()> {
        for summary in self.sync(session).await? {
            let id = ConversationId::from_slice(&summary.conversation_id)?;
            let Some(&index) = self.by_id.get(&id) else { bail!("the server knows a conversation that nobody made") };
            self.logs[index].begin_at(summary.first_seq);
            self.read_up_to(session, index, summary.last_seq).await?;
        }
        Ok(())
    }

    /// At the end: what is in the logs and did not come?
    async fn look_back(&mut self, session: &Session) -> anyhow::Result<()> {
        for summary in self.sync(session).await? {
            let id = ConversationId::from_slice(&summary.conversation_id)?;
            let Some(&index) = self.by_id.get(&id) else { bail!("the server knows a conversation that nobody made") };
            self.logs[index].on_leave(summary.last_seq);
            self.read_up_to(session, index, summary.last_seq).await?;
        }
        Ok(())
    }

    async fn sync(&self, session: &Session) -> anyhow::Result<Vec<ConversationSummary>> {
        let known = |(id, &index): (&ConversationId, &usize)| KnownConversation {
            conversation_id: id.to_bytes(),
            seq: self.logs[index].held(),
            read_seq: 0,
        };
        let mut known: Vec<KnownConversation> = self.by_id.iter().map(known).collect();
        known.retain(|known| known.seq > 0);
        known.sort_unstable_by(|one, other| one.conversation_id.cmp(&other.conversation_id));
        let (mut request, mut changed) = (SyncRequest::default(), Vec::new());
        loop {
            let from = known.partition_point(|one| one.conversation_id <= request.after);
            let to = known.len().min(from + KNOWN_MAX);
            (request.known, request.known_continues) = (known[from..to].to_vec(), to < known.len());
            let Reply::Sync(answer) = session.bulk(Body::Sync(request.clone())).await.context("syncing")? else {
                bail!("the server answered a sync with something else")
            };
            ensure!(answer.removed.is_empty(), "the server says that somebody left a conversation");
            changed.extend(answer.changed);
            if !answer.more {
                return Ok(changed);
            }
            request.after = answer.up_to;
        }
    }

    async fn read_up_to(&mut self, session: &Session, index: usize, last_seq: u64) -> anyhow::Result<()> {
        while self.logs[index].held() < last_seq {
            let from_seq = self.logs[index].held() + 1;
            let page = page(session, self.id(index)?, from_seq, Direction::Forward).await?;
            ensure!(page.entries.first().is_some_and(|entry| entry.seq == from_seq), "a page has a gap before it");
            for entry in page.entries {
                let message = self.message_of(entry.content);
                if self.logs[index].take(entry.seq, message) && message.is_some() {
                    self.story.caught_up += 1;
                }
            }
        }
        Ok(())
    }

    /// On a connection, until then; what has no answer yet is waited for.
    async fn stay(&mut self, session: &mut Session, leave_at: Duration) -> anyhow::Result<()> {
        while self.rhythm.next() < self.now() {
            // Who is away does not write.
            self.rhythm.advance();
        }
        let (mut open, mut ack_at) = (Open::default(), self.now() + ACK_EVERY);
        loop {
            let now = self.now();
            if now >= leave_at && (open.asked.is_empty() || now >= leave_at + ANSWERS_MAX) {
                return Ok(());
            }
            if now >= ack_at {
                self.acknowledge(session, &mut open).await?;
                ack_at = now + ACK_EVERY;
            }
            let writes_until = leave_at.min(self.shared.until);
            while self.rhythm.next() <= now && self.rhythm.next() < writes_until {
                let due = self.rhythm.next();
                self.rhythm.advance();
                self.write(session, &mut open, due).await?;
            }
            let next = Some(self.rhythm.next()).filter(|&due| due < writes_until).unwrap_or(ack_at);
            let next = if now < leave_at { next.min(leave_at) } else { next };
            tokio::select! {
                frame = session.next() => {
                    let frame = frame.context("the connection was lost")?;
                    self.on_frame(session, &mut open, frame).await?;
                }
                () = sleep_until((self.shared.origin + next.min(ack_at)).into()) => {}
            }
        }
    }

    async fn write(&mut self, session: &mut Session, open: &mut Open, due: Duration) -> anyhow::Result<()> {
        let index = self.rng.random_range(0..self.logs.len());
        let length = self.shared.plan.lengths.choose(&mut self.rng).copied().unwrap_or(LENGTH);
        let id = self.id(index)?;
        let room = &mut self.logs[index].room;
        room.sent += 1;
        let (number, due_ns) = (room.sent, ns(due));
        let mut body = vec![b'.'; length];
        Stamp { sender: self.number, number, due_ns }.write(&mut body);
        let msg_id = ClientMsgId::from_slice(&random_id())?;
        let after = open.last.insert(index, msg_id);
        let now_ns = ns(self.now());
        let request = session.say(id, msg_id, after, body.into()).await?;
        open.asked.insert(request, Asked::Message { log: index, number, id: msg_id, due_ns });
        {
            let mut tally = self.shared.tally.borrow_mut();
            tally.at(due_ns).offered += 1;
            tally.at(now_ns).sent += 1;
        }
        self.shared.progress.sent.fetch_add(1, Ordering::Relaxed);
        if self.rng.random_bool(PAGE_CHANCE) {
            self.look_up(session, index).await?;
        }
        Ok(())
    }

    /// Reads what was said last in a conversation once more, as somebody does who scrolls.
    async fn look_up(&mut self, session: &Session, index: usize) -> anyhow::Result<()> {
        if self.logs[index].held() > 0 {
            let page = page(session, self.id(index)?, self.logs[index].held(), Direction::Backward).await?;
            let dense = page.entries.windows(2).all(|pair| pair[0].seq + 1 == pair[1].seq);
            ensure!(dense && !page.entries.is_empty(), "a page is not whole");
            self.story.pages += 1;
        }
        Ok(())
    }

    async fn on_frame(&mut self, session: &mut Session, open: &mut Open, frame: ServerFrame) -> anyhow::Result<()> {
        match frame.body {
            Some(Reply::Send(answer)) => {
                if let Some(Asked::Message { log, id, due_ns, .. }) = open.asked.remove(&frame.request_id) {
                    self.logs[log].take(answer.seq, None);
                    self.on_answer(open, log, id, due_ns);
                }
            }
            Some(Reply::MarkRead(_)) => {
                open.asked.remove(&frame.request_id);
            }
            Some(Reply::Error(error)) if frame.request_id > 0 => {
                self.story.refused += 1;
                if let Some(Asked::Message { log, number, .. }) = open.asked.remove(&frame.request_id) {
                    self.logs[log].room.refused.insert(number);
                    self.shared.progress.answered.fetch_add(1, Ordering::Relaxed);
                }
                tracing::warn!(code = error.code().as_str_name(), error.message, "refused");
            }
            Some(Reply::ResyncRequired(_)) => {
                self.story.resyncs += 1;
                self.catch_up(session).await?;
            }
            Some(Reply::Entries(push)) => self.on_push(session, open, push).await?,
            _ => {}
        }
        Ok(())
    }

    fn on_answer(&mut self, open: &mut Open, log: usize, id: ClientMsgId, due_ns: u64) {
        if open.last.get(&log) == Some(&id) {
            open.last.remove(&log);
        }
        let now_ns = ns(self.now());
        self.logs[log].room.acked += 1;
        let mut tally = self.shared.tally.borrow_mut();
        let second = tally.at(now_ns);
        second.acked += 1;
        record_ns(&mut second.ack_us, due_ns, now_ns);
        self.shared.progress.answered.fetch_add(1, Ordering::Relaxed);
    }

    async fn on_push(&mut self, session: &mut Session, open: &mut Open, push: EntriesPush) -> anyhow::Result<()> {
        let id = ConversationId::from_slice(&push.conversation_id)?;
        let Some(&index) = self.by_id.get(&id) else { return Ok(()) };
        for entry in push.entries {
            let message = self.message_of(entry.content);
            if !self.logs[index].on_push(entry.seq, message) {
                continue;
            }
            if !open.unacked.contains(&index) {
                open.unacked.push(index);
            }
            let Some(stamp) = message else { continue };
            let now_ns = ns(self.now());
            {
                let mut tally = self.shared.tally.borrow_mut();
                let second = tally.at(now_ns);
                second.delivered += 1;
                record_ns(&mut second.delivery_us, stamp.due_ns, now_ns);
            }
            self.shared.progress.delivered.fetch_add(1, Ordering::Relaxed);
            if self.rng.random_bool(MARK_CHANCE) {
                let mark = MarkReadRequest { conversation_id: id.to_bytes(), seq: entry.seq };
                open.asked.insert(session.request(Body::MarkRead(mark)).await?, Asked::Mark);
                self.story.marks += 1;
            }
        }
        Ok(())
    }

    async fn acknowledge(&mut self, session: &mut Session, open: &mut Open) -> anyhow::Result<()> {
        if open.unacked.is_empty() {
            return Ok(());
        }
        let position = |index: usize| {
            let (conversation_id, seq) = (self.id(index)?.to_bytes(), self.logs[index].newest());
            anyhow::Ok(ConversationPosition { conversation_id, seq })
        };
        let positions = open.unacked.drain(..).map(position).collect::<anyhow::Result<_>>()?;
        let mut out = BytesMut::new();
        godwit::encode_ack(positions, &mut out);
        session.write(&out).await
    }

    /// The message of somebody else in an entry.
    fn message_of(&self, content: Option<Content>) -> Option<Stamp> {
        let Some(Content::Message(message)) = content else { return None };
        Stamp::read(&message.body).filter(|stamp| stamp.sender != self.number)
    }

    fn id(&self, index: usize) -> anyhow::Result<ConversationId> {
        match self.logs[index].room.key {
            crate::peer::RoomKey::Conversation(id) => Ok(id),
            crate::peer::RoomKey::Group(_) => bail!("the bare relay has no conversations"),
        }
    }

    fn now(&self) -> Duration {
        self.shared.origin.elapsed()
    }
}

async fn page(
    session: &Session,
    conversation: ConversationId,
    from_seq: u64,
    direction: Direction,
) -> anyhow::Result<HistoryResponse> {
    let (conversation_id, direction) = (conversation.to_bytes(), direction.into());
    let request = HistoryRequest { conversation_id, from_seq, direction, limit: PAGE_ENTRIES };
    match session.bulk(Body::History(request)).await.context("reading history")? {
        Reply::History(page) => Ok(page),
        _ => bail!("the server answered the asking for a page with something else"),
    }
}

/// As a client does that saves its battery.
const ACK_EVERY: Duration = Duration::from_secs(1);
/// Whoever leaves waits this long for answers that are under way.
const ANSWERS_MAX: Duration = Duration::from_secs(5);
/// Of every message that somebody receives, and of every message that somebody writes.
const MARK_CHANCE: f64 = 0.1;
const PAGE_CHANCE: f64 = 0.02;
const PAGE_ENTRIES: u32 = 50;
const KNOWN_MAX: usize = 200;
/// Of a message where no lengths are known.
const LENGTH: usize = 60;
