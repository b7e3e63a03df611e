//! One run: everything simulated, on one queue of events, under one seed.

use crate::{
    checker::Checker,
    client::{Around, Client, Person, Stage},
    cluster::Shared,
    network::{Connection, ConnectionId, Stream, channel_of, stream_of},
    process::SimPasswords,
    rng::Rng,
    servers::{Server, ServerId},
    settings::{Bug, Settings},
    simulated_cluster::Happened,
    store::SimStore,
    trace::Trace,
};
use godwit::router::Outbound;
use godwit_proto::v1::ServerFrame;
use prost::Message;
use std::{collections::BTreeMap, sync::Arc};

/// After trouble has ended, everything must have settled within this time.
const CALM_MS_MAX: u64 = 30_000;
/// Between two looks at somebody who may have nothing to do, once trouble has ended.
pub(crate) const CALM_TICK_MS_MAX: u64 = 60;
/// How long it is watched after that: longer than a core waits before it loads a lost conversation once more.
const REST_MS: u64 = 700;
/// Between two looks at whether the server's clock must be put forward for what is sent again.
const FORWARD_EVERY_MS: u64 = 300;
/// Between two comparisons of everything with everything.
const CHECK_EVERY_STEPS: u64 = 50;
/// How long a server believes in a connection that is gone.
pub(crate) const NOTICE_MS_MAX: u64 = 60;

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    pub trace: u64,
    pub steps: u64,
    pub checked: u64,
    pub entries: u64,
    /// Sent by a schedule.
    pub scheduled: u64,
    /// Times that a series went on to its next time.
    pub moves: u64,
    /// Messages that disappeared, and recipients who did not get one in time.
    pub withdrawn: u64,
    pub crashes: u64,
    pub on_cluster: bool,
    /// Servers that owned the store.
    pub owners: u64,
    /// Servers that went on after another one had taken the cluster.
    pub former: u64,
    pub resyncs: u64,
    /// Pushed entries that were lost on the way.
    pub lost_pushes: u64,
    /// What went wrong in the cluster.
    pub happened: Happened,
}

/// Runs a seed to its end. Panics when something is not as it must be.
pub fn run(seed: u64, bug: Option<Bug>, print: bool) -> Summary {
    let mut rng = Rng::new(seed);
    let settings = Settings::draw(seed, &mut rng, bug);
    if print {
        eprintln!("{settings:#?}");
    }
    let mut world = World::new(settings, rng, print);
    while world.now_ms < settings.trouble_ms {
        world.step();
    }
    world.calm_down();
    world.settle();
    world.check(true);
    world.check_settled();
    world.change_owner();
    // What the server keeps is enough for a device that has nothing.
    if settings.new_devices {
        world.add_new_devices();
        world.settle();
        world.check_settled();
    }
    let inner = world.store.lock();
    Summary {
        trace: world.trace.hash(),
        steps: world.trace.steps,
        checked: world.checker.checked,
        entries: inner.disk.conversations.values().map(|stored| stored.ledger.len()).sum(),
        scheduled: inner.disk.schedules.sent(),
        moves: inner.disk.schedules.moves(),
        withdrawn: inner.disk.conversations.values().map(|stored| stored.ledger.withdrawn()).sum(),
        crashes: world.crashes,
        on_cluster: world.cluster.is_some(),
        owners: world.owners,
        former: world.former,
        resyncs: world.clients.iter().map(|client| client.resyncs).sum(),
        lost_pushes: world.clients.iter().map(|client| client.lost_pushes).sum(),
        happened: world.cluster.as_ref().map(Shared::happened).unwrap_or_default(),
    }
}

