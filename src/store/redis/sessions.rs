//! Who is online on this node, written behind: `PREFIX:{tag}:p:USER` has `node|incarnation|core.session` for each device.
//!
//! An entry counts while its node says that it has that incarnation: `PREFIX:n:NODE` holds `incarnation:beat`, and expires unless
//! the next beat comes. So sessions of a process that died end by themselves. An incarnation is the epoch and a generation: as with
//! summaries, whenever a write was not answered, or Redis does not hold the beat that was said last (it was flushed, or restored
//! from a backup), the next generation begins, nothing that is there counts any more, and everything is written again.

use super::{
    Epoch, Shared, Summarised,
    link::{NoAnswer, Questions, SESSIONS, read},
    meters::Kind,
};
use crate::store::{SessionPlace, SessionSink};
use data_encoding::HEXLOWER;
use foldhash::{HashMap, HashSet};
use godwit_proto::{DeviceId, UserId};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, oneshot},
    task::JoinHandle,
    time,
};

/// How long entries are kept that nobody writes again. Those of a living node are written again in half the time, in case that
/// some were evicted.
const KEEP: Duration = Duration::from_secs(3600);
/// A node that was not heard of for so many beats is dead.
const BEATS_MISSED_MAX: u32 = 3;
/// Users in one pipeline.
const USERS_MAX: usize = 500;
/// A core that says something waits at most until one of these was looked through.
const PARTS: usize = 64;
/// How long a stop may take to take everything away. What is left then does not count, and expires.
const LEAVE_MAX: Duration = Duration::from_secs(2);

/// The sessions of this node's users.
struct Sessions {
    shared: Arc<Shared>,
    node: String,
    epoch: Epoch,
    parts: Vec<Mutex<Part>>,
    changed: Notify,
}

/// As large as there are users online, and users whose last session ended since the last beat or write.
#[derive(Default)]
struct Part {
    users: HashMap<UserId, BTreeMap<[u8; 16], SessionPlace>>,
    changed: HashSet<UserId>,
}

/// What Redis was told of the node.
struct Said {
    generation: u64,
    beat: u64,
    /// As far as we know Redis has it, and all entries of the generation that were written.
    stands: bool,
}

