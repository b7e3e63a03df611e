//! The server's process: real cores, mailboxes and outboxes, and a loop that may die between any two effects.

use crate::{network::ConnectionId, rng::Rng, settings::Settings};
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use godwit::{
    account::{Password, PasswordError},
    router::{
        Channel, Core, CoreId, CorePort, DeadLetters, Effects, Event, HookError, Mailboxes, OfflineHook, OfflineNotice,
        Outbound, Outbox, Output, Passwords, Placement, Registration, Services, SessionId, Task,
    },
    store::Store,
    timer::Tick,
};
use godwit_proto::v1::ErrorCode;
use std::{
    collections::BTreeMap,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};
use tokio::sync::Notify;

/// Connections that one core takes: more than a run has.
const SESSIONS_MAX: usize = 10_000;

pub struct Process {
    cores: Vec<SimCore>,
    mailboxes: Mailboxes,
    /// Effects until it dies.
    fuse: Option<u64>,
    stopping: bool,
}

struct SimCore {
    core: Core,
    port: CorePort,
    outboxes: BTreeMap<SessionId, (Rc<Outbox>, ConnectionId)>,
    /// Whose session it is, before the core has heard of it.
    opened: BTreeMap<SessionId, ConnectionId>,
    tasks: Vec<Task>,
    effects: Effects,
    stopped: bool,
}

/// The process is dead.
#[derive(Debug)]
pub struct Died;

/// What a core told a connection, for the checker.
pub type Told = (ConnectionId, Bytes);

/// Longer than any trouble lasts.
const LOGIN_WITHIN_MS: u64 = 60_000;

impl Process {
    pub fn new(settings: &Settings, store: Arc<dyn Store>, passwords: &Arc<SimPasswords>, rng: &mut Rng) -> Self {
        let placement = Placement::new(settings.cores);
        let random = Mutex::new(rng.fork());
        let services = Services {
            store,
            passwords: passwords.clone(),
            registration: Registration::Open,
            random: Arc::new(move |bytes| random.lock().unwrap().fill(bytes)),
        };
        let hook = Arc::new(SimHook::default());
        let hooked = |index| {
            let mut core = Core::new(CoreId(index), placement, settings.limits, services.clone());
            core.set_offline_hook(hook.clone(), DeadLetters::new(4));
            core
        };
        let core = |index| SimCore {
            core: hooked(index),
            port: CorePort::new(
                CoreId(index),
                usize::MAX,
                SESSIONS_MAX,
                settings.outbox_bytes_max,
                Rc::new(Notify::new()),
            ),
            outboxes: BTreeMap::new(),
            opened: BTreeMap::new(),
            tasks: Vec::new(),
            effects: Effects::default(),
            stopped: false,
        };
        Self {
            cores: (0..settings.cores).map(core).collect(),
            mailboxes: Mailboxes::new(settings.cores, settings.mailbox_items_max),
            fuse: None,
            stopping: false,
        }
    }

    pub fn open(&mut self, core: usize, connection: ConnectionId) -> (SessionId, Rc<Outbox>) {
        let core = &mut self.cores[core];
        let opened = core
            .port
            .open("127.0.0.1:9".parse().unwrap(), LOGIN_WITHIN_MS)
            .expect("there is room for every session of a run");
        core.opened.insert(opened.0, connection);
        opened
    }

    pub fn frame(&mut self, core: usize, session: SessionId, channel: Channel, frame: Bytes) {
        self.cores[core].port.frame(session, channel, frame);
    }

    pub fn drained(&mut self, core: usize, session: SessionId) {
        self.cores[core].port.drained(session);
    }

    pub fn close(&mut self, core: usize, session: SessionId) {
        self.cores[core].port.close(session);
    }

    /// It dies after this many effects.
    pub fn light_fuse(&mut self, effects: u64) {
        self.fuse = Some(effects);
    }

    /// It ends every session in good order.
    pub fn stop(&mut self) {
        self.stopping = true;
    }

    /// Whether it takes no more connections.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Whether it has stopped and has nothing left to lose.
    pub fn is_done(&self) -> bool {
        let done = |core: &SimCore| {
            core.stopped && core.port.sessions() == 0 && core.core.commits_in_flight() == 0 && core.tasks.is_empty()
        };
        self.stopping && self.cores.iter().all(done)
    }

    /// Whether a core waits for nothing but its mail.
    pub fn is_idle(&self, core: usize) -> bool {
        self.cores[core].tasks.is_empty() && self.mailboxes.of(CoreId(core as u16)).depth() == 0
    }

    /// When a core wants its next turn at the latest, by the server's clock.
    pub fn next_turn_ms(&self, core: usize) -> Option<u64> {
        self.cores[core].core.next_turn_ms()
    }

    /// The same by the clock that is never set.
    pub fn next_deadline(&self, core: usize) -> Option<Tick> {
        self.cores[core].core.next_deadline()
    }

