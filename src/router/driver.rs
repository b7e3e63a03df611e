//! The loop of one pinned core: gather what came in, let the core work on it, carry out what it wants, once a turn.

use super::{
    Completion, Core, CoreId, CorePort, Effects, Event, Mail, Mailboxes, Outbound, Outbox, Output, SessionId, Task,
    meters::TurnMeters,
};
use crate::timer::Tick;
use foldhash::{HashMap, HashMapExt};
use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::sync::{Notify, watch};

/// A core with nothing to do still ends a turn this often, for what is written behind.
const IDLE_TURN: Duration = Duration::from_millis(500);

/// Runs a [`Core`] on the current thread.
pub struct Driver {
    core: Core,
    id: CoreId,
    port: CorePort,
    /// Notified by the port when a connection did something.
    events_filled: Rc<Notify>,
    mailboxes: Arc<Mailboxes>,
    /// Events of connections in one turn. More share packets and syncs; those at the turn's end wait longer.
    turn_events_max: usize,
    outboxes: HashMap<SessionId, Rc<Outbox>>,
    tasks: FuturesUnordered<Task>,
    effects: Effects,
    /// Outboxes that this turn put something into, each once.
    filled: Vec<Rc<Outbox>>,
    /// Mail of this turn by its core.
    outgoing: Vec<Vec<Mail>>,
    /// When the monotonic clock of the core starts.
    started: Instant,
    meters: TurnMeters,
}

impl Driver {
    /// Ready to [`run`](Self::run).
    pub fn new(
        core: Core,
        port: CorePort,
        events_filled: Rc<Notify>,
        mailboxes: Arc<Mailboxes>,
        cores: u16,
        turn_events_max: usize,
    ) -> Self {
        let id = port.core();
        Self {
            core,
            id,
            port,
            events_filled,
            mailboxes,
            turn_events_max,
            outboxes: HashMap::new(),
            tasks: FuturesUnordered::new(),
            effects: Effects::default(),
            filled: Vec::new(),
            outgoing: (0..cores).map(|_| Vec::new()).collect(),
            started: Instant::now(),
            meters: TurnMeters::new(id.0),
        }
    }

    /// Turns until `stop` is true; then ends every session, and returns once no session and no change is left.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut stopping = false;
        let (mut events, mut mail) = (Vec::new(), Vec::new());
        loop {
            self.wait(&mut stop, stopping).await;
            let started = Instant::now();
            let now_ms = wall_ms();
            self.core.begin_turn(self.tick());
            self.core.set_congested(self.mailboxes.any_congested());

            let more = self.port.drain(&mut events, self.turn_events_max);
            self.mailboxes.of(self.id).take(&mut mail);
            self.meters.mailbox_depth.set(mail.len() as f64);
            let mut count = events.len() + mail.len();
            for (session, event) in events.drain(..) {
                self.on_event(now_ms, session, event);
            }
            for item in mail.drain(..) {
                self.core.on_mail(now_ms, item, &mut self.effects);
            }
            while let Some(Some(completion)) = self.tasks.next().now_or_never() {
                count += 1;
                self.on_completion(now_ms, completion);
            }
            if !stopping && *stop.borrow() {
                stopping = true;
                self.core.stop(&mut self.effects);
            }
            self.core.end_turn(now_ms, &mut self.effects);
            self.carry_out();

            if count > 0 {
                self.meters.turn_seconds.record(started.elapsed().as_secs_f64());
                self.meters.turn_events.record(count as f64);
            }
            if stopping && self.port.sessions() == 0 && self.core.commits_in_flight() == 0 && self.tasks.is_empty() {
                return;
            }
            if more {
                self.events_filled.notify_one();
            }
            // The connections write what this turn gave them before the next one begins.
            tokio::task::yield_now().await;
        }
    }

    async fn wait(&mut self, stop: &mut watch::Receiver<bool>, stopping: bool) {
        let mailbox = self.mailboxes.of(self.id);
        let has_tasks = !self.tasks.is_empty();
        let until_timer = self.core.next_turn_ms().map(|at_ms| Duration::from_millis(at_ms.saturating_sub(wall_ms())));
        let until_deadline = self.core.next_deadline().map(|at| at.since(self.tick()));
        let sleep = [until_timer, until_deadline].into_iter().flatten().fold(IDLE_TURN, Duration::min);
        let completion = tokio::select! {
            biased;
            completion = self.tasks.next(), if has_tasks => completion,
            () = mailbox.filled() => None,
            () = self.events_filled.notified() => None,
            _ = stop.changed(), if !stopping => None,
            () = tokio::time::sleep(sleep) => None,
        };
        if let Some(completion) = completion {
            self.core.begin_turn(self.tick());
            self.on_completion(wall_ms(), completion);
        }
    }

    /// The present by the monotonic clock.
    fn tick(&self) -> Tick {
        Tick::at(self.started.elapsed())
    }

    fn on_completion(&mut self, now_ms: u64, completion: Completion) {
        self.core.on_completion(now_ms, completion, &mut self.effects);
    }

    fn on_event(&mut self, now_ms: u64, session: SessionId, event: Event) {
        match event {
            Event::Opened { outbox, remote, login_within_ms } => {
                self.outboxes.insert(session, outbox);
                self.core.on_opened(session, remote, login_within_ms, &mut self.effects);
            }
            Event::Frame { channel, frame } => {
                self.core.on_frame(now_ms, session, channel, frame, &mut self.effects);
            }
            Event::Datagram(frame) => self.core.on_datagram(now_ms, session, frame, &mut self.effects),
            Event::Drained => self.core.on_drained(session, &mut self.effects),
            Event::Closed => {
                self.outboxes.remove(&session);
                self.core.on_closed(now_ms, session, &mut self.effects);
            }
        }
    }

    fn carry_out(&mut self) {
        self.tasks.extend(self.effects.tasks.drain(..));
        for (core, mail) in self.effects.mail.drain(..) {
            self.outgoing[usize::from(core.0)].push(mail);
        }
        for (core, batch) in (0..).zip(&mut self.outgoing) {
            if !batch.is_empty() {
                self.mailboxes.of(CoreId(core)).put(batch);
            }
        }
        let mut delivered = 0;
        for (session, output) in self.effects.output.drain(..) {
            // A session that closed meanwhile needs nothing any more.
            let Some(outbox) = self.outboxes.get(&session) else { continue };
            let was_empty = outbox.is_empty();
            match output {
                // Replies are always taken.
                Output::Reply(channel, frame) => drop(outbox.put(Outbound::Reply(channel, frame))),
                Output::Push(lane, frame) => match outbox.put(Outbound::Push(lane, frame)) {
                    true => delivered += 1,
                    false => self.core.on_push_refused(session),
                },
                // Without room it is lost, as it may be.
                Output::Datagram(frame) => drop(outbox.put(Outbound::Datagram(frame))),
                Output::Authenticated => outbox.set_authenticated(),
                Output::Close(code, reason) => outbox.close(code, reason),
            }
            if was_empty && !outbox.is_empty() {
                self.filled.push(outbox.clone());
            }
        }
        self.meters.delivered.increment(delivered);
        for outbox in self.filled.drain(..) {
            outbox.flush();
        }
    }
}

/// Milliseconds since 1970-01-01 UTC. A clock before that reads as 0.
fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
