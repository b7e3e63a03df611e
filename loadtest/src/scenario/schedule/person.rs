//! One person of `schedule`: writes to their partner now and then, takes what comes, and comes back after a kill.

use super::{
    plan::{Origin, Plan},
    read_back::{Found, read_back},
};
use crate::{
    peer::{Pace, Progress, Tally, record_ns, record_us},
    scenario::{crew::ns, session::Session},
    wire::{Dialect, Dialer, Link, Refused, Stamp, godwit},
    worker::{Entry, enter},
};
use anyhow::{Context, bail};
use bytes::BytesMut;
use godwit_proto::{
    ConversationId, v1,
    v1::{
        ConversationPosition, Direction, ErrorCode, HistoryRequest, HistoryResponse, SendRequest, ServerFrame,
        client_frame::Body, entry::Content, server_frame::Body as Reply,
    },
};
use hdrhistogram::Histogram;
use std::{
    cell::RefCell,
    collections::HashSet,
    convert::Infallible,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};
use tokio::{
    sync::{Semaphore, watch},
    time::{sleep, sleep_until, timeout},
};

/// What everybody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The server runs, for this many times after the first.
    Running(u32),
    /// Nothing more will come.
    Over,
}

/// How far a run is, for all threads.
#[derive(Debug, Default)]
pub struct Course {
    pub chat: Progress,
    /// Scheduled messages that arrived at the partner of their author.
    pub fired: AtomicU64,
}

/// What all people of one thread share.
pub struct Shared {
    pub origin: Instant,
    /// Nobody writes from here on.
    pub chat_until_ns: u64,
    pub body_bytes: usize,
    pub plan: Plan,
    /// The server is killed meanwhile.
    pub kills: bool,
    /// The server has the clock of this machine.
    pub same_clock: bool,
    pub dialer: Rc<Dialer>,
    /// Those who are on their way back.
    pub coming: Semaphore,
    pub tally: RefCell<Tally>,
    /// From when it was due until the partner had it.
    pub heard_us: RefCell<Histogram<u64>>,
    pub course: Arc<Course>,
}

/// One person.
pub struct Person {
    pub number: u32,
    /// How to come back.
    pub entry: Entry,
    pub conversation: ConversationId,
    pub pace: Pace,
    pub shared: Rc<Shared>,
    pub story: Story,
    /// Entries that came, whichever way.
    came: HashSet<u64>,
    /// All up to here came.
    held: u64,
    /// Messages written by hand.
    said: u32,
    /// The last of them, while it has no answer: the next one waits for that.
    unanswered: Option<Unanswered>,
    /// The newest entry that is not acknowledged.
    unacked: u64,
    ack_at: Instant,
    /// Scheduled messages that came before they were due.
    heard_early: Vec<u64>,
}

/// What somebody lived through.
#[derive(Debug, Clone, Copy, Default)]
pub struct Story {
    pub acked: u64,
    pub refused: u64,
    /// Written and never answered.
    pub unanswered: u64,
    pub resyncs: u64,
    /// Connections that ended though the server was not killed.
    pub broken: u64,
}

struct Unanswered {
    due_ns: u64,
    request: u64,
    /// When to send it again, if it was refused for the moment.
    again_at: Option<Instant>,
}

impl Person {
    pub fn new(number: u32, entry: Entry, conversation: ConversationId, pace: Pace, shared: Rc<Shared>) -> Self {
        Self {
            number,
            entry,
            conversation,
            pace,
            shared,
            story: Story::default(),
            came: HashSet::new(),
            held: 0,
            said: 0,
            unanswered: None,
            unacked: 0,
            ack_at: Instant::now(),
            heard_early: Vec::new(),
        }
    }

    /// Until the run is over. What is found then, by looking at everything once more.
    pub async fn live(mut self, link: Link, mut stage: watch::Receiver<Stage>) -> anyhow::Result<(Story, Found)> {
        let (mut session, mut seen) = (Session::open(link), *stage.borrow_and_update());
        while seen != Stage::Over {
            let lost = tokio::select! {
                changed = stage.changed() => { changed.context("nobody runs this any more")?; false }
                Err(error) = self.stay(&mut session) => {
                    tracing::info!(person = self.number, "a connection did not last: {error:#}");
                    true
                }
            };
            if !lost && *stage.borrow() == Stage::Over {
                break;
            }
            // A server that was just started says that it does not know the connection before anybody else can say so.
            let patience = if self.shared.kills { KILL_NOTICE } else { Duration::ZERO };
            let was_killed = timeout(patience, stage.wait_for(|stage| *stage != seen)).await.is_ok();
            self.story.broken += u64::from(lost && !was_killed);
            session.connection.close();
            // Before coming back: it may be killed again meanwhile.
            seen = *stage.borrow_and_update();
            session = Session::open(self.come_back().await?);
        }
        self.story.unanswered = u64::from(self.unanswered.is_some());
        let mut found = read_back(&session, &self.shared.plan, self.number, self.conversation, &self.came).await?;
        found.witness.heard_early = self.heard_early;
        session.connection.close();
        Ok((self.story, found))
    }

