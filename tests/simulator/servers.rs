//! The server's processes: one that serves, and on a cluster one that waits for its end, and those that have lost the cluster and do
//! not know it yet.

use crate::{
    client::Stage,
    cluster::{Node, Owning},
    network::ConnectionId,
    process::{Process, Told},
    settings::Bug,
    world::{CALM_TICK_MS_MAX, Event, NOTICE_MS_MAX, World},
};
use bytes::Bytes;
use godwit::{store::Store, timer::Tick};
use godwit_proto::v1::ServerFrame;
use prost::Message;
use std::sync::Arc;

/// Numbered in the order in which they start.
pub type ServerId = u64;

/// How long it takes until a process that is to end has ended.
const ENDING_MS_MAX: u64 = 30;
/// How long a replica is away.
const OUTAGE_MS_MAX: u64 = 200;
/// In a thousand clients: how many hear of a server that stands still by its silence.
const IMPATIENT: u64 = 700;
/// In a thousand connections, while there is more than one server: those that go to any of them.
const MISLED: u64 = 100;

/// One process.
#[derive(Default)]
pub(crate) struct Server {
    /// `None`: it waits for the store to be its own.
    pub(crate) process: Option<Process>,
    /// What it is in a cluster.
    node: Option<Node>,
    /// As by SIGSTOP.
    pub(crate) stopped: bool,
    /// From the cluster.
    cut_off: bool,
    /// Cores whose turn came meanwhile.
    parked: Vec<usize>,
    /// It gives its lease back.
    closing: bool,
    ending: bool,
}

impl Server {
    fn is_waiting(&self) -> bool {
        self.process.is_none() && !self.ending
    }

    fn takes_connections(&self) -> bool {
        !self.stopped && self.process.as_ref().is_some_and(|process| !process.is_stopping())
    }
}

impl World {
    pub(crate) fn start(&mut self) {
        if self.servers.values().any(Server::is_waiting) {
            return;
        }
        self.next_server += 1;
        let id = self.next_server;
        self.note(b"start", || format!("server {id} starts"));
        let node = self.cluster.as_mut().map(|shared| shared.start());
        let waits = node.is_some();
        self.servers.insert(id, Server { node, ..Server::default() });
        if !waits {
            self.serve(id, Arc::new(self.store.clone()));
        }
    }

    fn serve(&mut self, id: ServerId, store: Arc<dyn Store>) {
        let process = Process::new(&self.settings, store, &self.passwords, &mut self.rng);
        self.servers.get_mut(&id).expect("it was started").process = Some(process);
        self.serving = Some(id);
        self.owners += 1;
        (0..usize::from(self.settings.cores)).for_each(|core| self.after(1, Event::Turn(core, id)));
    }

    /// Whoever owns the cluster now serves, and whoever does not any more ends.
    pub(crate) fn look_at_nodes(&mut self) {
        let mut owner = None;
        let mut over = Vec::new();
        for (id, server) in &mut self.servers {
            match server.node.as_ref().map(Node::owning) {
                Some(Owning::Owner) if server.process.is_none() => owner = Some(*id),
                Some(Owning::Over) if !server.ending => over.push(*id),
                _ => {}
            }
        }
        if let Some(id) = owner
            && let Some(shared) = &self.cluster
            && let Some(node) = self.servers.get_mut(&id).and_then(|server| server.node.as_mut())
        {
            let store = node.store(shared);
            self.note(b"own", || format!("server {id} owns the cluster"));
            self.serve(id, store);
        }
        for id in over {
            // Who ignores the end of the lease ignores this, too.
            if self.settings.bug != Some(Bug::NoFence) || self.calm {
                self.servers.get_mut(&id).expect("just listed").ending = true;
                let delay_ms = self.rng.below(ENDING_MS_MAX);
                self.note(b"over", || format!("server {id} does not own the cluster any more"));
                self.after(delay_ms, Event::End(id));
            }
        }
    }

