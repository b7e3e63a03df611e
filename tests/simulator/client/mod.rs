//! A model of a client: it speaks real frames, keeps its promises, and holds the server to its own.
//!
//! What it does here is what `docs/PROTOCOL.md` asks of every client: repeat what was not answered under the same id, keep
//! the order of what it sends, fill gaps, walk its conversations after every login and every resync.

mod catch_up;
mod hostile;
mod requests;
mod schedule;
mod view;
mod work;

pub use requests::{Asked, What};
pub use schedule::Wish;
pub use view::View;

use crate::{
    network::{ConnectionId, Stream},
    rng::Rng,
    settings::{Bug, Settings},
    store::SimStore,
};
use bytes::Bytes;
use catch_up::Walk;
use godwit_proto::{
    ConversationId, DeviceId, UserId, codec,
    v1::{self, client_frame::Body as Request, entry::Content, server_frame::Body},
};
use schedule::Plan;
use std::collections::{BTreeMap, VecDeque};
use work::{Chore, Outgoing};

/// One device of one user.
pub struct Client {
    pub id: usize,
    /// Whose, as an index.
    pub person: usize,
    pub device: DeviceId,
    pub me: Option<UserId>,
    token: Option<Bytes>,
    pub stage: Stage,
    pub connection: Option<ConnectionId>,
    pub connect_at_ms: u64,
    next_request: u64,
    next_bulk: u64,
    next_message: u64,
    /// Requests without an answer on this connection.
    pub asked: BTreeMap<u64, Asked>,
    pub views: BTreeMap<ConversationId, View>,
    outgoing: BTreeMap<ConversationId, VecDeque<Outgoing>>,
    chore: Option<Chore>,
    plans: Vec<Plan>,
    /// What the user has read and the server has not confirmed.
    reading: Option<(ConversationId, u64)>,
    walk: Walk,
    /// Times that the server said that it had left pushes out.
    pub resyncs: u64,
    /// Pushed entries that were lost on the way.
    pub lost_pushes: u64,
    /// Something was pushed since it acknowledged last.
    owes_ack: bool,
    pub out: Vec<(Stream, Bytes)>,
    rng: Rng,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Offline,
    Greeting,
    Authenticating,
    Online,
}

/// A user of the run.
pub struct Person {
    pub name: String,
    pub id: Option<UserId>,
}

/// What a client sees around it.
pub struct Around<'a> {
    pub now_ms: u64,
    pub store: &'a SimStore,
    pub people: &'a mut Vec<Person>,
    pub settings: &'a Settings,
    /// Trouble is over: finish what was begun and begin nothing.
    pub calm: bool,
}

impl Client {
    pub fn new(id: usize, person: usize, mut rng: Rng) -> Self {
        Self {
            id,
            person,
            device: DeviceId(rng.sixteen_bytes()),
            me: None,
            token: None,
            stage: Stage::Offline,
            connection: None,
            connect_at_ms: 0,
            next_request: 1,
            next_bulk: 1,
            next_message: 1,
            asked: BTreeMap::new(),
            views: BTreeMap::new(),
            outgoing: BTreeMap::new(),
            chore: None,
            plans: Vec::new(),
            reading: None,
            walk: Walk::default(),
            resyncs: 0,
            lost_pushes: 0,
            owes_ack: false,
            out: Vec::new(),
            rng,
        }
    }

    /// A connection stands.
    pub fn on_connected(&mut self, now_ms: u64, connection: ConnectionId) {
        self.connection = Some(connection);
        self.stage = Stage::Greeting;
        (self.next_request, self.next_bulk) = (1, 1);
        let hello = v1::HelloRequest {
            protocol_version: 1,
            device_id: self.device.to_bytes(),
            device_name: format!("device {}", self.id),
            client_name: "simulator".into(),
        };
        self.ask(now_ms, What::Hello, Stream::Session, Request::Hello(hello));
    }

    /// The connection is gone, and every answer that was still on it.
    pub fn on_disconnected(&mut self, now_ms: u64) {
        self.connection = None;
        self.stage = Stage::Offline;
        self.connect_at_ms = now_ms + 1 + self.rng.below(40);
        self.asked.clear();
        self.out.clear();
        self.owes_ack = false;
        self.walk = Walk::default();
        self.outgoing.values_mut().flatten().for_each(|message| message.in_flight = false);
        self.chore.iter_mut().for_each(|chore| chore.in_flight = false);
        self.plans.iter_mut().for_each(|plan| plan.in_flight = false);
        self.views.values_mut().for_each(|view| view.filling = false);
    }