    /// One turn of one core, as the driver does it, except that whatever may come in any order does.
    pub fn turn(
        &mut self,
        index: usize,
        (now_ms, tick): (u64, Tick),
        settings: &Settings,
        rng: &mut Rng,
        told: &mut Vec<Told>,
    ) -> Result<(), Died> {
        let mailboxes = &self.mailboxes;
        let SimCore { core, port, outboxes, opened, tasks, effects, stopped } = &mut self.cores[index];
        core.begin_turn(tick);
        core.set_congested(mailboxes.any_congested());
        let mut kinds = [0, 1, 2];
        rng.shuffle(&mut kinds);
        for kind in kinds {
            match kind {
                0 => {
                    let mut events = Vec::new();
                    port.drain(&mut events, settings.turn_events_max);
                    for (session, event) in events {
                        match event {
                            Event::Opened { outbox, remote, login_within_ms } => {
                                let connection = opened.remove(&session).expect("opened by the network");
                                outboxes.insert(session, (outbox, connection));
                                core.on_opened(session, remote, login_within_ms, effects);
                            }
                            Event::Frame { channel, frame } => {
                                core.on_frame(now_ms, session, channel, frame, effects);
                            }
                            Event::Datagram(frame) => core.on_datagram(now_ms, session, frame, effects),
                            Event::Drained => core.on_drained(session, effects),
                            Event::Closed => {
                                outboxes.remove(&session);
                                core.on_closed(now_ms, session, effects);
                            }
                        }
                    }
                }
                1 => {
                    let mut mail = Vec::new();
                    mailboxes.of(CoreId(index as u16)).take(&mut mail);
                    mail.into_iter().for_each(|item| core.on_mail(now_ms, item, effects));
                }
                _ => {
                    // Nothing promises in which order tasks are done, so they are asked in any.
                    rng.shuffle(tasks);
                    let mut waiting = Vec::with_capacity(tasks.len());
                    for mut task in tasks.drain(..) {
                        match task.poll_unpin(&mut Context::from_waker(Waker::noop())) {
                            Poll::Ready(completion) => core.on_completion(now_ms, completion, effects),
                            Poll::Pending => waiting.push(task),
                        }
                    }
                    *tasks = waiting;
                }
            }
        }
        if self.stopping && !*stopped {
            *stopped = true;
            core.stop(effects);
        }
        core.end_turn(now_ms, effects);
        self.carry_out(index, told)
    }

    fn carry_out(&mut self, index: usize, told: &mut Vec<Told>) -> Result<(), Died> {
        let (mailboxes, fuse) = (&self.mailboxes, &mut self.fuse);
        let SimCore { core, outboxes, tasks, effects, .. } = &mut self.cores[index];
        for task in effects.tasks.drain(..) {
            burn(fuse)?;
            tasks.push(task);
        }
        for (to, mail) in effects.mail.drain(..) {
            burn(fuse)?;
            mailboxes.of(to).put(&mut vec![mail]);
        }
        for (session, output) in effects.output.drain(..) {
            burn(fuse)?;
            let Some((outbox, connection)) = outboxes.get(&session) else { continue };
            let taken = match output {
                Output::Reply(channel, frame) => {
                    told.push((*connection, frame.clone()));
                    outbox.put(Outbound::Reply(channel, frame))
                }
                Output::Push(lane, frame) => {
                    told.push((*connection, frame.clone()));
                    outbox.put(Outbound::Push(lane, frame))
                }
                Output::Datagram(_) => true,
                Output::Authenticated => {
                    outbox.set_authenticated();
                    true
                }
                Output::Close(code, reason) => {
                    assert_ne!(code, ErrorCode::Internal, "{reason}");
                    outbox.close(code, reason);
                    true
                }
            };
            if !taken {
                core.on_push_refused(session);
            }
        }
        Ok(())
    }
}

fn burn(fuse: &mut Option<u64>) -> Result<(), Died> {
    match fuse {
        Some(0) => Err(Died),
        Some(left) => {
            *left -= 1;
            Ok(())
        }
        None => Ok(()),
    }
}

/// Takes every third batch.
#[derive(Default)]
struct SimHook(AtomicU64);

impl OfflineHook for SimHook {
    fn notify(&self, notices: Vec<OfflineNotice>) -> BoxFuture<'static, Result<(), HookError>> {
        assert!(!notices.is_empty(), "a batch of nothing");
        let taken = self.0.fetch_add(1, Ordering::Relaxed).is_multiple_of(3);
        std::future::ready(if taken { Ok(()) } else { Err(HookError("not now".into())) }).boxed()
    }
}

/// Keeps passwords in a list, because hashing them properly would be most of a run. Outlives the process, as hashes do.
#[derive(Default)]
pub struct SimPasswords(Mutex<Vec<Password>>);

impl Passwords for SimPasswords {
    fn hash(&self, password: Password) -> BoxFuture<'static, Result<String, PasswordError>> {
        let mut passwords = self.0.lock().unwrap();
        passwords.push(password);
        std::future::ready(Ok((passwords.len() - 1).to_string())).boxed()
    }

    fn verify(&self, hash: Option<String>, password: Password) -> BoxFuture<'static, Result<bool, PasswordError>> {
        let index = hash.and_then(|hash| hash.parse::<usize>().ok());
        let matches = index.is_some_and(|index| self.0.lock().unwrap()[index] == password);
        std::future::ready(Ok(matches)).boxed()
    }
}