pub(crate) struct World {
    pub(crate) settings: Settings,
    pub(crate) rng: Rng,
    pub(crate) now_ms: u64,
    events: BTreeMap<(u64, u64), Event>,
    next_event: u64,
    pub(crate) store: SimStore,
    pub(crate) cluster: Option<Shared>,
    pub(crate) passwords: Arc<SimPasswords>,
    pub(crate) servers: BTreeMap<ServerId, Server>,
    pub(crate) next_server: ServerId,
    /// Owns the store, as far as anybody knows.
    pub(crate) serving: Option<ServerId>,
    pub(crate) crashes: u64,
    pub(crate) owners: u64,
    pub(crate) former: u64,
    pub(crate) connections: BTreeMap<ConnectionId, Connection>,
    next_connection: u64,
    pub(crate) clients: Vec<Client>,
    people: Vec<Person>,
    pub(crate) checker: Checker,
    pub(crate) trace: Trace,
    pub(crate) calm: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Event {
    Start,
    /// Of a core.
    Turn(usize, ServerId),
    /// A process that is to end has ended.
    End(ServerId),
    /// The process that serves stands still.
    Stall,
    /// A process that stood still goes on.
    Continue(ServerId),
    /// One that was cut off from the cluster is so no more.
    Reconnect(ServerId),
    /// All replicas are there again.
    Replicas,
    Tick(usize),
    Chaos,
    /// The next frame of a stream arrives at the server.
    Up(ConnectionId, Stream),
    /// The next frame of a stream arrives at the client.
    Down(ConnectionId, Stream),
    /// The client learns that the connection is gone.
    ClientEnd(ConnectionId),
    /// The server learns that the connection is gone.
    ServerEnd(ConnectionId),
}

impl World {
    fn new(settings: Settings, mut rng: Rng, print: bool) -> Self {
        let store = SimStore::new(settings, rng.fork());
        store.lock().faulty = true;
        let people = (0..settings.users).map(|index| Person { name: format!("Somebody{index}"), id: None }).collect();
        let mut clients = Vec::new();
        for person in 0..settings.users {
            for _ in 0..1 + rng.index(settings.devices_max) {
                clients.push(Client::new(clients.len(), person, rng.fork()));
            }
        }
        let cluster = settings.cluster.map(|cluster| Shared::new(cluster, settings.bug, &store, rng.fork()));
        let mut world = Self {
            settings,
            rng,
            now_ms: 0,
            events: BTreeMap::new(),
            next_event: 0,
            checker: Checker::new(store.clone()),
            store,
            cluster,
            passwords: Arc::default(),
            servers: BTreeMap::new(),
            next_server: 0,
            serving: None,
            crashes: 0,
            owners: 0,
            former: 0,
            connections: BTreeMap::new(),
            next_connection: 0,
            clients,
            people,
            trace: Trace::new(print),
            calm: false,
        };
        world.after(0, Event::Start);
        for client in 0..world.clients.len() {
            world.after(1, Event::Tick(client));
        }
        if settings.chaos_ms_max > 0 {
            world.after(settings.chaos_ms_max, Event::Chaos);
        }
        if settings.cluster.is_some_and(|cluster| cluster.stops) {
            let delay_ms = 50 + world.rng.below(settings.trouble_ms / 2);
            world.after(delay_ms, Event::Stall);
        }
        world
    }

    pub(crate) fn after(&mut self, delay_ms: u64, event: Event) {
        self.at(self.now_ms + delay_ms, event);
    }

    fn at(&mut self, at_ms: u64, event: Event) {
        self.events.insert((at_ms, self.next_event), event);
        self.next_event += 1;
    }

    pub(crate) fn step(&mut self) {
        let ((at_ms, _), event) = self.events.pop_first().expect("clients tick for ever");
        self.now_ms = at_ms;
        self.store.advance(at_ms);
        if let Some(cluster) = &self.cluster {
            cluster.advance(at_ms);
            self.look_at_nodes();
        }
        match event {
            Event::Start => self.start(),
            Event::Turn(core, server) => self.turn(core, server),
            Event::End(server) => self.crash(server),
            Event::Stall => self.stall(),
            Event::Continue(server) => self.go_on(server),
            Event::Reconnect(server) => self.reconnect(server),
            Event::Replicas => self.cluster.iter().for_each(|cluster| cluster.set_down(None)),
            Event::Tick(client) => {
                let (mut around, one) = self.around(client);
                one.tick(&mut around);
                self.connect(client);
                self.write_up(client);
                let delay_ms = 1 + self.rng.below(if self.calm { CALM_TICK_MS_MAX } else { self.settings.tick_ms_max });
                self.after(delay_ms, Event::Tick(client));
            }
            Event::Chaos => self.chaos(),
            Event::Up(connection, stream) => self.arrive_up(connection, stream),
            Event::Down(connection, stream) => self.arrive_down(connection, stream),
            Event::ClientEnd(connection) => self.end_client(connection),
            Event::ServerEnd(connection) => self.end_server(connection),
        }
        if self.trace.steps.is_multiple_of(CHECK_EVERY_STEPS) {
            self.check(false);
        }
    }