/// The task that writes sessions.
pub(super) struct Writing {
    leave: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Summarised {
    /// Writes who is online on this node, until [`leave`](Self::leave) or the end of the process. To be called once; no other
    /// process may call itself the same at the same time.
    pub fn sessions(&self, node: &str) -> Arc<dyn SessionSink> {
        let sessions = Arc::new(Sessions {
            shared: self.shared.clone(),
            node: node.to_owned(),
            epoch: self.epoch,
            parts: (0..PARTS).map(|_| Mutex::default()).collect(),
            changed: Notify::new(),
        });
        let (leave, left) = oneshot::channel();
        let writing = sessions.clone();
        let task = self.runtime.spawn(async move { writing.run(left).await });
        let before = self.lock_writing().replace(Writing { leave, task });
        assert!(before.is_none(), "a node writes its sessions once");
        sessions
    }

    /// Takes the sessions of this node out of Redis. Waits no longer than is decent at a stop.
    pub async fn leave(&self) {
        let Some(Writing { leave, mut task }) = self.lock_writing().take() else { return };
        // The task is there unless its runtime has ended.
        let _ = leave.send(());
        let left = self.runtime.spawn(async move {
            if time::timeout(LEAVE_MAX, &mut task).await.is_err() {
                task.abort();
            }
        });
        let _ = left.await;
    }

    pub(super) fn lock_writing(&self) -> MutexGuard<'_, Option<Writing>> {
        // Nothing here panics half-way through a change.
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writing {
    /// As if the process had been killed.
    pub(super) fn abort(self) {
        self.task.abort();
    }
}

impl SessionSink for Sessions {
    fn online(&self, user: UserId, device: DeviceId, place: SessionPlace) {
        let mut part = self.lock(user);
        part.users.entry(user).or_default().insert(device.0, place);
        part.changed.insert(user);
        drop(part);
        self.changed.notify_one();
    }

    fn offline(&self, user: UserId, device: DeviceId) {
        let mut part = self.lock(user);
        if let Some(sessions) = part.users.get_mut(&user) {
            sessions.remove(&device.0);
            if sessions.is_empty() {
                part.users.remove(&user);
            }
        }
        part.changed.insert(user);
        drop(part);
        self.changed.notify_one();
    }
}

impl Sessions {
    async fn run(&self, mut leave: oneshot::Receiver<()>) {
        let mut said = Said { generation: 0, beat: 0, stands: false };
        let mut beat = time::interval(self.shared.beat);
        beat.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        let mut refresh = time::interval_at(time::Instant::now() + KEEP / 2, KEEP / 2);
        loop {
            let written = tokio::select! {
                Ok(()) = &mut leave => return self.take_away(&said).await,
                _ = beat.tick() => self.say_alive(&mut said).await,
                _ = refresh.tick(), if said.stands => {
                    self.all_changed();
                    self.write(&said).await
                }
                () = self.changed.notified(), if said.stands => self.write(&said).await,
            };
            // The next beat tries again.
            said.stands &= written.is_ok();
        }
    }

    /// Says that this incarnation lives, and finds out whether Redis still has what it was told.
    async fn say_alive(&self, said: &mut Said) -> Result<(), NoAnswer> {
        let before = said.stands.then(|| self.value(said));
        if before.is_none() {
            self.next_generation(said);
        }
        said.beat += 1;
        let held = self.beat(said).await?;
        if before.is_some() && held != before {
            self.next_generation(said);
            self.beat(said).await?;
        }
        said.stands = true;
        self.write(said).await
    }

    /// Writes the node's key; answers what was there.
    async fn beat(&self, said: &Said) -> Result<Option<String>, NoAnswer> {
        let mut beat = redis::cmd("SET");
        let expires_ms = (BEATS_MISSED_MAX * self.shared.beat).as_millis() as u64;
        beat.arg(self.key()).arg(self.value(said)).arg("PX").arg(expires_ms).arg("GET");
        let answers = self.shared.link.ask(Kind::Sessions, &Questions::of_slice([beat])).await?;
        Ok(answers.into_iter().next().and_then(read::<Option<String>>).flatten())
    }

    /// What is in Redis does not count any more; entries of users who have gone need not be taken away.
    fn next_generation(&self, said: &mut Said) {
        said.generation += 1;
        for part in &self.parts {
            let mut part = lock(part);
            let Part { users, changed } = &mut *part;
            changed.clear();
            changed.extend(users.keys());
        }
    }

    fn all_changed(&self) {
        for part in &self.parts {
            let mut part = lock(part);
            let Part { users, changed } = &mut *part;
            changed.extend(users.keys());
        }
    }

    async fn write(&self, said: &Said) -> Result<(), NoAnswer> {
        loop {
            let questions = self.questions(said);
            if questions.is_empty() {
                return Ok(());
            }
            let answers = self.shared.link.ask(Kind::Sessions, &questions).await?;
            if answers.into_iter().any(|answer| read::<u64>(answer) != Some(1)) {
                tracing::debug!("sessions of a newer owner are in Redis, and stay");
            }
        }
    }

    /// Writes the next users who have changed.
    fn questions(&self, said: &Said) -> Questions {
        let mut questions = Questions::default();
        let mut room = USERS_MAX;
        // A store that can have no other owner at the same time is not fenced: its epoch is a clock, which may be put back.
        let fence = match self.epoch {
            Epoch::Lease(epoch) => epoch.to_string(),
            Epoch::Sole(_) => String::new(),
        };
        let incarnation = self.incarnation(said);
        for part in &self.parts {
            let mut part = lock(part);
            let Part { users, changed } = &mut *part;
            let next: Vec<UserId> = changed.iter().take(room).copied().collect();
            room -= next.len();
            for user in next {
                changed.remove(&user);
                let mut call = SESSIONS.call();
                call.arg(1).arg(self.shared.keys.sessions(user)).arg(KEEP.as_secs()).arg(&fence);
                for (device, place) in users.get(&user).into_iter().flatten() {
                    let place = format!("{}|{incarnation}|{}.{}", self.node, place.core, place.session);
                    call.arg(HEXLOWER.encode(device)).arg(place);
                }
                questions.ask(call);
                questions.end_slice();
            }
        }
        questions
    }

    /// First what makes the rest count.
    async fn take_away(&self, said: &Said) {
        if !said.stands {
            return;
        }
        self.all_changed();
        for part in &self.parts {
            lock(part).users.clear();
        }
        let mut forget = redis::cmd("UNLINK");
        forget.arg(self.key());
        let forgotten = self.shared.link.ask(Kind::Sessions, &Questions::of_slice([forget])).await;
        if forgotten.is_ok() {
            // What cannot be taken away expires.
            let _ = self.write(said).await;
        }
    }

    fn key(&self) -> String {
        self.shared.keys.node(&self.node)
    }

    fn value(&self, said: &Said) -> String {
        format!("{}:{}", self.incarnation(said), said.beat)
    }

    fn incarnation(&self, said: &Said) -> String {
        let (Epoch::Lease(epoch) | Epoch::Sole(epoch)) = self.epoch;
        format!("{epoch}.{}", said.generation)
    }

    fn lock(&self, user: UserId) -> MutexGuard<'_, Part> {
        lock(&self.parts[(user.as_u64() % PARTS as u64) as usize])
    }
}

fn lock(part: &Mutex<Part>) -> MutexGuard<'_, Part> {
    // Nothing here panics half-way through a change.
    part.lock().unwrap_or_else(PoisonError::into_inner)
}