    pub(crate) fn turn(&mut self, core: usize, id: ServerId) {
        let Some(server) = self.servers.get_mut(&id) else { return };
        if server.stopped {
            return server.parked.push(core);
        }
        let Some(process) = &mut server.process else { return };
        let now_ms = self.store.lock().disk.schedules.clock.read(self.now_ms);
        let mut told: Vec<Told> = Vec::new();
        let idle = process.is_idle(core);
        let result = process.turn(core, (now_ms, Tick(self.now_ms)), &self.settings, &mut self.rng, &mut told);
        let until_timer_ms = process.next_turn_ms(core).map_or(u64::MAX, |at_ms| at_ms.saturating_sub(now_ms));
        let until_deadline_ms = process.next_deadline(core).map_or(u64::MAX, |at| at.0.saturating_sub(self.now_ms));
        let next_ms = until_timer_ms.min(until_deadline_ms).max(1);
        for (connection, frame) in told {
            self.trace
                .note(self.now_ms, &frame, || format!("core {core} of {id} to {connection:?}: {:?}", decode(&frame)));
            let Some(connection) = self.connections.get(&connection) else { continue };
            let client = &self.clients[connection.client];
            let current = connection.client_end && client.stage != Stage::Offline;
            self.checker.on_told(client, &decode(&frame), current);
        }
        if result.is_err() {
            return self.crash(id);
        }
        // A core with nothing to do is looked at less often.
        let delay_ms = match (idle, self.calm) {
            (false, _) => 1 + self.rng.below(3),
            (true, false) => 2 + self.rng.below(8),
            (true, true) => 1 + self.rng.below(CALM_TICK_MS_MAX),
        };
        self.after(delay_ms.min(next_ms), Event::Turn(core, id));
        let connections = self.connections.iter().filter(|(_, one)| one.server == id && one.core == core);
        let connections: Vec<ConnectionId> = connections.map(|(id, _)| *id).collect();
        connections.into_iter().for_each(|connection| self.write_down(connection));
        self.look_whether_done(id);
    }

    fn look_whether_done(&mut self, id: ServerId) {
        let Some(server) = self.servers.get_mut(&id) else { return };
        if server.process.as_ref().is_some_and(Process::is_done) {
            match &server.node {
                None => self.crash(id),
                Some(node) if !server.closing => {
                    server.closing = true;
                    node.close();
                }
                Some(_) => {}
            }
        }
    }