    /// A client that has no connection and wants one gets one, to any core.
    fn connect(&mut self, client: usize) {
        let one = &mut self.clients[client];
        if one.stage != Stage::Offline || self.now_ms < one.connect_at_ms {
            return;
        }
        let Some(server) = self.find_server() else { return };
        let Some(process) = self.servers.get_mut(&server).and_then(|server| server.process.as_mut()) else { return };
        let one = &mut self.clients[client];
        let core = self.rng.index(usize::from(self.settings.cores));
        let id = ConnectionId(self.next_connection);
        self.next_connection += 1;
        let (session, outbox) = process.open(core, id);
        self.connections.insert(id, Connection::new(client, (server, core), session, outbox));
        one.on_connected(self.now_ms, id);
        self.note(&id.0.to_be_bytes(), || format!("client {client} connects to core {core} of {server} as {id:?}"));
    }

    fn write_up(&mut self, client: usize) {
        let frames = std::mem::take(&mut self.clients[client].out);
        let Some(id) = self.clients[client].connection else { return };
        for (stream, frame) in frames {
            let delay_ms = 1 + self.rng.below(self.settings.network_delay_ms_max);
            let Some(connection) = self.connections.get_mut(&id) else { return };
            let at_ms = connection.up.entry(stream).or_default().put(frame, self.now_ms + delay_ms);
            self.at(at_ms, Event::Up(id, stream));
        }
    }

    /// What the transport of the server does: takes everything while the client reads.
    pub(crate) fn write_down(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let server = self.servers.get_mut(&connection.server);
        let stopped = server.as_ref().is_some_and(|server| server.stopped);
        if !connection.reading || !connection.server_end || stopped {
            return;
        }
        let mut outbound = Vec::new();
        connection.outbox.take(&mut outbound);
        let mut last_ms = self.now_ms;
        let mut arrivals = Vec::new();
        let mut drained = false;
        for item in outbound {
            let (stream, bytes) = match item {
                Outbound::Reply(channel, bytes) => (stream_of(channel), bytes),
                Outbound::Push(lane, bytes) => (Stream::Lane(lane), bytes),
                Outbound::Datagram(_) => unreachable!("the process puts none in"),
            };
            drained |= connection.outbox.written(bytes.len());
            if connection.client_end {
                let delay_ms = 1 + self.rng.below(self.settings.network_delay_ms_max);
                let at_ms = connection.down.entry(stream).or_default().put(bytes, self.now_ms + delay_ms);
                arrivals.push((at_ms, Event::Down(id, stream)));
                last_ms = last_ms.max(at_ms);
            }
        }
        if drained && let Some(process) = server.and_then(|server| server.process.as_mut()) {
            process.drained(connection.core, connection.session);
        }
        let closing = connection.outbox.closing().is_some();
        arrivals.into_iter().for_each(|(at_ms, event)| self.at(at_ms, event));
        if closing {
            self.at(last_ms + 1, Event::ClientEnd(id));
            self.at(last_ms + 1, Event::ServerEnd(id));
        }
    }

    fn arrive_up(&mut self, id: ConnectionId, stream: Stream) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let process = self.servers.get_mut(&connection.server).and_then(|server| server.process.as_mut());
        let (Some(process), true) = (process, connection.server_end) else { return };
        if connection.outbox.is_full() {
            // The transport reads no requests from a client that does not read.
            return self.after(5, Event::Up(id, stream));
        }
        let (core, session) = (connection.core, connection.session);
        let taken = connection.up.get_mut(&stream).and_then(|pipe| pipe.take());
        match (taken, channel_of(stream)) {
            (Some(Ok(frame)), Some(channel)) => {
                process.frame(core, session, channel, frame.clone());
                self.note(&frame, || format!("{id:?} {stream:?} to core {core}: {} bytes", frame.len()));
            }
            (Some(Err(_)), _) => {
                self.after(0, Event::ServerEnd(id));
                self.after(1, Event::ClientEnd(id));
            }
            _ => {}
        }
    }