    /// Nothing is left to do or to wait for.
    pub fn is_at_rest(&self) -> bool {
        self.stage == Stage::Online
            && self.asked.is_empty()
            && self.outgoing.values().all(VecDeque::is_empty)
            && self.chore.is_none()
            && self.plans.iter().all(Plan::is_at_rest)
            && self.reading.is_none()
            && self.walk.is_done()
            && !self.views.values().any(View::is_behind)
    }

    /// Why it is not at rest.
    pub fn describe(&self) -> String {
        let behind: Vec<_> = self.views.iter().filter(|(_, view)| view.is_behind()).collect();
        let waiting: Vec<_> = self.outgoing.values().flatten().collect();
        format!(
            "client {} of {:?}: {:?}, asked {:?}, waiting {waiting:?}, chore {:?}, plans {:?}, reading {:?}, {:?}, behind {behind:?}",
            self.id, self.me, self.stage, self.asked, self.chore, self.plans, self.reading, self.walk
        )
    }

    /// A while has passed.
    pub fn tick(&mut self, around: &mut Around<'_>) {
        if self.stage == Stage::Online && !around.calm {
            self.begin_something(around);
        }
        if around.settings.hostile && !around.calm && self.stage != Stage::Offline && self.rng.chance(60) {
            self.misbehave(around);
        }
        if self.stage == Stage::Online && self.owes_ack && (around.calm || self.rng.chance(around.settings.acks)) {
            self.acknowledge();
        }
        self.drive(around);
    }

    pub fn on_frame(&mut self, around: &mut Around<'_>, frame: v1::ServerFrame) {
        let me = self.me;
        match (frame.body.expect("a server sends no empty frame"), me) {
            (Body::Entries(push), Some(me)) => {
                let conversation = ConversationId::from_slice(&push.conversation_id).unwrap();
                for entry in push.entries {
                    self.on_push(around, me, conversation, entry);
                }
            }
            (Body::Read(read), Some(_)) => {
                let conversation = ConversationId::from_slice(&read.conversation_id).unwrap();
                // The entries before it may have been lost.
                let view = self.views.entry(conversation).or_default();
                view.read = view.read.max(read.read_seq);
            }
            (Body::Scheduled(push), Some(me)) => self.on_scheduled(around, me, push),
            // Lanes may outrun the session stream; the walk after the login finds what is passed over here.
            (Body::Entries(_) | Body::Read(_) | Body::Scheduled(_), None) => {}
            (Body::ResyncRequired(_), _) => {
                self.resyncs += 1;
                self.walk.start_over();
            }
            (Body::LaneOpened(_), _) => {}
            // What closes a connection answers no request.
            (Body::Error(_), _) if frame.request_id == 0 => {}
            (body, _) => match self.asked.remove(&frame.request_id) {
                Some(asked) => self.on_answer(around, asked, body),
                None => panic!("client {}: an answer to nothing: {} {body:?}", self.id, frame.request_id),
            },
        }
        self.drive(around);
    }

    fn on_push(&mut self, around: &Around<'_>, me: UserId, conversation: ConversationId, entry: v1::Entry) {
        let bug = around.settings.bug;
        if bug == Some(Bug::LostPush) && entry.seq == 4 {
            return;
        }
        // QUIC loses nothing but the connection. Here the server's word is held to by itself; but who was removed may not
        // read again what said so.
        let removes_me = match &entry.content {
            Some(Content::MemberRemoved(removed)) => removed.member_id == me.as_u64(),
            Some(Content::MemberBanned(banned)) => banned.removed && banned.member_id == me.as_u64(),
            _ => false,
        };
        if !around.calm && !removes_me && self.rng.chance(around.settings.lost_pushes) {
            self.lost_pushes += 1;
            return;
        }
        self.owes_ack = true;
        let view = self.views.entry(conversation).or_default();
        if bug == Some(Bug::DoubledEntry) && view.first > 0 && entry.seq == view.next() {
            view.append(me, entry.clone());
            return view.append(me, entry);
        }
        if bug == Some(Bug::IgnoredGap) && view.first > 0 && entry.seq > view.next() {
            return view.append(me, entry);
        }
        view.on_entry(me, conversation, entry);
    }

    /// Goes on with whatever is not done.
    fn drive(&mut self, around: &mut Around<'_>) {
        if self.stage == Stage::Online {
            self.catch_up(around);
            self.send_due(around);
            self.do_chore(around);
            self.ask_plans(around);
            self.mark_read(around);
        }
    }

    fn ask(&mut self, now_ms: u64, what: What, stream: Stream, body: Request) {
        let request_id = self.next_request;
        self.next_request += 1;
        self.asked.insert(request_id, Asked { what, at_ms: now_ms });
        self.out.push((stream, codec::frame(&v1::ClientFrame { request_id, body: Some(body) })));
    }

    fn new_bulk(&mut self) -> Stream {
        self.next_bulk += 1;
        Stream::Bulk(self.next_bulk)
    }
}
