//! Who is online, written behind: `PREFIX:{tag}:p:USER` has `node|incarnation|core.session` for each device.
//!
//! An entry holds while its node says that it still has that incarnation: `PREFIX:n:NODE`, which expires unless it is said
//! again. So sessions of a process that died end by themselves, and nothing is to be cleaned up. When Redis does not know
//! the node any more (it was flushed, or away for long), everything is written again.

use super::{
    Shared, Summarised,
    link::{NoAnswer, Questions, SESSIONS, read},
    meters::Kind,
};
use crate::store::{SessionPlace, SessionSink};
use data_encoding::HEXLOWER;
use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};
use godwit_proto::{DeviceId, UserId};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, time};

/// How long entries are kept that nobody writes again. Those of a living node are written again in half the time.
const KEEP: Duration = Duration::from_secs(24 * 3600);
/// Users in one pipeline.
const USERS_MAX: usize = 500;

/// A session that others can see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnlineSession {
    /// Whose.
    pub device: DeviceId,
    /// The node that has it.
    pub node: String,
    /// Where on it.
    pub place: SessionPlace,
}

/// The sessions of this node's users.
struct Sessions {
    shared: Arc<Shared>,
    node: String,
    incarnation: u64,
    held: Mutex<Held>,
    changed: Notify,
}

/// As large as there are users online, and users who were not written yet.
struct Held {
    users: HashMap<UserId, BTreeMap<[u8; 16], SessionPlace>>,
    changed: HashSet<UserId>,
}

impl Summarised {
    /// Writes who is online on this node, for as long as the store is open. The incarnation is another one at each start.
    pub fn sessions(&mut self, node: &str, incarnation: u64) -> Arc<dyn SessionSink> {
        let sessions = Arc::new(Sessions {
            shared: self.shared.clone(),
            node: node.to_owned(),
            incarnation,
            held: Mutex::new(Held { users: HashMap::new(), changed: HashSet::new() }),
            changed: Notify::new(),
        });
        let writing = sessions.clone();
        self.tasks.push(self.runtime.spawn(async move { writing.run().await }));
        sessions
    }

    /// The sessions of a user, on all nodes. `None`: Redis does not answer.
    pub async fn sessions_of(&self, user: UserId) -> Option<Vec<OnlineSession>> {
        let shared = self.shared.clone();
        self.runtime.spawn(async move { shared.sessions_of(user).await }).await.ok().flatten()
    }
}

impl SessionSink for Sessions {
    fn online(&self, user: UserId, device: DeviceId, place: SessionPlace) {
        let mut held = self.lock();
        held.users.entry(user).or_default().insert(device.0, place);
        held.changed.insert(user);
        drop(held);
        self.changed.notify_one();
    }

    fn offline(&self, user: UserId, device: DeviceId) {
        let mut held = self.lock();
        if let Some(sessions) = held.users.get_mut(&user) {
            sessions.remove(&device.0);
            if sessions.is_empty() {
                held.users.remove(&user);
            }
        }
        held.changed.insert(user);
        drop(held);
        self.changed.notify_one();
    }
}

impl Sessions {
    async fn run(&self) {
        let mut beat = time::interval(self.shared.beat);
        beat.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        let mut refresh = time::interval(KEEP / 2);
        loop {
            let written = tokio::select! {
                _ = beat.tick() => self.say_alive().await,
                _ = refresh.tick() => {
                    self.all_changed();
                    self.write().await
                }
                () = self.changed.notified() => self.write().await,
            };
            if written.is_err() {
                // Until Redis is back there is nothing to be written; the next beat tries again.
                self.all_changed();
            }
        }
    }

    /// Says that this incarnation lives. If that is news to Redis, it does not know the sessions either.
    async fn say_alive(&self) -> Result<(), NoAnswer> {
        let key = self.shared.keys.node(&self.node);
        let mut beat = redis::cmd("SET");
        beat.arg(key).arg(self.incarnation).arg("PX").arg(3 * self.shared.beat.as_millis() as u64).arg("GET");
        let answers = self.shared.link.ask(Kind::Sessions, &Questions::of_slice([beat])).await?;
        let known = answers.into_iter().next().and_then(read::<Option<u64>>).flatten();
        if known != Some(self.incarnation) {
            self.all_changed();
        }
        self.write().await
    }

    async fn write(&self) -> Result<(), NoAnswer> {
        loop {
            let mut questions = Questions::default();
            let users: Vec<UserId>;
            {
                let mut held = self.lock();
                users = held.changed.iter().take(USERS_MAX).copied().collect();
                for user in &users {
                    held.changed.remove(user);
                    let mut call = SESSIONS.call();
                    call.arg(1).arg(self.shared.keys.sessions(*user)).arg(KEEP.as_secs());
                    for (device, place) in held.users.get(user).into_iter().flatten() {
                        let place = format!("{}|{}|{}.{}", self.node, self.incarnation, place.core, place.session);
                        call.arg(HEXLOWER.encode(device)).arg(place);
                    }
                    questions.ask(call);
                    questions.end_slice();
                }
            }
            if questions.is_empty() {
                return Ok(());
            }
            if self.shared.link.ask(Kind::Sessions, &questions).await.is_err() {
                self.lock().changed.extend(users);
                return Err(NoAnswer);
            }
        }
    }

    fn all_changed(&self) {
        let mut held = self.lock();
        let Held { users, changed } = &mut *held;
        changed.extend(users.keys());
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Nothing here panics half-way through a change.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    async fn sessions_of(&self, user: UserId) -> Option<Vec<OnlineSession>> {
        let mut question = redis::cmd("HGETALL");
        question.arg(self.keys.sessions(user));
        let answers = self.link.ask(Kind::Sessions, &Questions::of_slice([question])).await.ok()?;
        let entries = answers.into_iter().next().and_then(read::<Vec<(String, String)>>)?;
        let entries: Vec<Entry> = entries.iter().filter_map(|(device, place)| Entry::read(device, place)).collect();
        let mut nodes: Vec<&str> = entries.iter().map(|entry| &*entry.session.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        if nodes.is_empty() {
            return Some(Vec::new());
        }
        let mut questions = Questions::default();
        for node in &nodes {
            let mut question = redis::cmd("GET");
            question.arg(self.keys.node(node));
            questions.ask(question);
            questions.end_slice();
        }
        let answers = self.link.ask(Kind::Sessions, &questions).await.ok()?;
        let alive: BTreeMap<&str, Option<u64>> =
            nodes.iter().copied().zip(answers.into_iter().map(|value| read::<Option<u64>>(value).flatten())).collect();
        let lives = |entry: &Entry| alive.get(&*entry.session.node) == Some(&Some(entry.incarnation));
        let alive: Vec<bool> = entries.iter().map(lives).collect();
        Some(entries.into_iter().zip(alive).filter(|(_, lives)| *lives).map(|(entry, _)| entry.session).collect())
    }
}

struct Entry {
    session: OnlineSession,
    incarnation: u64,
}

impl Entry {
    fn read(device: &str, place: &str) -> Option<Self> {
        let device = DeviceId(HEXLOWER.decode(device.as_bytes()).ok()?.try_into().ok()?);
        let mut parts = place.rsplitn(3, '|');
        let (core, session) = parts.next()?.split_once('.')?;
        let place = SessionPlace { core: core.parse().ok()?, session: session.parse().ok()? };
        let incarnation = parts.next()?.parse().ok()?;
        Some(Self { session: OnlineSession { device, node: parts.next()?.to_owned(), place }, incarnation })
    }
}
