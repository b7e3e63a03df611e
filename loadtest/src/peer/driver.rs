//! The loop of one peer: take everything that came, send everything that is due, write once.

use super::{Pace, Room, RoomKey, Tally, tally::record};
use crate::wire::{BareFrame, Connection, Dialect, FrameReader, Link, ReadEnd, Stamp, godwit};
use bytes::{Buf, Bytes, BytesMut};
use godwit_proto::{
    ClientMsgId, ConversationId,
    v1::{ConversationPosition, ServerFrame, entry::Content, server_frame::Body as Reply},
};
use prost::Message;
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    pin::{Pin, pin},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::{io::AsyncWrite, sync::Notify, time::Sleep};

/// What one peer does in a run.
#[derive(Debug, Clone)]
pub struct Part {
    /// Which conversations it is a member of, and how many others are.
    pub rooms: Vec<(RoomKey, u32)>,
    /// When it sends, to each of them in turn.
    pub pace: Pace,
    /// It sends no more than this.
    pub sends_max: u64,
}

/// What all peers of one thread share.
pub struct Shared {
    /// Zero of every time in the run.
    pub origin: Instant,
    /// No message is due from here on.
    pub send_until_ns: u64,
    pub body_bytes: usize,
    pub dialect: Dialect,
    pub tally: RefCell<Tally>,
    pub progress: Arc<Progress>,
    /// Set, and notified, when the peers are to come to their end.
    pub finish: Cell<bool>,
    pub finished: Notify,
}

/// How far a run is, for all threads.
#[derive(Debug, Default)]
pub struct Progress {
    /// Peers in an open loop that have something left to send, however late they are with it.
    pub sending: AtomicU64,
    pub sent: AtomicU64,
    pub answered: AtomicU64,
    /// Deliveries that the answers promise.
    pub due: AtomicU64,
    pub delivered: AtomicU64,
}

impl Progress {
    /// Whether every message was sent, has its answer, and arrived at everybody.
    pub fn is_settled(&self) -> bool {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        of(&self.sending) == 0 && of(&self.answered) >= of(&self.sent) && of(&self.delivered) >= of(&self.due)
    }

    /// Messages that were sent and have no answer yet.
    pub fn in_flight(&self) -> u64 {
        // In this order, or answers that come in between would make it less than none.
        let answered = self.answered.load(Ordering::Relaxed);
        self.sent.load(Ordering::Relaxed).saturating_sub(answered)
    }

    /// Something that changes whenever anything happens.
    pub fn position(&self) -> (u64, u64, u64) {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (of(&self.sent), of(&self.answered), of(&self.delivered))
    }
}

/// What became of a peer.
pub struct Report {
    pub number: u32,
    pub rooms: Vec<Room>,
    /// The server left pushes out because this client was too slow.
    pub resyncs: u64,
    /// Why its connection did not last.
    pub lost: Option<String>,
}

/// A client under load.
pub struct Peer {
    number: u32,
    link: Link,
    lanes: Vec<FrameReader>,
    accept: Option<Accept>,
    rooms: Vec<Room>,
    pace: Pace,
    sends_max: u64,
    /// Counted among those that are [`sending`](Progress::sending).
    is_sending: bool,
    shared: Rc<Shared>,
    /// Requests without an answer, from `first_request` on.
    requests: VecDeque<Request>,
    first_request: u64,
    sent: u64,
    unanswered: usize,
    out: BytesMut,
    acks_due: Option<Instant>,
    /// When delivery acknowledgements left last.
    acks_left: Instant,
    timer: Pin<Box<Sleep>>,
    /// Counted and not yet told to the others.
    news: News,
    resyncs: u64,
}

/// Changes of [`Progress`].
#[derive(Default)]
struct News {
    sent: u64,
    answered: u64,
    due: u64,
    delivered: u64,
}

type Accept = Pin<Box<dyn Future<Output = Result<FrameReader, ReadEnd>>>>;

struct Request {
    room: usize,
    number: u64,
    due_ns: u64,
    answered: bool,
}