    async fn come_back(&self) -> anyhow::Result<Link> {
        let _permit = self.shared.coming.acquire().await?;
        let deadline = Instant::now() + COMING_BACK_MAX;
        loop {
            let entering = enter(&self.shared.dialer, Dialect::Godwit, &self.entry, self.number);
            let error = match timeout(ENTERING_MAX, entering).await {
                Ok(Ok(link)) => return Ok(link),
                Ok(Err(error)) => error,
                Err(_) => anyhow::anyhow!("no answer within {ENTERING_MAX:?}"),
            };
            if Instant::now() > deadline {
                return Err(error).context("coming back");
            }
            sleep(COME_BACK_AGAIN).await;
        }
    }

    /// As long as the connection lasts.
    async fn stay(&mut self, session: &mut Session) -> anyhow::Result<Infallible> {
        self.catch_up(session).await?;
        self.say_again(session).await?;
        loop {
            let now = Instant::now();
            match &self.unanswered {
                Some(Unanswered { again_at: Some(at), .. }) if *at <= now => self.say_again(session).await?,
                None => self.say_what_is_due(session).await?,
                Some(_) => {}
            }
            if self.unacked > 0 && self.ack_at <= now {
                self.acknowledge(session).await?;
            }
            let ack_at = (self.unacked > 0).then_some(self.ack_at);
            let say_at = match &self.unanswered {
                Some(unanswered) => unanswered.again_at,
                None => self.next_due_ns().map(|due_ns| self.shared.origin + Duration::from_nanos(due_ns)),
            };
            let next = ack_at.into_iter().chain(say_at).min().unwrap_or(now + FAR_AWAY);
            tokio::select! {
                frame = session.next() => {
                    let frame = frame.context("the connection was lost")?;
                    self.on_frame(session, frame).await?;
                }
                () = sleep_until(next.into()) => {}
            }
        }
    }

    fn next_due_ns(&self) -> Option<u64> {
        self.pace.due_ns(self.said.into()).filter(|due_ns| *due_ns < self.shared.chat_until_ns)
    }

    async fn say_what_is_due(&mut self, session: &mut Session) -> anyhow::Result<()> {
        let now_ns = self.now_ns();
        let Some(due_ns) = self.next_due_ns().filter(|due_ns| *due_ns <= now_ns) else { return Ok(()) };
        self.said += 1;
        {
            let mut tally = self.shared.tally.borrow_mut();
            tally.at(due_ns).offered += 1;
            tally.at(now_ns).sent += 1;
        }
        self.shared.course.chat.sent.fetch_add(1, Ordering::Relaxed);
        // Before it leaves: it may arrive and the connection break at once.
        self.unanswered = Some(Unanswered { due_ns, request: 0, again_at: None });
        self.say(session, due_ns, true).await
    }

    async fn say_again(&mut self, session: &mut Session) -> anyhow::Result<()> {
        let Some(unanswered) = &self.unanswered else { return Ok(()) };
        self.say(session, unanswered.due_ns, false).await
    }

    async fn say(&mut self, session: &mut Session, due_ns: u64, first_attempt: bool) -> anyhow::Result<()> {
        let mut body = vec![b'.'; self.shared.body_bytes];
        Stamp { sender: self.number, number: self.said.into(), due_ns }.write(&mut body);
        let origin = Origin::Chat { sender: self.number, number: self.said };
        let request = SendRequest {
            conversation_id: self.conversation.to_bytes(),
            client_msg_id: self.shared.plan.id(origin).to_bytes(),
            body: body.into(),
            first_attempt,
            ..SendRequest::default()
        };
        let request = session.request(Body::Send(request)).await?;
        self.unanswered = Some(Unanswered { due_ns, request, again_at: None });
        Ok(())
    }

