//! A thread of clients: one runtime, many sockets, many peers.

use crate::{
    cpu,
    peer::{Part, Peer, Progress, Report, Second, Shared, Tally},
    wire::{Dialect, Dialer, Link, Login},
};
use anyhow::{Context, anyhow};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use godwit_proto::{
    UserId,
    v1::{client_frame, server_frame},
};
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Instant,
};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::{LocalSet, spawn_local},
};

/// What a worker needs to know before anything else.
#[derive(Debug, Clone)]
pub struct Setup {
    pub server: SocketAddr,
    pub fingerprint: String,
    pub dialect: Dialect,
    /// Client sockets of this worker.
    pub sockets: usize,
    /// CPUs that its thread may use; empty: all.
    pub cpus: Vec<usize>,
}

/// How a peer gets its connection.
#[derive(Debug, Clone)]
pub enum Entry {
    /// To Godwit, as this account.
    LogIn(Login),
    /// To the bare relay, as a member of these groups.
    Join(Vec<u32>),
}

/// Who a peer turned out to be.
#[derive(Debug, Clone)]
pub struct Identity {
    pub user: Option<UserId>,
    pub token: Bytes,
}

/// The load of one run.
pub struct Load {
    pub origin: Instant,
    pub send_until_ns: u64,
    pub body_bytes: usize,
    pub parts: Vec<(u32, Part)>,
    pub progress: Arc<Progress>,
}

/// What a worker's peers saw.
pub struct Harvest {
    pub tally: Tally,
    pub reports: Vec<PeerReport>,
}

/// [`Report`] without the connection, which stays with the worker.
pub struct PeerReport {
    pub number: u32,
    pub rooms: Vec<crate::peer::Room>,
    pub resyncs: u64,
    pub lost: Option<String>,
}

/// A handle on the thread. Dropping it ends the thread and its connections.
pub struct Worker {
    commands: mpsc::Sender<Command>,
    _thread: JoinHandle<()>,
}

enum Command {
    Connect(Vec<(u32, Entry)>, usize, oneshot::Sender<anyhow::Result<Vec<(u32, Identity)>>>),
    Request(u32, Box<client_frame::Body>, Channel, oneshot::Sender<anyhow::Result<server_frame::Body>>),
    Disconnect(oneshot::Sender<()>),
    Start(Load, oneshot::Sender<anyhow::Result<()>>),
    Second(usize, oneshot::Sender<Second>),
    Finish(oneshot::Sender<Harvest>),
}

/// Where a request goes.
#[derive(Debug, Clone, Copy)]
pub enum Channel {
    Session,
    Bulk,
}

impl Worker {
    /// Starts the thread.
    pub fn start(setup: Setup) -> anyhow::Result<Self> {
        let (commands, inbox) = mpsc::channel(1);
        let thread = thread::Builder::new().name("clients".into()).spawn(move || {
            if let Err(error) = run(&setup, inbox) {
                eprintln!("a thread of clients failed: {error:#}");
            }
        })?;
        Ok(Self { commands, _thread: thread })
    }

    /// Connects peers, `at_once` at a time.
    pub async fn connect(&self, peers: Vec<(u32, Entry)>, at_once: usize) -> anyhow::Result<Vec<(u32, Identity)>> {
        self.ask(|answer| Command::Connect(peers, at_once, answer)).await?
    }

    /// Asks something as a peer that is connected and not under load.
    pub async fn request(
        &self,
        peer: u32,
        body: client_frame::Body,
        channel: Channel,
    ) -> anyhow::Result<server_frame::Body> {
        self.ask(|answer| Command::Request(peer, Box::new(body), channel, answer)).await?
    }

    /// Closes all connections, and waits until the server knows.
    pub async fn disconnect(&self) -> anyhow::Result<()> {
        self.ask(Command::Disconnect).await
    }

    /// Puts all connected peers that have a part under load.
    pub async fn load(&self, load: Load) -> anyhow::Result<()> {
        self.ask(|answer| Command::Start(load, answer)).await?
    }

    /// What happened up to now in one second of the load, by index.
    pub async fn second(&self, index: usize) -> anyhow::Result<Second> {
        self.ask(|answer| Command::Second(index, answer)).await
    }

    /// Ends the load. The connections are spent afterwards.
    pub async fn finish(&self) -> anyhow::Result<Harvest> {
        self.ask(Command::Finish).await
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> anyhow::Result<T> {
        let (answer, answered) = oneshot::channel();
        let gone = || anyhow!("a thread of clients is gone");
        self.commands.send(command(answer)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())
    }
}

fn run(setup: &Setup, inbox: mpsc::Receiver<Command>) -> anyhow::Result<()> {
    if !setup.cpus.is_empty() {
        cpu::pin_this_thread(&setup.cpus)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let dialer = Dialer::new(setup.server, &setup.fingerprint, setup.sockets)?;
        Clients { dialer, dialect: setup.dialect, links: HashMap::new(), running: None, spent: Vec::new() }
            .serve(inbox)
            .await;
        Ok(())
    })
}

