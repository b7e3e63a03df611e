//! Somebody who writes without pause, and tells everything again to the next server that has not been acknowledged by one before.

use crate::{raw_client::RawClient, seen::Seen};
use bytes::Bytes;
use godwit_proto::{
    ConversationId,
    codec::FrameDecoder,
    v1::{self, ClientFrame, client_frame::Body as Request, server_frame::Body},
};
use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// Between two messages of one person.
const PACE: Duration = Duration::from_millis(5);
/// After a refusal.
const PAUSE: Duration = Duration::from_millis(100);
/// Messages on their way to one server.
const IN_FLIGHT_MAX: usize = 8;
const PASSWORD: &str = "correct horse";

/// What has not been acknowledged by anybody.
type Open = BTreeMap<u32, ConversationId>;

pub struct Person {
    name: String,
    id: u64,
    chats: Vec<ConversationId>,
    seen: Arc<Seen>,
    open: Mutex<Open>,
    next: Mutex<u32>,
    /// Whether there is more to say.
    goes_on: AtomicBool,
}

impl Person {
    /// Makes an account.
    pub async fn register(server: SocketAddr, name: String, seen: Arc<Seen>) -> Self {
        let mut client = RawClient::connect(server).await;
        client.hello(1).await;
        let id = client.register(&name).await.user_id;
        let (open, next, goes_on) = (Mutex::default(), Mutex::new(0), AtomicBool::new(true));
        Self { name, id, chats: Vec::new(), seen, open, next, goes_on }
    }

    pub fn id(&self) -> u64 {
        self.id
    }

    /// Writes there from now on, in turns.
    pub fn writes_in(&mut self, chats: Vec<ConversationId>) {
        self.chats = chats;
    }

    pub fn says_no_more(&self) {
        self.goes_on.store(false, Ordering::Relaxed);
    }

    /// Whether everything was acknowledged by somebody.
    pub fn is_done(&self) -> bool {
        !self.goes_on.load(Ordering::Relaxed) && self.open().is_empty()
    }

    /// Writes to a server and reads what it says, until it is gone or everything is said.
    pub async fn talk_to(self: Arc<Self>, server: &'static str, address: SocketAddr, device: u8) {
        let mut client = self.log_in(address, device).await;
        let connection = client.connection.clone();
        let lanes = tokio::spawn(self.clone().read_lanes(server, connection));
        let mut asked: HashMap<u64, u32> = HashMap::new();
        let mut refused: BTreeMap<u32, Instant> = BTreeMap::new();
        let (mut request_id, mut next) = (1000, Instant::now());
        while !self.is_done() {
            tokio::select! {
                frame = client.next() => {
                    let Some(frame) = frame else { break };
                    let Some(number) = asked.remove(&frame.request_id) else { continue };
                    match frame.body {
                        Some(Body::Send(sent)) => self.acked(server, number, sent.seq),
                        // Whatever the reason: the same again.
                        _ => drop(refused.insert(number, Instant::now() + PAUSE)),
                    }
                }
                () = sleep_until(next) => {
                    next = Instant::now() + PACE;
                    refused.retain(|_, until| *until > Instant::now());
                    if asked.len() >= IN_FLIGHT_MAX {
                        continue;
                    }
                    let busy = |number: &u32| refused.contains_key(number) || asked.values().any(|asked| asked == number);
                    if let Some((number, chat)) = self.to_say(busy) {
                        request_id += 1;
                        asked.insert(request_id, number);
                        client.write_frame(&ClientFrame { request_id, body: Some(self.message(number, chat)) }).await;
                    }
                }
            }
        }
        lanes.abort();
    }

    /// A whole conversation, as a server shows it.
    pub async fn reads(&self, server: &'static str, address: SocketAddr, chat: ConversationId) -> crate::seen::Log {
        let client = &mut self.log_in(address, 9).await;
        let mut log = crate::seen::Log::new();
        loop {
            let from_seq = log.keys().next_back().map_or(1, |last| last + 1);
            let conversation_id = Bytes::copy_from_slice(chat.as_bytes());
            let direction = v1::Direction::Forward.into();
            let ask = v1::HistoryRequest { conversation_id, from_seq, direction, limit: 0 };
            let page = match client.bulk(Request::History(ask)).await {
                Body::History(page) => page,
                other => panic!("no page of {chat:?}: {other:?}"),
            };
            for entry in &page.entries {
                self.seen.entry(server, chat, entry);
                log.insert(entry.seq, crate::seen::content(entry));
            }
            if !page.more {
                return log;
            }
        }
    }

    async fn log_in(&self, address: SocketAddr, device: u8) -> RawClient {
        let mut client = RawClient::connect(address).await;
        client.hello(device).await;
        let login = v1::LoginRequest { username: self.name.clone(), password: PASSWORD.into() };
        match client.request(Request::Login(login)).await {
            Body::Authenticate(_) => client,
            other => panic!("{} is not logged in: {other:?}", self.name),
        }
    }

    async fn read_lanes(self: Arc<Self>, server: &'static str, connection: quinn::Connection) {
        // They end with whoever reads them: a server that was killed says nothing of its end.
        let mut lanes = JoinSet::new();
        while let Ok(mut lane) = connection.accept_uni().await {
            let person = self.clone();
            lanes.spawn(async move {
                let mut decoder = FrameDecoder::new();
                while let Some(frame) = crate::raw_client::next_frame(&mut lane, &mut decoder).await {
                    if let Some(Body::Entries(push)) = frame.body {
                        let chat = ConversationId::from_slice(&push.conversation_id).unwrap();
                        push.entries.iter().for_each(|entry| person.seen.entry(server, chat, entry));
                    }
                }
            });
        }
    }

    /// What was said before and nobody has acknowledged, else something new.
    fn to_say(&self, busy: impl Fn(&u32) -> bool) -> Option<(u32, ConversationId)> {
        let mut open = self.open();
        let again = open.iter().find(|(number, _)| !busy(number)).map(|(number, chat)| (*number, *chat));
        if again.is_some() || !self.goes_on.load(Ordering::Relaxed) {
            return again;
        }
        let mut next = self.next.lock().unwrap();
        *next += 1;
        let chat = self.chats[*next as usize % self.chats.len()];
        open.insert(*next, chat);
        Some((*next, chat))
    }

    fn message(&self, number: u32, chat: ConversationId) -> Request {
        Request::Send(v1::SendRequest {
            conversation_id: Bytes::copy_from_slice(chat.as_bytes()),
            client_msg_id: Bytes::from(self.message_id(number)),
            body: format!("{} {number}", self.name).into(),
            ..Default::default()
        })
    }

    fn message_id(&self, number: u32) -> Vec<u8> {
        [self.id.to_be_bytes().as_slice(), &[0; 4], &number.to_be_bytes()].concat()
    }

    fn acked(&self, server: &'static str, number: u32, seq: u64) {
        let chat = self.chats[number as usize % self.chats.len()];
        self.seen.ack(server, chat, &self.message_id(number), seq);
        self.open().remove(&number);
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap()
    }
}
