//! One person of `expiry`: writes what will disappear, sees it go, and looks at everything once more in the end.

use super::{Plan, unix_ms};
use crate::{
    peer::record_us,
    scenario::session::Session,
    wire::{Link, Stamp, godwit},
};
use anyhow::{Context, bail, ensure};
use bytes::BytesMut;
use godwit_proto::{
    ConversationId,
    v1::{
        ConversationPosition, Direction, Entry, Expiry, ExpiryStart, HistoryRequest, SendRequest, ServerFrame,
        client_frame::Body, entry::Content, server_frame::Body as Reply,
    },
};
use hdrhistogram::Histogram;
use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{sync::watch, time::sleep_until};

/// What everybody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Running,
    /// Nothing more will go.
    Over,
}

/// How far a run is, for all threads.
#[derive(Debug, Default)]
pub struct Course {
    /// Messages that are durable.
    pub written: AtomicU64,
    /// Of these, gone, as their authors' partners heard it.
    pub gone: AtomicU64,
}

/// What somebody saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// Own messages that are durable.
    pub acked: u64,
    /// When each message of the partner is to disappear, by seq, as it said when it came.
    pub expires_ms: BTreeMap<u64, u64>,
    /// When each that is gone went, by seq: every entry that says so, as the log has them in the end.
    pub went_ms: BTreeMap<u64, Vec<u64>>,
    /// Messages, of anybody, that the log still has in the end, by seq.
    pub kept: Vec<u64>,
}

/// One person.
pub struct Person {
    number: u32,
    conversation: ConversationId,
    plan: Plan,
    body_bytes: usize,
    course: Arc<Course>,
    /// From when a message was to disappear until this person, who was connected, heard of it.
    heard_us: Rc<RefCell<Histogram<u64>>>,
    session: Session,
    seen: Seen,
    /// The newest entry that is not acknowledged.
    unacked: u64,
    /// The newest entry that said that something is gone. It may come again.
    told: u64,
}

impl Person {
    pub fn new(
        number: u32,
        conversation: ConversationId,
        plan: Plan,
        body_bytes: usize,
        course: Arc<Course>,
        heard_us: Rc<RefCell<Histogram<u64>>>,
        link: Link,
    ) -> Self {
        let (session, seen) = (Session::open(link), Seen::default());
        Self { number, conversation, plan, body_bytes, course, heard_us, session, seen, unacked: 0, told: 0 }
    }

    /// Until the run is over.
    pub async fn live(mut self, mut stage: watch::Receiver<Stage>) -> anyhow::Result<Seen> {
        let (mut wanted, mut again, mut asked) = (self.plan.of_person(self.number), Vec::new(), HashMap::new());
        let mut ack_at = Instant::now();
        while *stage.borrow_and_update() == Stage::Running {
            while asked.len() < IN_FLIGHT
                && let Some(number) = again.pop().or_else(|| wanted.next())
            {
                let request = self.write(number).await?;
                asked.insert(request, number);
            }
            let now = Instant::now();
            if self.unacked > 0 && ack_at <= now {
                self.acknowledge().await?;
            }
            if self.unacked == 0 {
                ack_at = now + ACK_DELAY;
            }
            tokio::select! {
                changed = stage.changed() => changed.context("nobody runs this any more")?,
                frame = self.session.next() => {
                    let frame = frame.context("the connection was lost")?;
                    if let Some(number) = self.on_frame(frame, &mut asked).await? {
                        again.push(number);
                    }
                }
                () = sleep_until(ack_at.into()), if self.unacked > 0 => {}
            }
        }
        self.read_back().await?;
        self.session.connection.close();
        Ok(self.seen)
    }