struct Clients {
    dialer: Dialer,
    dialect: Dialect,
    links: HashMap<u32, Link>,
    running: Option<Running>,
    /// Connections that have been under load. They stay open: closing them is not part of the load.
    spent: Vec<quinn::Connection>,
}

struct Running {
    shared: Rc<Shared>,
    peers: Vec<tokio::task::JoinHandle<Report>>,
}

impl Clients {
    async fn serve(mut self, mut inbox: mpsc::Receiver<Command>) {
        // Whoever asked may be gone; then the thread soon is, too.
        while let Some(command) = inbox.recv().await {
            match command {
                Command::Connect(peers, at_once, answer) => {
                    let _ = answer.send(self.connect(peers, at_once).await);
                }
                Command::Request(peer, body, channel, answer) => {
                    let _ = answer.send(self.request(peer, *body, channel).await);
                }
                Command::Disconnect(answer) => {
                    self.disconnect().await;
                    let _ = answer.send(());
                }
                Command::Start(load, answer) => {
                    let _ = answer.send(self.load(load));
                }
                Command::Second(index, answer) => {
                    let nothing = || Tally::default().sum(0, 0);
                    let tally = self.running.as_ref().map(|running| running.shared.tally.borrow());
                    let _ = answer.send(tally.map_or_else(nothing, |tally| tally.sum(index, 1)));
                }
                Command::Finish(answer) => {
                    let _ = answer.send(self.finish().await);
                }
            }
        }
        self.disconnect().await;
    }

    async fn connect(&mut self, peers: Vec<(u32, Entry)>, at_once: usize) -> anyhow::Result<Vec<(u32, Identity)>> {
        let (dialer, dialect) = (&self.dialer, self.dialect);
        let mut connecting = stream::iter(peers)
            .map(|(number, entry)| async move {
                let link = match (&entry, dialect) {
                    (Entry::LogIn(login), _) => Link::log_in(dialer, login, number).await,
                    (Entry::Join(groups), Dialect::Bare(sizes)) => Link::join(dialer, groups, sizes).await,
                    (Entry::Join(_), Dialect::Godwit) => Err(anyhow!("Godwit has no groups of the bare relay")),
                };
                (number, link)
            })
            .buffer_unordered(at_once);
        let mut identities = Vec::new();
        while let Some((number, link)) = connecting.next().await {
            let link = link.with_context(|| format!("client {number}"))?;
            identities.push((number, Identity { user: link.user, token: link.token.clone() }));
            self.links.insert(number, link);
        }
        identities.sort_unstable_by_key(|(number, _)| *number);
        Ok(identities)
    }

    async fn request(
        &mut self,
        peer: u32,
        body: client_frame::Body,
        channel: Channel,
    ) -> anyhow::Result<server_frame::Body> {
        let link = self.links.get_mut(&peer).with_context(|| format!("client {peer} is not connected"))?;
        match channel {
            Channel::Session => link.request(body).await,
            Channel::Bulk => link.bulk(body).await,
        }
    }

    async fn disconnect(&mut self) {
        self.links.drain().for_each(|(_, link)| link.close());
        self.spent.drain(..).for_each(|connection| connection.close(0u32.into(), b""));
        self.dialer.wait_idle().await;
    }

    fn load(&mut self, load: Load) -> anyhow::Result<()> {
        let shared = Rc::new(Shared {
            origin: load.origin,
            send_until_ns: load.send_until_ns,
            body_bytes: load.body_bytes,
            dialect: self.dialect,
            tally: RefCell::new(Tally::default()),
            progress: load.progress,
            finish: Cell::new(false),
            finished: Notify::new(),
        });
        let mut peers = Vec::new();
        for (number, part) in load.parts {
            let link = self.links.remove(&number).with_context(|| format!("client {number} is not connected"))?;
            peers.push(spawn_local(Peer::new(number, link, part, shared.clone()).run()));
        }
        self.running = Some(Running { shared, peers });
        Ok(())
    }

    async fn finish(&mut self) -> Harvest {
        let Some(running) = self.running.take() else {
            return Harvest { tally: Tally::default(), reports: Vec::new() };
        };
        running.shared.finish.set(true);
        running.shared.finished.notify_waiters();
        let mut reports = Vec::new();
        for peer in running.peers {
            // A peer that panicked is reported by the runtime, and its part is missing.
            let Ok(report) = peer.await else { continue };
            let Report { number, rooms, resyncs, lost, connection } = report;
            self.spent.push(connection);
            reports.push(PeerReport { number, rooms, resyncs, lost });
        }
        Harvest { tally: running.shared.tally.take(), reports }
    }
}