impl Peer {
    pub fn new(number: u32, link: Link, part: Part, shared: Rc<Shared>) -> Self {
        let is_sending = matches!(part.pace, Pace::Open { .. });
        shared.progress.sending.fetch_add(u64::from(is_sending), Ordering::Relaxed);
        let accept = (shared.dialect == Dialect::Godwit).then(|| accept(&link.connection));
        Self {
            number,
            accept,
            lanes: Vec::new(),
            rooms: part.rooms.into_iter().map(|(key, others)| Room::new(key, others)).collect(),
            pace: part.pace,
            sends_max: part.sends_max,
            is_sending,
            shared,
            requests: VecDeque::new(),
            first_request: link.next_request,
            link,
            sent: 0,
            unanswered: 0,
            out: BytesMut::new(),
            acks_due: None,
            acks_left: Instant::now(),
            timer: Box::pin(tokio::time::sleep(Duration::from_secs(FAR_AWAY_S))),
            news: News::default(),
            resyncs: 0,
        }
    }

    /// Runs until the run is finished or the connection is lost. The connection stays open.
    pub async fn run(mut self) -> (Report, Link) {
        let shared = self.shared.clone();
        let mut finished = pin!(shared.finished.notified());
        let lost = poll_fn(|cx| {
            if let Err(error) = self.turn(cx) {
                return Poll::Ready(Some(error.to_string()));
            }
            if finished.as_mut().poll(cx).is_ready() || shared.finish.get() {
                return Poll::Ready(None);
            }
            Poll::Pending
        })
        .await;
        self.stop_sending();
        (Report { number: self.number, rooms: self.rooms, resyncs: self.resyncs, lost }, self.link)
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Result<(), ReadEnd> {
        self.accept_lanes(cx)?;
        let now_ns = self.now_ns();
        self.read(cx, now_ns)?;
        loop {
            self.send_due(now_ns);
            self.add_acks();
            let written = self.write(cx)?;
            if !written || !self.out.is_empty() {
                break;
            }
        }
        self.arm(cx);
        self.tell();
        Ok(())
    }

    fn accept_lanes(&mut self, cx: &mut Context<'_>) -> Result<(), ReadEnd> {
        while let Some(accepting) = &mut self.accept {
            let Poll::Ready(lane) = accepting.as_mut().poll(cx) else { break };
            self.lanes.push(lane?);
            *accepting = accept(&self.link.connection);
        }
        Ok(())
    }

    fn read(&mut self, cx: &mut Context<'_>, now_ns: u64) -> Result<(), ReadEnd> {
        let mut frames = Vec::new();
        let session = self.link.reader.poll_frames(cx, |frame| frames.push(frame));
        for lane in &mut self.lanes {
            lane.poll_frames(cx, |frame| frames.push(frame))?;
        }
        for frame in frames {
            match self.shared.dialect {
                Dialect::Godwit => self.on_godwit(frame, now_ns),
                Dialect::Bare(_) => self.on_bare(&frame, now_ns),
            }
        }
        session
    }

    fn on_godwit(&mut self, frame: Bytes, now_ns: u64) {
        let Ok(frame) = ServerFrame::decode(frame) else { return };
        match frame.body {
            Some(Reply::Send(_)) => self.on_answer(frame.request_id, true, now_ns),
            Some(Reply::Error(_)) if frame.request_id > 0 => self.on_answer(frame.request_id, false, now_ns),
            Some(Reply::ResyncRequired(_)) => self.resyncs += 1,
            Some(Reply::Entries(push)) => {
                let Ok(id) = ConversationId::from_slice(&push.conversation_id) else { return };
                for entry in push.entries {
                    self.owe_ack(id, entry.seq);
                    let Some(Content::Message(message)) = entry.content else { continue };
                    self.on_message(RoomKey::Conversation(id), &message.body, entry.seq, now_ns);
                }
            }
            _ => {}
        }
    }

    fn on_bare(&mut self, frame: &[u8], now_ns: u64) {
        match BareFrame::decode(frame) {
            // Requests count from where the link left off; the relay echoes the request's number.
            Some(BareFrame::Ack { number }) => self.on_answer(number, true, now_ns),
            Some(BareFrame::Push { group, body }) => self.on_message(RoomKey::Group(group), body, 0, now_ns),
            _ => {}
        }
    }

    fn on_answer(&mut self, request_id: u64, accepted: bool, now_ns: u64) {
        let Some(index) = request_id.checked_sub(self.first_request) else { return };
        let Some(request) = self.requests.get_mut(index as usize).filter(|request| !request.answered) else { return };
        request.answered = true;
        let room = &mut self.rooms[request.room];
        {
            let mut tally = self.shared.tally.borrow_mut();
            let second = tally.at(now_ns);
            if accepted {
                room.acked += 1;
                self.news.due += u64::from(room.others);
                second.acked += 1;
                record(&mut second.ack_us, request.due_ns, now_ns);
            } else {
                room.refused.insert(request.number);
                second.refused += 1;
            }
        }
        if room.sent == request.number {
            room.unanswered = None;
        }
        self.unanswered -= 1;
        self.news.answered += 1;
        while self.requests.front().is_some_and(|request| request.answered) {
            self.requests.pop_front();
            self.first_request += 1;
        }
    }

    /// Every entry is acknowledged, or the server pushes it again and in the end closes the connection.
    fn owe_ack(&mut self, id: ConversationId, seq: u64) {
        let key = RoomKey::Conversation(id);
        let Some(room) = self.rooms.iter_mut().find(|room| room.key == key) else { return };
        room.owed_seq = room.owed_seq.max(Some(seq));
        let left = self.acks_left;
        self.acks_due.get_or_insert_with(|| (left + ACK_INTERVAL).max(Instant::now() + ACK_DELAY));
    }

    fn on_message(&mut self, key: RoomKey, body: &[u8], seq: u64, now_ns: u64) {
        let Some(stamp) = Stamp::read(body) else { return };
        let Some(room) = self.rooms.iter_mut().find(|room| room.key == key) else { return };
        if room.on_message(stamp, seq) {
            let mut tally = self.shared.tally.borrow_mut();
            let second = tally.at(now_ns);
            second.delivered += 1;
            record(&mut second.delivery_us, stamp.due_ns, now_ns);
            self.news.delivered += 1;
        }
    }

    /// Encodes what is due now, as far as there is room for it.
    fn send_due(&mut self, now_ns: u64) {
        while self.out.len() < OUT_BYTES_MAX && self.sent < self.sends_max {
            let due_ns = match self.pace {
                Pace::Silent => return,
                Pace::Closed { in_flight } if self.unanswered >= in_flight => return,
                Pace::Closed { .. } => now_ns,
                Pace::Open { .. } => match self.pace.due_ns(self.sent) {
                    Some(due_ns) if due_ns <= now_ns => due_ns,
                    _ => return,
                },
            };
            if due_ns >= self.shared.send_until_ns || self.rooms.is_empty() {
                return;
            }
            self.send_message(due_ns, now_ns);
        }
    }

    fn send_message(&mut self, due_ns: u64, now_ns: u64) {
        // Everybody begins with another one: in step, all would write to the same conversation at a time.
        let index = (self.number as usize + self.sent as usize) % self.rooms.len();
        let request_id = self.first_request + self.requests.len() as u64;
        let room = &mut self.rooms[index];
        room.sent += 1;
        let stamp = Stamp { sender: self.number, number: room.sent, due_ns };
        let mut body = vec![b'.'; self.shared.body_bytes];
        stamp.write(&mut body);
        match (self.shared.dialect, room.key) {
            (Dialect::Godwit, RoomKey::Conversation(id)) => {
                let msg_id = message_id(stamp);
                let after = room.unanswered.replace(msg_id);
                godwit::encode_send(request_id, id, msg_id, after, body.into(), &mut self.out);
            }
            (Dialect::Bare(sizes), RoomKey::Group(group)) => {
                BareFrame::Send { group, number: request_id, body: &body }.encode(sizes, &mut self.out);
            }
            _ => unreachable!("a conversation of the other kind of server"),
        }
        self.requests.push_back(Request { room: index, number: room.sent, due_ns, answered: false });
        self.sent += 1;
        self.unanswered += 1;
        self.news.sent += 1;
        let mut tally = self.shared.tally.borrow_mut();
        tally.at(due_ns).offered += 1;
        tally.at(now_ns).sent += 1;
    }

    /// Delivery acknowledgements ride on a frame that leaves anyway, or leave when they have waited long enough.
    fn add_acks(&mut self) {
        let Some(due) = self.acks_due else { return };
        let now = Instant::now();
        if self.out.is_empty() && now < due {
            return;
        }
        self.acks_due = None;
        self.acks_left = now;
        let positions = self.rooms.iter_mut().filter_map(|room| {
            let RoomKey::Conversation(id) = room.key else { return None };
            Some(ConversationPosition { conversation_id: id.to_bytes(), seq: room.owed_seq.take()? })
        });
        godwit::encode_ack(positions.collect(), &mut self.out);
    }

    /// Hands the connection what it takes. Returns whether it took anything.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, ReadEnd> {
        let mut any = false;
        while !self.out.is_empty() {
            match Pin::new(&mut self.link.send).poll_write(cx, &self.out)? {
                Poll::Ready(written) => {
                    self.out.advance(written);
                    any = true;
                }
                Poll::Pending => break,
            }
        }
        // Also when nothing is new: what it took in an earlier turn may not have left.
        let _ = Pin::new(&mut self.link.send).poll_flush(cx)?;
        if self.out.is_empty() {
            self.out = BytesMut::new();
        }
        Ok(any)
    }