    async fn write(&mut self, number: u64) -> anyhow::Result<u64> {
        let mut body = vec![b'.'; self.body_bytes];
        Stamp { sender: self.number, number, due_ns: 0 }.write(&mut body);
        let after_ms = match self.plan.due_ms(number) {
            Some(due_ms) => due_ms.saturating_sub(unix_ms()?),
            None => FAR_MS,
        };
        ensure!(after_ms >= SOON_MS_MIN, "the machine is too busy: some are due before all are written");
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_le_bytes());
        id[8..].copy_from_slice(&self.plan.first_due_ms.to_le_bytes());
        let request = SendRequest {
            conversation_id: self.conversation.to_bytes(),
            client_msg_id: id.to_vec().into(),
            body: body.into(),
            expiry: Some(Expiry { after_ms, start: ExpiryStart::Sent.into() }),
            ..SendRequest::default()
        };
        self.session.request(Body::Send(request)).await
    }

    /// The message that is to be written again, if one is.
    async fn on_frame(&mut self, frame: ServerFrame, asked: &mut HashMap<u64, u64>) -> anyhow::Result<Option<u64>> {
        let number = asked.remove(&frame.request_id);
        match (frame.body, number) {
            (Some(Reply::Send(_)), Some(_)) => {
                self.seen.acked += 1;
                self.course.written.fetch_add(1, Ordering::Relaxed);
            }
            (Some(Reply::Error(error)), Some(number)) if error.retry_after_ms > 0 => {
                tokio::time::sleep(Duration::from_millis(error.retry_after_ms.into())).await;
                return Ok(Some(number));
            }
            (Some(Reply::Error(error)), _) => bail!("refused: {}", error.message),
            (Some(Reply::Entries(push)), _) if push.conversation_id == self.conversation.to_bytes() => {
                for entry in &push.entries {
                    self.unacked = self.unacked.max(entry.seq);
                    self.on_push(entry)?;
                }
            }
            _ => {}
        }
        Ok(None)
    }

    fn on_push(&mut self, entry: &Entry) -> anyhow::Result<()> {
        match &entry.content {
            Some(Content::Message(message)) => {
                self.seen.expires_ms.insert(entry.seq, message.expires_ms);
            }
            Some(Content::Expired(expired)) if entry.seq > self.told => {
                self.told = entry.seq;
                let now_ms = unix_ms()?;
                for expires_ms in expired.seqs.iter().filter_map(|seq| self.seen.expires_ms.get(seq)) {
                    self.course.gone.fetch_add(1, Ordering::Relaxed);
                    let lag = Duration::from_millis(now_ms.saturating_sub(*expires_ms));
                    record_us(&mut self.heard_us.borrow_mut(), lag);
                }
            }
            _ => {}
        }
        Ok(())
    }

    async fn acknowledge(&mut self) -> anyhow::Result<()> {
        let seq = std::mem::take(&mut self.unacked);
        let mut out = BytesMut::new();
        godwit::encode_ack(vec![ConversationPosition { conversation_id: self.conversation.to_bytes(), seq }], &mut out);
        self.session.write(&out).await
    }

    /// Reads the whole conversation.
    async fn read_back(&mut self) -> anyhow::Result<()> {
        let mut from_seq = 1;
        loop {
            let (conversation_id, direction) = (self.conversation.to_bytes(), Direction::Forward.into());
            let request = HistoryRequest { conversation_id, from_seq, direction, limit: 0 };
            let Reply::History(page) = self.session.bulk(Body::History(request)).await.context("reading history")?
            else {
                bail!("the server answered the asking for a page with something else")
            };
            for entry in &page.entries {
                ensure!(entry.seq == from_seq, "entry {} of a conversation stands for entry {from_seq}", entry.seq);
                from_seq += 1;
                match &entry.content {
                    Some(Content::Message(_)) => self.seen.kept.push(entry.seq),
                    Some(Content::Expired(expired)) => {
                        for seq in &expired.seqs {
                            self.seen.went_ms.entry(*seq).or_default().push(entry.sent_ms);
                        }
                    }
                    _ => {}
                }
            }
            if !page.more {
                return Ok(());
            }
        }
    }
}

/// Messages of one person without an answer.
const IN_FLIGHT: usize = 8;
const ACK_DELAY: Duration = Duration::from_millis(250);
/// Those that do not disappear in the run do so after this time.
const FAR_MS: u64 = 30 * 24 * 3_600_000;
/// The server takes none that is gone sooner.
const SOON_MS_MIN: u64 = 1_000;