    fn arrive_down(&mut self, id: ConnectionId, stream: Stream) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if !connection.client_end {
            return;
        }
        let client = connection.client;
        let Some(Ok(frame)) = connection.down.get_mut(&stream).and_then(|pipe| pipe.take()) else { return };
        let frame = ServerFrame::decode(frame).unwrap();
        self.note(&[client as u8], || format!("client {client} reads {frame:?}"));
        let (mut around, one) = self.around(client);
        one.on_frame(&mut around, frame);
        self.write_up(client);
    }

    /// The network drops a connection: of what is on its way to the server, some of each stream still arrives.
    pub(crate) fn break_connection(&mut self, id: ConnectionId) {
        self.note(&id.0.to_be_bytes(), || format!("{id:?} breaks"));
        let Some(connection) = self.connections.get_mut(&id) else { return };
        for pipe in connection.up.values_mut() {
            let arriving = self.rng.index(pipe.len() + 1);
            pipe.cut(arriving);
        }
        self.end_client(id);
        let delay_ms = self.rng.below(NOTICE_MS_MAX);
        self.after(delay_ms, Event::ServerEnd(id));
    }

    fn end_client(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if std::mem::take(&mut connection.client_end) {
            let client = connection.client;
            connection.down.clear();
            connection.reading = true;
            self.clients[client].on_disconnected(self.now_ms);
            self.note(&id.0.to_be_bytes(), || format!("client {client} loses {id:?}"));
        }
        self.forget(id);
    }

    fn end_server(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if std::mem::take(&mut connection.server_end)
            && let Some(process) = self.servers.get_mut(&connection.server).and_then(|server| server.process.as_mut())
        {
            process.close(connection.core, connection.session);
        }
        self.forget(id);
    }

    fn forget(&mut self, id: ConnectionId) {
        if self.connections.get(&id).is_some_and(|connection| !connection.client_end && !connection.server_end) {
            self.connections.remove(&id);
        }
    }

    pub(crate) fn note(&mut self, bytes: &[u8], text: impl FnOnce() -> String) {
        self.trace.note(self.now_ms, bytes, text);
    }

    fn around(&mut self, client: usize) -> (Around<'_>, &mut Client) {
        let around = Around {
            now_ms: self.now_ms,
            store: &self.store,
            people: &mut self.people,
            settings: &self.settings,
            calm: self.calm,
        };
        (around, &mut self.clients[client])
    }

    /// Runs until nobody has waited for anything for a while: what is still on its way may be a push, or word that pushes
    /// were left out, which makes a client that had everything ask again.
    fn settle(&mut self) {
        let deadline_ms = self.now_ms + CALM_MS_MAX;
        let mut rest_ms = self.now_ms + REST_MS;
        let mut forward_ms = self.now_ms;
        while self.now_ms < rest_ms {
            if self.now_ms >= forward_ms {
                forward_ms = self.now_ms + FORWARD_EVERY_MS;
                self.store.lock().disk.put_clock_forward(self.now_ms);
            }
            if !self.is_at_rest() {
                rest_ms = self.now_ms + REST_MS;
                let unfinished = || self.clients.iter().map(Client::describe).collect::<Vec<_>>().join("\n");
                let pending = || self.store.lock().disk.pending(self.now_ms);
                assert!(self.now_ms < deadline_ms, "it does not settle, but {:?}:\n{}", pending(), unfinished());
            }
            self.step();
        }
    }

    fn add_new_devices(&mut self) {
        for person in 0..self.people.len() {
            let id = self.clients.len();
            self.clients.push(Client::new(id, person, self.rng.fork()));
            self.after(1, Event::Tick(id));
        }
    }

    fn is_at_rest(&self) -> bool {
        let all_sent = || self.store.lock().disk.pending(self.now_ms).is_empty();
        self.serving.is_some() && self.clients.iter().all(Client::is_at_rest) && all_sent()
    }

    /// Every view against the log: what is new in it, or `all` of it.
    fn check(&mut self, all: bool) {
        let inner = self.store.lock();
        for client in &mut self.clients {
            let me = client.me;
            for (id, view) in client.views.iter_mut().filter(|(_, view)| !view.entries.is_empty()) {
                view.check(me, *id, &inner.disk.conversations[id], all);
            }
            if all {
                inner.disk.acked.iter().for_each(|((_, device, id), seq)| client.check_acked(*device, *id, *seq));
            }
        }
    }

    /// Everybody holds everything that they may see, and nothing else.
    fn check_settled(&self) {
        let inner = self.store.lock();
        inner.disk.schedules.check_settled();
        let clock_ms = inner.disk.schedules.clock.read(self.now_ms);
        inner.disk.conversations.values().for_each(|stored| stored.check_settled(clock_ms));
        for client in &self.clients {
            let me = client.me.expect("everybody is online");
            for (id, stored) in &inner.disk.conversations {
                let view = client.views.get(id);
                let Some(member) = stored.members.get(&me) else {
                    let gone = view.is_none_or(|view| view.left);
                    assert!(gone, "client {}: {id:?} goes on without its member", client.id);
                    continue;
                };
                let view = view.unwrap_or_else(|| panic!("client {}: {id:?} is not there", client.id));
                let held = (view.left, view.first <= member.first_seq().as_u64(), view.last());
                let last = stored.ledger.len();
                assert_eq!(held, (false, true, last), "client {}: {id:?} is not complete: {view:?}", client.id);
                let read = member.position().seq.as_u64();
                assert_eq!(view.read, read, "client {}: {id:?} is read elsewhere", client.id);
            }
        }
    }
}