    async fn on_frame(&mut self, session: &mut Session, frame: ServerFrame) -> anyhow::Result<()> {
        let answered = self.unanswered.as_mut().filter(|open| frame.request_id > 0 && open.request == frame.request_id);
        match (frame.body, answered) {
            (Some(Reply::Send(answer)), Some(open)) => {
                let due_ns = open.due_ns;
                self.unanswered = None;
                self.story.acked += 1;
                self.take(answer.seq);
                let now_ns = self.now_ns();
                let mut tally = self.shared.tally.borrow_mut();
                let second = tally.at(now_ns);
                second.acked += 1;
                record_ns(&mut second.ack_us, due_ns, now_ns);
                // Before what makes it look settled.
                self.shared.course.chat.due.fetch_add(1, Ordering::Relaxed);
                self.shared.course.chat.answered.fetch_add(1, Ordering::Relaxed);
            }
            (Some(Reply::Error(error)), Some(open)) if error.retry_after_ms > 0 => {
                open.again_at = Some(Instant::now() + Duration::from_millis(error.retry_after_ms.into()));
            }
            (Some(Reply::Error(error)), Some(_)) => {
                tracing::warn!(code = error.code().as_str_name(), error.message, "refused");
                self.unanswered = None;
                self.story.refused += 1;
                self.shared.course.chat.answered.fetch_add(1, Ordering::Relaxed);
            }
            (Some(Reply::ResyncRequired(_)), _) => {
                self.story.resyncs += 1;
                self.catch_up(session).await?;
            }
            (Some(Reply::Entries(push)), _) if push.conversation_id == self.conversation.to_bytes() => {
                for entry in push.entries {
                    if self.unacked == 0 {
                        self.ack_at = Instant::now() + ACK_DELAY;
                    }
                    self.unacked = self.unacked.max(entry.seq);
                    self.on_entry(entry, true);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Reads what came while nobody was there.
    async fn catch_up(&mut self, session: &Session) -> anyhow::Result<()> {
        loop {
            let page = page(session, self.conversation, self.held + 1).await?;
            let (more, held) = (page.more, self.held);
            page.entries.into_iter().for_each(|entry| self.on_entry(entry, false));
            if !more || self.held == held {
                return Ok(());
            }
        }
    }

    fn on_entry(&mut self, entry: v1::Entry, is_live: bool) {
        if !self.take(entry.seq) {
            return;
        }
        let Some(Content::Message(message)) = entry.content else { return };
        match self.shared.plan.origin(&entry.client_msg_id) {
            Some(Origin::Scheduled { number }) => {
                let is_partners = self.shared.plan.author(number) != self.number;
                if is_partners && number < self.shared.plan.due {
                    self.shared.course.fired.fetch_add(1, Ordering::Relaxed);
                }
                if !is_live || !self.shared.same_clock {
                    return;
                }
                let due = SystemTime::UNIX_EPOCH + Duration::from_millis(self.shared.plan.due_ms(number));
                match SystemTime::now().duration_since(due) {
                    Err(_) => self.heard_early.push(number),
                    Ok(lag) if is_partners => record_us(&mut self.shared.heard_us.borrow_mut(), lag),
                    Ok(_) => {}
                }
            }
            Some(Origin::Chat { sender, .. }) if sender != self.number => {
                let Some(stamp) = Stamp::read(&message.body) else { return };
                let now_ns = self.now_ns();
                let mut tally = self.shared.tally.borrow_mut();
                let second = tally.at(now_ns);
                second.delivered += 1;
                record_ns(&mut second.delivery_us, stamp.due_ns, now_ns);
                self.shared.course.chat.delivered.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
    }

    /// Returns whether it is new.
    fn take(&mut self, seq: u64) -> bool {
        let is_new = self.came.insert(seq);
        while self.came.contains(&(self.held + 1)) {
            self.held += 1;
        }
        is_new
    }

    async fn acknowledge(&mut self, session: &mut Session) -> anyhow::Result<()> {
        let seq = std::mem::take(&mut self.unacked);
        let mut out = BytesMut::new();
        let position = ConversationPosition { conversation_id: self.conversation.to_bytes(), seq };
        godwit::encode_ack(vec![position], &mut out);
        session.write(&out).await
    }

    fn now_ns(&self) -> u64 {
        ns(self.shared.origin.elapsed())
    }
}

/// A page of entries from `from_seq` on.
pub async fn page(session: &Session, conversation: ConversationId, from_seq: u64) -> anyhow::Result<HistoryResponse> {
    let (conversation_id, direction) = (conversation.to_bytes(), Direction::Forward.into());
    let request = HistoryRequest { conversation_id, from_seq, direction, limit: 0 };
    match session.bulk(Body::History(request)).await {
        Ok(Reply::History(page)) => Ok(page),
        Ok(_) => bail!("the server answered the asking for a page with something else"),
        // There is no conversation of two before the first message.
        Err(error) if refusal(&error) == Some(ErrorCode::NotAMember) => Ok(HistoryResponse::default()),
        Err(error) => Err(error.context("reading history")),
    }
}

fn refusal(error: &anyhow::Error) -> Option<ErrorCode> {
    error.downcast_ref::<Refused>().map(|refused| refused.code)
}

const ACK_DELAY: Duration = Duration::from_millis(250);
/// From when clients notice that a server is a new one until the run says so.
const KILL_NOTICE: Duration = Duration::from_secs(60);
const ENTERING_MAX: Duration = Duration::from_secs(10);
const COMING_BACK_MAX: Duration = Duration::from_secs(120);
const COME_BACK_AGAIN: Duration = Duration::from_millis(200);
const FAR_AWAY: Duration = Duration::from_secs(3600);