    /// Sees to it that the peer wakes for what is due next.
    fn arm(&mut self, cx: &mut Context<'_>) {
        let next_send = self.pace.due_ns(self.sent).filter(|due_ns| *due_ns < self.shared.send_until_ns);
        let next_send = next_send.map(|due_ns| self.shared.origin + Duration::from_nanos(due_ns));
        // What waits for room on the connection is woken by that.
        let next_send = next_send.filter(|_| self.out.len() < OUT_BYTES_MAX);
        let Some(next) = [self.acks_due, next_send].into_iter().flatten().min() else { return };
        if self.timer.deadline().into_std() != next {
            self.timer.as_mut().reset(next.into());
        }
        if self.timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }

    fn tell(&mut self) {
        let is_over = |due_ns: u64| due_ns >= self.shared.send_until_ns || self.sent >= self.sends_max;
        let is_over = self.pace.due_ns(self.sent).is_none_or(is_over) || self.rooms.is_empty();
        let news = std::mem::take(&mut self.news);
        let progress = &self.shared.progress;
        for (counter, news) in [
            (&progress.sent, news.sent),
            // Before what makes it look settled.
            (&progress.due, news.due),
            (&progress.answered, news.answered),
            (&progress.delivered, news.delivered),
        ] {
            if news > 0 {
                counter.fetch_add(news, Ordering::Relaxed);
            }
        }
        // After what it sent.
        if is_over {
            self.stop_sending();
        }
    }

    fn stop_sending(&mut self) {
        if std::mem::take(&mut self.is_sending) {
            self.shared.progress.sending.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.shared.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

fn accept(connection: &Connection) -> Accept {
    let connection = connection.clone();
    Box::pin(async move { connection.accept_lane().await })
}

/// Different for every message of a run, and for every run against one server.
fn message_id(stamp: Stamp) -> ClientMsgId {
    let mut id: [u8; 16] = [0; 16];
    id[..4].copy_from_slice(&stamp.sender.to_le_bytes());
    id[4..8].copy_from_slice(&(stamp.number as u32).to_le_bytes());
    id[8..].copy_from_slice(&rand::random::<u64>().to_le_bytes());
    ClientMsgId(id)
}

/// As the SDK has them.
const ACK_DELAY: Duration = Duration::from_millis(25);
const ACK_INTERVAL: Duration = Duration::from_millis(250);
/// With this much encoded, nothing is added until the connection takes it.
const OUT_BYTES_MAX: usize = 64 * 1024;
const FAR_AWAY_S: u64 = 24 * 3600;