    /// A process is gone, and every connection with it.
    pub(crate) fn crash(&mut self, id: ServerId) {
        let Some(server) = self.servers.remove(&id) else { return };
        self.note(b"crash", || format!("server {id} dies"));
        self.crashes += 1;
        drop(server);
        // What a former owner had on its way was decided when the next one came.
        if self.serving == Some(id) {
            self.serving = None;
            self.store.crash();
        }
        let connections = self.connections.iter().filter(|(_, one)| one.server == id);
        for id in connections.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.connections.get_mut(&id).expect("just listed").server_end = false;
            let delay_ms = self.rng.below(NOTICE_MS_MAX);
            self.after(delay_ms, Event::ClientEnd(id));
        }
        let delay_ms = 5 + self.rng.below(100);
        self.after(delay_ms, Event::Start);
    }

    pub(crate) fn serving_process(&mut self) -> Option<&mut Process> {
        self.servers.get_mut(&self.serving?)?.process.as_mut()
    }

    /// Which server a new connection goes to.
    pub(crate) fn find_server(&mut self) -> Option<ServerId> {
        if self.cluster.is_some() && self.servers.len() > 1 && self.rng.chance(MISLED) {
            let open = self.servers.iter().filter(|(_, server)| server.takes_connections());
            let open: Vec<ServerId> = open.map(|(id, _)| *id).collect();
            return (!open.is_empty()).then(|| self.rng.pick(&open));
        }
        self.serving.filter(|id| self.servers[id].takes_connections())
    }

    /// The process that serves stands still. Another one is started, and gets the cluster if this takes longer than the lease.
    pub(crate) fn stall(&mut self) {
        let (Some(id), Some(cluster)) = (self.serving, self.settings.cluster) else { return };
        let server = self.servers.get_mut(&id).expect("it serves");
        if self.calm || server.stopped {
            return;
        }
        server.stopped = true;
        server.node.as_ref().expect("of a cluster").set_stopped(true);
        let lease_ms = cluster.lease_ms;
        let stopped_ms =
            self.rng.pick(&[lease_ms / 4, lease_ms, 2 * lease_ms, 2 * lease_ms]) + self.rng.below(lease_ms);
        self.note(b"stall", || format!("server {id} stands still for {stopped_ms} ms"));
        self.after(stopped_ms, Event::Continue(id));
        let delay_ms = self.rng.below(lease_ms / 2);
        self.after(delay_ms, Event::Start);
        let connections = self.connections.iter().filter(|(_, one)| one.server == id);
        for id in connections.map(|(id, _)| *id).collect::<Vec<_>>() {
            if self.rng.chance(IMPATIENT) {
                let delay_ms = 20 + self.rng.below(2 * lease_ms);
                self.after(delay_ms, Event::ClientEnd(id));
            }
        }
    }

    /// The server that serves is cut off from the cluster, and goes on talking to its clients.
    fn cut_off(&mut self) {
        let (Some(id), Some(cluster)) = (self.serving, self.settings.cluster) else { return };
        let server = self.servers.get_mut(&id).expect("it serves");
        if std::mem::replace(&mut server.cut_off, true) {
            return;
        }
        server.node.as_ref().expect("of a cluster").set_cut_off(true);
        let cut_off_ms = self.rng.below(4 * cluster.lease_ms);
        self.note(b"cut", || format!("server {id} is cut off from the cluster for {cut_off_ms} ms"));
        self.after(cut_off_ms, Event::Reconnect(id));
        self.after(0, Event::Start);
    }

    /// A server that was cut off is so no more.
    pub(crate) fn reconnect(&mut self, id: ServerId) {
        let Some(server) = self.servers.get_mut(&id).filter(|server| server.cut_off) else { return };
        server.cut_off = false;
        server.node.as_ref().expect("of a cluster").set_cut_off(false);
        self.note(b"reconnect", || format!("server {id} is not cut off any more"));
    }

    /// A process that stands still goes on.
    pub(crate) fn go_on(&mut self, id: ServerId) {
        let Some(server) = self.servers.get_mut(&id).filter(|server| server.stopped) else { return };
        server.stopped = false;
        server.node.as_ref().expect("of a cluster").set_stopped(false);
        let parked = std::mem::take(&mut server.parked);
        parked.into_iter().for_each(|core| self.after(1, Event::Turn(core, id)));
        let former = self.serving != Some(id);
        self.former += u64::from(former);
        self.note(b"go on", || format!("server {id} goes on; another one owns the cluster: {former}"));
    }

    /// Strokes of fate that a cluster has.
    pub(crate) fn cluster_chaos(&mut self) {
        let (Some(settings), Some(shared)) = (self.settings.cluster, &self.cluster) else { return };
        match self.rng.below(5) {
            0 if settings.outages => {
                let replica = self.rng.index(3);
                shared.set_down(Some(replica));
                let delay_ms = self.rng.below(OUTAGE_MS_MAX);
                self.note(b"outage", || format!("replica {replica} is away for {delay_ms} ms"));
                self.after(delay_ms, Event::Replicas);
            }
            1 if settings.stops => self.stall(),
            2 if settings.cuts => self.cut_off(),
            _ => {
                let faulty = self.rng.chance(600);
                shared.set_faulty(faulty);
                self.note(&[u8::from(faulty)], || format!("the cluster is faulty: {faulty}"));
            }
        }
    }

    /// Nothing is wrong with the cluster from now on, nobody stands still and nobody is cut off.
    pub(crate) fn heal_cluster(&mut self) {
        let Some(shared) = &self.cluster else { return };
        shared.set_faulty(false);
        shared.set_down(None);
        for id in self.servers.keys().copied().collect::<Vec<_>>() {
            self.go_on(id);
            self.reconnect(id);
        }
    }

    /// Another server takes over when whatever was late has come, and knows only what is in the rows.
    pub(crate) fn change_owner(&mut self) {
        let Some(settings) = self.settings.cluster else { return };
        self.store.lock().disk.leaves_timers = false;
        let until_ms = self.now_ms + settings.faults.late_ms_max;
        while self.now_ms < until_ms {
            self.step();
        }
        if let Some(id) = self.serving {
            self.crash(id);
        }
    }
}

fn decode(frame: &Bytes) -> ServerFrame {
    ServerFrame::decode_length_delimited(frame.clone()).expect("a server writes frames")
}
