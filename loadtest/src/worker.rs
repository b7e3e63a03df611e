//! A thread of clients: one runtime, many sockets, many peers.

use crate::{
    cpu,
    peer::{Part, Peer, Progress, Report, Second, Shared, Tally},
    wire::{Dialect, Dialer, Link, Login, Transport},
};
use anyhow::{Context, anyhow};
use bytes::Bytes;
use futures_util::{StreamExt, future::LocalBoxFuture, stream};
use godwit_proto::UserId;
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
    pub transport: Transport,
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
    /// To a bare relay, as a member of these groups.
    Join(Vec<u32>),
}

/// Who a peer turned out to be.
#[derive(Debug, Clone)]
pub struct Identity {
    pub user: Option<UserId>,
    pub token: Bytes,
}

impl Identity {
    /// How to come back.
    pub fn resume(&self) -> anyhow::Result<Entry> {
        let user = self.user.context("a client that is nobody has no session")?;
        Ok(Entry::LogIn(Login::Token { user, token: self.token.clone() }))
    }
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
#[derive(Default)]
pub struct Harvest {
    pub tally: Tally,
    pub reports: Vec<Report>,
}

/// A handle on the thread. Dropping it ends the thread and its connections.
pub struct Worker {
    jobs: mpsc::Sender<Job>,
    thread: JoinHandle<()>,
}

type Job = Box<dyn for<'a> FnOnce(&'a mut Clients) -> LocalBoxFuture<'a, ()> + Send>;

impl Worker {
    /// Starts the thread.
    pub fn start(setup: Setup) -> anyhow::Result<Self> {
        let (jobs, inbox) = mpsc::channel(1);
        let thread = thread::Builder::new().name("clients".into()).spawn(move || {
            if let Err(error) = run(&setup, inbox) {
                eprintln!("a thread of clients failed: {error:#}");
            }
        })?;
        Ok(Self { jobs, thread })
    }

    /// Has the thread do something with its clients. One job at a time; a load goes on meanwhile.
    pub async fn run<T, F>(&self, job: F) -> anyhow::Result<T>
    where
        T: Send + 'static,
        F: AsyncFnOnce(&mut Clients) -> anyhow::Result<T> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let gone = || anyhow!("a thread of clients is gone");
        let job: Job = Box::new(move |clients| {
            Box::pin(async move {
                // Whoever asked may be gone; then the thread soon is, too.
                let _ = answer.send(job(clients).await);
            })
        });
        self.jobs.send(job).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    /// Closes all connections and ends the thread.
    pub async fn dismiss(self) -> anyhow::Result<()> {
        drop(self.jobs);
        let joined = tokio::task::spawn_blocking(|| self.thread.join()).await?;
        joined.map_err(|_| anyhow!("a thread of clients panicked"))
    }
}

fn run(setup: &Setup, mut inbox: mpsc::Receiver<Job>) -> anyhow::Result<()> {
    if !setup.cpus.is_empty() {
        cpu::pin_this_thread(&setup.cpus)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let dialer = Rc::new(Dialer::new(setup.transport, setup.server, &setup.fingerprint, setup.sockets)?);
        let links = HashMap::new();
        let mut clients = Clients { dialer, dialect: setup.dialect, links, running: None, spent: Vec::new() };
        while let Some(job) = inbox.recv().await {
            job(&mut clients).await;
        }
        clients.disconnect().await;
        Ok(())
    })
}

/// The clients of one thread.
pub struct Clients {
    pub dialer: Rc<Dialer>,
    pub dialect: Dialect,
    /// Connected, and not under load.
    pub links: HashMap<u32, Link>,
    running: Option<Running>,
    /// Connections that have been under load. They stay open: closing them is not part of the load.
    spent: Vec<Link>,
}

struct Running {
    shared: Rc<Shared>,
    peers: Vec<tokio::task::JoinHandle<(Report, Link)>>,
}

impl Clients {
    /// Connects peers, `at_once` at a time.
    pub async fn connect(&mut self, peers: Vec<(u32, Entry)>, at_once: usize) -> anyhow::Result<Vec<(u32, Identity)>> {
        let (dialer, dialect) = (&*self.dialer, self.dialect);
        let mut connecting = stream::iter(peers)
            .map(|(number, entry)| async move { (number, enter(dialer, dialect, &entry, number).await) })
            .buffer_unordered(at_once);
        let mut identities = Vec::new();
        while let Some((number, link)) = connecting.next().await {
            let link = link.with_context(|| format!("client {number}"))?;
            identities.push((number, Identity { user: link.user, token: link.token.clone() }));
            self.links.insert(number, link);
        }
        Ok(identities)
    }

    /// Closes all connections, and waits until the server knows.
    pub async fn disconnect(&mut self) {
        self.links.drain().map(|(_, link)| link).chain(self.spent.drain(..)).for_each(Link::close);
        self.dialer.wait_idle().await;
    }

    /// The connection of a peer that is not under load.
    pub fn link(&mut self, peer: u32) -> anyhow::Result<&mut Link> {
        self.links.get_mut(&peer).with_context(|| format!("client {peer} is not connected"))
    }

    /// Connections that the server or the network ended.
    pub fn lost(&self) -> usize {
        self.links.values().filter(|link| link.connection.is_lost()).count()
    }

    /// Puts connected peers under load.
    pub fn load(&mut self, load: Load) -> anyhow::Result<()> {
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

    /// What happened up to now in one second of the load, by index.
    pub fn second(&self, index: usize) -> Second {
        self.running.as_ref().map_or_else(Second::default, |running| running.shared.tally.borrow().sum(index, 1))
    }

    /// Ends the load. The connections are spent afterwards.
    pub async fn finish(&mut self) -> anyhow::Result<Harvest> {
        let Some(running) = self.running.take() else { return Ok(Harvest::default()) };
        running.shared.finish.set(true);
        running.shared.finished.notify_waiters();
        let mut reports = Vec::new();
        for peer in running.peers {
            let (report, link) = peer.await.context("a client panicked")?;
            self.spent.push(link);
            reports.push(report);
        }
        Ok(Harvest { tally: running.shared.tally.take(), reports })
    }
}

/// One connection, as far as it takes before it carries load.
pub async fn enter(dialer: &Dialer, dialect: Dialect, entry: &Entry, number: u32) -> anyhow::Result<Link> {
    match (entry, dialect) {
        (Entry::LogIn(login), _) => Link::log_in(dialer, login, number).await,
        (Entry::Join(groups), Dialect::Bare(sizes)) => Link::join(dialer, groups, sizes).await,
        (Entry::Join(_), Dialect::Godwit) => Err(anyhow!("Godwit has no groups of a bare relay")),
    }
}
